package scaling

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/fault"
	"berth/task"
)

var web = Resource{task.Realm{Region: "eu-west-1", Account: "111122223333", Cluster: "default"}, "web"}

// world is a Book, Services and Meter in memory: one service under a load.
type world struct {
	mu         sync.Mutex
	target     *Target
	policies   []Policy
	activities map[string]Activity
	order      []string
	changed    chan struct{}

	desired int
	since   time.Time                                // desired changed
	before  int                                      // what it was
	load    func(at time.Time) (cpu, memory float64) // in tasks that it would fill whole
	minutes map[time.Time]Load                       // what was used
	fails   func(what string) (before, after bool)   // a call fails before it did something, or after
	sets    []int
	gone    bool
}

func newWorld(t Target, load float64, policies ...Policy) *world {
	t.Resource = web
	for i := range policies {
		policies[i].Resource, policies[i].Name, policies[i].ID = web, fmt.Sprint("p", i), fmt.Sprint("id", i)
	}
	return &world{
		target: &t, policies: policies, activities: make(map[string]Activity), changed: make(chan struct{}),
		load: func(time.Time) (float64, float64) { return load, load }, minutes: make(map[time.Time]Load),
		fails: func(string) (bool, bool) { return false, false },
	}
}

var errLuck = errors.New("bad luck")

