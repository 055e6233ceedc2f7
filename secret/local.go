package secret

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
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
	"syscall"
	"time"

	"berth/fault"
	"berth/task"
)

// Local keeps secrets in a directory of its own, each in a file, encrypted with
// AES-256-GCM under a key in a file beside them. The key is made with the first secret.
//
//	<dir>/key                        32 bytes in hexadecimal, mode 0600
//	<dir>/<SHA-256 of the name>.json a sealed, mode 0600
//
// Each sealed value has a random nonce, and its name and times as additional data, so
// that none can be passed off as another. Whoever reads the key can read all; without
// it nobody can, and a copy of the rest gives nothing but names, times and lengths away.
type Local struct {
	dir string
	now func() time.Time

	mu sync.Mutex // held while the key is made or a file is replaced
}

// Info is what may be known of a secret.
type Info struct {
	Name      string
	CreatedAt time.Time
	UpdatedAt time.Time
	Size      int // bytes of the value
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

	temporary = "new-*" // a file that is being written
)

// NewLocal returns the store in that directory, which need not be there. A key that
// others can read, or that is no key, is an error now rather than at the first secret.
func NewLocal(dir string, now func() time.Time) (*Local, error) {
	l := &Local{dir: dir, now: now}
	begun, err := filepath.Glob(filepath.Join(dir, temporary))
	for _, file := range begun { // of a server that was killed
		err = errors.Join(err, os.Remove(file))
	}
	if err != nil {
		return nil, fmt.Errorf("tidy the secrets: %w", err)
	}
	if _, err := l.key(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return l, nil
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
	lost := func(err error) error {
		return fault.Wrap(fault.Invalid, err, "the secret %s cannot be decrypted: its key or its file is not the one it was written with", s.Name)
	}
	key, err := l.key()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, lost(err)
	}
	if err != nil { // whoever asks for a value need not know where the key is
		return nil, fault.Wrap(fault.Unavailable, err, "the server cannot use the key of its secrets")
	}
	if len(s.Nonce) != key.NonceSize() {
		return nil, lost(nil)
	}
	text, err := key.Open(nil, s.Nonce, s.Text, s.bound())
	if err != nil {
		return nil, lost(err)
	}
	return text, nil
}

// Put keeps a value under a name, in place of the one that was there, and returns when
// it is durable. A slash before the name is not part of it.
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
	} else if fault.KindOf(err) != fault.NotFound {
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
	return s.info(), l.replace(fileOf(name), text)
}

func (s sealed) info() Info {
	return Info{Name: s.Name, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, Size: max(0, len(s.Text)-tagSize)}
}

// tagSize is what GCM adds to a text.
const tagSize = 16

// List returns what is known of all secrets, by name.
func (l *Local) List(context.Context) ([]Info, error) { return l.list() }

func (l *Local) list() ([]Info, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	var all []Info
	for _, e := range entries {
		if filepath.Ext(e.Name()) != suffix {
			continue
		}
		s, err := l.load(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // It was removed just now.
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s.info())
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Remove forgets a secret.
func (l *Local) Remove(_ context.Context, name string) error {
	name, err := clean(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err = os.Remove(filepath.Join(l.dir, fileOf(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return absent(name)
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
	if errors.Is(err, fs.ErrNotExist) {
		return s, absent(name)
	}
	if err == nil && s.Name != name {
		err = fault.New(fault.Invalid, "the file of the secret %s is another one's", name)
	}
	return s, err
}

func (l *Local) load(file string) (sealed, error) {
	var s sealed
	text, err := os.ReadFile(filepath.Join(l.dir, file))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read secret: %w", err)
	}
	return s, nil
}

// key reads the key, which only its owner may read.
func (l *Local) key() (cipher.AEAD, error) {
	path := filepath.Join(l.dir, keyFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the key of the secrets: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at the key of the secrets: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Invalid, "the key of the secrets can be read by others than its owner: its mode is %#o, not 0600. "+
			"Whoever had it can read every secret; if nobody had, chmod 0600 %s", st.Mode().Perm(), path)
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return nil, fault.New(fault.Invalid, "the key of the secrets, %s, belongs to user %d, not to %d", path, owner.Uid, os.Geteuid())
	}
	text := make([]byte, 2*keySize+2)
	n, err := f.Read(text)
	if err != nil {
		return nil, fmt.Errorf("read the key of the secrets: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text[:n])))
	if err != nil || len(key) != keySize {
		return nil, fault.New(fault.Invalid, "%s is no key: it has to have %d hexadecimal digits", path, 2*keySize)
	}
	return aead(key)
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use the key of the secrets: %w", err)
	}
	return cipher.NewGCM(block)
}

// makeKey returns the key. If there is none and nothing was encrypted with one that
// went missing, it makes one. The caller has mu.
func (l *Local) makeKey() (cipher.AEAD, error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for secrets: %w", err)
	}
	got, err := l.key()
	if !errors.Is(err, fs.ErrNotExist) {
		return got, err
	}
	if others, err := l.list(); err != nil || len(others) > 0 {
		return nil, errors.Join(err, fault.New(fault.Conflict,
			"the key of the secrets, %s, is gone: bring it back, or remove the %d secrets that were encrypted with it", filepath.Join(l.dir, keyFile), len(others)))
	}
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make a key for secrets: %w", err)
	}
	if err := l.replace(keyFile, []byte(hex.EncodeToString(key)+"\n")); err != nil {
		return nil, err
	}
	return aead(key)
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
