package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"berth/billing/focus"
)

// Ensure that each row of an export can be proved with the checkpoint that it names,
// and that what is posted while it is written is not in it.
func TestExportProved(t *testing.T) {
	s := openAt(t, t.TempDir(), noon)
	ctx := context.WithoutCancel(t.Context())
	from, to := noon.Add(-48*time.Hour), noon.Add(48*time.Hour)
	if asOf, charges, err := s.Export(ctx, from, to); err != nil || asOf.Size != 0 {
		t.Errorf("a ledger of nothing has the checkpoint %+v, %v", asOf, err)
	} else {
		for c := range charges {
			t.Errorf("it has %+v", c)
		}
	}
	charge(t, s, noon, 3, true)
	asOf, charges, err := s.Export(ctx, from, to)
	must(t, err)
	charge(t, s, noon, 2, true)
	verifier, err := note.NewVerifier(s.LedgerKey())
	must(t, err)
	seen := 0
	for row, err := range focus.Rows(charges) {
		must(t, err)
		for _, id := range row.Entries {
			seen++
			p, err := s.Inclusion(ctx, id)
			must(t, err)
			if _, err := p.Check(verifier); err != nil || p.N >= asOf.Size {
				t.Errorf("entry %s is %d and not under the checkpoint of %d: %v", id, p.N, asOf.Size, err)
			}
		}
	}
	if int64(seen) != asOf.Size {
		t.Errorf("%d entries in a checkpoint of %d", seen, asOf.Size)
	}
	c, err := s.Consistency(ctx, asOf.Size, 0)
	must(t, err)
	if older, newer, err := c.Check(verifier); err != nil || older.Root != asOf.Root || newer.Size <= asOf.Size {
		t.Errorf("the ledger went from %+v to %+v and not on from %+v: %v", older, newer, asOf, err)
	}
	var out strings.Builder
	_, again, err := s.Export(ctx, from, to)
	must(t, err)
	must(t, focus.CSV(&out, focus.Options{Version: focus.V12, Provider: "Berth", Checkpoint: asOf}, focus.Rows(again)))
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); strings.Count(out.String(), asOf.Root.String()) != len(lines)-1 {
		t.Errorf("not every row names the checkpoint:\n%s", out.String())
	}
}
