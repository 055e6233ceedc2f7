package whatif

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"slices"
	"time"

	"berth/billing"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

// Runs remembers how runs went.
type Runs interface {
	// EachRun yields the runs that q selects, the latest first.
	EachRun(ctx context.Context, q history.Query) iter.Seq2[history.Run, error]
}

// Config is what New needs. All fields are required.
type Config struct {
	Runs   Runs
	Prices estimate.Prices
	Now    func() time.Time
}

// Replayer replays runs. It changes nothing.
type Replayer struct{ Config }

// New returns a Replayer.
func New(c Config) *Replayer { return &Replayer{c} }

// Request says which runs to replay, and on which terms. What is left out of the terms is
// as it was.
type Request struct {
	Account string `json:"-"` // whose runs are looked at; empty: everybody's

	Days   int       `json:"days,omitempty" minimum:"0" maximum:"400" doc:"Runs that stopped in so many days before now; 30 if nothing is said. Not beside from and to"`
	From   time.Time `json:"from,omitzero" doc:"Runs that stopped then or later"`
	To     time.Time `json:"to,omitzero" doc:"Runs that stopped before; now if left out"`
	Family string    `json:"family,omitempty" doc:"Of this family only"`

	CPU          int    `json:"cpu,omitempty" minimum:"0" doc:"CPU units; with memory, a size that Fargate has"`
	Memory       int    `json:"memory,omitempty" minimum:"0" doc:"MiB"`
	Architecture string `json:"cpuArchitecture,omitempty" enum:"X86_64,ARM64"`
	Spot         *bool  `json:"spot,omitempty" doc:"true: on FARGATE_SPOT; false: on demand"`
	Region       string `json:"region,omitempty" doc:"Whose prices; those in use on this server if left out"`
}

// Limits of a Request. Runs are remembered for 400 days.
const (
	maxDays     = 400
	defaultDays = 30
)

// Result compares what runs cost with what they would have cost. Amounts are US dollars as
// decimal strings.
type Result struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Currency string    `json:"currency"`
	Total    Compared  `json:"total"`
	Families []Family  `json:"families" doc:"The largest difference first"`
	LeftOut  []LeftOut `json:"leftOut" doc:"Runs that are on neither side"`
	Notes    []string  `json:"notes" doc:"What was taken for granted, and what speaks against the terms"`
}

// Family is the runs of one family.
type Family struct {
	Family string `json:"family"`
	Compared
}

// Compared is some runs, as they were and on the terms asked about.
type Compared struct {
	Runs         int64         `json:"runs"`
	Actual       billing.Money `json:"actual" doc:"As they were, at the prices that held when their charge began"`
	Hypothetical billing.Money `json:"hypothetical" doc:"On the terms asked about, at the prices of that time"`
	Difference   billing.Money `json:"difference" doc:"hypothetical − actual; below zero is a saving"`
	Percent      string        `json:"percent" doc:"Of actual"`
	OverMemory   int64         `json:"overMemory" doc:"Runs that needed more than the memory asked about: their working set was larger, or the kernel killed for memory with as much. They would have been killed"`
	OverCPU      int64         `json:"overCPU" doc:"Runs that had more vCPU than is asked about and used more, on average of a minute or of a shorter run. They would have taken longer"`
	Unmeasured   int64         `json:"unmeasured" doc:"Runs of which it is not known what they used"`
}

// LeftOut is runs that cannot be compared.
type LeftOut struct {
	Family string `json:"family"`
	Runs   int64  `json:"runs"`
	Reason string `json:"reason"`
}

