package scaling

import (
	"fmt"
	"math"
	"time"
)

// Load is what the tasks of a service used in a minute.
type Load struct {
	At     time.Time // the minute begins
	Tasks  float64   // tasks that were charged in it, each by its part of the minute
	CPU    float64   // percent of the CPU that they reserved
	Memory float64   // percent of the memory that they reserved, without inactive page cache
}

func (l Load) of(m Metric) float64 {
	if m == Memory {
		return l.Memory
	}
	return l.CPU
}

// The alarms' rules (Application Auto Scaling user guide, "How target tracking scaling for
// Application Auto Scaling works"; CloudWatch's alarms of a policy).
const (
	highMinutes = 3
	lowMinutes  = 15
	lowPart     = 0.9 // of the target
)

// decision is a wish to have another number of tasks.
type decision struct {
	want  int
	cause string
}

// decide says how many tasks a target should have, if not as many as it has. loads are of
// minutes without a gap, in order, the last one the newest.
func decide(t Target, policies []Policy, loads []Load, have int, now time.Time) (decision, bool) {
	switch {
	case have < t.Min:
		return decision{t.Min, fmt.Sprintf("minimum capacity was set to %d", t.Min)}, true
	case have > t.Max:
		return decision{t.Max, fmt.Sprintf("maximum capacity was set to %d", t.Max)}, true
	}
	out, shrink := decision{want: have}, decision{want: -1}
	agreed := len(policies) > 0 // Fewer tasks have to be right for every policy that takes any away.
	for _, p := range policies {
		if want, breached := p.high(loads); breached && want > out.want && !now.Before(t.LastOut.Add(p.cooldown(true))) {
			out = decision{want, cause(p, High)}
		}
		if p.DisableScaleIn {
			continue
		}
		want, breached := p.low(loads)
		agreed = agreed && breached && !now.Before(later(t.LastOut, t.LastIn).Add(p.cooldown(false)))
		if want > shrink.want {
			shrink = decision{want, cause(p, Low)}
		}
	}
	out.want = min(out.want, t.Max)
	if out.want > have {
		return out, !t.Suspended.Out
	}
	shrink.want = max(shrink.want, t.Min, 1) // From none no load would ever lead back.
	if agreed && shrink.cause != "" && shrink.want < have {
		return shrink, !t.Suspended.In
	}
	return decision{}, false
}

func cause(p Policy, a Alarm) string {
	name, _ := p.Alarm(a)
	return fmt.Sprintf("monitor alarm %s in state ALARM triggered policy %s", name, p.Name)
}

// high reports whether the newest minutes were all above the target, and how many tasks
// their load needs at the target, on average.
func (p Policy) high(loads []Load) (want int, breached bool) {
	if len(loads) < highMinutes {
		return 0, false
	}
	sum := 0.0
	for _, l := range loads[len(loads)-highMinutes:] {
		if l.Tasks == 0 || l.of(p.Metric) <= p.Target {
			return 0, false
		}
		sum += p.needs(l)
	}
	return tasks(sum / highMinutes), true
}

// low reports whether the newest minutes were all far below the target, and how many tasks
// the highest load of them needs.
func (p Policy) low(loads []Load) (want int, breached bool) {
	if len(loads) < lowMinutes {
		return 0, false
	}
	most := 0.0
	for _, l := range loads[len(loads)-lowMinutes:] {
		if l.Tasks == 0 || l.of(p.Metric) >= lowPart*p.Target {
			return 0, false
		}
		most = max(most, p.needs(l))
	}
	return tasks(most), true
}

// needs returns how many tasks would have had the load of a minute at the target.
func (p Policy) needs(l Load) float64 { return l.of(p.Metric) / p.Target * l.Tasks }

// tasks rounds up, but not for what is left over by arithmetic.
func tasks(n float64) int { return int(math.Ceil(n - 1e-6)) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
