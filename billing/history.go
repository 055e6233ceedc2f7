package billing

import (
	"context"
	"path"
	"strconv"
	"strings"
	"time"

	"berth/fault"
	"berth/task"
)

// History keeps what tasks used: samples, and the minutes and hours that are made of
// them. What one method writes is written whole or not at all, and is durable when
// it returns.
type History interface {
	// PutUsage stores chunks; one of the same task and From is replaced. It also
	// stores minutes, adds them to their hours, and notes how far the samples of
	// the task are rolled up now. Of a RollUp that comes no further than what is
	// noted, nothing is stored, so that each moment is in one minute and one hour
	// once, also when the call is repeated.
	PutUsage(ctx context.Context, chunks []Chunk, rolls []RollUp) error

	// Usage returns a task's chunks that overlap [from, to], in order. A zero
	// time is no bound.
	Usage(ctx context.Context, id task.ID, from, to time.Time) ([]Chunk, error)

	// LastUsage returns when the last sample of a task was taken; zero if there
	// is none.
	LastUsage(ctx context.Context, id task.ID) (time.Time, error)

	// RolledUp returns how far the samples of a task are rolled up, without Rolls.
	// If they never were, that is fault.NotFound.
	RolledUp(ctx context.Context, id task.ID) (RollUp, error)

	// Rolls returns the rolls of a task for the steps that begin in [from, to), in
	// order, at most limit of them if that is above 0. step is Minute or Hour. A
	// zero time is no bound.
	Rolls(ctx context.Context, id task.ID, step time.Duration, from, to time.Time, limit int) ([]Roll, error)

	// RollSum returns the sum of what Rolls would return without a limit. Its At is
	// zero, and so is what was true at the end of a step.
	RollSum(ctx context.Context, id task.ID, step time.Duration, from, to time.Time) (Roll, error)

	// UsageBy adds up the rolls of all tasks in groups. See GroupQuery.
	UsageBy(ctx context.Context, q GroupQuery) ([]GroupSum, error)

	// Forget removes at most limit chunks (step is Second) or rolls that ended
	// before then, and returns how many it was. It notes before as the beginning
	// of what is kept, see Kept.
	Forget(ctx context.Context, step time.Duration, before time.Time, limit int) (int, error)

	// Kept returns since when the series of a step is whole; zero if nothing of it
	// was ever forgotten.
	Kept(ctx context.Context, step time.Duration) (time.Time, error)
}

// Subject is whose usage it is, and what it is grouped by. It is kept as long as the
// rolls are, which may be longer than the task.
type Subject struct {
	Task     task.ID
	ARN      string
	Family   string
	Revision int
	Group    string
	Tags     []task.Tag
	Size     task.Size
	Storage  int64 // bytes
}

// SubjectOf returns t as a Subject.
func SubjectOf(t task.Task) Subject {
	family, revision, _ := strings.Cut(path.Base(t.DefinitionARN), ":")
	n, _ := strconv.Atoi(revision) // 0: it has none
	return Subject{Task: t.ID, ARN: t.ARN, Family: family, Revision: n, Group: t.Group, Tags: t.Tags, Size: t.Size(), Storage: t.Storage()}
}

// task returns what is left of a task that was forgotten.
func (s Subject) task() task.Task {
	return task.Task{
		ID: s.Task, ARN: s.ARN, CPU: strconv.Itoa(s.Size.CPU), Memory: strconv.Itoa(s.Size.Memory), LastStatus: task.Stopped,
		Ephemeral: &task.EphemeralStorage{SizeInGiB: int(s.Storage >> 30)},
	}
}

// RollUp is minutes of one task that follow what was rolled up before.
type RollUp struct {
	Subject
	Upto   task.Sample // what the counters were at the end of the last minute
	Closed bool        // the task has ended, and with it the last minute: there will be no more
	Rolls  []Roll      // in order
}

// GroupQuery says how to add up the rolls of all tasks.
type GroupQuery struct {
	By       []string      // task, family, definition, day or tag:KEY; without any, all are one group
	Step     time.Duration // of the rolls: Minute or Hour
	From, To time.Time     // whole steps; the steps that begin in [From, To); a zero time is no bound
	Family   string        // of this family only, if set
	Limit    int           // groups; at least 1
	After    []string      // groups after this one, as its Key; nil: from the first
}

// groupings is how many fields a GroupQuery may have in By.
const groupings = 3

// Check returns what is wrong with q.By, as a fault.Invalid of the field groupBy.
func (q GroupQuery) Check() error {
	if len(q.By) > groupings {
		return fault.At("groupBy", "it has %d fields; at most %d are possible", len(q.By), groupings)
	}
	seen := make(map[string]bool)
	for _, by := range q.By {
		key, tag := strings.CutPrefix(by, "tag:")
		switch {
		case seen[by]:
			return fault.At("groupBy", "%s is there twice", by)
		case tag && key != "", by == "task", by == "family", by == "definition", by == "day":
		default:
			return fault.At("groupBy", "%q is not one of task, family, definition, day and tag:KEY", by)
		}
		seen[by] = true
	}
	return nil
}

// GroupSum is the usage of one group. Sums of many tasks do not fit into whole
// numbers of bytes and milliseconds; no money depends on these.
type GroupSum struct {
	Key   []string // a value for each field of By; "" if a task has no such tag
	Tasks int64    // how many

	Millis                                            float64 // of tasks
	ReservedCPU, ReservedMemory, ReservedStorage      float64 // CPU units, MiB and bytes × milliseconds
	CPUNanos, ThrottledNanos                          float64
	MemoryByteMillis, StorageByteMillis               float64
	ReadBytes, WriteBytes, RxBytes, TxBytes, OOMKills uint64
	WorkingSetPeak, StoragePeak                       uint64 // of one task
}
