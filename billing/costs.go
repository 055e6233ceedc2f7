package billing

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"berth/fault"
	"berth/task"
)

// Facts is what costs can be told apart by, besides the task and the SKU. They
// are kept when the task is forgotten. What was charged before a tag changed
// keeps the tags that the task had then.
type Facts struct {
	Account    string
	Region     string
	Cluster    string
	Definition string // family:revision
	Group      string
	StartedBy  string
	Tags       []task.Tag // by key
}

// Family returns the family of the definition.
func (f *Facts) Family() string {
	family, _, _ := strings.Cut(f.Definition, ":")
	return family
}

// FactsOf returns what is known of t.
func FactsOf(t task.Task) Facts {
	f := factsOfARN(t.ARN)
	if family, revision, ok := strings.Cut(t.DefinitionARN[strings.LastIndexByte(t.DefinitionARN, '/')+1:], ":"); ok {
		f.Definition = family + ":" + revision
	}
	f.Group, f.StartedBy, f.Tags = t.Group, t.StartedBy, slices.Clone(t.Tags)
	slices.SortFunc(f.Tags, func(a, b task.Tag) int { return strings.Compare(a.Key, b.Key) })
	return f
}

// factsOfARN returns what a task's ARN says: arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/ID.
func factsOfARN(arn string) Facts {
	var f Facts
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		f.Region, f.Account = parts[3], parts[4]
		if path := strings.Split(parts[5], "/"); len(path) == 3 {
			f.Cluster = path[1]
		}
	}
	return f
}

// ForgottenFacts returns what is known of a task that was forgotten before its
// facts were kept: what its ARN says.
func ForgottenFacts(arn string) Facts { return factsOfARN(arn) }

// Charge is an entry of the ledger and what is known of its task. Charges of one
// set of facts share one Facts.
type Charge struct {
	Entry
	Facts *Facts
}

// Value returns by what c is grouped: a value of one of the By constants or of a tag;
// false if it has no such tag.
func (c Charge) Value(by string) (value string, ok bool) {
	if key, tag := strings.CutPrefix(by, TagKey); tag {
		i := slices.IndexFunc(c.Facts.Tags, func(t task.Tag) bool { return t.Key == key })
		if i < 0 {
			return "", false
		}
		return c.Facts.Tags[i].Value, true
	}
	switch by {
	case ByTask:
		return string(c.Task), true
	case ByFamily:
		return c.Facts.Family(), true
	case ByDefinition:
		return c.Facts.Definition, true
	case ByGroup:
		return c.Facts.Group, true
	case ByUser:
		return c.Facts.StartedBy, true
	case ByAccount:
		return c.Facts.Account, true
	case BySKU:
		return string(c.SKU), true
	case ByRegion:
		return c.Facts.Region, true
	}
	return "", false
}

// Has reports whether c passes the filters of a CostQuery.
func (c Charge) Has(filters map[string][]string) bool {
	for by, values := range filters {
		if v, ok := c.Value(by); !ok || len(values) > 0 && !slices.Contains(values, v) {
			return false
		}
	}
	return true
}

// The steps of time by which costs can be told.
const (
	Total   = "TOTAL" // one step, the whole range
	Hourly  = "HOURLY"
	Daily   = "DAILY"
	Monthly = "MONTHLY"
)

// What costs can be grouped and filtered by; by a tag it is TagKey and its key.
const (
	ByTask       = "task"
	ByFamily     = "family"
	ByDefinition = "definition"
	ByGroup      = "group"
	ByUser       = "user" // startedBy
	ByAccount    = "account"
	BySKU        = "sku"
	ByRegion     = "region"
	TagKey       = "tag:"
)

// dimensions are all of the above but tags.
var dimensions = []string{ByTask, ByFamily, ByDefinition, ByGroup, ByUser, ByAccount, BySKU, ByRegion}

// CostQuery asks what was charged in a range of time. Entries count in the hour in
// which they are booked: the one in which their time begins or, for what is
// taken back of a period that is closed, the one in which it was taken back.
type CostQuery struct {
	From, To    time.Time // full hours, UTC; To is not included
	Granularity string
	GroupBy     []string
	Filters     map[string][]string // by what, and the values of which it must have one; a tag without values must be there
}

// maxSteps is how many steps of time a query may have: a year of hours.
const maxSteps = 366 * 24

// Check returns what is wrong with q, naming the parameter.
func (q CostQuery) Check() error {
	switch {
	case !q.From.Before(q.To):
		return fault.At("to", "is not after from")
	case !q.From.Equal(q.From.Truncate(time.Hour)) || !q.To.Equal(q.To.Truncate(time.Hour)):
		return fault.At("from", "costs are known by full hours, UTC")
	case q.Granularity == Hourly && q.To.Sub(q.From) > maxSteps*time.Hour:
		return fault.At("granularity", "the range is longer than a year of hours")
	}
	if !slices.Contains([]string{Total, Hourly, Daily, Monthly}, q.Granularity) {
		return fault.At("granularity", "%q is not one of TOTAL, HOURLY, DAILY, MONTHLY", q.Granularity)
	}
	seen := make(map[string]bool)
	for _, by := range q.GroupBy {
		if key, tag := strings.CutPrefix(by, TagKey); !slices.Contains(dimensions, by) && (!tag || key == "") {
			return fault.At("groupBy", "%q is not one of %s, tag:KEY", by, strings.Join(dimensions, ", "))
		}
		if seen[by] {
			return fault.At("groupBy", "%q is there twice", by)
		}
		seen[by] = true
	}
	for by, values := range q.Filters {
		if key, tag := strings.CutPrefix(by, TagKey); !slices.Contains(dimensions, by) && (!tag || key == "") {
			return fault.At(by, "costs cannot be filtered by it")
		} else if !tag && len(values) == 0 {
			return fault.At(by, "names no value")
		}
	}
	return nil
}

