package store

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/task"
)

// Ensure that what is in memory either says that it does not know, or says what
// the database would.
func TestRecent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r recent
		var journal []task.Seq // what the database has
		next := task.Seq(rapid.IntRange(1, 5).Draw(t, "first"))
		known := false // whether anything was added since the last forget
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // An event is committed, and nobody knows.
				journal = append(journal, next)
				next++
				r.forget()
				known = false
			case 1: // A task is forgotten.
				if len(journal) > 0 {
					i := rapid.IntRange(0, len(journal)-1).Draw(t, "gone")
					journal = append(journal[:i:i], journal[i+1:]...)
				}
				r.forget()
				known = false
			default:
				var group []told
				for range rapid.IntRange(0, 600).Draw(t, "events") {
					group = append(group, newTold(next, 1, "{}"))
					journal = append(journal, next)
					next++
				}
				r.add(group)
				known = known || len(group) > 0
			}
			if n := len(r.events); n > 3*recentMost {
				t.Fatalf("%d events in memory", n)
			}
			seq := task.Seq(rapid.IntRange(0, int(next)+2).Draw(t, "after"))
			events, ok := r.after(seq)
			if !ok {
				if known && seq >= next-2 {
					t.Fatalf("the newest event is %d and what comes after %d is not known", next-1, seq)
				}
				continue
			}
			var want []task.Seq
			for _, s := range journal {
				if s > seq {
					want = append(want, s)
				}
			}
			if len(events) != len(want) {
				t.Fatalf("%d events after %d, want %d", len(events), seq, len(want))
			}
			for i, e := range events {
				if e.seq != want[i] {
					t.Fatalf("event %d after %d, want %d", e.seq, seq, want[i])
				}
			}
		}
	})
}

// Ensure nobody hears of an event whose write failed, and everybody of those that
// were committed beside it.
func TestFailedWriteIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "berth.db"), Log: zap.NewNop(), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		release := hold(t, s) // so that the three are one group
		failed := errors.New("after all, no")
		done := make(chan error, 3)
		for _, outcome := range []error{nil, failed, nil} {
			go func() {
				done <- s.write(t.Context(), func(tx *sql.Tx) error {
					return errors.Join(s.tell(t.Context(), tx, "none", `{"group":"x"}`), outcome)
				})
			}()
		}
		synctest.Wait()
		release()
		for range 3 {
			if err := <-done; err != nil && !errors.Is(err, failed) {
				t.Fatal(err)
			}
		}
		synctest.Wait() // Followers are told after those who wrote.
		if events, ok := s.recent.after(0); !ok || len(events) != 2 || events[0].seq != 1 || events[1].seq != 2 {
			t.Errorf("in memory are %d events, %v", len(events), ok)
		}
		var heard int
		for ev, err := range s.Follow(t.Context(), 0) {
			if err != nil || ev.Task.Group != "x" {
				t.Fatalf("event %+v, %v", ev, err)
			}
			if heard++; heard == 2 {
				break
			}
		}
		if n, err := s.LastSeq(t.Context()); err != nil || n != 2 {
			t.Errorf("the journal ends at %d, %v", n, err)
		}
	})
}
