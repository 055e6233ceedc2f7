package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"berth/billing"
	"berth/store"
	"berth/store/storetest"
	"berth/task"
)

const (
	kills   = 50
	writers = 8
	perCall = 3 // tasks made by one call
)

// Ensure what was acknowledged survives kill -9 at random points, that nothing is
// written by halves, and that the journal has no gap. The test runs itself as the
// process that is killed.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("BERTH_STORE_TEST_DIR"); dir != "" {
		writeUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	luck := rand.New(rand.NewPCG(1, 2))
	acknowledged, posted := make(map[task.ID]int64), make(map[string]bool) // versions, entries
	for range kills {
		runAndKill(t, dir, 1+luck.IntN(120), acknowledged, posted)
	}
	if len(acknowledged) < 10*kills {
		t.Fatalf("only %d tasks were acknowledged", len(acknowledged))
	}
	s := storetest.Open(t, dir)
	for id, version := range acknowledged {
		if got, err := s.Task(t.Context(), id); err != nil || got.Version < version {
			t.Errorf("version %d of task %s was acknowledged, and there is %d (%v)", version, id, got.Version, err)
		}
	}
	checkJournal(t, s)
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	for token := "-1"; token != ""; {
		var page []billing.Record
		var err error
		if page, token, err = s.Records(t.Context(), billing.EntryFilter{Limit: 1000, Token: token}); err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			delete(posted, r.ID)
		}
	}
	if len(posted) > 0 {
		t.Errorf("%d entries were acknowledged and are not there", len(posted))
	}
	if a, err := s.VerifyLedger(t.Context(), nil); err != nil || !a.OK || a.Entries < kills {
		t.Errorf("the ledger: %d entries, %+v, %v", a.Entries, a.Bad, err)
	}
	t.Logf("%d tasks were acknowledged across %d kills", len(acknowledged), kills)
}

// runAndKill runs writers and kills them after some acknowledgements, noting all
// that arrive.
func runAndKill(t *testing.T, dir string, after int, acknowledged map[task.ID]int64, posted map[string]bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "BERTH_STORE_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for lines := bufio.NewScanner(out); lines.Scan(); n++ {
		var id task.ID
		var version int64
		if entry, ok := strings.CutPrefix(lines.Text(), "posted "); ok {
			posted[entry] = true
		} else if _, err := fmt.Sscanf(lines.Text(), "ack %s %d", &id, &version); err != nil {
			t.Errorf("the writers say: %s", lines.Text())
		} else {
			acknowledged[id] = max(acknowledged[id], version)
		}
		if n == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if cmd.Wait(); n <= after {
		t.Fatalf("the writers ended by themselves after %d acknowledgements", n)
	}
}

// checkJournal fails t unless positions and versions follow one another, and the
// tasks of one call are all there.
func checkJournal(t *testing.T, s *store.Store) {
	t.Helper()
	end, err := s.LastSeq(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last, versions, groups := task.Seq(0), make(map[task.ID]int64), make(map[string]int)
	for ev, err := range s.Follow(t.Context(), 0) {
		if err != nil || ev.Seq != last+1 || ev.Task.Version != versions[ev.Task.ID]+1 {
			t.Fatalf("event %d, version %d of task %s, follows event %d and version %d (%v)",
				ev.Seq, ev.Task.Version, ev.Task.ID, last, versions[ev.Task.ID], err)
		}
		if versions[ev.Task.ID]++; ev.Task.Version == 1 {
			groups[ev.Task.Group]++
		}
		if last = ev.Seq; last == end {
			break
		}
	}
	for group, n := range groups {
		if n != perCall {
			t.Errorf("%d of the %d tasks of call %s are there", n, perCall, group)
		}
	}
}

// writeUntilKilled says on standard output what is done.
func writeUntilKilled(t *testing.T, dir string) {
	s := storetest.OpenUnclosed(t, dir)
	ctx := context.Background()
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for {
				ts := make([]task.Task, perCall)
				call := string(task.NewID())
				for i := range ts {
					ts[i] = newTask(t)
					ts[i].Group = call
				}
				if _, err := s.Create(ctx, ts, nil, call, "hash"); err != nil {
					panic(err)
				}
				for _, tk := range ts {
					fmt.Println("ack", tk.ID, tk.Version)
				}
				tk := ts[0]
				for !tk.LastStatus.Final() {
					var err error
					if tk, err = s.Advance(ctx, tk.ID, next(tk)); err != nil {
						panic(err)
					}
					fmt.Println("ack", tk.ID, tk.Version)
				}
				var moves []billing.Move
				for _, c := range billing.Open(tk, billing.BuiltIn()) {
					c, entries := c.Close(tk.StoppedAt, billing.Terms{Prices: billing.BuiltIn()}, nil)
					moves = append(moves, billing.Move{New: c, Entries: entries})
				}
				if err := s.Post(ctx, 1, moves); err != nil {
					panic(err)
				}
				for _, mv := range moves {
					for _, e := range mv.Entries {
						fmt.Println("posted", e.ID)
					}
				}
			}
		})
	}
	all.Wait()
}
