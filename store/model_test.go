package store_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/fault"
	"berth/store"
	"berth/task"
)

// model does in memory what the store does, as simply as can be.
type model struct {
	tasks   map[task.ID]task.Task
	ids     []task.ID // in the order of creation
	tokens  map[string][]task.ID
	journal []task.Task
}

func (m *model) set(t task.Task) {
	m.tasks[t.ID] = t
	m.journal = append(m.journal, t)
}

// Ensure the store does what a simple model does, across reopening it, and that
// the journal tells exactly what happened.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(ramdisk(), "berth-store-")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		ctx := context.Background()
		open := func() *store.Store {
			s, err := store.Open(ctx, store.Config{Path: filepath.Join(dir, "b.db"), Log: zap.NewNop(), Now: time.Now})
			if err != nil {
				rt.Fatal(err)
			}
			return s
		}
		s := open()
		defer func() { s.Close() }()
		m := model{tasks: make(map[task.ID]task.Task), tokens: make(map[string][]task.ID)}
		some := func(rt *rapid.T) task.ID {
			if len(m.ids) == 0 {
				rt.Skip("no task yet")
			}
			return rapid.SampledFrom(m.ids).Draw(rt, "task")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				ts := make([]task.Task, rapid.IntRange(1, 3).Draw(rt, "count"))
				for i := range ts {
					ts[i] = newTask(rt)
					ts[i].Tags = rapid.SampledFrom([][]task.Tag{nil, {}, {{Key: "k", Value: "v"}}}).Draw(rt, "tags")
				}
				token := rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(rt, "token")
				hash := rapid.SampledFrom([]string{"same", "same", "other"}).Draw(rt, "hash")
				got, err := s.Create(ctx, ts, nil, token, hash)
				if earlier, known := m.tokens[token+"/"+hash]; known && token != "" {
					if err != nil || !slices.Equal(ids(got), earlier) {
						rt.Fatalf("token %s made %v and then %v (%v)", token, earlier, ids(got), err)
					}
					for _, t := range got {
						same(rt, t, m.tasks[t.ID])
					}
					return
				}
				if m.tokens[token] != nil {
					if fault.KindOf(err) != fault.Conflict {
						rt.Fatalf("token %s with another request: %v", token, err)
					}
					return
				}
				if err != nil {
					rt.Fatal(err)
				}
				if token != "" {
					m.tokens[token], m.tokens[token+"/"+hash] = ids(ts), ids(ts)
				}
				for _, t := range ts {
					m.ids = append(m.ids, t.ID)
					m.set(t)
				}
			},
			"advance": func(rt *rapid.T) {
				id := some(rt)
				tr := next(m.tasks[id])
				want, werr := m.tasks[id].Apply(tr)
				got, err := s.Advance(ctx, id, tr)
				if fault.KindOf(err) != fault.KindOf(werr) || (err == nil) != (werr == nil) {
					rt.Fatalf("advance: %v, want %v", err, werr)
				}
				if err == nil {
					same(rt, got, want)
					m.set(want)
				}
			},
			"ask to stop": func(rt *rapid.T) {
				id := some(rt)
				want, changed := m.tasks[id].AskStop(task.UserInitiated, "enough")
				got, err := s.AskStop(ctx, id, task.UserInitiated, "enough")
				if err != nil {
					rt.Fatal(err)
				}
				same(rt, got, want)
				if changed {
					m.set(want)
				}
			},
			"tag": func(rt *rapid.T) {
				id, tag := some(rt), task.Tag{Key: "team", Value: strconv.Itoa(rapid.IntRange(0, 2).Draw(rt, "value"))}
				have := m.tasks[id]
				got, err := s.Tag(ctx, id, []task.Tag{tag}, []string{"k"})
				if have.LastStatus.Final() {
					if fault.KindOf(err) != fault.Conflict {
						rt.Fatalf("tags of a stopped task: %v", err)
					}
					return
				}
				if err != nil || !slices.Equal(got.Tags, []task.Tag{tag}) {
					rt.Fatalf("tags %v, want %v (%v)", got.Tags, tag, err)
				}
				if !slices.Equal(have.Tags, got.Tags) {
					have = have.Clone()
					have.Tags = []task.Tag{tag}
					have.Version++
					m.set(have)
				}
			},
			"reopen": func(rt *rapid.T) {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = open()
			},
			"": func(rt *rapid.T) {
				if end, err := s.LastSeq(ctx); err != nil || int(end) != len(m.journal) {
					rt.Fatalf("the journal ends at %d, want %d (%v)", end, len(m.journal), err)
				}
			},
		})
		for id, want := range m.tasks {
			got, err := s.Task(ctx, id)
			if err != nil {
				rt.Fatal(err)
			}
			same(rt, got, want)
		}
		unfinished, seq, err := s.Unfinished(ctx)
		want := slices.DeleteFunc(slices.Clone(m.ids), func(id task.ID) bool { return m.tasks[id].LastStatus.Final() })
		if err != nil || int(seq) != len(m.journal) || !slices.Equal(ids(unfinished), want) {
			rt.Fatalf("unfinished at %d: %v, want at %d: %v (%v)", seq, ids(unfinished), len(m.journal), want, err)
		}
		if err := s.Verify(ctx); err != nil {
			rt.Fatal(err)
		}
		if len(m.journal) == 0 {
			return // There is nothing to follow, and Follow would wait for it.
		}
		n := rapid.IntRange(0, len(m.journal)-1).Draw(rt, "follow from")
		for ev, err := range s.Follow(ctx, task.Seq(n)) {
			if err != nil || ev.Seq != task.Seq(n+1) {
				rt.Fatalf("event %d after %d (%v)", ev.Seq, n, err)
			}
			same(rt, ev.Task, m.journal[n])
			if n++; n == len(m.journal) {
				break
			}
		}
	})
}

// same fails rt unless the tasks are the same to those who read their JSON.
func same(rt *rapid.T, got, want task.Task) {
	got.Tags, want.Tags = append([]task.Tag{}, got.Tags...), append([]task.Tag{}, want.Tags...)
	g, err := json.Marshal(got)
	if err != nil {
		rt.Fatal(err)
	}
	w, err := json.Marshal(want)
	if err != nil {
		rt.Fatal(err)
	}
	if string(g) != string(w) {
		rt.Fatalf("got  %s\nwant %s", g, w)
	}
}

func ids(ts []task.Task) []task.ID {
	list := make([]task.ID, len(ts))
	for i, t := range ts {
		list[i] = t.ID
	}
	return list
}

// ramdisk is where syncing costs nothing. That a sync is a sync is another
// test's matter.
func ramdisk() string {
	if s, err := os.Stat("/dev/shm"); err == nil && s.IsDir() {
		return "/dev/shm"
	}
	return ""
}
