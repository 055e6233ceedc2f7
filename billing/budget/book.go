package budget

import (
	"context"
	"time"

	"berth/billing"
	"berth/task"
)

// Book is where budgets and holds are kept.
type Book interface {
	// PutBudget remembers b in place of the one of its name, and returns it with its
	// times. RemoveBudget forgets one; if there is none that is fault.NotFound.
	PutBudget(ctx context.Context, b Budget) (Budget, error)
	RemoveBudget(ctx context.Context, name string) error

	// Budgets returns all, by name.
	Budgets(ctx context.Context) ([]Budget, error)

	// Spending returns what was spent of each of bs in the period that goes on at a time,
	// all as of one moment.
	Spending(ctx context.Context, bs []Budget, now time.Time) ([]Spending, error)

	// Holding returns the tasks that money may have to be held for: those that it is held
	// for and, if there are budgets, all that have not stopped. Older ones come first.
	Holding(ctx context.Context) ([]task.ID, error)

	// Renew renews the holds of tasks, in this order. What a budget with the action Stop
	// has no money for stays as it was. Tasks that need none any more are left out of the
	// answer.
	Renew(ctx context.Context, ids []task.ID, of Renewer) ([]Renewal, error)

	// Allowed returns the error that making the tasks with these holds would return now,
	// and changes nothing.
	Allowed(ctx context.Context, ts []task.Task, hs []Hold) error
}

// Renewer returns what is to be held for a task whose charge stands at cursors, up to most,
// or for a lease if that is zero. ok is false if what is held is to stay as it is.
type Renewer func(t task.Task, cursors []billing.Cursor, most time.Time) (h Hold, ok bool)
