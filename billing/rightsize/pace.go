package rightsize

import (
	"cmp"
	"math"
	"slices"
	"time"

	"berth/billing"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

// month is how long a month is (AWS Pricing Calculator).
const month = 730 * time.Hour

// charged is how long a run was charged for, and how much of that was in the lookback.
type charged struct{ all, within time.Duration }

// some is a number of runs.
type some struct {
	all   int64
	usual int64 // of these, those that say how long one takes
}

// pace is how long runs take, and how often there is one.
type pace struct {
	lengths map[charged]some
	total   some
	span    time.Duration // in which they were
	day     int64         // runs in a day; 0: as many as there were
}

// paceOf looks at runs, of which there is at least one.
func paceOf(runs []history.Run, q Request, since, now time.Time) pace {
	p := pace{lengths: make(map[charged]some), day: q.RunsPerDay}
	first, usual := now, tells(runs)
	for _, r := range runs {
		began, billed := r.StoppedAt.Add(-r.Metered()), billing.Billed(r.Metered())
		before := max(since.Sub(began), 0)
		if began.Add(before).Before(first) {
			first = began.Add(before)
		}
		length := charged{billed, max(billed-before, 0)}
		n := p.lengths[length]
		n.all++
		p.total.all++
		if usual(r) {
			n.usual++
			p.total.usual++
		}
		p.lengths[length] = n
	}
	p.span = max(now.Sub(first), 24*time.Hour)
	return p
}

// tells returns which of runs say how long one takes: those that came to their end and
// did what they were for; if there are none, those that others ended; then those that go
// on; then those that failed.
func tells(runs []history.Run) func(history.Run) bool {
	for _, usual := range []func(history.Run) bool{
		func(r history.Run) bool { return r.Completed() && !r.Failed() },
		func(r history.Run) bool { return r.StopCode != "" && !r.Failed() },
		func(r history.Run) bool { return !r.Failed() },
	} {
		if slices.ContainsFunc(runs, usual) {
			return usual
		}
	}
	return func(history.Run) bool { return true }
}

// runs returns how many there are in a month, one at least.
func (p pace) runs() int64 {
	n, per := p.day*int64(month/time.Hour), int64(24)
	if p.day == 0 {
		n, per = p.total.all*int64(month/time.Second), int64(p.span/time.Second)
	}
	return max((n+per/2)/per, 1)
}

// costs returns what runs cost that have shape s and take as long: one on average, and
// those of a month. Each run is rounded as the ledger does, and what is made of them
// once. A sum beyond 9.2 billion USD is fault.Invalid.
func (p pace) costs(s billing.Shape, list billing.PriceList) (one, inMonth billing.Money, err error) {
	var usual, all billing.Money
	for length, n := range p.lengths {
		each, err := estimate.Total(s, list, length.all)
		if err != nil {
			return 0, 0, err
		}
		if usual, err = plus(usual, each, n.usual); err != nil {
			return 0, 0, err
		}
		if length.within < length.all {
			if each, err = estimate.Scale(each, int64(length.within), int64(length.all)); err != nil {
				return 0, 0, err
			}
		}
		if all, err = plus(all, each, n.all); err != nil {
			return 0, 0, err
		}
	}
	if one, err = estimate.Scale(usual, 1, p.total.usual); err != nil {
		return 0, 0, err
	}
	if p.day > 0 {
		inMonth, err = estimate.Scale(usual, p.day*int64(month/time.Hour), 24*p.total.usual)
	} else {
		inMonth, err = estimate.Scale(all, int64(month), int64(p.span))
	}
	return one, inMonth, err
}

// plus returns sum + n × each. None of them is negative.
func plus(sum, each billing.Money, n int64) (billing.Money, error) {
	if each > 0 && n > int64((math.MaxInt64-sum)/each) {
		return 0, fault.New(fault.Invalid, "the sum is beyond 9.2 billion USD")
	}
	return sum + each*billing.Money(n), nil
}

// price fills in what the runs cost at sizes, and what is saved by best.
func (r *Recommendation) price(best task.Size, list billing.PriceList, p pace) error {
	r.RunsPerMonth = p.runs()
	var now, then Option
	for _, size := range around(r.Shape.Size(), best) {
		s := r.Shape
		s.CPU, s.Memory = size.CPU, size.Memory
		o := Option{CPU: size.CPU, Memory: size.Memory, Enough: r.Needs.fits(size)}
		var err error
		if o.PerRun, o.PerMonth, err = p.costs(s, list); err != nil {
			return err
		}
		r.Options = append(r.Options, o)
		if size == r.Shape.Size() {
			now = o
		}
		if size == best {
			then = o
		}
	}
	slices.SortStableFunc(r.Options, func(a, b Option) int { return cmp.Compare(a.PerRun, b.PerRun) })
	r.SavingPerRun, r.SavingPerMonth = now.PerRun-then.PerRun, now.PerMonth-then.PerMonth
	if now.PerMonth > 0 {
		percent, err := estimate.Scale(r.SavingPerMonth, 100, int64(now.PerMonth))
		if err != nil {
			return err
		}
		r.SavingPercent = int(percent)
	}
	return nil
}
