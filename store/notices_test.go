package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/notice"
)

func noticeStore(t *testing.T, now func() time.Time) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{Path: filepath.Join(t.TempDir(), "berth.db"), Log: zap.NewNop(), Now: now})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func aNotice(i int, webhook string) notice.Notice {
	return notice.Notice{
		ID: fmt.Sprint("n", i), At: time.Date(2026, 11, 1, 0, 0, i, 0, time.UTC), Type: []string{"berth.budget.threshold", "berth.cost.anomaly"}[i%2],
		Subject: fmt.Sprint("budget/", i%3), Data: []byte(`{"i":` + fmt.Sprint(i) + `}`), Webhook: webhook,
	}
}

// seqs are the numbers of records, as short as can be.
func seqs(records []notice.Record) (all []int) {
	for _, r := range records {
		all = append(all, int(r.Seq))
	}
	return all
}

// Ensure a notice is kept once, with what it tells of or not at all, and is found.
func TestNotices(t *testing.T) {
	ctx := t.Context()
	s := noticeStore(t, func() time.Time { return time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC) })
	for i := 1; i <= 6; i++ {
		must(t, s.PutNotice(ctx, aNotice(i, "")))
	}
	again := aNotice(3, "https://example.com")
	again.Type = "another"
	must(t, s.PutNotice(ctx, again))
	undone := errors.New("undone")
	noted := s.Noted()
	if err := s.write(ctx, func(tx *sql.Tx) error {
		return errors.Join(s.note(ctx, tx, aNotice(7, "")), undone)
	}); !errors.Is(err, undone) {
		t.Fatal(err)
	}
	all, err := s.Notices(ctx, notice.Query{Limit: 10})
	must(t, err)
	if len(all) != 6 || all[2].Type != "berth.cost.anomaly" || string(all[2].Data) != `{"i":3}` || !all[2].At.Equal(aNotice(3, "").At) || !all[2].Next.IsZero() {
		t.Fatalf("%+v", all)
	}
	for _, tt := range []struct {
		q          notice.Query
		want, last []int
	}{
		{notice.Query{Limit: 2}, []int{1, 2}, []int{5, 6}},
		{notice.Query{After: 4, Limit: 9}, []int{5, 6}, []int{5, 6}},
		{notice.Query{Type: "berth.budget.", Limit: 9}, []int{2, 4, 6}, []int{2, 4, 6}},
		{notice.Query{Type: "budget", Limit: 9}, nil, nil},
		{notice.Query{Subject: "budget/1", Type: "berth.cost", Limit: 9}, []int{1}, []int{1}},
		{notice.Query{Type: "berth", Subject: "budget/0", After: 3, Limit: 1}, []int{6}, []int{6}},
	} {
		got, err := s.Notices(ctx, tt.q)
		must(t, err)
		last, err := s.LastNotices(ctx, tt.q)
		must(t, err)
		if !slices.Equal(seqs(got), tt.want) || !slices.Equal(seqs(last), tt.last) {
			t.Errorf("%+v: %v and %v, want %v and %v", tt.q, seqs(got), seqs(last), tt.want, tt.last)
		}
	}
	must(t, s.PutNotice(ctx, aNotice(8, "")))
	select {
	case <-noted:
	case <-time.After(10 * time.Second):
		t.Error("nobody was woken")
	}
	for _, bad := range []notice.Notice{{}, {ID: "a.b", At: all[0].At, Type: "t", Subject: "s", Data: []byte(`{}`)}, {ID: "a", At: all[0].At, Type: "t", Subject: "s", Data: []byte(`{`)}} {
		if err := s.PutNotice(ctx, bad); err == nil {
			t.Errorf("%+v was kept", bad)
		}
	}
}

// Ensure followers see all from where they begin, and what comes later.
func TestFollowNotices(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s := noticeStore(t, time.Now)
	const n = 3 * followBatch / 2
	next := 2
	put := func(i int) {
		r := aNotice(i, "")
		r.At = time.Now()
		must(t, s.PutNotice(ctx, r))
	}
	for i := range n {
		put(i)
	}
	for r, err := range s.FollowNotices(ctx, notice.Query{After: 1}) {
		must(t, err)
		if int(r.Seq) != next {
			t.Fatalf("got %d after %d", r.Seq, next-1)
		}
		if next++; next > n && next < n+5 {
			go s.PutNotice(ctx, notice.Notice{ID: fmt.Sprint("later", next), At: time.Now(), Type: "t", Subject: "s", Data: []byte(`{}`)})
		}
		if next == n+5 {
			break
		}
	}
	if last, err := s.LastNotice(ctx); err != nil || last < n+4 {
		t.Errorf("the last is %d: %v", last, err)
	}
}

// Ensure that of each webhook the notice is next that is due first, that it comes back
// until it is delivered or given up, and that old ones are forgotten.
func TestUndelivered(t *testing.T) {
	ctx := t.Context()
	now := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	s := noticeStore(t, func() time.Time { now = now.Add(time.Second); return now })
	for i := 1; i <= 6; i++ {
		must(t, s.PutNotice(ctx, aNotice(i, []string{"", "https://a", "https://b"}[i%3])))
	}
	undelivered := func(want ...int) []notice.Record {
		t.Helper()
		got, err := s.Undelivered(ctx, 10)
		must(t, err)
		if !slices.Equal(seqs(got), want) {
			t.Errorf("undelivered are %v, want %v", seqs(got), want)
		}
		return got
	}
	undelivered(1, 2)
	must(t, s.Failed(ctx, 1, "no", now.Add(time.Hour)))
	undelivered(2, 4)
	must(t, s.Delivered(ctx, 2, now))
	must(t, s.Delivered(ctx, 4, now))
	got := undelivered(5, 1)
	if got[1].Attempts != 1 || got[1].Failure != "no" || !got[1].Next.After(now) {
		t.Errorf("%+v", got[1])
	}
	must(t, s.Failed(ctx, 5, "gone", time.Time{}))
	undelivered(1)
	must(t, s.Delivered(ctx, 1, now))
	must(t, s.Failed(ctx, 1, "too late", now)) // It stays delivered.
	undelivered()
	all, err := s.Notices(ctx, notice.Query{Limit: 10})
	must(t, err)
	if all[0].Delivered.IsZero() || all[0].Attempts != 2 || all[0].Failure != "" || !all[4].Delivered.IsZero() || all[4].Failure != "gone" {
		t.Errorf("%+v", all)
	}
	now = now.Add(notice.Keep - 25*time.Hour)
	late := aNotice(9, "")
	late.At = now
	must(t, s.PutNotice(ctx, late))
	all, err = s.Notices(ctx, notice.Query{Limit: 10})
	must(t, err)
	if !slices.Equal(seqs(all), []int{1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("kept are %v", seqs(all))
	}
	now = now.Add(48 * time.Hour)
	must(t, s.PutNotice(ctx, late))
	if all, err = s.Notices(ctx, notice.Query{Limit: 10}); err != nil || !slices.Equal(seqs(all), []int{7}) {
		t.Errorf("kept are %v: %v", seqs(all), err)
	}
}
