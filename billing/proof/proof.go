// Package proof is the Merkle log over the ledger: what anyone needs to check,
// with a public key alone, that an entry is in the ledger and that the ledger has
// only grown.
//
// The tree is that of RFC 6962 (section 2.1), with one leaf for each entry, whose
// data is billing.Entry's body. The one rule: the package knows hashes, and nothing
// of what is billed, so that a small program can be made of it alone (cmd/berth-proof).
//
//	entries ─▶ Leaf ─▶ Frontier.Append ─▶ Root ─▶ Sign   a Checkpoint, after each commit
//	                                └─▶ full tiles ─▶ Reader ─▶ Inclusion, Consistency ─▶ Check
package proof

import (
	"encoding/base64"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a SHA-256 in the tree. As text it is base64.
type Hash [tlog.HashSize]byte

// MarshalText writes h in base64.
func (h Hash) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText reads what MarshalText writes.
func (h *Hash) UnmarshalText(text []byte) error {
	data, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(data) != len(h) {
		return fmt.Errorf("%q is not a SHA-256 in base64", text)
	}
	copy(h[:], data)
	return nil
}

func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// Leaf returns the hash of a leaf with these data.
func Leaf(data []byte) Hash { return Hash(tlog.RecordHash(data)) }

func node(left, right Hash) Hash { return Hash(tlog.NodeHash(tlog.Hash(left), tlog.Hash(right))) }

// TileHeight is the height of tiles (C2SP tlog-tiles); TileWidth is how many
// hashes a full one has.
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
)

// Tile is a full tile: the TileWidth hashes of the tree's level TileHeight × Level
// from TileWidth × N on, one after another. Those of Level 0 are the leaves, which
// are not kept as tiles.
type Tile struct {
	Level int
	N     int64
	Data  []byte
}

// Frontier is the right edge of a tree: all that is needed to append to it. The
// zero value is an empty tree.
type Frontier struct {
	size  int64
	peaks []peak   // perfect subtrees, the largest first
	rows  [][]Hash // by tile level from 1: the hashes of the tile that is not full
}

type peak struct {
	level int
	hash  Hash
}

// Size returns how many leaves there are.
func (f *Frontier) Size() int64 { return f.size }

// Clone returns a copy that shares nothing with f.
func (f *Frontier) Clone() *Frontier {
	c := &Frontier{size: f.size, peaks: append([]peak(nil), f.peaks...)}
	for _, row := range f.rows {
		c.rows = append(c.rows, append([]Hash(nil), row...))
	}
	return c
}

// Append appends a leaf and returns the tiles that it filled, usually none.
func (f *Frontier) Append(leaf Hash) (full []Tile) {
	f.size++
	return f.push(0, leaf)
}

// AppendTile appends the leaves below a full tile of level 1, which must be the
// next TileWidth × TileWidth.
func (f *Frontier) AppendTile(t Tile) error {
	const leaves = TileWidth * TileWidth
	if t.Level != 1 || t.N*leaves != f.size || len(t.Data) != TileWidth*len(Hash{}) {
		return fmt.Errorf("tile %d of level %d with %d bytes cannot follow %d leaves", t.N, t.Level, len(t.Data), f.size)
	}
	f.size += leaves
	f.push(2*TileHeight, t.root())
	return nil
}

// push appends a perfect subtree.
func (f *Frontier) push(level int, h Hash) (full []Tile) {
	for {
		if level > 0 && level%TileHeight == 0 {
			full = append(full, f.fill(level/TileHeight, h)...)
		}
		n := len(f.peaks)
		if n == 0 || f.peaks[n-1].level != level {
			break
		}
		h, level, f.peaks = node(f.peaks[n-1].hash, h), level+1, f.peaks[:n-1]
	}
	f.peaks = append(f.peaks, peak{level, h})
	return full
}

// fill appends h to the tile of a level.
func (f *Frontier) fill(level int, h Hash) []Tile {
	for len(f.rows) < level {
		f.rows = append(f.rows, nil)
	}
	row := append(f.rows[level-1], h)
	if f.rows[level-1] = row; len(row) < TileWidth {
		return nil
	}
	t := Tile{Level: level, N: f.size>>(TileHeight*(level+1)) - 1}
	for _, h := range row {
		t.Data = append(t.Data, h[:]...)
	}
	f.rows[level-1] = row[:0]
	return []Tile{t}
}

// Root returns the root of the tree.
func (f *Frontier) Root() Hash {
	n := len(f.peaks)
	if n == 0 {
		return Hash(tlog.Hash{0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
			0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55}) // SHA-256 of nothing
	}
	h := f.peaks[n-1].hash
	for i := n - 2; i >= 0; i-- {
		h = node(f.peaks[i].hash, h)
	}
	return h
}

// hashes returns the hashes in t.
func (t Tile) hashes() []Hash {
	hs := make([]Hash, len(t.Data)/len(Hash{}))
	for i := range hs {
		copy(hs[i][:], t.Data[i*len(Hash{}):])
	}
	return hs
}

// root returns the hash of the perfect subtree of which t has a row.
func (t Tile) root() Hash { return perfect(t.hashes()) }

// perfect returns the root of the perfect tree over a power of two of hashes, which
// it overwrites.
func perfect(hs []Hash) Hash {
	for len(hs) > 1 {
		for i := range len(hs) / 2 {
			hs[i] = node(hs[2*i], hs[2*i+1])
		}
		hs = hs[:len(hs)/2]
	}
	return hs[0]
}
