package waste

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"berth/billing"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

// Book is what waste is told from.
type Book interface {
	// Charges yields the entries that are booked in a range, hour by hour.
	Charges(ctx context.Context, from, to time.Time) iter.Seq2[billing.Charge, error]

	// RunsOf returns the records of those of some tasks that have one.
	RunsOf(ctx context.Context, ids []task.ID) (map[task.ID]history.Run, error)

	// Task returns a task. One that is forgotten is fault.NotFound.
	Task(ctx context.Context, id task.ID) (task.Task, error)
}

// Query asks what was for nothing in a range of time.
type Query struct {
	From, To time.Time           // full hours, UTC; To is not included
	GroupBy  []string            // as in billing.CostQuery, without sku
	Filters  map[string][]string // as in billing.CostQuery, without sku
	Limit    int                 // groups in the answer, at least 1
}

// dimensions are what waste can be grouped by, but tags.
var dimensions = []string{
	billing.ByTask, billing.ByFamily, billing.ByDefinition, billing.ByGroup, billing.ByUser, billing.ByAccount, billing.ByRegion,
}

// Check returns what is wrong with q, naming the parameter.
func (q Query) Check() error {
	if _, filtered := q.Filters[billing.BySKU]; filtered || slices.Contains(q.GroupBy, billing.BySKU) {
		return fault.At("groupBy", "seconds are those of all SKUs of a task, so waste is not told by sku; idle.bySku tells what can be")
	}
	for _, by := range q.GroupBy {
		if key, tag := strings.CutPrefix(by, billing.TagKey); !slices.Contains(dimensions, by) && (!tag || key == "") {
			return fault.At("groupBy", "%q is not one of %s, tag:KEY", by, strings.Join(dimensions, ", "))
		}
	}
	return billing.CostQuery{From: q.From, To: q.To, Granularity: billing.Total, GroupBy: q.GroupBy, Filters: q.Filters}.Check()
}

// Report says which part of the costs was for nothing. All sums are exact.
type Report struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	GroupBy  []string  `json:"groupBy"`
	Currency string    `json:"currency"`
	Total    Group     `json:"total" doc:"Of all groups, also of those that are left out"`
	Groups   []Group   `json:"groups" doc:"The most waste first"`
	LeftOut  int       `json:"leftOut" doc:"Groups beyond the limit"`
}

// Group is what was for nothing of what has the same keys: cost = productive + waste, and
// waste is the sum of failed, pull, minimum, rounding and idle.
type Group struct {
	Keys         []string      `json:"keys" doc:"In the order of groupBy; empty for what has no such tag"`
	Tasks        int64         `json:"tasks" doc:"Whose charge began in this time"`
	FailedTasks  int64         `json:"failedTasks" doc:"Of those, failed attempts"`
	Cost         billing.Money `json:"cost" doc:"Of this time, as GET /costs says"`
	Productive   billing.Money `json:"productive" doc:"Of the cost, what was used"`
	Waste        billing.Money `json:"waste" doc:"Of the cost, all else"`
	WastePercent string        `json:"wastePercent" doc:"Of the cost"`
	Failed       Part          `json:"failed" doc:"Whole charges of runs that did not come to run, in which an essential container failed, or that the host took away. These are in no other part"`
	Pull         Part          `json:"pull" doc:"While images were pulled"`
	Minimum      Part          `json:"minimum" doc:"Up to the minute that is charged at least"`
	Rounding     Part          `json:"rounding" doc:"Up to a whole second"`
	Idle         Idle          `json:"idle" doc:"After the pull, what was reserved and not used"`
	Unmeasured   billing.Money `json:"unmeasured" doc:"Of productive, what is from before it was measured how much tasks use"`
}

// Part is one way to waste.
type Part struct {
	Seconds string        `json:"seconds" doc:"Of tasks, that were charged for it"`
	Amount  billing.Money `json:"amount"`
	Percent string        `json:"percent" doc:"Of the cost"`
}

// Idle is what was reserved and not used.
type Idle struct {
	Amount  billing.Money `json:"amount"`
	Percent string        `json:"percent" doc:"Of the cost"`
	BySKU   []IdleSKU     `json:"bySku" doc:"The dearest first"`
}

