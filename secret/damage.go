package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/fault"
)

// errDamaged is in errors about a file that is damaged.
var errDamaged = errors.New("damaged secret")

// damage is what is wrong with a file, for the operator.
func (l *Local) damage(file string, why error) error {
	return fmt.Errorf("%w: %s: %w", errDamaged, filepath.Join(l.dir, file), why)
}

// damaged says it to those who want the secret.
func damaged(name string, damage error) error {
	return fault.Wrap(fault.Invalid, damage, "the file of the secret %s is damaged: put the secret again, or remove it", name)
}

// damagedInfo is what is known of a secret whose file is damaged.
func (l *Local) damagedInfo(e fs.DirEntry, why error) Info {
	i := Info{Name: l.nameOf(e.Name()), Damaged: why}
	if st, err := e.Info(); err == nil {
		i.CreatedAt, i.UpdatedAt = st.ModTime().UTC(), st.ModTime().UTC()
	}
	return i
}

// quotedName is where a sealed has its name, whatever became of the rest.
var quotedName = regexp.MustCompile(`"name":"([^"\\]+)"`)

// nameOf returns the name of the secret whose file that is, even if it is damaged. If the
// name is lost, that is how the file is called.
func (l *Local) nameOf(file string) string {
	stem, _ := cutExt(file)
	if text, err := readRegular(filepath.Join(l.dir, stem+names)); err == nil {
		if name := strings.TrimSuffix(string(text), "\n"); fileOf(name) == file {
			return name
		}
	}
	if text, err := readRegular(filepath.Join(l.dir, file)); err == nil {
		if m := quotedName.FindSubmatch(text); m != nil && fileOf(string(m[1])) == file {
			return string(m[1])
		}
	}
	return stem
}

// keepName writes a secret's name down beside its file.
func (l *Local) keepName(name string) error {
	stem, _ := cutExt(fileOf(name))
	if text, err := readRegular(filepath.Join(l.dir, stem+names)); err == nil && string(text) == name+"\n" {
		return nil
	}
	return l.replace(stem+names, []byte(name+"\n"))
}

// tidy refuses a key that cannot be used, and adds what a store lacks that an older server
// made, or one that was killed: the check of the key and the names of secrets. It forgets
// names of which there is no secret. A store that cannot be written to can still be read,
// and Put does the same with an error.
func (l *Local) tidy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch key, err := l.key(); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		checked, err := l.verify(key)
		if err != nil {
			return err
		}
		if !checked {
			_ = l.keepCheck(key)
		}
	}
	l.tidyNames()
	return nil
}

func (l *Local) tidyNames() {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		switch stem, ext := cutExt(e.Name()); ext {
		case suffix:
			if s, err := l.load(e.Name()); err == nil {
				_ = l.keepName(s.Name)
			}
		case names:
			if _, err := os.Lstat(filepath.Join(l.dir, stem+suffix)); errors.Is(err, fs.ErrNotExist) {
				_ = os.Remove(filepath.Join(l.dir, e.Name()))
			}
		}
	}
}

// passing reports whether a file cannot be read for want of something that the next
// attempt may have. What else goes wrong is the file's own.
func passing(err error) bool {
	return slices.ContainsFunc([]error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EINTR, unix.EAGAIN},
		func(errno error) bool { return errors.Is(err, errno) })
}

// maxSealed is more than a file here can have, in bytes: a name, and MaxValue in base64.
const maxSealed = 128 << 10

// readRegular reads a file, if it is one that can be here.
func readRegular(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would keep us waiting
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("it is no regular file"))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSealed+1))
	if err == nil && len(text) > maxSealed {
		err = errors.New("it is too large")
	}
	return text, err
}
