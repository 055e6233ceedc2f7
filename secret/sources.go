package secret

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/fault"
)

// Environment has secrets in the environment of the server, by their names in capital
// letters with underscores for what no variable's name has: prod/db is PROD_DB.
type Environment struct {
	Prefix string // of the variables
	Lookup func(variable string) (string, bool)
}

// Value implements Source.
func (e Environment) Value(_ context.Context, name, key string) (string, error) {
	variable := e.Prefix + strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return c - 'a' + 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return c
		}
		return '_'
	}, name)
	value, ok := e.Lookup(variable)
	if !ok {
		return "", absent(name)
	}
	return pick([]byte(value), key)
}

func absent(name string) error { return fault.New(fault.NotFound, "there is no secret %s", name) }

// Directory has secrets in files below it, by their names, as Kubernetes and Docker
// mount them. One line end at the end of a file is not part of the value. No link leads
// out of the directory.
type Directory string

// Value implements Source.
func (d Directory) Value(_ context.Context, name, key string) (string, error) {
	text, err := readBelow(string(d), name, MaxValue+len("\r\n"))
	if err != nil {
		return "", err
	}
	text = trimLineEnd(text)
	if len(text) > MaxValue {
		return "", errTooLarge(MaxValue)
	}
	return pick(text, key)
}

func trimLineEnd(text []byte) []byte {
	if n := len(text); n > 0 && text[n-1] == '\n' {
		text = text[:n-1]
		if n > 1 && text[n-2] == '\r' {
			text = text[:n-2]
		}
	}
	return text
}

// readBelow reads a regular file of at most so many bytes, which no link and no step
// upwards may lead out of the directory.
func readBelow(dir, name string, most int) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the directory of %s cannot be read", name)
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would keep us waiting
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG):
		return nil, absent(name)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.ELOOP):
		return nil, fault.Wrap(fault.Invalid, err, "%s cannot be read", name)
	case err != nil && escapes(err):
		return nil, fault.Wrap(fault.Invalid, err, "%s leads out of its directory", name)
	case err != nil:
		return nil, fault.Wrap(fault.Unavailable, err, "%s cannot be read", name)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fault.Wrap(fault.Invalid, err, "%s is no regular file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "%s cannot be read", name)
	}
	if len(text) > most {
		return nil, errTooLarge(most)
	}
	return text, nil
}

// escapes reports whether an error of os.Root says that a path leads out of it; the
// package has no name for it.
func escapes(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && !errors.As(err, new(unix.Errno)) && strings.Contains(path.Err.Error(), "escapes")
}

func errTooLarge(most int) error {
	return fault.New(fault.Invalid, "it has more than the %d bytes that are allowed", most)
}