// IdleSKU is what of one SKU was reserved and not used.
type IdleSKU struct {
	SKU      billing.SKU   `json:"sku"`
	Unit     string        `json:"unit" enum:"vCPU-Hours,GB-Hours"`
	Reserved string        `json:"reserved" doc:"After the pull, with 10 decimals"`
	Idle     string        `json:"idle" doc:"Of those"`
	Amount   billing.Money `json:"amount"`
}

// Limits of what is held in memory.
const (
	groupsMax = 200_000
	livesMax  = 20_000
	batch     = 1_000 // charges whose tasks are looked up together
)

// Of answers q. It reads the entries of the range once, in their order, and holds sums
// and a bounded number of lives: which part of an entry lies in the pull of its task is in
// no sum. A query that has something wrong is fault.Invalid, and one with too many groups
// is fault.TooLarge.
func Of(ctx context.Context, b Book, q Query) (Report, error) {
	r := Report{From: q.From.UTC(), To: q.To.UTC(), GroupBy: q.GroupBy, Currency: "USD", Groups: []Group{}}
	if err := q.Check(); err != nil {
		return r, err
	}
	c := &counter{Book: b, q: q, lives: make(map[task.ID]Life), groups: make(map[string]*sum)}
	some := make([]billing.Charge, 0, batch)
	for ch, err := range b.Charges(ctx, q.From, q.To) {
		if err != nil {
			return r, err
		}
		if some = append(some, ch); len(some) == batch {
			if err := c.count(ctx, some); err != nil {
				return r, err
			}
			some = some[:0]
		}
	}
	if err := c.count(ctx, some); err != nil {
		return r, err
	}
	r.Total = c.total.group([]string{})
	for _, key := range slices.Sorted(maps.Keys(c.groups)) {
		keys := []string{}
		if len(q.GroupBy) > 0 {
			keys = strings.Split(key, separator)
		}
		r.Groups = append(r.Groups, c.groups[key].group(keys))
	}
	slices.SortStableFunc(r.Groups, func(x, y Group) int { return cmp.Compare(y.Waste, x.Waste) })
	if n := len(r.Groups); n > q.Limit {
		r.Groups, r.LeftOut = r.Groups[:q.Limit], n-q.Limit
	}
	return r, nil
}

// counter adds up charges.
type counter struct {
	Book
	q      Query
	lives  map[task.ID]Life
	groups map[string]*sum
	total  sum
}

// separator parts the keys of a group.
const separator = "\x00"

// count adds charges up.
func (c *counter) count(ctx context.Context, charges []billing.Charge) error {
	charges = slices.DeleteFunc(charges, func(ch billing.Charge) bool { return !ch.Has(c.q.Filters) })
	if err := c.meet(ctx, charges); err != nil {
		return err
	}
	for _, ch := range charges {
		keys := make([]string, len(c.q.GroupBy))
		for i, by := range c.q.GroupBy {
			keys[i], _ = ch.Value(by)
		}
		key := strings.Join(keys, separator)
		g := c.groups[key]
		if g == nil {
			if len(c.groups) == groupsMax {
				return fault.New(fault.TooLarge, "there are more than %d groups; ask for a shorter time, or for fewer things", groupsMax)
			}
			g = new(sum)
			c.groups[key] = g
		}
		life := c.lives[ch.Task]
		split := For(ch.Entry, life)
		g.add(ch.Entry, life, split)
		c.total.add(ch.Entry, life, split)
	}
	return nil
}

