package store

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"berth/fault"
)

// Files beside the database.
const (
	keyFile         = "ledger.key"         // signs checkpoints; for its owner alone
	pubFile         = "ledger.pub"         // checks them; for everybody
	checkpointsFile = "ledger.checkpoints" // all of them, one after another
)

// originPrefix begins the origin of every ledger; eight random bytes follow.
const originPrefix = "berth/"

// openKey returns the key with which the ledger beside a database is signed. It is
// made if there is none, once: if the ledger has been signed, a key that is gone is
// a fault, for another one could not show that the ledger goes on. So is one that
// others can read.
func openKey(dir string, signed bool) (note.Signer, string, error) {
	path := filepath.Join(dir, keyFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, pubFile)); err == nil || signed {
			return nil, "", fault.New(fault.Invalid, "%s is missing: the ledger was signed with it, and goes on with it alone; put it back from where you keep it", path)
		}
		if err := makeKey(path); err != nil {
			return nil, "", err
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil, "", fmt.Errorf("open key of ledger: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, "", fault.New(fault.Invalid, "%s has mode %#o, so others could sign the ledger: run chmod 600 on it", path, info.Mode().Perm())
	}
	secret, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("open key of ledger: %w", err)
	}
	text := strings.TrimSpace(string(secret))
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "%s is not a key", path)
	}
	public, err := publicKey(text)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", path, err)
	}
	return signer, public, publish(filepath.Join(dir, pubFile), public)
}

// makeKey makes a key that is whole or not there.
func makeKey(path string) error {
	var id [8]byte
	rand.Read(id[:])
	secret, _, err := note.GenerateKey(rand.Reader, originPrefix+hex.EncodeToString(id[:]))
	if err != nil {
		return fmt.Errorf("make key of ledger: %w", err)
	}
	return writeWhole(path, []byte(secret+"\n"), 0o600)
}

// publicKey returns what checks what a key signs (sumdb/note: PRIVATE+KEY+name+hash+
// base64 of the algorithm, 1, and the seed).
func publicKey(secret string) (string, error) {
	parts := strings.SplitN(secret, "+", 5)
	if len(parts) != 5 {
		return "", errors.New("not a key of a note")
	}
	seed, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return "", errors.New("not a key of Ed25519")
	}
	public, ok := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("not a key of Ed25519")
	}
	return note.NewEd25519VerifierKey(parts[2], public)
}

// publish writes the public key, unless it is there. Another one that is there is a
// fault.
func publish(path, public string) error {
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writeWhole(path, []byte(public+"\n"), 0o644)
	case err != nil:
		return fmt.Errorf("read public key of ledger: %w", err)
	case string(bytes.TrimSpace(have)) != public:
		return fault.New(fault.Invalid, "%s does not belong to %s: one of them is another ledger's", path, keyFile)
	}
	return nil
}

// readPublicKey returns what checks the checkpoints of the ledger in dir.
func readPublicKey(dir string) (note.Verifier, error) {
	text, err := os.ReadFile(filepath.Join(dir, pubFile))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the public key of the ledger is not there: %v", err)
	}
	v, err := note.NewVerifier(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s is not a public key", pubFile)
	}
	return v, nil
}

// writeWhole writes a file that is whole and durable, or not there.
func writeWhole(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
