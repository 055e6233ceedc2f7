package store_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/fault"
	"berth/store"
	"berth/store/storetest"
	"berth/task"
)

var demo = task.Definition{Family: "demo", CPU: "256", Memory: "512",
	ContainerDefinitions: []task.ContainerDefinition{{Name: "main", Image: "berth/demo"}}}

// newTask returns a fresh task of demo.
func newTask(t interface{ Fatal(...any) }) task.Task {
	d := demo
	d.Registration = task.Registration{ARN: storetest.Realm.DefinitionARN("demo", 1), Revision: 1, Status: task.Active}
	tk, err := task.New(d, task.Run{Definition: "demo"}, storetest.Realm, task.NewID(), task.Instant{Wall: time.Now().UTC(), BootID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

// steps moves a task one step towards its end.
func next(tk task.Task) task.Transition {
	at := tk.CreatedAt.Add(time.Second)
	switch tk.LastStatus {
	case task.Provisioning:
		return task.Provisioned(tk, tk.Clock, task.Network{}, "eni")
	case task.Pending:
		return task.Pulled(at, nil)
	case task.Activating:
		return task.Started(at, nil)
	case task.Running:
		return task.Quit(at, task.EssentialExited, task.ReasonEssentialExited, nil)
	case task.Deactivating:
		return task.Deactivated(at)
	case task.Stopping:
		return task.Ended(at, nil, nil)
	}
	return task.Removed(at)
}

// Ensure the store does what a simple model does, across reopening it, and that
// the journal tells exactly what happened.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "store")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		ctx := context.Background()
		open := func() *store.Store {
			s, err := store.Open(ctx, store.Config{Path: filepath.Join(dir, "b.db"), Realm: storetest.Realm, Log: zap.NewNop(), Now: time.Now})
			if err != nil {
				rt.Fatal(err)
			}
			return s
		}
		s := open()
		defer func() { s.Close() }()

		known := make(map[task.ID]task.Task) // the model
		tokens := make(map[string]task.ID)
		var journal []task.Task
		var ids []task.ID
		some := func() task.ID { return ids[rapid.IntRange(0, len(ids)-1).Draw(rt, "task")] }
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			switch what := rapid.IntRange(0, 9).Draw(rt, "what"); {
			case what < 3 || len(ids) == 0:
				tk, token := newTask(rt), ""
				if rapid.Bool().Draw(rt, "token") {
					token = strconv.Itoa(rapid.IntRange(0, 3).Draw(rt, "which"))
				}
				got, err := s.Create(ctx, []task.Task{tk}, token, "same")
				if err != nil {
					rt.Fatal(err)
				}
				if earlier, ok := tokens[token]; ok {
					if got[0].ID != earlier {
						rt.Fatalf("token %s made %s and then %s", token, earlier, got[0].ID)
					}
					if _, err := s.Create(ctx, []task.Task{tk}, token, "other"); fault.KindOf(err) != fault.Conflict {
						rt.Fatalf("token with another request: %v", err)
					}
					break
				}
				if token != "" {
					tokens[token] = tk.ID
				}
				known[tk.ID], journal, ids = tk, append(journal, tk), append(ids, tk.ID)
			case what < 7:
				id := some()
				tr := next(known[id])
				want, werr := known[id].Apply(tr)
				_, err := s.Advance(ctx, id, tr)
				if fault.KindOf(err) != fault.KindOf(werr) || (err == nil) != (werr == nil) {
					rt.Fatalf("advance: %v, want %v", err, werr)
				}
				if err == nil {
					known[id], journal = want, append(journal, want)
				}
			case what < 8:
				id := some()
				want, changed := known[id].AskStop(task.UserInitiated, "enough")
				if _, err := s.AskStop(ctx, id, task.UserInitiated, "enough"); err != nil {
					rt.Fatal(err)
				}
				if changed {
					known[id], journal = want, append(journal, want)
				}
			default:
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = open()
			}
		}
		for id, want := range known {
			got, err := s.Task(ctx, id)
			if err != nil || got.Version != want.Version || got.LastStatus != want.LastStatus || got.DesiredStatus != want.DesiredStatus {
				rt.Fatalf("task %s is %s v%d, want %s v%d (%v)", id, got.LastStatus, got.Version, want.LastStatus, want.Version, err)
			}
		}
		unfinished, seq, err := s.Unfinished(ctx)
		if err != nil || int(seq) != len(journal) {
			rt.Fatalf("journal ends at %d, want %d (%v)", seq, len(journal), err)
		}
		for _, u := range unfinished {
			if known[u.ID].LastStatus == task.Stopped {
				rt.Fatalf("task %s has stopped and is unfinished", u.ID)
			}
		}
		n := 0
		for ev, err := range s.Follow(ctx, 0) {
			if err != nil {
				rt.Fatal(err)
			}
			if want := journal[n]; ev.Seq != task.Seq(n+1) || ev.Task.ID != want.ID || ev.Task.Version != want.Version {
				rt.Fatalf("event %d is %s v%d, want %s v%d", ev.Seq, ev.Task.ID, ev.Task.Version, want.ID, want.Version)
			}
			if n++; n == len(journal) {
				break
			}
		}
	})
}