// NeedsTasks reports whether q asks for single tasks. These are in the ledger
// only, and not in what is summed up beforehand.
func (q CostQuery) NeedsTasks() bool {
	_, filtered := q.Filters[ByTask]
	return filtered || slices.Contains(q.GroupBy, ByTask)
}

// Step returns the step of time in which at is.
func (q CostQuery) Step(at time.Time) (from, to time.Time) {
	at = at.UTC()
	switch q.Granularity {
	case Hourly:
		from = at.Truncate(time.Hour)
		to = from.Add(time.Hour)
	case Daily:
		from = at.Truncate(24 * time.Hour)
		to = from.Add(24 * time.Hour)
	case Monthly:
		from = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		to = from.AddDate(0, 1, 0)
	default:
		return q.From, q.To
	}
	if from.Before(q.From) {
		from = q.From
	}
	if to.After(q.To) {
		to = q.To
	}
	return from, to
}

// CostReport says what was charged. All sums are exact.
type CostReport struct {
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	Granularity string    `json:"granularity" enum:"TOTAL,HOURLY,DAILY,MONTHLY"`
	GroupBy     []string  `json:"groupBy"`
	Currency    string    `json:"currency"`
	Total       Cost      `json:"total" doc:"Of all groups, also of those on other pages"`
	Groups      []Group   `json:"groups" doc:"By time and keys"`
	NextToken   string    `json:"nextToken,omitempty"`
}

// Group is what was charged in one step of time for what has the same keys.
type Group struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Keys []string  `json:"keys" doc:"In the order of groupBy; empty for what has no such tag"`
	Cost
}

// Cost is an amount and what it is for, in unit-hours with ten decimals. Used is
// what of the reserved was used, as far as it was measured.
type Cost struct {
	Amount            Money  `json:"amount"`
	VCPUHours         string `json:"vcpuHours"`
	MemoryGBHours     string `json:"memoryGBHours"`
	StorageGBHours    string `json:"storageGBHours" doc:"Above the free 20 GiB"`
	UsedVCPUHours     string `json:"usedVCPUHours"`
	UsedMemoryGBHours string `json:"usedMemoryGBHours"`
}

// CostSum is a running sum of what Cost tells. The zero value is nothing.
type CostSum struct {
	Amount         Money
	reserved, used [3]Units // vCPU, memory, storage
}

// Units is a number of size × nanoseconds that can be larger than an int64: a
// hundred vCPU for a day are.
type Units struct{ Seconds, Nanos int64 } // size × seconds, and what is left; of one sign, or not normalised

// UnitsOf splits units.
func UnitsOf(units int64) Units { return Units{units / 1e9, units % 1e9} }

// Add adds what one SKU was charged.
func (s *CostSum) Add(k SKU, amount Money, reserved, used Units) {
	s.Amount += amount
	i := k.class()
	if i < 0 {
		return
	}
	s.reserved[i] = Units{s.reserved[i].Seconds + reserved.Seconds, s.reserved[i].Nanos + reserved.Nanos}
	s.used[i] = Units{s.used[i].Seconds + used.Seconds, s.used[i].Nanos + used.Nanos}
}

// Plus adds another sum.
func (s *CostSum) Plus(o CostSum) {
	s.Amount += o.Amount
	for i := range s.reserved {
		s.reserved[i] = Units{s.reserved[i].Seconds + o.reserved[i].Seconds, s.reserved[i].Nanos + o.reserved[i].Nanos}
		s.used[i] = Units{s.used[i].Seconds + o.used[i].Seconds, s.used[i].Nanos + o.used[i].Nanos}
	}
}

// Cost returns the sum as it travels.
func (s *CostSum) Cost() Cost {
	return Cost{
		Amount: s.Amount, VCPUHours: s.reserved[0].hours(1024), MemoryGBHours: s.reserved[1].hours(1024), StorageGBHours: s.reserved[2].hours(1),
		UsedVCPUHours: s.used[0].hours(1024), UsedMemoryGBHours: s.used[1].hours(1024),
	}
}

// hours writes units as unit-hours with ten decimals, rounded half away from zero.
func (u Units) hours(per int64) string {
	n := new(big.Int).Add(new(big.Int).Mul(big.NewInt(u.Seconds), big.NewInt(1e9)), big.NewInt(u.Nanos))
	return new(big.Rat).SetFrac(n, new(big.Int).Mul(big.NewInt(per), big.NewInt(int64(time.Hour)))).FloatString(10)
}

// class returns 0 for vCPU, 1 for memory, 2 for storage, and -1 for what is no
// resource, like a licence.
func (k SKU) class() int {
	switch name := string(k); {
	case strings.Contains(name, "vCPU"):
		return 0
	case strings.Contains(name, "Storage"):
		return 2
	case strings.HasSuffix(name, "GB-Hours"):
		return 1
	}
	return -1
}