// Replay answers r. Errors are fault.Invalid with the field, also for a region that has
// no prices at all.
func (p *Replayer) Replay(ctx context.Context, r Request) (Result, error) {
	now := p.Now().UTC()
	q, err := r.query(now)
	if err != nil {
		return Result{}, err
	}
	if _, err := p.Prices.PriceList(ctx, r.Region, now); err != nil {
		return Result{}, err
	}
	out := Result{From: q.Since.UTC(), To: q.Until.UTC(), Currency: "USD", Families: []Family{}, LeftOut: []LeftOut{}}
	families := make(map[string]*Compared)
	left := make(map[LeftOut]int64)
	for run, err := range p.Runs.EachRun(ctx, q) {
		if err != nil {
			return out, err
		}
		if !run.Charged {
			continue // It cost nothing, and would have on any terms.
		}
		one, err := p.compare(ctx, r, run)
		if fault.KindOf(err) == fault.NotFound {
			left[LeftOut{Family: run.Family, Reason: fault.Message(err)}]++
			continue
		} else if err != nil {
			return out, err
		}
		f := families[run.Family]
		if f == nil {
			f = new(Compared)
			families[run.Family] = f
		}
		f.add(one)
		out.Total.add(one)
	}
	for _, name := range slices.Sorted(maps.Keys(families)) {
		families[name].close()
		out.Families = append(out.Families, Family{name, *families[name]})
	}
	slices.SortStableFunc(out.Families, func(x, y Family) int {
		return cmp.Compare(max(y.Difference, -y.Difference), max(x.Difference, -x.Difference))
	})
	for l, n := range left {
		l.Runs = n
		out.LeftOut = append(out.LeftOut, l)
	}
	slices.SortFunc(out.LeftOut, func(x, y LeftOut) int {
		return cmp.Or(cmp.Compare(x.Family, y.Family), cmp.Compare(x.Reason, y.Reason))
	})
	out.Total.close()
	out.Notes = r.notes(out.Total)
	return out, nil
}

// query returns which runs are asked about, and what is wrong with r.
func (r Request) query(now time.Time) (history.Query, error) {
	q := history.Query{Account: r.Account, Family: r.Family, Since: r.From, Until: r.To}
	if q.Until.IsZero() {
		q.Until = now
	}
	switch {
	case r.Days < 0 || r.Days > maxDays:
		return q, fault.At("days", "must be from 1 to %d", maxDays)
	case r.Days > 0 && (!r.From.IsZero() || !r.To.IsZero()):
		return q, fault.At("days", "give it, or from and to, not both")
	case r.Days > 0 || r.From.IsZero():
		days := r.Days
		if days == 0 {
			days = defaultDays
		}
		q.Since = q.Until.AddDate(0, 0, -days)
	}
	if !q.Since.Before(q.Until) {
		return q, fault.At("to", "is not after from")
	}
	return q, r.terms()
}

// terms returns what is wrong with the terms of r.
func (r Request) terms() error {
	switch {
	case r.Architecture != "" && r.Architecture != "X86_64" && r.Architecture != "ARM64":
		return fault.At("cpuArchitecture", "must be X86_64 or ARM64, not %q", r.Architecture)
	case r.CPU == 0 && r.Memory == 0 && r.Architecture == "" && r.Spot == nil && r.Region == "":
		return fault.New(fault.Invalid, "say what would be different: cpu and memory, cpuArchitecture, spot or region")
	case r.CPU == 0 && r.Memory == 0:
		return nil
	case r.Memory == 0:
		return fault.At("memory", "it is missing; a size is cpu and memory")
	case r.CPU == 0:
		return fault.At("cpu", "it is missing; a size is cpu and memory")
	}
	var memories []int
	for _, s := range task.Sizes() {
		if s.CPU == r.CPU {
			memories = append(memories, s.Memory)
		}
	}
	switch {
	case len(memories) == 0:
		return fault.At("cpu", "Fargate has no size with %d CPU units", r.CPU)
	case !slices.Contains(memories, r.Memory):
		return fault.At("memory", "Fargate has no size with %d CPU units and %d MiB; with these units it has %s MiB", r.CPU, r.Memory, listed(memories))
	}
	return nil
}