// Ensure a follower misses nothing and sees nothing twice while many write.
func TestFollow(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	const writers, each = 16, 20
	var ws sync.WaitGroup
	for range writers {
		ws.Go(func() {
			for range each {
				if _, err := s.Create(t.Context(), []task.Task{newTask(t)}, "", ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	last, seen := task.Seq(0), make(map[task.ID]bool)
	for ev, err := range s.Follow(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Seq != last+1 || seen[ev.Task.ID] {
			t.Fatalf("event %d of %s follows event %d", ev.Seq, ev.Task.ID, last)
		}
		last, seen[ev.Task.ID] = ev.Seq, true
		if last == writers*each {
			break
		}
	}
	ws.Wait()
}

// Ensure what was acknowledged survives kill -9 at random points, whole and in
// order. The test runs itself as the process that is killed.
func TestKilled(t *testing.T) {
	dir := os.Getenv("STORE_KILLED_DIR")
	if dir != "" {
		writeForEver(t, dir)
		return
	}
	dir = t.TempDir()
	acknowledged := make(map[string]bool)
	for n := range 25 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "STORE_KILLED_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var id string
		for lines := 0; ; lines++ {
			if _, err := fmt.Fscanln(out, &id); err != nil {
				break
			}
			acknowledged[id] = true
			if lines == 3+n*7%40 { // a point that differs every time
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
	}
	if len(acknowledged) < 50 {
		t.Fatalf("only %d writes were acknowledged", len(acknowledged))
	}
	s := storetest.Open(t, dir)
	for id := range acknowledged {
		if _, err := s.Task(t.Context(), task.ID(id)); err != nil {
			t.Errorf("acknowledged and lost: %v", err)
		}
	}
	end, err := s.LastSeq(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := task.Seq(0)
	for ev, err := range s.Follow(t.Context(), 0) {
		if err != nil || ev.Seq != last+1 {
			t.Fatalf("event %d follows event %d: %v", ev.Seq, last, err)
		}
		if last = ev.Seq; last == end {
			break
		}
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func writeForEver(t *testing.T, dir string) {
	s := storetest.Open(t, dir)
	for {
		tk := newTask(t)
		if _, err := s.Create(t.Context(), []task.Task{tk}, "", ""); err != nil {
			t.Fatal(err)
		}
		fmt.Println(tk.ID)
	}
}

// Ensure lists page through everything once, whatever is filtered.
func TestTasks(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	var want []task.ID
	for i := range 25 {
		tk := newTask(t)
		tk.Group = []string{"a", "b"}[i%2]
		tk.Tags = []task.Tag{{Key: "team", Value: strconv.Itoa(i % 3)}}
		if _, err := s.Create(t.Context(), []task.Task{tk}, "", ""); err != nil {
			t.Fatal(err)
		}
		if tk.Group == "a" && i%3 == 1 {
			want = append(want, tk.ID)
		}
	}
	slices.Reverse(want)
	var got []task.ID
	for token := ""; ; {
		ts, more, err := s.Tasks(t.Context(), store.Filter{Group: "a", Tag: &task.Tag{Key: "team", Value: "1"}}, store.Page{Limit: 2, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, tk := range ts {
			got = append(got, tk.ID)
		}
		if token = more; token == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, _, err := s.Tasks(t.Context(), store.Filter{}, store.Page{Limit: 1, Token: "made up"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a made up token: %v", err)
	}
}

// Ensure definitions count up within their family and can be found by all their
// names.
func TestDefinitions(t *testing.T) {
	s, ctx := storetest.Open(t, t.TempDir()), t.Context()
	for want := 1; want <= 3; want++ {
		d, err := s.Register(ctx, demo)
		if err != nil || d.Revision != want || d.Status != task.Active {
			t.Fatalf("registered as %d %s, want %d (%v)", d.Revision, d.Status, want, err)
		}
	}
	if _, err := s.Deregister(ctx, "demo:3"); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]int{"demo": 2, "demo:1": 1, "demo:3": 3, storetest.Realm.DefinitionARN("demo", 2): 2} {
		if d, err := s.Definition(ctx, ref); err != nil || d.Revision != want {
			t.Errorf("%s is revision %d, want %d (%v)", ref, d.Revision, want, err)
		}
	}
	for _, ref := range []string{"other", "demo:9"} {
		if _, err := s.Definition(ctx, ref); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v, want not found", ref, err)
		}
	}
	first, token, err := s.Definitions(ctx, store.DefinitionFilter{FamilyPrefix: "de"}, store.Page{Limit: 2})
	if err != nil || len(first) != 2 || token == "" {
		t.Fatalf("%d definitions, token %q, %v", len(first), token, err)
	}
	rest, token, err := s.Definitions(ctx, store.DefinitionFilter{FamilyPrefix: "de"}, store.Page{Limit: 2, Token: token})
	if err != nil || len(rest) != 1 || rest[0].Revision != 3 || token != "" {
		t.Errorf("%d definitions on the second page, token %q, %v", len(rest), token, err)
	}
}

// Ensure old tasks are forgotten with their events, and nothing else is.
func TestPrune(t *testing.T) {
	s, ctx := storetest.Open(t, t.TempDir()), t.Context()
	old, young := newTask(t), newTask(t)
	if _, err := s.Create(ctx, []task.Task{old, young}, "", ""); err != nil {
		t.Fatal(err)
	}
	for tk := old; !tk.LastStatus.Final(); {
		var err error
		if tk, err = s.Advance(ctx, old.ID, next(tk)); err != nil {
			t.Fatal(err)
		}
	}
	if gone, err := s.Prune(ctx, time.Now().Add(time.Hour), 10); err != nil || len(gone) != 0 {
		t.Fatalf("forgot %v before the meter had read of its end (%v)", gone, err)
	}
	end, err := s.LastSeq(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Post(ctx, end, nil); err != nil {
		t.Fatal(err)
	}
	gone, err := s.Prune(ctx, time.Now().Add(time.Hour), 10)
	if err != nil || len(gone) != 1 || gone[0] != old.ID {
		t.Fatalf("forgot %v, want %s (%v)", gone, old.ID, err)
	}
	if _, err := s.Task(ctx, old.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("still there: %v", err)
	}
	for ev, err := range s.Follow(ctx, 0) {
		if err != nil || ev.Task.ID != young.ID {
			t.Errorf("event of %s, %v", ev.Task.ID, err)
		}
		break
	}
	if err := s.Verify(ctx); err != nil {
		t.Error(err)
	}
}

func BenchmarkCreate(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			s := storetest.Open(b, b.TempDir())
			tk := newTask(b)
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					tk := tk
					tk.ID = task.NewID()
					if _, err := s.Create(context.Background(), []task.Task{tk}, "", ""); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