// luckily runs f unless luck is bad, and may not tell that it did.
func (w *world) luckily(what string, f func() error) error {
	before, after := w.fails(what)
	if before {
		return errLuck
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := f(); err != nil {
		return err
	}
	if after {
		return errLuck
	}
	return nil
}

func (w *world) ScalingPlans(context.Context) (all []Plan, err error) {
	err = w.luckily("plans", func() error {
		if w.target != nil {
			all = []Plan{{*w.target, w.policies}}
		}
		return nil
	})
	return all, err
}

func (w *world) NoteScaling(_ context.Context, a Activity, s State) error {
	return w.luckily("note", func() error {
		if _, ok := w.activities[a.ID]; !ok {
			w.order = append(w.order, a.ID)
		}
		w.activities[a.ID] = a
		if w.target != nil {
			w.target.State = s
		}
		return nil
	})
}

func (w *world) DeregisterScalableTarget(context.Context, Resource) error {
	return w.luckily("deregister", func() error { w.target = nil; return nil })
}

func (w *world) ScalingChanged() <-chan struct{} { w.mu.Lock(); defer w.mu.Unlock(); return w.changed }

func (w *world) edit(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) Desired(context.Context, Resource) (n int, err error) {
	err = w.luckily("desired", func() error {
		if n = w.desired; w.gone {
			return fault.New(fault.NotFound, "Service not found.")
		}
		return nil
	})
	return n, err
}

func (w *world) SetDesired(_ context.Context, _ Resource, n int, _ string) error {
	return w.luckily("set", func() error {
		if n != w.desired {
			w.sets = append(w.sets, n)
			w.before, w.desired, w.since = w.desired, n, time.Now()
		}
		return nil
	})
}

// pass lets a minute pass, in which what was wanted for half a minute already takes the load.
func (w *world) pass() {
	w.mu.Lock()
	at := time.Now().Truncate(time.Minute)
	n := w.desired
	if time.Since(w.since) < 30*time.Second {
		n = w.before
	}
	if cpu, memory := w.load(at); n > 0 {
		w.minutes[at] = Load{Tasks: float64(n), CPU: min(100, 100*cpu/float64(n)), Memory: min(100, 100*memory/float64(n))}
	}
	w.mu.Unlock()
	time.Sleep(time.Minute)
}

func (w *world) LoadOf(_ context.Context, minute time.Time) (all map[Resource]Load, err error) {
	err = w.luckily("load", func() error {
		all = make(map[Resource]Load)
		if l, ok := w.minutes[minute]; ok {
			all[web] = l
		}
		return nil
	})
	return all, err
}

func (w *world) start(t *testing.T) (end func()) {
	n := 0
	s := New(Config{Book: w, Services: w, Meter: w, Log: zap.NewNop(), Now: time.Now, NewID: func() string { n++; return fmt.Sprint(time.Now().UnixNano(), n) }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (w *world) count() (desired, sets int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.desired, len(w.sets)
}

// Ensure a load that does not change is answered with the tasks that it needs, within a few
// steps, and then with nothing more; whatever calls fail, work and say they failed, and
// whenever the server is killed. The count is never outside of its bounds.
func TestConverges(t *testing.T) {
	for seed := range 60 {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { converges(t, seed) })
		})
	}
}

func converges(t *testing.T, seed int) {
	drawn := 0
	draw := func(n int) int {
		h := fnv.New64a()
		fmt.Fprint(h, seed, "/", drawn)
		drawn++
		return int(h.Sum64() % uint64(n))
	}
	target := float64(20 + draw(70))
	load := float64(draw(1200)) / 100
	w := newWorld(Target{Min: draw(3), Max: 3 + draw(20)}, load, Policy{Metric: CPU, Target: target})
	w.desired = draw(30)
	w.before, w.since = w.desired, time.Now().Add(-time.Hour)
	w.fails = func(string) (bool, bool) { return draw(12) == 0, draw(12) == 0 }
	end := w.start(t)
	for range 240 {
		w.pass()
		if draw(20) == 0 {
			end()
			end = w.start(t)
		}
	}
	w.mu.Lock()
	w.fails = func(string) (bool, bool) { return false, false }
	w.mu.Unlock()
	for range 120 {
		w.pass()
	}
	after, sets := w.count()
	for range 600 {
		w.pass()
	}
	end()
	if _, later := w.count(); later != sets {
		t.Errorf("under a steady load it went on to %v", w.sets[sets:])
	}
	// It stays while it is from nine tenths of the target up to it; a count that is one too many may.
	need := int(math.Ceil(load*100/target - 1e-6))
	want := min(max(need, w.target.Min, 1), w.target.Max)
	if after == 0 && w.target.Min == 0 {
		want = 0 // Without a task there is no load.
	}
	use := 100 * load / float64(max(after, 1))
	if after != want && !(after > want && use <= target && use >= lowPart*target) {
		t.Errorf("a load of %.2f tasks at %.0f %% from %d to %d has %d tasks, not %d; it went over %v", load, target, w.target.Min, w.target.Max, after, want, w.sets)
	}
	for i, n := range w.sets {
		if n < w.target.Min || n > w.target.Max {
			t.Errorf("step %d is to %d, from %d to %d are allowed", i, n, w.target.Min, w.target.Max)
		}
	}
	if len(w.sets) > 12 {
		t.Errorf("%d steps: %v", len(w.sets), w.sets)
	}
	for _, a := range w.activities {
		if a.Status != Successful || a.End.Before(a.Start) {
			t.Errorf("an activity is %+v", a)
		}
	}
}

// Ensure tasks are added soon and taken away late, with cooldowns in between, and what is
// written down says why.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(Target{Min: 1, Max: 10}, 0.5, Policy{Metric: CPU, Target: 50})
		w.desired, w.before = 1, 1
		defer w.start(t)()
		for range 30 {
			w.pass()
		}
		if n, sets := w.count(); n != 1 || sets != 0 {
			t.Fatalf("at the target it has %d tasks after %d steps", n, sets)
		}
		start := time.Now()
		w.mu.Lock()
		w.load = func(time.Time) (float64, float64) { return 4, 0 }
		w.mu.Unlock()
		at := make(map[int]time.Duration)
		for range 40 {
			w.pass()
			if n, _ := w.count(); at[n] == 0 {
				at[n] = time.Since(start)
			}
		}
		// One task at 100 % needs two, two at 100 % four, four at 100 % eight.
		if n, _ := w.count(); n != 8 || at[2] < 3*time.Minute || at[2] > 5*time.Minute || at[4]-at[2] < 5*time.Minute || at[8] > 20*time.Minute {
			t.Errorf("it grew to %d: %v", n, at)
		}
		start = time.Now()
		w.mu.Lock()
		w.load = func(time.Time) (float64, float64) { return 1, 0 }
		w.mu.Unlock()
		for range 40 {
			w.pass()
			if n, _ := w.count(); at[-n] == 0 {
				at[-n] = time.Since(start)
			}
		}
		if n, _ := w.count(); n != 2 || at[-2] < 15*time.Minute || at[-2] > 18*time.Minute {
			t.Errorf("it shrank to %d: %v", n, at)
		}
		w.mu.Lock()
		first, last := w.activities[w.order[0]], w.activities[w.order[len(w.order)-1]]
		w.mu.Unlock()
		if first.Cause != "monitor alarm TargetTracking-service/default/web-AlarmHigh-id0 in state ALARM triggered policy p0" || first.Description() != "Setting desired count to 2." ||
			last.Cause != "monitor alarm TargetTracking-service/default/web-AlarmLow-id0 in state ALARM triggered policy p0" || first.Message != "Successfully set desired count to 2. Change successfully fulfilled by ecs." {
			t.Errorf("%+v, %+v", first, last)
		}
		// A change of bounds is kept at once, and what is suspended is not done.
		w.edit(func() { w.target.Min = 5 })
		time.Sleep(time.Second)
		if n, _ := w.count(); n != 5 {
			t.Errorf("with a minimum of 5 it has %d tasks", n)
		}
		w.edit(func() { w.target.Min, w.target.Suspended.In = 1, true })
		for range 60 {
			w.pass()
		}
		if n, _ := w.count(); n != 5 {
			t.Errorf("with scaling in suspended it went to %d tasks", n)
		}
		w.edit(func() { w.gone = true })
		time.Sleep(2 * time.Minute)
		if w.mu.Lock(); w.target != nil {
			t.Error("the target of a service that is gone is still there")
		}
		w.mu.Unlock()
	})
}

