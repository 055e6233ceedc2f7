package billing

import (
	"context"
	"time"

	"berth/task"
)

// Ledger keeps the books. What one method writes is written whole or not at
// all, and is durable when it returns.
type Ledger interface {
	// Post writes what moves says and notes that the journal was read up to
	// seq, unless it was read further already. A Move whose cursor stands
	// elsewhere than at Old is refused with fault.Conflict and nothing of the
	// call is written, except that a Move that was made before, exactly so, is
	// passed over. An entry whose ID is there with another body is an error of
	// kind fault.Internal: the books are wrong. An entry that is booked in a
	// closed period is refused with fault.Conflict.
	Post(ctx context.Context, seq task.Seq, moves []Move) error

	// Position returns how far the journal was read, 0 in the beginning.
	Position(ctx context.Context) (task.Seq, error)

	// Cursors returns a task's cursors, by SKU; none if its charge has not begun.
	Cursors(ctx context.Context, id task.ID) ([]Cursor, error)

	// Closed returns until when periods are closed; zero if none is.
	Closed(ctx context.Context) (time.Time, error)

	// Entries returns a task's entries by SKU: those of the meter by Seq, then
	// those that take one of them back, in the order of what they take back.
	Entries(ctx context.Context, id task.ID) ([]Entry, error)

	History
}

// Move moves a cursor from Old to New and says so in Entries. If Old has no
// Task, New is a new cursor.
type Move struct {
	Old, New Cursor
	Entries  []Entry
}

// Chunk is some consecutive samples of one task, packed.
type Chunk struct {
	Task     task.ID
	From, To time.Time // of the first and the last sample
	Samples  int
	Data     []byte // what Pack returned
}
