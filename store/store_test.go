package store_test

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

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
	tk, err := task.New(d, task.Run{Realm: storetest.Realm, Definition: "demo"}, task.NewID(), task.Instant{Wall: time.Now().UTC(), BootID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

// next moves a task one step towards its end.
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

// Ensure a follower misses nothing and sees nothing twice while many write.
func TestFollow(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	const writers, each = 16, 20
	var ws sync.WaitGroup
	for range writers {
		ws.Go(func() {
			for range each {
				if _, err := s.Create(t.Context(), []task.Task{newTask(t)}, nil, "", ""); err != nil {
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

// Ensure lists page through everything once, whatever is filtered.
func TestTasks(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	var want []task.ID
	for i := range 25 {
		tk := newTask(t)
		tk.Group = []string{"a", "b"}[i%2]
		tk.Tags = []task.Tag{{Key: "team", Value: strconv.Itoa(i % 3)}}
		if _, err := s.Create(t.Context(), []task.Task{tk}, nil, "", ""); err != nil {
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
		d, err := s.Register(ctx, storetest.Realm, demo)
		if err != nil || d.Revision != want || d.Status != task.Active {
			t.Fatalf("registered as %d %s, want %d (%v)", d.Revision, d.Status, want, err)
		}
	}
	if _, err := s.Deregister(ctx, storetest.Realm, "demo:3"); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]int{"demo": 2, "demo:1": 1, "demo:3": 3, storetest.Realm.DefinitionARN("demo", 2): 2} {
		if d, err := s.Definition(ctx, storetest.Realm, ref); err != nil || d.Revision != want {
			t.Errorf("%s is revision %d, want %d (%v)", ref, d.Revision, want, err)
		}
	}
	for _, ref := range []string{"other", "demo:9"} {
		if _, err := s.Definition(ctx, storetest.Realm, ref); fault.KindOf(err) != fault.NotFound {
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
	if _, err := s.Create(ctx, []task.Task{old, young}, nil, "token", "hash"); err != nil {
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
	if got, err := s.Requested(ctx, storetest.Realm, "token", "hash"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a token whose tasks are forgotten in part stands for %v, %v", got, err)
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

// Ensure filters that the index of lists does not know work too.
func TestFilter(t *testing.T) {
	s, ctx := storetest.Open(t, t.TempDir()), t.Context()
	var ids []task.ID
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 4 {
		tk := newTask(t)
		tk.CreatedAt = begin.Add(time.Duration(i) * time.Hour)
		if _, err := s.Create(ctx, []task.Task{tk}, nil, "", ""); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, tk.ID)
	}
	for name, c := range map[string]struct {
		filter store.Filter
		want   []int
	}{
		"IDs":     {store.Filter{IDs: []task.ID{ids[0], ids[2], task.NewID()}}, []int{2, 0}},
		"after":   {store.Filter{CreatedAfter: begin.Add(2 * time.Hour)}, []int{3, 2}},
		"before":  {store.Filter{CreatedBefore: begin.Add(2 * time.Hour)}, []int{1, 0}},
		"between": {store.Filter{CreatedAfter: begin.Add(time.Minute), CreatedBefore: begin.Add(2*time.Hour + 1)}, []int{2, 1}},
		"status":  {store.Filter{Status: task.Stopped}, nil},
	} {
		var want []task.ID
		for _, i := range c.want {
			want = append(want, ids[i])
		}
		var got []task.ID
		ts, _, err := s.Tasks(ctx, c.filter, store.Page{Limit: 10})
		for _, tk := range ts {
			got = append(got, tk.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v (%v)", name, got, want, err)
		}
	}
	if ts, token, err := s.Tasks(ctx, store.Filter{}, store.Page{}); err != nil || len(ts) != 1 || token == "" {
		t.Errorf("without a limit: %d tasks, token %q (%v)", len(ts), token, err)
	}
	if _, token, err := s.Tasks(ctx, store.Filter{}, store.Page{Limit: 1}); err != nil {
		t.Error(err)
	} else if _, _, err := s.Definitions(ctx, store.DefinitionFilter{}, store.Page{Limit: 1, Token: token}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("the token of another list: %v", err)
	}
}

// Ensure tags are set, replaced and removed, and lists find tasks by them.
func TestTag(t *testing.T) {
	s, ctx := storetest.Open(t, t.TempDir()), t.Context()
	tk := newTask(t)
	tk.Tags = []task.Tag{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}
	if _, err := s.Create(ctx, []task.Task{tk}, nil, "", ""); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		got, err := s.Tag(ctx, tk.ID, []task.Tag{{Key: "b", Value: "3"}, {Key: "c", Value: "4"}}, []string{"a", "z"})
		if want := []task.Tag{{Key: "b", Value: "3"}, {Key: "c", Value: "4"}}; err != nil || !slices.Equal(got.Tags, want) || got.Version != tk.Version+1 {
			t.Fatalf("tags %v v%d, want %v v%d (%v)", got.Tags, got.Version, want, tk.Version+1, err)
		}
	}
	for tag, want := range map[task.Tag]int{{Key: "a"}: 0, {Key: "b"}: 1, {Key: "b", Value: "2"}: 0, {Key: "c", Value: "4"}: 1} {
		if ts, _, err := s.Tasks(ctx, store.Filter{Tag: &tag}, store.Page{Limit: 9}); err != nil || len(ts) != want {
			t.Errorf("%d tasks with %v, want %d (%v)", len(ts), tag, want, err)
		}
	}
	for cur := tk; !cur.LastStatus.Final(); {
		var err error
		if cur, err = s.Advance(ctx, tk.ID, next(cur)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Tag(ctx, tk.ID, nil, []string{"b"}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("tags of a stopped task: %v, want a conflict", err)
	}
	if _, err := s.Register(ctx, storetest.Realm, demo); err != nil {
		t.Fatal(err)
	}
	d, err := s.TagDefinition(ctx, storetest.Realm, "demo:1", []task.Tag{{Key: "a", Value: "1"}}, nil)
	if err != nil || !slices.Equal(d.Tags, []task.Tag{{Key: "a", Value: "1"}}) {
		t.Errorf("tags of the definition: %v (%v)", d.Tags, err)
	}
	if err := s.Verify(ctx); err != nil {
		t.Error(err)
	}
}

// Ensure a follower who comes with a position of another journal, ahead of this
// one, hears what happens next.
func TestFollowAhead(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	create := func() task.Task {
		tk := newTask(t)
		if _, err := s.Create(t.Context(), []task.Task{tk}, nil, "", ""); err != nil {
			t.Fatal(err)
		}
		return tk
	}
	create()
	heard := make(chan task.Event)
	go func() {
		for ev, err := range s.Follow(t.Context(), 1<<63) {
			if err != nil {
				t.Error(err)
			}
			heard <- ev
			return
		}
	}()
	for range 1000 { // until the follower stands at the end
		create()
		select {
		case ev := <-heard:
			if ev.Seq < 2 {
				t.Errorf("heard of event %d", ev.Seq)
			}
			return
		default:
		}
	}
	t.Error("a thousand events, and heard of none")
}