// Ensure what is decided keeps the rules, whatever was measured.
func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.IntRange(0, 5).Draw(t, "min")
		tg := Target{Resource: web, Min: least, Max: least + rapid.IntRange(0, 20).Draw(t, "max")}
		tg.Suspended.In, tg.Suspended.Out = rapid.Bool().Draw(t, "in"), rapid.Bool().Draw(t, "out")
		tg.LastOut = now.Add(-time.Duration(rapid.IntRange(0, 600).Draw(t, "last out")) * time.Second)
		tg.LastIn = now.Add(-time.Duration(rapid.IntRange(0, 600).Draw(t, "last in")) * time.Second)
		var policies []Policy
		for range rapid.IntRange(0, 2).Draw(t, "policies") {
			policies = append(policies, Policy{Resource: web, Name: "p", Metric: rapid.SampledFrom([]Metric{CPU, Memory}).Draw(t, "metric"),
				Target: rapid.Float64Range(1, 100).Draw(t, "target"), DisableScaleIn: rapid.Bool().Draw(t, "disable")})
		}
		have := rapid.IntRange(0, 30).Draw(t, "have")
		var loads []Load
		for range rapid.IntRange(0, 20).Draw(t, "minutes") {
			loads = append(loads, Load{Tasks: float64(have), CPU: rapid.Float64Range(0, 100).Draw(t, "cpu"), Memory: rapid.Float64Range(0, 100).Draw(t, "memory")})
		}
		d, some := decide(tg, policies, loads, have, now)
		if !some {
			if have < tg.Min || have > tg.Max {
				t.Errorf("%d is left outside of %d to %d", have, tg.Min, tg.Max)
			}
			return
		}
		if d.want < tg.Min || d.want > tg.Max || d.want == have || d.cause == "" {
			t.Errorf("%d becomes %+v, from %d to %d", have, d, tg.Min, tg.Max)
		}
		if have < tg.Min || have > tg.Max {
			return
		}
		if len(policies) == 0 {
			t.Errorf("without a policy %d becomes %+v", have, d)
		}
		if d.want > have && (tg.Suspended.Out || now.Sub(tg.LastOut) < DefaultCooldown) || d.want < have && (tg.Suspended.In || now.Sub(tg.LastOut) < DefaultCooldown || now.Sub(tg.LastIn) < DefaultCooldown) {
			t.Errorf("%d becomes %+v, which is suspended or too soon", have, d)
		}
		for _, p := range policies {
			last := loads[len(loads)-1].of(p.Metric)
			if d.want < have && !p.DisableScaleIn && last >= lowPart*p.Target {
				t.Errorf("%d becomes %d although a policy needs them", have, d.want)
			}
		}
	})
}