// listed writes sizes, the middle of many left out.
func listed(sizes []int) string {
	if n := len(sizes); n > 4 {
		return fmt.Sprintf("%d, %d and so on to %d", sizes[0], sizes[1], sizes[n-1])
	}
	text := fmt.Sprint(sizes[0])
	for _, s := range sizes[1:] {
		text += fmt.Sprintf(", %d", s)
	}
	return text
}

// on returns s on the terms of r.
func (r Request) on(s billing.Shape) billing.Shape {
	if r.CPU > 0 {
		s.CPU, s.Memory = r.CPU, r.Memory
	}
	if r.Architecture != "" {
		s.Arch = r.Architecture
	}
	if r.Spot != nil {
		s.Spot = *r.Spot
	}
	return s
}

// compare compares one run. If there is no price for one of the sides, that is
// fault.NotFound.
func (p *Replayer) compare(ctx context.Context, r Request, run history.Run) (c Compared, err error) {
	began := run.StoppedAt.Add(-run.Metered())
	for _, side := range []struct {
		shape  billing.Shape
		region string
		into   *billing.Money
	}{{run.Shape, "", &c.Actual}, {r.on(run.Shape), r.Region, &c.Hypothetical}} {
		list, err := p.Prices.PriceList(ctx, side.region, began)
		if k := fault.KindOf(err); k == fault.Invalid || k == fault.NotFound {
			return c, fault.New(fault.NotFound, "there were no prices of %s yet when its charge began", side.region)
		} else if err != nil {
			return c, err
		}
		if *side.into, err = estimate.Total(side.shape, list, run.Metered()); err != nil {
			return c, err
		}
	}
	c.Runs = 1
	switch {
	case run.Use == nil:
		c.Unmeasured = 1
	case r.CPU > 0:
		most := uint64(r.Memory) << 20
		if run.Use.WorkingSetBytes > most || run.Use.OOMKills > 0 && r.Memory <= run.Shape.Memory {
			c.OverMemory = 1
		}
		for step := range run.Use.Minutes {
			if r.CPU < run.Shape.CPU && (step-1)*history.CPUStep >= r.CPU {
				c.OverCPU = 1
			}
		}
	}
	return c, nil
}

func (c *Compared) add(o Compared) {
	c.Runs += o.Runs
	c.Actual += o.Actual
	c.Hypothetical += o.Hypothetical
	c.OverMemory += o.OverMemory
	c.OverCPU += o.OverCPU
	c.Unmeasured += o.Unmeasured
}

// close works out what follows from the sums.
func (c *Compared) close() {
	c.Difference, c.Percent = c.Hypothetical-c.Actual, "0.00"
	if c.Actual != 0 {
		c.Percent = new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(int64(c.Difference)), big.NewInt(100)), big.NewInt(int64(c.Actual))).FloatString(2)
	}
}

// notes says what was taken for granted, and what speaks against the terms.
func (r Request) notes(c Compared) []string {
	notes := []string{"every run is taken to last as long as it did, its pull included; tasks that still run are not in it"}
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	size := task.Size{CPU: r.CPU, Memory: r.Memory}
	if c.OverMemory > 0 {
		add("%d of %d runs needed more memory than %d MiB: they would have been killed", c.OverMemory, c.Runs, size.Memory)
	}
	if c.OverCPU > 0 {
		add("%d of %d runs used more than %d CPU units on average of a minute: they would have taken longer, and cost more than is said here", c.OverCPU, c.Runs, size.CPU)
	}
	if c.Unmeasured > 0 && r.CPU > 0 {
		add("of %d of %d runs it is not known what they used", c.Unmeasured, c.Runs)
	}
	if r.Architecture == "ARM64" {
		add("the images must be there for ARM64, and programs may be faster or slower on it")
	}
	if r.Spot != nil && *r.Spot {
		add("tasks on FARGATE_SPOT can be interrupted; what is done again then is not in it")
	}
	return notes
}
