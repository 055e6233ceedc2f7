package store

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"berth/billing/budget"
	"berth/fault"
	"berth/task"
)

// here is where things in tests belong.
var here = task.Realm{Region: "us-east-1", Account: "000000000000", Cluster: "default"}

// Ensure that what the writer remembers of holds is what is in the database after a
// commit that failed, whether it was lost or only not answered: money that is held for a
// task that is there is not given away again, and none is lost with one that is not.
func TestHoldsWhenCommitFails(t *testing.T) {
	for name, c := range map[string]struct {
		mode int32
		fit  int // more tasks, of the three that the budget has money for
	}{"lost": {lost, 2}, "unanswered": {unanswered, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var disk flaky
				s := openFlaky(t, &disk)
				n := 0
				submit := func() error {
					n++
					id := task.ID(fmt.Sprintf("%032x", n))
					tk := task.Task{ID: id, ARN: here.TaskARN(id), DefinitionARN: here.DefinitionARN("web", 1), Version: 1, LastStatus: task.Provisioning, DesiredStatus: task.Running}
					hold := budget.Hold{Task: id, Until: time.Now(), Parts: []budget.Part{{Day: budget.DayOf(time.Now()), Ahead: 10}}}
					_, err := s.CreateHeld(t.Context(), []task.Task{tk}, []budget.Hold{hold}, nil, "", "")
					return err
				}
				_, err := s.PutBudget(t.Context(), budget.Budget{Name: "b", Period: budget.Monthly, Limit: 30, Action: budget.Deny})
				if err := errors.Join(err, submit()); err != nil {
					t.Fatal(err)
				}
				disk.mode.Store(c.mode)
				if err := submit(); fault.KindOf(err) != fault.Unavailable {
					t.Fatalf("the commit that failed: %v", err)
				}
				disk.mode.Store(well)
				time.Sleep(retryEvery)
				synctest.Wait()
				fit := 0
				for range 4 {
					switch err := submit(); {
					case err == nil:
						fit++
					case fault.KindOf(err) != fault.OverBudget:
						t.Fatal(err)
					}
				}
				if fit != c.fit {
					t.Errorf("%d more were accepted, want %d", fit, c.fit)
				}
			})
		})
	}
}
