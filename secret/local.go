package secret

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/fault"
	"berth/task"
)

// Local keeps secrets in a directory of its own, each in a file, encrypted with
// AES-256-GCM under a key in a file beside them. The key is made with the first secret.
//
//	<dir>/key                        32 bytes in hexadecimal, mode 0600
//	<dir>/key.check                  by which another key is told from this one
//	<dir>/<SHA-256 of the name>.json a sealed, mode 0600
//	<dir>/<SHA-256 of the name>.name the name, so that it is known when the other is damaged
//
// Each sealed value has a random nonce, and its name and times as additional data, so
// that none can be passed off as another. Whoever reads the key can read all; without
// it nobody can, and a copy of the rest gives nothing but names, times and lengths away.
//
// A file that cannot be read, is no sealed, or has another name's or an altered text is
// damaged. It harms no other secret: it is listed as such, Value of it is fault.Invalid,
// Put replaces it and Remove removes it.
type Local struct {
	dir string
	now func() time.Time

	mu sync.Mutex // held while the key is made or a file is replaced
}

// Info is what may be known of a secret.
type Info struct {
	Name      string    // of a damaged one whose name is lost too: that of its file, 64 hexadecimal digits
	CreatedAt time.Time // of a damaged one, both are when its file was last written
	UpdatedAt time.Time
	Size      int // bytes of the value; 0 of a damaged one

	// Damaged says what is wrong with the secret's file, with its path, and is for the
	// operator. It is nil if nothing is.
	Damaged error
}

// sealed is a secret as it lies in its file.
type sealed struct {
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	Nonce     []byte    `json:"nonce"`
	Text      []byte    `json:"ciphertext"`
}

// bound is what a sealed value belongs to.
func (s sealed) bound() []byte {
	return fmt.Appendf(nil, "berth secret 1\n%s\n%d\n%d", s.Name, s.CreatedAt.UnixNano(), s.UpdatedAt.UnixNano())
}

const (
	keySize = 32 // bytes: AES-256
	keyFile = "key"
	suffix  = ".json"
	names   = ".name"

	temporary = "new-*" // a file that is being written
)

// NewLocal returns the store in that directory, which need not be there. A key that
// others can read, that is no key (both fault.Invalid), or that is not the one of the
// secrets that are there (fault.Conflict), is an error now rather than at the first secret.
func NewLocal(dir string, now func() time.Time) (*Local, error) {
	l := &Local{dir: dir, now: now}
	begun, err := filepath.Glob(filepath.Join(dir, temporary))
	for _, file := range begun { // of a server that was killed
		err = errors.Join(err, os.Remove(file))
	}
	if err != nil {
		return nil, fmt.Errorf("tidy the secrets: %w", err)
	}
	if err := l.tidy(); err != nil {
		return nil, err
	}
	return l, nil
}

func cutExt(file string) (stem, ext string) {
	ext = filepath.Ext(file)
	return strings.TrimSuffix(file, ext), ext
}

// Value implements Source.
func (l *Local) Value(_ context.Context, name, key string) (string, error) {
	s, err := l.read(name)
	if err != nil {
		return "", err
	}
	text, err := l.open(s)
	if err != nil {
		return "", err
	}
	return pick(text, key)
}

func (l *Local) open(s sealed) ([]byte, error) {
	key, err := l.key()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.Invalid, err, "the secret %s cannot be decrypted: the key of the server's secrets is gone", s.Name)
	}
	if err != nil { // whoever asks for a value need not know where the key is
		return nil, fault.Wrap(fault.Unavailable, err, "the server cannot use the key of its secrets")
	}
	text, err := key.Open(nil, s.Nonce, s.Text, s.bound())
	if err == nil {
		return text, nil
	}
	_, other := l.verify(key)
	switch {
	case fault.KindOf(other) == fault.Conflict:
		return nil, fault.Wrap(fault.Invalid, other, "the secret %s cannot be decrypted: the key of the server's secrets is not the one it was encrypted with", s.Name)
	case other != nil:
		return nil, fault.Wrap(fault.Unavailable, other, "the server cannot tell whether the key of its secrets is the right one")
	}
	return nil, damaged(s.Name, l.damage(fileOf(s.Name), err))
}

