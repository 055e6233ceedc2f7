// Command berth-proof checks proofs of a ledger with its public key alone: that an
// entry is in the ledger (berth ledger proof), or that the ledger has only grown
// (berth ledger consistency). It asks no server.
//
// It is made of package billing/proof and nothing else of Berth, so that who does
// not trust Berth has little to read.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"berth/billing/proof"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "berth-proof:", err)
		os.Exit(1)
	}
}

// maxProof is more bytes than any proof has: a path of 63 hashes, and a body.
const maxProof = 1 << 20

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("berth-proof", flag.ContinueOnError)
	flags.SetOutput(stderr)
	key := flags.String("key", "", "`file` with the public key, or the key itself")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "Usage: berth-proof --key ledger.pub FILE...\n\nChecks proofs; - is standard input.")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *key == "" || flags.NArg() == 0 {
		flags.Usage()
		return errors.New("a key and a proof are needed")
	}
	v, err := verifier(*key)
	if err != nil {
		return err
	}
	for _, name := range flags.Args() {
		data, err := read(name, stdin)
		if err != nil {
			return err
		}
		said, err := check(data, v)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(stdout, "%s: %s\n", name, said)
	}
	return nil
}

// verifier reads the public key.
func verifier(key string) (note.Verifier, error) {
	if text, err := os.ReadFile(key); err == nil {
		key = string(text)
	} else if !strings.Contains(key, "+") {
		return nil, err
	}
	v, err := note.NewVerifier(strings.TrimSpace(key))
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return v, nil
}

func read(name string, stdin io.Reader) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	data, err := io.ReadAll(io.LimitReader(stdin, maxProof+1))
	if err == nil && len(data) > maxProof {
		err = fmt.Errorf("%s is too large to be a proof", name)
	}
	return data, err
}

// check checks a proof of either kind and says what it proves.
func check(data []byte, v note.Verifier) (string, error) {
	var kind struct{ Kind string }
	if err := json.Unmarshal(data, &kind); err != nil {
		return "", fmt.Errorf("read proof: %w", err)
	}
	switch kind.Kind {
	case proof.KindInclusion:
		var p proof.Inclusion
		if err := json.Unmarshal(data, &p); err != nil {
			return "", fmt.Errorf("read proof: %w", err)
		}
		c, err := p.Check(v)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("entry %d is in the ledger %s of %d entries:\n%s", p.N, c.Origin, c.Size, printable(p.Body)), nil
	case proof.KindConsistency:
		var p proof.Consistency
		if err := json.Unmarshal(data, &p); err != nil {
			return "", fmt.Errorf("read proof: %w", err)
		}
		older, newer, err := p.Check(v)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("the ledger %s has only grown from %d to %d entries, with the root %s", newer.Origin, older.Size, newer.Size, newer.Root), nil
	}
	return "", fmt.Errorf("%q is not a kind of proof", kind.Kind)
}

// printable returns text without what could steer a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}
