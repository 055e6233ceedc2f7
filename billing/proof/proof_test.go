package proof

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// log is a log in memory, and the tree that tlog makes of it.
type log struct {
	leaves []Hash
	tiles  map[string][]byte
	theirs []tlog.Hash // by tlog's index
}

func (l *log) Leaves(from, n int64) ([]Hash, error) {
	return append([]Hash(nil), l.leaves[from:from+n]...), nil
}
func (l *log) Tile(level int, n int64) ([]byte, error) {
	return l.tiles[fmt.Sprint(level, "/", n)], nil
}
func (l *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, i := range indexes {
		all = append(all, l.theirs[i])
	}
	return all, nil
}

func (l *log) add(t *testing.T, f *Frontier, body []byte) {
	more, err := tlog.StoredHashes(int64(len(l.leaves)), body, l)
	if err != nil {
		t.Fatal(err)
	}
	l.theirs = append(l.theirs, more...)
	l.leaves = append(l.leaves, Leaf(body))
	for _, tile := range f.Append(Leaf(body)) {
		l.tiles[fmt.Sprint(tile.Level, "/", tile.N)] = tile.Data
	}
}

// Ensure the frontier, the tiles and the proofs are those of another
// implementation, also across full tiles, and that a frontier that is begun
// afresh from tiles goes on as the old one.
func TestTree(t *testing.T) {
	l, f := &log{tiles: make(map[string][]byte)}, new(Frontier)
	if empty, err := tlog.TreeHash(0, l); err != nil || Hash(empty) != f.Root() {
		t.Errorf("the root of nothing is %s, want %s (%v)", f.Root(), empty, err)
	}
	const size = 2*TileWidth*TileWidth + 3*TileWidth + 77
	for i := range int64(size) {
		l.add(t, f, fmt.Append(nil, "entry ", i))
		if i > 300 && i%4999 != 0 && i != size-1 {
			continue
		}
		want, err := tlog.TreeHash(i+1, l)
		if err != nil || Hash(want) != f.Root() {
			t.Fatalf("the root of %d is %s, want %s (%v)", i+1, f.Root(), want, err)
		}
		if read, err := Root(l, i+1); err != nil || read != f.Root() {
			t.Fatalf("the root of %d as it is read is %s, want %s (%v)", i+1, read, want, err)
		}
	}
	if len(l.tiles) != 2 || f.Size() != size {
		t.Errorf("%d full tiles, want 2; size %d", len(l.tiles), f.Size())
	}
	afresh := new(Frontier)
	for n := range int64(2) {
		if err := afresh.AppendTile(Tile{Level: 1, N: n, Data: l.tiles[fmt.Sprint("1/", n)]}); err != nil {
			t.Fatal(err)
		}
	}
	for _, leaf := range l.leaves[afresh.Size():] {
		afresh.Append(leaf)
	}
	if afresh.Root() != f.Root() || afresh.Size() != f.Size() {
		t.Error("a frontier that was begun afresh is another")
	}
	if afresh.AppendTile(Tile{Level: 1, N: 2, Data: l.tiles["1/0"]}) == nil {
		t.Error("a tile was appended in the middle")
	}
	clone := f.Clone()
	clone.Append(Hash{})
	if f.Root() != afresh.Root() {
		t.Error("a clone shares what it has")
	}
	for _, n := range []int64{0, 1, 255, 256, 65_535, 65_536, 131_071, 131_072, size - 1} {
		want, err := tlog.ProveRecord(size, n, l)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ProveInclusion(l, size, n); err != nil || fmt.Sprint(got) != fmt.Sprint(hashes(want)) {
			t.Errorf("proof of %d: %v, %v", n, got, err)
		}
	}
}

func keys(t *testing.T, name string) (note.Signer, note.Verifier) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

// Ensure proofs hold as they travel, and no byte of them can be changed.
func TestProofs(t *testing.T) {
	signer, verifier := keys(t, "berth/test")
	_, stranger := keys(t, "berth/test")
	l, f := &log{tiles: make(map[string][]byte)}, new(Frontier)
	var notes []string
	for i := range 300 {
		l.add(t, f, fmt.Append(nil, "entry ", i))
		signed, err := Checkpoint{"berth/test", f.Size(), f.Root()}.Sign(signer)
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, string(signed))
	}
	path, err := ProveInclusion(l, 300, 100)
	if err != nil {
		t.Fatal(err)
	}
	in := Inclusion{KindInclusion, 100, "entry 100", path, notes[299]}
	if c, err := in.Check(verifier); err != nil || c.Size != 300 {
		t.Errorf("proof of inclusion: %+v, %v", c, err)
	}
	path, err = ProveConsistency(l, 300, 70)
	if err != nil {
		t.Fatal(err)
	}
	grown := Consistency{KindConsistency, notes[69], notes[299], path}
	if older, newer, err := grown.Check(verifier); err != nil || older.Size != 70 || newer.Size != 300 {
		t.Errorf("proof of consistency: %+v, %+v, %v", older, newer, err)
	}
	if _, err := in.Check(stranger); err == nil {
		t.Error("another key signed it, too")
	}
	flip(t, in, func(p Inclusion) error { _, err := p.Check(verifier); return err })
	flip(t, grown, func(p Consistency) error { _, _, err := p.Check(verifier); return err })
}

// flip checks that no change of a letter in what is proved goes unnoticed.
func flip[P any](t *testing.T, p P, check func(P) error) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		for _, bit := range []byte{1, 2, 32} {
			forged := bytes.Clone(text)
			forged[i] ^= bit
			var q P
			if json.Unmarshal(forged, &q) != nil {
				continue
			}
			if same, err := json.Marshal(q); err != nil || string(same) == string(text) || strings.EqualFold(string(forged), string(text)) {
				continue // It says the same, in other letters.
			}
			if check(q) == nil {
				t.Errorf("byte %d may as well be %q: %s", i, forged[i], forged)
			}
		}
	}
}

// Ensure a file of checkpoints is read note by note, and a torn one is left.
func TestFile(t *testing.T) {
	signer, verifier := keys(t, "berth/test")
	var file []byte
	for i := range int64(3) {
		signed, err := Checkpoint{"berth/test", i, Hash{}}.Sign(signer)
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, Record(signed)...)
	}
	for cut := range len(file) + 1 {
		rest, n := file[:cut], int64(0)
		for {
			signed, left, ok := Next(rest)
			if !ok {
				break
			}
			if c, err := Open(signed, verifier); err != nil || c.Size != n {
				t.Fatalf("note %d is %+v, %v", n, c, err)
			}
			n, rest = n+1, left
		}
		if whole := int64(cut * 3 / len(file)); n != whole || cut == len(file) && len(rest) > 0 {
			t.Errorf("%d notes in the first %d bytes, want %d", n, cut, whole)
		}
	}
}