// Put keeps a value under a name, in place of the one that was there, damaged or not, and
// returns when it is durable. A slash before the name is not part of it. The error is
// fault.Conflict if the key is gone or is not the one of the secrets that are there.
func (l *Local) Put(_ context.Context, name string, value []byte) (Info, error) {
	name, err := clean(name)
	switch {
	case err != nil:
		return Info{}, err
	case len(value) == 0:
		return Info{}, fault.New(fault.Invalid, "the secret is empty")
	case len(value) > MaxValue:
		return Info{}, fault.New(fault.TooLarge, "the secret has more than %d bytes (64 KiB)", MaxValue)
	case slices.Contains(value, 0):
		return Info{}, fault.New(fault.Invalid, "the secret has a NUL in it, which no environment variable can have")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key, err := l.makeKey()
	if err != nil {
		return Info{}, err
	}
	at := l.now().UTC().Round(0)
	s := sealed{Name: name, CreatedAt: at, UpdatedAt: at, Nonce: make([]byte, key.NonceSize())}
	if old, err := l.read(name); err == nil {
		s.CreatedAt = old.CreatedAt
	} else if fault.KindOf(err) != fault.NotFound && !errors.Is(err, errDamaged) {
		return Info{}, err
	}
	if _, err := rand.Read(s.Nonce); err != nil {
		return Info{}, fmt.Errorf("make nonce: %w", err)
	}
	s.Text = key.Seal(nil, s.Nonce, value, s.bound())
	text, err := json.Marshal(s)
	if err != nil {
		return Info{}, fmt.Errorf("encode secret: %w", err)
	}
	if err := l.keepName(name); err != nil { // first: a secret without it could not be named later
		return Info{}, err
	}
	return s.info(), l.replace(fileOf(name), text)
}

func (s sealed) info() Info {
	return Info{Name: s.Name, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, Size: max(0, len(s.Text)-tagSize)}
}

// What GCM adds to a text, and the nonce that it wants, in bytes.
const (
	tagSize   = 16
	nonceSize = 12
)

// List returns what is known of all secrets, by name. Those whose files are damaged are
// among them.
func (l *Local) List(context.Context) ([]Info, error) { return l.list() }

func (l *Local) list() ([]Info, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	key, keyErr := l.verified() // Without it, what is altered cannot be told from what is not.
	var all []Info
	for _, e := range entries {
		if filepath.Ext(e.Name()) != suffix {
			continue
		}
		s, err := l.load(e.Name())
		if err == nil && keyErr == nil && !s.opens(key) {
			err = l.damage(e.Name(), errors.New("its text was altered"))
		}
		switch {
		case err == nil:
			all = append(all, s.info())
		case errors.Is(err, errDamaged):
			all = append(all, l.damagedInfo(e, err))
		case !errors.Is(err, fs.ErrNotExist): // It was removed just now.
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Remove forgets a secret. A damaged one goes by the name that List has for it.
func (l *Local) Remove(_ context.Context, name string) error {
	name, err := clean(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	file := fileOf(name)
	if _, err := l.load(name + suffix); errors.Is(err, errDamaged) && l.nameOf(name+suffix) == name {
		file = name + suffix
	}
	err = os.Remove(filepath.Join(l.dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return absent(name)
	}
	stem, _ := cutExt(file)
	if err == nil {
		err = os.Remove(filepath.Join(l.dir, stem+names))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, syncDir(l.dir)); err != nil {
		return fmt.Errorf("remove secret: %w", err)
	}
	return nil
}

func clean(name string) (string, error) {
	return strings.TrimPrefix(name, "/"), task.ValidateSecretName(name)
}

// fileOf names the file of a secret. A name may be longer than that of a file.
func fileOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:]) + suffix
}

// read returns the secret of that name as it lies there.
func (l *Local) read(name string) (sealed, error) {
	s, err := l.load(fileOf(name))
	switch {
	case errors.Is(err, errDamaged):
		return s, damaged(name, err)
	case errors.Is(err, fs.ErrNotExist):
		return s, absent(name)
	}
	return s, err
}

// load reads the file of a secret. Its name is not empty if there is no error. The error
// is errDamaged, fs.ErrNotExist, or one that may pass.
func (l *Local) load(file string) (sealed, error) {
	text, err := readRegular(filepath.Join(l.dir, file))
	switch {
	case errors.Is(err, fs.ErrNotExist), passing(err):
		return sealed{}, fmt.Errorf("read secret: %w", err)
	case err != nil:
		return sealed{}, l.damage(file, err)
	}
	var s sealed
	err = json.Unmarshal(text, &s)
	switch {
	case err != nil:
	case s.Name == "" || fileOf(s.Name) != file:
		err = errors.New("it is the file of another secret, or of none")
	case len(s.Nonce) != nonceSize || len(s.Text) <= tagSize:
		err = errors.New("its nonce or its text is cut off")
	default:
		return s, nil
	}
	return sealed{}, l.damage(file, err)
}

// replace puts a file in place in one step and makes that durable.
func (l *Local) replace(file string, text []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write secret: %w", err)
		}
	}()
	f, err := os.CreateTemp(l.dir, temporary) // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(l.dir, file))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return errors.Join(syncDir(l.dir), syncDir(filepath.Dir(l.dir)))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
