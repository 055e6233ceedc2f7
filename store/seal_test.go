package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/note"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/billing/proof"
	"berth/fault"
)

// openAt opens the store in dir with a clock that stands.
func openAt(t *testing.T, dir string, now time.Time) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: filepath.Join(dir, "berth.db"), Log: zap.NewNop(), Now: func() time.Time { return now }})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// charge posts so many hours of a task, and closes its charge if done is set.
func charge(t *testing.T, s *Store, from time.Time, hours int, done bool) []billing.Entry {
	t.Helper()
	terms := billing.Terms{Prices: billing.BuiltIn()}
	var all []billing.Entry
	for _, c := range billing.Open(billingtest.Task(from), billing.BuiltIn()) {
		next, entries := c.Advance(from.Add(time.Duration(hours)*time.Hour), terms)
		if done {
			var last []billing.Entry
			next, last = next.Close(next.To.Add(time.Second/2), terms, nil)
			entries = append(entries, last...)
		}
		must(t, s.Post(t.Context(), 1, []billing.Move{{New: next, Entries: entries}}))
		all = append(all, entries...)
	}
	return all
}

func sound(t *testing.T, s *Store) billing.Audit {
	t.Helper()
	a, err := s.VerifyLedger(t.Context(), nil)
	if err != nil || !a.OK {
		t.Fatalf("the ledger: %+v, %v", a.Bad, err)
	}
	return a
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// Ensure a ledger with full tiles verifies, goes on after a restart, and proves
// every entry and its growth to who has the public key alone.
func TestProofs(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, noon)
	first := charge(t, s, noon, 24, true)
	for range 5 {
		charge(t, s, noon.AddDate(-1, 0, 0), 6700, true)
	}
	a := sound(t, s)
	if a.Entries < 65_536 || a.Rows[5].Rows != 1 {
		t.Errorf("%d entries and %d tiles", a.Entries, a.Rows[5].Rows)
	}
	must(t, s.Close())
	s = openAt(t, dir, noon)
	last := charge(t, s, noon, 2, true)
	a = sound(t, s)

	v, err := note.NewVerifier(s.LedgerKey())
	must(t, err)
	for _, e := range []billing.Entry{first[0], first[25], last[0], last[len(last)-1]} {
		p, err := s.Inclusion(t.Context(), e.ID)
		must(t, err)
		c, err := p.Check(v)
		if err != nil || c.Root.String() != a.Root || p.Body != string(e.Body()) {
			t.Errorf("the proof of entry %d: %+v, %v", p.N, c, err)
		}
	}
	for _, size := range []int64{25, a.Entries - 4, a.Entries} {
		p, err := s.Consistency(t.Context(), size, 0)
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		must(t, err)
		if older, newer, err := p.Check(v); err != nil || older.Size != size || newer.Size != a.Entries {
			t.Errorf("the proof of growth from %d: %+v, %+v, %v", size, older, newer, err)
		}
	}
	if _, err := s.Consistency(t.Context(), 3, 0); fault.KindOf(err) != fault.NotFound {
		t.Errorf("there is a checkpoint of size 3: %v", err)
	}
	if _, err := s.Inclusion(t.Context(), "nothing"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("proof of nothing: %v", err)
	}
	must(t, s.Close())

	db := rawDB(t, filepath.Join(dir, "berth.db"))
	var trigger string
	must(t, db.QueryRow(`SELECT sql FROM sqlite_schema WHERE name = 'ledger_tiles_no_update'`).Scan(&trigger))
	exec(t, db, `DROP TRIGGER ledger_tiles_no_update`)
	exec(t, db, `UPDATE ledger_tiles SET data = CAST(x'00' || substr(data, 2) AS BLOB)`)
	exec(t, db, trigger)
	if a, err := VerifyLedgerIn(t.Context(), filepath.Join(dir, "berth.db"), nil); err != nil || a.OK || a.Bad.Table != "ledger_tiles" || a.Bad.Row != "1 0" {
		t.Errorf("a forged tile: %+v, %v", a.Bad, err)
	}
}

