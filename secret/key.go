package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"berth/fault"
)

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
