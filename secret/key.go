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

// The check of the key is a text that everybody knows, encrypted with it: whoever reads it
// learns nothing, and a key that does not open it is another one. It is made right after
// the key. Where there is none, because a server was killed between the two or is older
// than this, or where it is damaged, the secrets say whether the key is theirs.
const (
	checkFile = "key.check" // nonce and text in hexadecimal, mode 0600
	checkText = "berth key check 1"
)

// keepCheck writes the check of the key down.
func (l *Local) keepCheck(key cipher.AEAD) error {
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return fmt.Errorf("make nonce: %w", err)
	}
	text := key.Seal(nonce, nonce, []byte(checkText), nil)
	return l.replace(checkFile, []byte(hex.EncodeToString(text)+"\n"))
}

// check reads the check of the key. It is nil if there is none that could be one.
func (l *Local) check() ([]byte, error) {
	text, err := readRegular(filepath.Join(l.dir, checkFile))
	if passing(err) {
		return nil, fmt.Errorf("read the check of the key: %w", err)
	}
	text, bad := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || bad != nil || len(text) != nonceSize+len(checkText)+tagSize {
		return nil, nil
	}
	return text, nil
}

// verify refuses a key that is not the one of the secrets that are here, with a
// fault.Conflict. checked is false if the check has to be written anew.
func (l *Local) verify(key cipher.AEAD) (checked bool, err error) {
	check, err := l.check()
	if err != nil {
		return false, err
	}
	if check != nil {
		if text, err := key.Open(nil, check[:nonceSize], check[nonceSize:], nil); err == nil && string(text) == checkText {
			return true, nil
		}
	}
	opened, closed, all, err := l.try(key)
	switch {
	case err != nil:
		return false, err
	case opened == all: // Nothing here is another key's.
		return false, nil
	case check == nil && (opened > 0 || closed == 0): // Those that it does not open are damaged.
		return false, nil
	}
	also := ""
	if opened > 0 {
		also = fmt.Sprintf(" If it is the right one after all, and the other files are damaged, remove %s.", filepath.Join(l.dir, checkFile))
	}
	return false, fault.New(fault.Conflict, "the key in %s is not the one that the secrets beside it were encrypted with: it opens %d of %d. "+
		"Bring the right key back.%s If that key is lost, so are its secrets: move %s away and put them again",
		filepath.Join(l.dir, keyFile), opened, all, also, l.dir)
}

// try returns how many secrets there are, and how many of those whose files are whole the
// key opens and does not open.
func (l *Local) try(key cipher.AEAD) (opened, closed, all int, err error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, 0, fmt.Errorf("look through the secrets: %w", err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != suffix {
			continue
		}
		s, err := l.load(e.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, errDamaged):
		case err != nil:
			return 0, 0, 0, err
		case s.opens(key):
			opened++
		default:
			closed++
		}
		all++
	}
	return opened, closed, all, nil
}

func (s sealed) opens(key cipher.AEAD) bool {
	_, err := key.Open(nil, s.Nonce, s.Text, s.bound())
	return err == nil
}

// verified returns the key if it is the one of the secrets that are here.
func (l *Local) verified() (cipher.AEAD, error) {
	key, err := l.key()
	if err == nil {
		_, err = l.verify(key)
	}
	return key, err
}

// makeKey returns the key, if it is the one of the secrets that are here. If there is none
// and nothing was encrypted with one that went missing, it makes one. The caller has mu.
func (l *Local) makeKey() (cipher.AEAD, error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for secrets: %w", err)
	}
	got, err := l.key()
	if err == nil {
		return got, l.recheck(got)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
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
	made, err := aead(key)
	if err != nil {
		return nil, err
	}
	return made, l.keepCheck(made)
}

// recheck verifies a key, and sees to it that there is its check. The caller has mu.
func (l *Local) recheck(key cipher.AEAD) error {
	checked, err := l.verify(key)
	if err == nil && !checked {
		err = l.keepCheck(key)
	}
	return err
}
