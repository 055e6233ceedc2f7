package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// codeAssertion is the exit code of "berth run" when the tasks ended well and cost or
// used more than was asserted. It is just below those of xargs (123), timeout (124) and
// Docker (125), and programs rarely end with it.
const codeAssertion = 122

// asserts is what a run may cost and use at most. The zero value asserts nothing.
type asserts struct {
	cost string // US dollars; empty: anything
	peak int64  // bytes; 0: anything

	most billing.Money // of cost
}

func (as *asserts) flags(f *pflag.FlagSet) {
	f.StringVar(&as.cost, "assert-cost", "", "exit with 122 if the tasks together cost more than so many `dollars`")
	f.Var(bytesAtMost(&as.peak), "assert-peak-memory", "exit with 122 if a task's memory was ever more than this `size`, as in 300MiB")
}

// bytesAtMost reads sizes like 300MiB. One without a unit is refused: 300 would be bytes
// to one and MiB to another.
func bytesAtMost(value *int64) amount {
	a := byteSize(value)
	a.kind = "size with a unit, as in 300MiB"
	delete(a.units, "")
	return a
}

// check reads what is asserted and makes w follow the tasks, unless it says otherwise.
func (as *asserts) check(f *pflag.FlagSet, w *wish) error {
	given := false
	for _, name := range []string{"assert-cost", "assert-peak-memory"} {
		switch {
		case !f.Changed(name):
			continue
		case w.dryRun:
			return fault.New(fault.Invalid, "--%s does not go with --dry-run: nothing runs that could be measured", name)
		case f.Changed("follow") && !w.follow:
			return fault.New(fault.Invalid, "--%s does not go with --follow=false: it has to wait for the end", name)
		}
		given = true
	}
	if f.Changed("assert-cost") {
		if err := as.most.UnmarshalText([]byte(strings.TrimPrefix(as.cost, "$"))); err != nil || as.most < 0 {
			return fault.New(fault.Invalid, "--assert-cost %q is not an amount of dollars, as in 0.002, with at most nine decimals", as.cost)
		}
	}
	if f.Changed("assert-peak-memory") && as.peak == 0 {
		return fault.New(fault.Invalid, "--assert-peak-memory must be more than 0")
	}
	w.follow = w.follow || given
	return nil
}

// assert compares tasks that have ended with what is asserted, tells both, and returns
// the exit code. code is how they ended: a container that failed counts more, since what
// a run costs that did not do its work says nothing.
func (a *app) assert(ctx context.Context, as asserts, ended []task.Task, code int) (int, error) {
	failed := false
	check := func(ok bool, what, got, most string) {
		if ok {
			a.note("Asserted: %s was %s, at most %s.", what, got, most)
			return
		}
		failed = true
		a.note("Assertion failed: %s was %s, more than %s.", what, got, most)
	}
	var unknown error
	if as.cost != "" {
		cost, err := a.costOf(ctx, ended)
		if unknown = err; err == nil {
			check(cost <= as.most, "the cost", "$"+cost.String(), "$"+as.most.String())
		}
	}
	if as.peak > 0 {
		peak, err := a.peakOf(ctx, ended)
		if err == nil {
			check(peak <= uint64(as.peak), "the peak of memory", exactBytes(peak), exactBytes(uint64(as.peak)))
		} else if unknown == nil {
			unknown = err
		}
	}
	switch {
	case code != 0 && unknown != nil:
		a.note("Not asserted: %s", clean(explain(unknown)))
		return code, nil
	case code != 0 || unknown != nil:
		return code, unknown
	case failed:
		return codeAssertion, nil
	}
	return 0, nil
}

// exactBytes writes a size so that two which differ look different.
func exactBytes(n uint64) string { return fmt.Sprintf("%s (%d bytes)", byteCount(n), n) }

// costOf returns what tasks cost together, once the ledger has closed them.
func (a *app) costOf(ctx context.Context, ended []task.Task) (sum billing.Money, err error) {
	for _, t := range ended {
		b, err := a.closedBill(ctx, string(t.ID))
		if err != nil {
			return 0, err
		}
		if b.Status != billing.StatusFinal {
			return 0, fault.New(fault.Unavailable, "the ledger has not closed the bill of task %s, so what it cost is not known", t.ID)
		}
		sum += b.Total
	}
	return sum, nil
}

// peakOf returns the most memory that one of the tasks had, page cache included, as the
// kernel counts it. If it is not known of one, that is an error: what was not measured
// was not asserted.
func (a *app) peakOf(ctx context.Context, ended []task.Task) (most uint64, err error) {
	for _, t := range ended {
		var peak uint64
		if t.Usage != nil {
			peak = t.Usage.MemoryPeakBytes
		}
		u, err := a.client().Usage(ctx, string(t.ID), billing.UsageQuery{Resolution: time.Hour})
		if err != nil {
			return 0, err
		}
		if peak = max(peak, u.Summary.MemoryPeakBytes); peak == 0 {
			return 0, fault.New(fault.Unavailable, "the memory of task %s was never measured, so its peak is not known", t.ID)
		}
		most = max(most, peak)
	}
	return most, nil
}
