package balancer

import (
	"context"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Ensure that between two changes of who is healthy each target is chosen as often as each
// other one, give or take one, whatever came before; and that only those are chosen that
// are healthy, do not drain and were not tried.
func TestTakeIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &Balancer{Config: Config{Now: func() time.Time { return time.Unix(0, 0) }}}
		p := &pool{b: b}
		states := rapid.SampledFrom([]State{Healthy, Healthy, Unhealthy, Initial})
		for range rapid.IntRange(1, 8).Draw(t, "rounds") {
			switch n := rapid.IntRange(0, 3).Draw(t, "change"); {
			case n == 0 || len(p.targets) == 0:
				p.targets = append(p.targets, &target{pool: p, turn: p.turns, quiet: make(chan struct{}), stop: func() {}, warm: &http.Transport{}})
			case n == 1:
				i := rapid.IntRange(0, len(p.targets)-1).Draw(t, "gone")
				p.targets = append(p.targets[:i:i], p.targets[i+1:]...)
			case n == 2:
				p.targets[rapid.IntRange(0, len(p.targets)-1).Draw(t, "drained")].drain(time.Unix(1, 0))
			}
			for _, each := range p.targets {
				each.health.State = states.Draw(t, "state")
			}
			p.take(nil) // A target that was away is chosen first once, to be in step again.
			count := make(map[*target]int)
			for range rapid.IntRange(0, 30).Draw(t, "requests") {
				got := p.take(nil)
				if got != nil {
					count[got]++
					if other := p.take([]*target{got}); other == got {
						t.Fatal("a target was chosen that had been tried")
					} else if other != nil {
						count[other]++
					}
				}
			}
			least, most := 1<<30, 0
			for _, each := range p.targets {
				if each.health.State == Healthy && each.since.IsZero() {
					least, most = min(least, count[each]), max(most, count[each])
				} else if count[each] > 0 {
					t.Fatalf("a target that is %s was chosen", each.health.State)
				}
			}
			if most-least > 1 && least < 1<<30 {
				t.Fatalf("targets were chosen from %d to %d times", least, most)
			}
		}
	})
}

// Ensure a target's state follows from what its checks found last, as often as its
// thresholds say, and changes for no other reason.
func TestHealthRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		by := Check{Interval: 10, Healthy: rapid.IntRange(1, 10).Draw(t, "healthy"), Unhealthy: rapid.IntRange(1, 10).Draw(t, "unhealthy")}
		at := time.Unix(0, 0)
		h := newHealth(at)
		var found []bool // since the state last changed
		for range rapid.IntRange(1, 60).Draw(t, "checks") {
			at = at.Add(h.pause(by))
			passed := rapid.Bool().Draw(t, "passed")
			f := finding{}
			if !passed {
				f = finding{timedOut, "Request timed out"}
			}
			row := 1
			for i := len(found) - 1; i >= 0 && found[i] == passed; i-- {
				row++
			}
			found = append(found, passed)
			want := h.State
			switch h.State {
			case Initial:
				if passed {
					want = Healthy
				} else if at.Sub(time.Unix(0, 0)) >= time.Duration(by.Unhealthy)*10*time.Second {
					want = Unhealthy
				}
			case Healthy:
				if !passed && row >= by.Unhealthy {
					want = Unhealthy
				}
			case Unhealthy:
				if passed && row >= by.Healthy {
					want = Healthy
				}
			}
			before := h
			h = h.after(f, at, by)
			if h.State != want {
				t.Fatalf("%s after %v is %s, want %s", before.State, found, h.State, want)
			}
			if (h.State != before.State) != (h.Since != before.Since) || (h.State == Healthy) != (h.Reason == "") {
				t.Fatalf("%+v became %+v", before, h)
			}
			if h.State != before.State {
				found = nil
			}
		}
	})
}

// Ensure requests are sent twice only if that changes nothing.
func TestRepeatable(t *testing.T) {
	for _, tt := range []struct {
		method string
		body   bool
		header string
		want   bool
	}{{"GET", false, "", true}, {"HEAD", false, "", true}, {"GET", true, "", false}, {"POST", false, "", false}, {"PUT", false, "", false},
		{"DELETE", false, "", false}, {"GET", false, "websocket", false}} {
		req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), tt.method, "http://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.body {
			req.Body = http.MaxBytesReader(nil, http.NoBody, 1)
		}
		if tt.header != "" {
			req.Header.Set("Upgrade", tt.header)
		}
		if got := repeatable(req); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
}
