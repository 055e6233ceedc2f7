package proof

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint says what a log is at a size (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string // names the log
	Size   int64
	Root   Hash
}

// Sign returns c as a note that signer, whose name is c's origin, has signed.
func (c Checkpoint) Sign(signer note.Signer) ([]byte, error) {
	return SignText(fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root), signer)
}

// SignText returns text, which ends with a line end, as a signed note.
func SignText(text string, signer note.Signer) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, fmt.Errorf("sign note: %w", err)
	}
	return signed, nil
}

// OpenText returns the text that v's key signed, and nobody else. For each text and
// signature there is one note that it takes.
func OpenText(signed []byte, v note.Verifier) (string, error) {
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return "", fmt.Errorf("open note: %w", err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) > 0 {
		return "", errors.New("the note has more than one signature")
	}
	if _, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil {
		return "", fmt.Errorf("read signature: %w", err)
	}
	return n.Text, nil
}

// Open returns the checkpoint that v's key signed.
func Open(signed []byte, v note.Verifier) (Checkpoint, error) {
	text, err := OpenText(signed, v)
	if err != nil {
		return Checkpoint{}, err
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != v.Name() {
		return Checkpoint{}, fmt.Errorf("the note is not a checkpoint of %s: %q", v.Name(), text)
	}
	c := Checkpoint{Origin: lines[0]}
	c.Size, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || c.Size < 0 || strconv.FormatInt(c.Size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%q is not the size of a log", lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return Checkpoint{}, fmt.Errorf("%q is not the root of a tree", lines[2])
	}
	copy(c.Root[:], root)
	return c, nil
}

// A file of checkpoints is signed notes, each with an empty line behind it. A note
// is a few lines, an empty one, and lines of signatures that begin with a dash.

// Record returns a note as it is in a file of checkpoints.
func Record(signed []byte) []byte { return append(bytes.Clone(signed), '\n') }

// Next returns the first note of what is left of a file of checkpoints, and the
// rest. ok is false if there is no whole one.
func Next(data []byte) (signed, rest []byte, ok bool) {
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte("\n\n"))
		if i < 0 {
			return nil, data, false
		}
		at += i + 1
		if line := data[bytes.LastIndexByte(data[:at-1], '\n')+1 : at]; bytes.HasPrefix(line, []byte("— ")) {
			return data[:at], data[at+1:], true
		}
		at++
	}
}

// Inclusion proves that an entry is in the log: it is the leaf N of the tree of
// the checkpoint.
type Inclusion struct {
	Kind       string `json:"kind" enum:"inclusion"`
	N          int64  `json:"n" doc:"The place of the entry in the log, from 0"`
	Body       string `json:"body" doc:"All that the entry says: the data of the leaf"`
	Proof      []Hash `json:"proof" doc:"RFC 6962, section 2.1.1"`
	Checkpoint string `json:"checkpoint" doc:"A note signed with the log's key"`
}

// Consistency proves that a log has only grown from one checkpoint to another.
type Consistency struct {
	Kind  string `json:"kind" enum:"consistency"`
	Old   string `json:"old" doc:"A note signed with the log's key"`
	New   string `json:"new" doc:"A note signed with the log's key"`
	Proof []Hash `json:"proof" doc:"RFC 6962, section 2.1.2"`
}

// The kinds of proofs.
const (
	KindInclusion   = "inclusion"
	KindConsistency = "consistency"
)

// Check returns the checkpoint of p if p proves what it says.
func (p Inclusion) Check(v note.Verifier) (Checkpoint, error) {
	c, err := Open([]byte(p.Checkpoint), v)
	if err != nil {
		return c, err
	}
	if p.Kind != KindInclusion {
		return c, errors.New("it is not a proof of inclusion")
	}
	return c, checkRecord(p.Proof, c, p.N, Leaf([]byte(p.Body)))
}

// Check returns both checkpoints of p if p proves what it says.
func (p Consistency) Check(v note.Verifier) (older, newer Checkpoint, err error) {
	if older, err = Open([]byte(p.Old), v); err != nil {
		return older, newer, err
	}
	if newer, err = Open([]byte(p.New), v); err != nil {
		return older, newer, err
	}
	if p.Kind != KindConsistency {
		return older, newer, errors.New("it is not a proof of consistency")
	}
	return older, newer, checkTree(p.Proof, newer, older)
}
