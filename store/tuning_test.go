package store_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"berth/billing/tuning"
	"berth/fault"
	"berth/store"
	"berth/store/storetest"
	"berth/task"
)

// Ensure a tuning and its runs come back as they were written, also after the store was
// closed, that no version is written twice, and that what has ended stays.
func TestTunings(t *testing.T) {
	dir := t.TempDir()
	s := storetest.OpenUnclosed(t, dir)
	ctx, id := t.Context(), func(i int) tuning.ID { return tuning.ID(fmt.Sprintf("%032x", i)) }
	u := tuning.Tuning{
		ID: id(1), Status: tuning.Running, Version: 1, TaskDefinition: "job", Sizes: []tuning.Trial{{Size: tuning.Size{CPU: 256, Memory: 512}, High: 7}},
		Runs: 2, Balance: 0.5, Overrides: &task.Overrides{CPU: "256"}, Notes: []string{"a"}, CreatedAt: time.Unix(1, 5).UTC(),
	}
	r := tuning.Run{Size: u.Sizes[0].Size, N: 1, Attempt: 1, State: tuning.Submitting, Held: 7}
	write := func(want fault.Kind, wrong bool, u tuning.Tuning, runs ...tuning.Run) {
		t.Helper()
		if err := s.PutTuning(ctx, u, runs...); (err != nil) != wrong || wrong && fault.KindOf(err) != want {
			t.Errorf("version %d: %v", u.Version, err)
		}
	}
	write(0, false, u, r)
	write(fault.Conflict, true, u)
	second := r
	second.N = 2
	u.Version, r.State, r.Task = 2, tuning.Going, "00000000000000000000000000000009"
	write(0, false, u, r, second)
	u.Version, r.State, r.Outcome, r.Cost = 3, tuning.Ended, tuning.Succeeded, 5
	write(0, false, u, r)
	u.Version = 4
	for _, change := range []func(*tuning.Run){ // None of these can be.
		func(r *tuning.Run) { r.Cost = 6 },
		func(r *tuning.Run) { r.N, r.Task, r.State = 2, "", tuning.Going },
		func(r *tuning.Run) { r.N, r.State = 2, tuning.Going }, // the task of another run
	} {
		wrong := r
		change(&wrong)
		write(fault.Internal, true, u, wrong)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, dir)
	u.Version = 3
	got, runs, err := s.Tuning(ctx, u.ID)
	if err != nil || !reflect.DeepEqual(got, u) || !reflect.DeepEqual(runs, []tuning.Run{r, second}) {
		t.Errorf("%+v %v %v, want %+v", got, runs, err, u)
	}
	other := tuning.Tuning{ID: id(2), Status: tuning.Waiting, Version: 1}
	write(0, false, other)
	listed(t, s, 10, "", id(2), id(1))
	listed(t, s, 1, "", id(2))
	listed(t, s, 10, id(2), id(1))
	if all, err := s.Unended(ctx); err != nil || len(all) != 2 || all[0].ID != id(1) {
		t.Errorf("unended: %v, %v", all, err)
	}
	if err := s.RemoveTuning(ctx, u.ID); err == nil {
		t.Error("a tuning that goes on was removed")
	}
	u.Version, u.Status = 4, tuning.Completed
	write(0, false, u)
	u.Version = 5
	write(fault.Internal, true, u)
	if all, err := s.Unended(ctx); err != nil || len(all) != 1 || all[0].ID != id(2) {
		t.Errorf("unended: %v, %v", all, err)
	}
	if err := s.RemoveTuning(ctx, u.ID); err != nil {
		t.Error(err)
	}
	for _, err := range []error{s.RemoveTuning(ctx, u.ID), errorOf(s.Tuning(ctx, u.ID))} {
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("what was removed: %v", err)
		}
	}
	other.Version = 2 // Its task's name is free again with the runs.
	write(0, false, other, tuning.Run{Size: r.Size, N: 1, Attempt: 1, State: tuning.Going, Task: r.Task})
}

func errorOf(_ tuning.Tuning, _ []tuning.Run, err error) error { return err }

func listed(t *testing.T, s *store.Store, limit int, before tuning.ID, want ...tuning.ID) {
	t.Helper()
	all, err := s.Tunings(t.Context(), limit, before)
	if err != nil || len(all) != len(want) {
		t.Fatalf("%v, %v; want %v", all, err, want)
	}
	for i, u := range all {
		if u.ID != want[i] {
			t.Errorf("%s, want %s", u.ID, want[i])
		}
	}
}