// meet looks up the lives of the tasks of charges that are not known yet.
func (c *counter) meet(ctx context.Context, charges []billing.Charge) error {
	if len(c.lives) > livesMax {
		clear(c.lives)
	}
	var ids []task.ID
	for _, ch := range charges {
		if _, known := c.lives[ch.Task]; !known {
			c.lives[ch.Task] = Life{}
			ids = append(ids, ch.Task)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	runs, err := c.RunsOf(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if r, ok := runs[id]; ok {
			c.lives[id] = LifeOfRun(r)
			continue
		}
		t, err := c.Task(ctx, id) // It goes on, or its record is not made yet.
		switch {
		case err == nil:
			c.lives[id] = LifeOf(t)
		case fault.KindOf(err) != fault.NotFound:
			return fmt.Errorf("look up task %s: %w", id, err)
		}
	}
	return nil
}

// sum is a running sum. The zero value is nothing.
type sum struct {
	Parts
	tasks, failedTasks              int64
	failed, pull, minimum, rounding billing.Units // seconds of tasks
	idle                            map[billing.SKU]*idle
	unmeasured                      billing.Money
}

type idle struct {
	reserved, unused billing.Units
	amount           billing.Money
}

func (s *sum) add(e billing.Entry, l Life, p Split) {
	s.Productive += p.Productive
	s.Failed += p.Parts.Failed
	s.Parts.Pull += p.Parts.Pull
	s.Minimum += p.Minimum
	s.Rounding += p.Rounding
	s.Idle += p.Idle
	s.unmeasured += p.Unmeasured
	if p.Ran != 0 {
		if s.idle == nil {
			s.idle = make(map[billing.SKU]*idle)
		}
		i := s.idle[e.SKU]
		if i == nil {
			i = new(idle)
			s.idle[e.SKU] = i
		}
		plus(&i.reserved, p.Ran)
		plus(&i.unused, p.Unused)
		i.amount += p.Idle
	}
	if !timed(e.SKU) { // Each task has one SKU by which its time is counted.
		return
	}
	if e.Seq == 1 {
		s.tasks++
		if l.Failed {
			s.failedTasks++
		}
	}
	took := int64(e.To.Sub(e.From))
	if e.Kind == billing.Reversal {
		took = -took
	}
	switch {
	case l.Failed:
		plus(&s.failed, took)
	case p.Kind == billing.SecondRoundUp:
		plus(&s.rounding, took)
	case p.Kind == billing.MinimumTopUp:
		plus(&s.minimum, took)
	default:
		plus(&s.pull, int64(p.Pull))
	}
}

// timed reports whether tasks have one charge of k each.
func timed(k billing.SKU) bool { return k.Unit() == "vCPU-Hours" && k != billing.WindowsOS }

func plus(u *billing.Units, n int64) {
	more := billing.UnitsOf(n)
	u.Seconds += more.Seconds
	u.Nanos += more.Nanos
}

// group returns s as it travels.
func (s *sum) group(keys []string) Group {
	cost := s.Sum()
	part := func(m billing.Money, u billing.Units) Part {
		return Part{Seconds: seconds(u), Amount: m, Percent: percent(m, cost)}
	}
	g := Group{
		Keys: keys, Tasks: s.tasks, FailedTasks: s.failedTasks, Cost: cost, Productive: s.Productive, Waste: cost - s.Productive,
		Failed: part(s.Failed, s.failed), Pull: part(s.Pull, s.pull), Minimum: part(s.Minimum, s.minimum), Rounding: part(s.Rounding, s.rounding),
		Idle: Idle{Amount: s.Idle, Percent: percent(s.Idle, cost), BySKU: []IdleSKU{}}, Unmeasured: s.unmeasured,
	}
	g.WastePercent = percent(g.Waste, cost)
	for _, k := range slices.Sorted(maps.Keys(s.idle)) {
		i := s.idle[k]
		g.Idle.BySKU = append(g.Idle.BySKU, IdleSKU{SKU: k, Unit: k.Unit(), Reserved: hours(k, i.reserved), Idle: hours(k, i.unused), Amount: i.amount})
	}
	slices.SortStableFunc(g.Idle.BySKU, func(x, y IdleSKU) int { return cmp.Compare(y.Amount, x.Amount) })
	return g
}

// whole returns u in nanoseconds × size.
func whole(u billing.Units) *big.Int {
	n := new(big.Int).Mul(big.NewInt(u.Seconds), big.NewInt(1e9))
	return n.Add(n, big.NewInt(u.Nanos))
}

// seconds writes u in seconds, exactly.
func seconds(u billing.Units) string {
	text := new(big.Rat).SetFrac(whole(u), big.NewInt(1e9)).FloatString(9)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// hours writes units of k in unit-hours with ten decimals.
func hours(k billing.SKU, u billing.Units) string {
	per := int64(1024)
	if k == billing.Storage {
		per = 1
	}
	return new(big.Rat).SetFrac(whole(u), new(big.Int).Mul(big.NewInt(per), big.NewInt(int64(time.Hour)))).FloatString(10)
}

// percent writes 100 × m / of with two decimals; 0.00 of nothing.
func percent(m, of billing.Money) string {
	if of == 0 {
		return "0.00"
	}
	return new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(int64(m)), big.NewInt(100)), big.NewInt(int64(of))).FloatString(2)
}
