package proof

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Reader reads what is kept of a tree.
type Reader interface {
	// Leaves returns the hashes of n leaves from one on.
	Leaves(from, n int64) ([]Hash, error)

	// Tile returns the data of a full tile of a level from 1 on; nil if it is not
	// full yet.
	Tile(level int, n int64) ([]byte, error)
}

// ProveInclusion returns the proof that leaf n is in the tree of the first size
// leaves.
func ProveInclusion(r Reader, size, n int64) ([]Hash, error) {
	if n < 0 || n >= size {
		return nil, fmt.Errorf("there is no leaf %d in a tree of %d", n, size)
	}
	p, err := tlog.ProveRecord(size, n, hashReader{r})
	return hashes(p), err
}

// ProveConsistency returns the proof that the tree of the first older leaves is
// part of that of the first newer.
func ProveConsistency(r Reader, newer, older int64) ([]Hash, error) {
	if older < 1 || older > newer {
		return nil, fmt.Errorf("a tree of %d leaves cannot have grown from one of %d", newer, older)
	}
	p, err := tlog.ProveTree(newer, older, hashReader{r})
	return hashes(p), err
}

// Root returns the root of the tree of the first size leaves, above 0.
func Root(r Reader, size int64) (Hash, error) {
	h, err := tlog.TreeHash(size, hashReader{r})
	return Hash(h), err
}

func hashes(hs []tlog.Hash) []Hash {
	all := make([]Hash, len(hs))
	for i, h := range hs {
		all[i] = Hash(h)
	}
	return all
}

func theirs(hs []Hash) []tlog.Hash {
	all := make([]tlog.Hash, len(hs))
	for i, h := range hs {
		all[i] = tlog.Hash(h)
	}
	return all
}

func checkRecord(p []Hash, c Checkpoint, n int64, leaf Hash) error {
	if n < 0 || n >= c.Size {
		return fmt.Errorf("there is no leaf %d in a tree of %d", n, c.Size)
	}
	if err := tlog.CheckRecord(theirs(p), c.Size, tlog.Hash(c.Root), n, tlog.Hash(leaf)); err != nil {
		return errors.New("the proof does not lead from the entry to the root of the checkpoint")
	}
	return nil
}

func checkTree(p []Hash, newer, older Checkpoint) error {
	if older.Size < 1 || older.Size > newer.Size {
		return fmt.Errorf("a log of %d entries cannot have grown from one of %d", newer.Size, older.Size)
	}
	if err := tlog.CheckTree(theirs(p), newer.Size, tlog.Hash(newer.Root), older.Size, tlog.Hash(older.Root)); err != nil {
		return errors.New("the proof does not lead from the older checkpoint to the newer")
	}
	return nil
}

// hashReader gives tlog the hashes of any level.
type hashReader struct{ Reader }

// ReadHashes is part of tlog.HashReader.
func (r hashReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		h, err := r.at(level, n)
		if err != nil {
			return nil, err
		}
		all[i] = tlog.Hash(h)
	}
	return all, nil
}

// at returns the hash n of a level of the tree, which is that of a perfect subtree.
func (r hashReader) at(level int, n int64) (Hash, error) {
	tile, above := level/TileHeight, level%TileHeight
	row, err := r.row(tile, n<<above, 1<<above)
	if err != nil {
		return Hash{}, err
	}
	return perfect(row), nil
}

// row returns hashes of the level of the tree that tiles of a level have; all are
// in one tile.
func (r hashReader) row(tile int, from, n int64) ([]Hash, error) {
	if tile == 0 {
		row, err := r.Leaves(from, n)
		if err == nil && int64(len(row)) != n {
			err = fmt.Errorf("%d of the leaves from %d to %d are missing", n-int64(len(row)), from, from+n)
		}
		return row, err
	}
	data, err := r.Tile(tile, from/TileWidth)
	if err != nil {
		return nil, err
	}
	if data != nil {
		row := Tile{Data: data}.hashes()
		if len(row) != TileWidth {
			return nil, fmt.Errorf("tile %d of level %d has %d bytes", from/TileWidth, tile, len(data))
		}
		return row[from%TileWidth:][:n], nil
	}
	row := make([]Hash, n)
	for i := range row {
		below, err := r.row(tile-1, (from+int64(i))*TileWidth, TileWidth)
		if err != nil {
			return nil, err
		}
		row[i] = perfect(below)
	}
	return row, nil
}
