package store

import (
	"bytes"
	"context"
	"fmt"

	"berth/billing"
	"berth/billing/proof"
)

// checkpointRow is a row of ledger_checkpoints, and the root that the tree had.
type checkpointRow struct {
	size         int64
	stored, root proof.Hash
	note         []byte
}

// nextCheckpoint reads the next checkpoint.
func (a *audit) nextCheckpoint() error {
	a.next = nil
	ok, err := a.signed.next()
	if err != nil || !ok {
		return err
	}
	c := &checkpointRow{size: a.signed.number(0), note: []byte(a.signed.text(2))}
	if root := a.signed.blob(1); len(root) == len(c.stored) {
		c.stored = proof.Hash(root)
	}
	if a.signed.wrong != nil {
		return bad("ledger_checkpoints", c.size, "%v", a.signed.wrong)
	}
	a.next = c
	return nil
}

// verifyCheckpoint compares the checkpoint of the size that the tree has now, if
// there is one. Its signature is checked elsewhere.
func (a *audit) verifyCheckpoint() error {
	if a.next == nil || a.next.size != a.frontier.Size() {
		return nil
	}
	c := *a.next
	c.root = a.frontier.Root()
	a.unopened = append(a.unopened, c)
	a.newest = string(c.note)
	a.rows["ledger_checkpoints"]++
	if len(a.file) > 0 { // The file may lag behind, and nothing else.
		signed, rest, ok := proof.Next(a.file)
		if !ok || !bytes.Equal(signed, c.note) {
			return at{c.size - 1, a.badFile(signed, c.size)}
		}
		a.file = rest
	}
	return a.nextCheckpoint()
}

// badFile tells what is wrong with the next note in the file of checkpoints.
func (a *audit) badFile(signed []byte, size int64) *billing.BadRow {
	b := &billing.BadRow{Table: checkpointsFile, Row: fmt.Sprint(size), Why: "the file has other bytes than the ledger"}
	if c, err := proof.Open(signed, a.verifier); err != nil {
		b.Why = "the file has no checkpoint that is signed where that of the ledger must be"
	} else if c.Size != size {
		b.Why = fmt.Sprintf("the file has the checkpoint of size %d where that of size %d must be", c.Size, size)
	}
	return b
}

// openNotes checks signatures.
func (a *audit) openNotes() (err error) {
	for rows := range a.notes {
		for _, c := range rows {
			if err == nil {
				err = a.openNote(c)
			}
		}
	}
	return err
}

func (a *audit) openNote(c checkpointRow) error {
	opened, err := proof.Open(c.note, a.verifier)
	why := ""
	switch {
	case err != nil:
		why = err.Error()
	case opened.Size != c.size || opened.Root != c.stored:
		why = "the row says other than the note"
	case c.stored != c.root:
		why = fmt.Sprintf("it was signed for a tree with the root %s, and it is %s", c.stored, c.root)
	default:
		return nil
	}
	return at{c.size - 1, &billing.BadRow{Table: "ledger_checkpoints", Row: fmt.Sprint(c.size), Why: why}}
}

// verifyTile compares a tile that has become full.
func (a *audit) verifyTile(ctx context.Context, t proof.Tile) error {
	r, err := query(ctx, a.q, `SELECT data FROM ledger_tiles WHERE level = ? AND n = ?`, int64(t.Level), t.N)
	if err != nil {
		return err
	}
	defer r.close()
	a.tiles++
	switch ok, err := r.next(); {
	case err != nil:
		return err
	case !ok:
		return at{a.frontier.Size() - 1, &billing.BadRow{Table: "ledger_tiles", Row: fmt.Sprint(t.Level, " ", t.N), Why: "it is missing"}}
	case !bytes.Equal(r.blob(0), t.Data):
		return at{a.frontier.Size() - 1, &billing.BadRow{Table: "ledger_tiles", Row: fmt.Sprint(t.Level, " ", t.N), Why: "it is not the hashes below it"}}
	}
	return nil
}

// verifyEnd checks that nothing is left over, and that all is signed.
func (a *audit) verifyEnd(ctx context.Context) error {
	if a.next != nil {
		return bad("ledger_checkpoints", a.next.size, "there are %d entries", a.size)
	}
	if c, err := proof.Open([]byte(a.newest), a.verifier); a.size > 0 && (err != nil || c.Size != a.size) {
		return bad("ledger_checkpoints", a.size, "no checkpoint is of all entries")
	}
	if len(a.file) > 0 {
		signed, _, ok := proof.Next(a.file)
		if !ok {
			signed = a.file
		}
		if c, err := proof.Open(signed, a.verifier); err == nil {
			return bad(checkpointsFile, c.Size, "this was signed, and the ledger has only %d entries and no such checkpoint", a.size)
		}
		return bad(checkpointsFile, "end", "what is there is not a checkpoint")
	}
	var tiles int64
	if err := a.count(ctx, `SELECT count(*) FROM ledger_tiles`, &tiles); err != nil {
		return err
	}
	if a.rows["ledger_tiles"] = tiles; tiles != a.tiles {
		return bad("ledger_tiles", "-", "there are %d and must be %d", tiles, a.tiles)
	}
	return nil
}
