package secret

import (
	"bytes"
	"strings"

	"berth/fault"
	"berth/task"
)

// Limits of an environment file. That of a line is the ECS agent's, which reads lines
// with bufio.Scanner; AWS names none for a file.
const (
	maxFile = 1 << 20
	maxLine = 64 << 10
)

// file reads an environment file from the directory that stands for its bucket.
func (r *Resolver) file(account, arn string) ([]task.KeyValuePair, error) {
	bucket, key, err := task.ParseObjectARN(arn)
	if err != nil {
		return nil, err
	}
	dir, ok := r.Buckets[bucket]
	if !ok || r.foreign(account) {
		return nil, fault.New(fault.NotFound, "%s: NoSuchBucket: The specified bucket does not exist; this server has no directory for it (--s3)", arn)
	}
	text, err := readBelow(dir, key, maxFile)
	if fault.KindOf(err) == fault.NotFound {
		return nil, fault.New(fault.NotFound, "%s: NoSuchKey: The specified key does not exist.", arn)
	}
	if err != nil {
		return nil, &fault.Error{Kind: kindOf(err), Msg: arn + ": " + fault.Message(err), Err: err}
	}
	vars, err := ParseEnvironmentFile(text)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s: %s", arn, fault.Message(err))
	}
	return vars, nil
}

// ParseEnvironmentFile reads an environment file as the ECS agent does (its
// taskresource/envFiles): a line is VARIABLE=VALUE and nothing in it is special, not
// quotes, not spaces, not a second =. Lines that begin with #, that have no = or nothing
// on one side of it are skipped. Of a variable that is there twice the last counts. The
// variables come in the order of their first lines.
func ParseEnvironmentFile(text []byte) ([]task.KeyValuePair, error) {
	at := make(map[string]int)
	var vars []task.KeyValuePair
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = trimLineEnd(line)
		if len(line) >= maxLine {
			return nil, fault.New(fault.Invalid, "line %d has %d bytes or more", n, maxLine)
		}
		if bytes.IndexByte(line, 0) >= 0 {
			return nil, fault.New(fault.Invalid, "line %d has a NUL in it, which no variable can have", n)
		}
		name, value, _ := strings.Cut(string(line), "=")
		if strings.HasPrefix(name, "#") || name == "" || value == "" {
			continue
		}
		i, there := at[name]
		if !there {
			i = len(vars)
			at[name] = i
			vars = append(vars, task.KeyValuePair{Name: name})
		}
		vars[i].Value = value
	}
	return vars, nil
}
