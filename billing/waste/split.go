package waste

import (
	"math/bits"
	"time"

	"berth/billing"
	"berth/billing/history"
	"berth/task"
)

// Life is what of a task decides what its charges were for. The zero value is a task of
// which nothing is known any more.
type Life struct {
	From   time.Time // its charge begins with the pull
	Pulled time.Time // the pull ended; zero: it goes on
	Failed bool
}

// LifeOfRun returns the life of a run that has ended.
func LifeOfRun(r history.Run) Life {
	from := r.StoppedAt.Add(-r.Metered())
	return Life{From: from, Pulled: from.Add(r.Pull), Failed: Failed(r)}
}

// LifeOf returns the life of a task. One that goes on has not failed yet.
func LifeOf(t task.Task) Life {
	if t.LastStatus.Final() {
		return LifeOfRun(history.Of(t, nil))
	}
	return Life{From: t.PullStartedAt, Pulled: t.PullStoppedAt}
}

// Failed reports whether a run was a failed attempt: it did not come to run, an essential
// container failed, or the host took it away. A run that was stopped, by hand, by its timeout
// or for want of money, did not fail: the exit code is then that of the signal.
func Failed(r history.Run) bool {
	switch r.StopCode {
	case task.UserInitiated, task.SpendLimit:
		return false
	case task.Infrastructure:
		return true
	}
	return r.Failed()
}

// Parts is an amount by what it was for. They add up to it exactly.
type Parts struct{ Productive, Failed, Pull, Minimum, Rounding, Idle billing.Money }

// Sum returns the amount.
func (p Parts) Sum() billing.Money {
	return p.Productive + p.Failed + p.Pull + p.Minimum + p.Rounding + p.Idle
}

// Split is an entry by what it was for.
type Split struct {
	Parts
	Kind billing.Kind  // why the entry was made or, if it takes one back, that one
	Pull time.Duration // of its time, as far as it is Parts.Pull

	Ran        int64         // units that were reserved after the pull; of a failed run none
	Unused     int64         // of those, the ones that were not used
	Unmeasured billing.Money // of Parts.Productive, for time of which nobody measured what was used
}

// For says what e was for, in the life of its task. What takes an entry back has the
// parts of the entry, negative.
//
// Shares are rounded half to even to a nano-dollar, and the rest is productive. What was
// used during the pull, which can only be told by where two readings are joined by a
// line, counts for what comes after it.
func For(e billing.Entry, l Life) Split {
	s := Split{Kind: e.Takes()}
	switch {
	case l.Failed:
		s.Failed = e.Amount
		return s
	case s.Kind == billing.SecondRoundUp:
		s.Rounding = e.Amount
		return s
	case s.Kind == billing.MinimumTopUp:
		s.Minimum = e.Amount
		return s
	}
	from, to, back := e.From, e.To, e.To.Before(e.From)
	if back {
		from, to = to, from
	}
	whole := to.Sub(from)
	if whole == 0 {
		s.Productive = e.Amount
		return s
	}
	pull := overlap(from, to, l)
	s.Pull = pull
	s.Parts.Pull = share(e.Amount, int64(pull), int64(whole))
	rest := e.Amount - s.Parts.Pull
	s.Ran = e.Units / int64(whole) * int64(whole-pull) // units are a size × whole
	switch {
	case !e.Used.Known:
		s.Productive, s.Unmeasured = rest, rest
	case s.Ran == 0:
		s.Productive = rest
	default:
		s.Unused = s.Ran - within(e.Used.Units, s.Ran)
		s.Idle = share(rest, s.Unused, s.Ran)
		s.Productive = rest - s.Idle
	}
	if e.Units < 0 {
		s.Pull = -pull
	}
	return s
}

// overlap returns how much of the time lies in the pull.
func overlap(from, to time.Time, l Life) time.Duration {
	if l.From.IsZero() {
		return 0
	}
	if l.From.After(from) {
		from = l.From
	}
	if !l.Pulled.IsZero() && l.Pulled.Before(to) {
		to = l.Pulled
	}
	return max(0, to.Sub(from))
}

// within returns used, but no more than reserved and nothing of the other sign.
func within(used, reserved int64) int64 {
	if reserved < 0 {
		return min(0, max(used, reserved))
	}
	return max(0, min(used, reserved))
}

// share returns m × part / whole, rounded half to even. part is from 0 to whole, which is
// not 0; both may be negative.
func share(m billing.Money, part, whole int64) billing.Money {
	if part < 0 || whole < 0 {
		part, whole = -part, -whole
	}
	sign, n := billing.Money(1), uint64(m)
	if m < 0 {
		sign, n = -1, -n
	}
	hi, lo := bits.Mul64(n, uint64(part))
	quo, rem := bits.Div64(hi, lo, uint64(whole)) // part ≤ whole, so it fits
	if twice := 2 * rem; twice > uint64(whole) || twice == uint64(whole) && quo&1 == 1 {
		quo++
	}
	return sign * billing.Money(quo)
}