// Ensure the key is made once, for its owner alone, and that nothing goes on with
// another one.
func TestKey(t *testing.T) {
	dir := t.TempDir()
	try := func() error {
		s, err := Open(t.Context(), Config{Path: filepath.Join(dir, "berth.db"), Log: zap.NewNop(), Now: time.Now})
		if err == nil {
			charge(t, s, noon, 1, true)
			sound(t, s)
			must(t, s.Close())
		}
		return err
	}
	must(t, try())
	path := filepath.Join(dir, keyFile)
	key, err := os.ReadFile(path)
	must(t, err)
	must(t, try())
	if again, err := os.ReadFile(path); err != nil || string(again) != string(key) {
		t.Errorf("the key is another at the second start: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v, %v", info.Mode(), err)
	}
	public, err := os.ReadFile(filepath.Join(dir, pubFile))
	must(t, err)
	for what, spoil := range map[string]func(){
		"others can read it": func() { must(t, os.Chmod(path, 0o640)) },
		"is not a key":       func() { must(t, os.WriteFile(path, []byte("secret"), 0o600)) },
		"is missing":         func() { must(t, os.Remove(path)) },
		"does not belong": func() {
			secret, _, err := note.GenerateKey(nil2{}, "berth/x")
			must(t, err)
			must(t, os.WriteFile(path, []byte(secret), 0o600))
		},
	} {
		spoil()
		want := strings.Replace(what, "others can read it", "others could sign", 1)
		if err := try(); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("a key that %s: %v", what, err)
		}
		os.Remove(path)
		must(t, os.WriteFile(path, key, 0o600))
	}
	must(t, os.Remove(path))
	must(t, os.Remove(filepath.Join(dir, pubFile)))
	if err := try(); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("without both keys: %v", err)
	}
	must(t, os.WriteFile(path, key, 0o600))
	must(t, try())
	if again, err := os.ReadFile(filepath.Join(dir, pubFile)); err != nil || string(again) != string(public) {
		t.Errorf("the public key is another: %v", err)
	}
}

// nil2 is as random as it needs to be.
type nil2 struct{}

func (nil2) Read(p []byte) (int, error) { return len(p), nil }

// Ensure the file of checkpoints has them all again after it was torn or lost, and
// tells of rows that were taken from the end of the ledger.
func TestCheckpointsFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, checkpointsFile)
	s := openAt(t, dir, noon)
	for range 40 { // more than the tail that is looked at
		charge(t, s, noon, 1, true)
	}
	must(t, s.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	if n := strings.Count(string(whole), "\n\n"+originPrefix); n != 79 {
		t.Errorf("%d checkpoints in the file, want 80", n+1)
	}
	for _, cut := range []int{len(whole) - 1, len(whole) - 70, len(whole) - 500, len(whole) / 2, 10, 0} {
		must(t, os.WriteFile(path, whole[:cut], 0o644))
		if a, err := VerifyLedgerIn(t.Context(), filepath.Join(dir, "berth.db"), nil); err != nil || a.OK == (cut%2 == 1 && cut > len(whole)) && a.Bad != nil && a.Bad.Table != checkpointsFile {
			t.Errorf("cut after %d of %d bytes: %+v, %v", cut, len(whole), a.Bad, err)
		}
		must(t, openAt(t, dir, noon).Close())
		if again, err := os.ReadFile(path); err != nil || string(again) != string(whole) {
			t.Errorf("cut after %d of %d bytes, it came back with %d: %v", cut, len(whole), len(again), err)
		}
	}

	db := rawDB(t, filepath.Join(dir, "berth.db"))
	made := make(map[string]string)
	for _, name := range list(t, db, `SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'ledger_%_no_delete' OR name IN ('meter_cursors_no_delete', 'cost_tasks_no_delete')`) {
		made[name] = list(t, db, `SELECT sql FROM sqlite_schema WHERE name = '`+name+`'`)[0]
		exec(t, db, `DROP TRIGGER `+name)
	}
	last := list(t, db, `SELECT max(size) FROM ledger_checkpoints`)[0]
	for _, q := range []string{ // the last task is gone, and everything agrees
		`DELETE FROM ledger_checkpoints WHERE size > (SELECT max(size) FROM ledger_checkpoints) - 4`,
		`DELETE FROM ledger_postings WHERE entry >= (SELECT max(size) FROM ledger_checkpoints)`,
		`PRAGMA foreign_keys = OFF`,
		`DELETE FROM meter_cursors WHERE task IN (SELECT task FROM ledger_entries WHERE n >= (SELECT max(size) FROM ledger_checkpoints))`,
		`DELETE FROM ledger_entries WHERE n >= (SELECT max(size) FROM ledger_checkpoints)`,
		`DELETE FROM cost_tasks WHERE since >= (SELECT max(size) FROM ledger_checkpoints)`,
		`DELETE FROM cost_hours`,
		`INSERT INTO cost_hours SELECT booked_at / 3600000000000, facts, sku, count(*), sum(amount), sum(units / 1000000000), sum(units % 1000000000),
			sum(used / 1000000000), sum(used % 1000000000) FROM ledger_entries JOIN cost_tasks USING (task) GROUP BY 1, 2, 3`,
		`DELETE FROM cost_days`,
		`INSERT INTO cost_days SELECT hour / 24, facts, sku, sum(entries), sum(amount), sum(units), sum(units_ns), sum(used), sum(used_ns) FROM cost_hours GROUP BY 1, 2, 3`,
	} {
		exec(t, db, q)
	}
	for _, text := range made {
		exec(t, db, text)
	}
	must(t, db.Close())
	a, err := VerifyLedgerIn(t.Context(), filepath.Join(dir, "berth.db"), nil)
	if err != nil || a.OK || a.Bad.Table != checkpointsFile {
		t.Errorf("rows were taken from the end, up to checkpoint %s: %+v, %v", last, a.Bad, err)
	}
	must(t, os.Remove(path))
	if a, err := VerifyLedgerIn(t.Context(), filepath.Join(dir, "berth.db"), nil); err != nil || !a.OK {
		t.Errorf("without the file it should not be possible to tell: %+v, %v", a.Bad, err)
	}
}

