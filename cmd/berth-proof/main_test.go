package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"berth/billing/proof"
)

// leaves is a log of a few entries.
type leaves []proof.Hash

func (l leaves) Leaves(from, n int64) ([]proof.Hash, error) {
	return append([]proof.Hash(nil), l[from:from+n]...), nil
}
func (leaves) Tile(int, int64) ([]byte, error) { return nil, nil }

// Ensure a proof is checked with the public key alone, from a file or from a pipe,
// and that one that was changed, or is of another ledger, is refused.
func TestCheck(t *testing.T) {
	private, public, err := note.GenerateKey(rand.Reader, "berth/test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	var log leaves
	var signed []string
	for i := range 9 {
		log = append(log, proof.Leaf(fmt.Append(nil, "v2|entry|", i)))
		root, err := proof.Root(log, int64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		n, err := proof.Checkpoint{Origin: "berth/test", Size: int64(i + 1), Root: root}.Sign(signer)
		if err != nil {
			t.Fatal(err)
		}
		signed = append(signed, string(n))
	}
	path, err := proof.ProveInclusion(log, 9, 4)
	if err != nil {
		t.Fatal(err)
	}
	grown, err := proof.ProveConsistency(log, 9, 3)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, v any) string {
		text, ok := v.(string)
		if !ok {
			data, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			text = string(data)
		}
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	_, stranger, err := note.GenerateKey(rand.Reader, "berth/test")
	if err != nil {
		t.Fatal(err)
	}
	entry := proof.Inclusion{Kind: proof.KindInclusion, N: 4, Body: "v2|entry|4", Proof: path, Checkpoint: signed[8]}
	forged := entry
	forged.Body = "v2|entry|5"
	key := write("ledger.pub", public+"\n")
	good, bad := write("entry.json", entry), write("forged.json", forged)
	growth := write("grown.json", proof.Consistency{Kind: proof.KindConsistency, Old: signed[2], New: signed[8], Proof: grown})
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args        []string
		stdin, want string // want that begins with ! is an error
	}{
		{[]string{"--key", key, good, growth}, "", "entry 4 is in the ledger berth/test of 9 entries:\nv2|entry|4\n"},
		{[]string{"--key", key, growth}, "", "has only grown from 3 to 9 entries"},
		{[]string{"--key", public, "-"}, string(text), "entry 4 is in the ledger"},
		{[]string{"--key", key, bad}, "", "!does not lead from the entry"},
		{[]string{"--key", stranger, good}, "", "!open note"},
		{[]string{"--key", key, write("x.json", `{"kind":"x"}`)}, "", "!not a kind of proof"},
		{[]string{"--key", key, write("y.json", `no`)}, "", "!read proof"},
		{[]string{"--key", key, "-"}, strings.Repeat(" ", maxProof+1), "!too large"},
		{[]string{"--key", key, filepath.Join(dir, "none")}, "", "!no such file"},
		{[]string{"--key", filepath.Join(dir, "none"), good}, "", "!no such file"},
		{[]string{good}, "", "!a key and a proof are needed"},
	} {
		var out, errs strings.Builder
		err := run(c.args, strings.NewReader(c.stdin), &out, &errs)
		want, fails := strings.CutPrefix(c.want, "!")
		if fails && (err == nil || !strings.Contains(err.Error(), want)) || !fails && (err != nil || !strings.Contains(out.String(), want)) {
			t.Errorf("%v: %q, %v, want %q", c.args, out.String(), err, c.want)
		}
	}
}