// Ensure what a group of writes did not commit is in no tree, whatever became of
// the commit.
func TestSealAfterFailure(t *testing.T) {
	for _, mode := range []int32{lost, unanswered} {
		f := new(flaky)
		s := openFlaky(t, f)
		charge(t, s, noon, 3, true)
		f.mode.Store(mode)
		for _, c := range billing.Open(billingtest.Task(noon), billing.BuiltIn()) {
			next, entries := c.Advance(noon.Add(time.Hour), billing.Terms{Prices: billing.BuiltIn()})
			if err := s.Post(t.Context(), 1, []billing.Move{{New: next, Entries: entries}}); err == nil {
				t.Error("a commit that fails was acknowledged")
			}
		}
		f.mode.Store(well)
		for s.Refusing() != nil {
			time.Sleep(10 * time.Millisecond)
		}
		charge(t, s, noon, 3, true)
		sound(t, s)
	}
}

// Ensure a period is closed when it is over and all of it is posted, in order and
// for good, and that what corrects it comes later.
func TestPeriods(t *testing.T) {
	now := time.Date(2026, 10, 31, 23, 0, 0, 0, time.UTC)
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "berth.db"), Log: zap.NewNop(), Now: func() time.Time { return now }})
	must(t, err)
	defer s.Close()
	begun := time.Date(2026, 9, 30, 22, 30, 0, 0, time.UTC)
	terms := billing.Terms{Prices: billing.BuiltIn()}
	c := billing.Open(billingtest.Task(begun), billing.BuiltIn())[0]
	must(t, s.Post(t.Context(), 1, []billing.Move{{New: c}}))
	advance := func(to time.Time) []billing.Entry {
		t.Helper()
		next, entries := c.Advance(to, terms)
		must(t, s.Post(t.Context(), 1, []billing.Move{{Old: c, New: next, Entries: entries}}))
		c = next
		return entries
	}
	refused := func(name, why string) {
		t.Helper()
		if _, err := s.ClosePeriod(t.Context(), name); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), why) {
			t.Errorf("%s was closed, or not because %s: %v", name, why, err)
		}
	}
	september := advance(begun.Add(90 * time.Minute))
	refused("2026-10", "not over")
	now = now.Add(2 * time.Hour)
	refused("2026-10", "2026-09 is not closed")
	first, err := s.ClosePeriod(t.Context(), "2026-09")
	if err != nil || first.Entries != 2 || first.Size != 2 || first.Amount != september[0].Amount+september[1].Amount {
		t.Errorf("September: %+v, %v", first, err)
	}
	if again, err := s.ClosePeriod(t.Context(), "2026-09"); err != nil || again != first {
		t.Errorf("September again: %+v, %v", again, err)
	}
	refused("2026-10", "not all of the charge of task")
	advance(now)
	if _, err := s.ClosePeriod(t.Context(), "2026-10"); err != nil {
		t.Error(err)
	}
	refused("2026-08", "is closed already")
	if _, err := s.ClosePeriod(t.Context(), "October"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a period without a name: %v", err)
	}

	late := billing.Open(billingtest.Task(begun), billing.BuiltIn())[0]
	next, entries := late.Advance(begun.Add(time.Minute), terms)
	if err := s.Post(t.Context(), 1, []billing.Move{{New: next, Entries: entries}}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("an entry in a closed period: %v", err)
	}
	r, err := s.Reverse(t.Context(), september[1].ID, "it was a test")
	if err != nil || !r.Booked.Equal(now) || r.Amount != -september[1].Amount || r.Units != -september[1].Units || r.Ref != september[1].ID {
		t.Errorf("what was taken back: %+v, %v", r, err)
	}
	for id, kind := range map[string]fault.Kind{september[1].ID: fault.Conflict, r.ID: fault.Conflict, "nothing": fault.NotFound} {
		if _, err := s.Reverse(t.Context(), id, "again"); fault.KindOf(err) != kind {
			t.Errorf("taking back %s: %v", id, err)
		}
	}
	if _, err := s.Reverse(t.Context(), september[0].ID, " "); fault.KindOf(err) != fault.Invalid {
		t.Errorf("for no reason: %v", err)
	}
	all, err := s.Periods(t.Context())
	must(t, err)
	var said []string
	for _, p := range all {
		said = append(said, fmt.Sprint(p.Name, " ", p.Status, " ", p.Entries))
	}
	if got := strings.Join(said, ", "); got != "2026-09 CLOSED 2, 2026-10 CLOSED 744, 2026-11 OPEN 2" {
		t.Errorf("periods: %s", got)
	}
	sound(t, s)
	page, token, err := s.Records(t.Context(), billing.EntryFilter{From: first.To, Kind: billing.Metered, Limit: 700})
	if err != nil || len(page) != 700 || page[0].N != 2 || token == "" {
		t.Fatalf("a page of %d from %d, then %q, %v", len(page), page[0].N, token, err)
	}
	rest, token, err := s.Records(t.Context(), billing.EntryFilter{From: first.To, Kind: billing.Metered, Limit: 700, Token: token})
	if err != nil || len(rest) != 45 || rest[0].N != 702 || token != "" {
		t.Errorf("a page of %d, then %q, %v", len(rest), token, err)
	}
	if found, _, err := s.Records(t.Context(), billing.EntryFilter{Kind: billing.Reversal, Limit: 10}); err != nil || len(found) != 1 || found[0].ID != r.ID {
		t.Errorf("what was taken back: %+v, %v", found, err)
	}
	b := billing.NewBill(billingtest.Task(begun), billing.BuiltIn(), []billing.Cursor{c}, entriesOf(t, s, c), now)
	if last := b.Lines[len(b.Lines)-1]; b.Total != c.Amount-september[1].Amount || last.Amount != r.Amount || last.Seconds != "-3600" {
		t.Errorf("the bill has %s and a last line %+v", b.Total, last)
	}
}

func entriesOf(t *testing.T, s *Store, c billing.Cursor) []billing.Entry {
	t.Helper()
	es, err := s.Entries(context.WithoutCancel(t.Context()), c.Task)
	must(t, err)
	return es
}

// Ensure the leaf hash of package billing is that of the tree.
func TestLeaf(t *testing.T) {
	e := billing.Entry{ID: "x", Used: billing.UsedUnits{Known: true}}
	if proof.Hash(e.Hash()) != proof.Leaf(e.Body()) {
		t.Error("an entry's hash is not that of its leaf")
	}
}
