package tests

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"berth/fault"
	"berth/isolation/isolationtest"
	"berth/runner"
	"berth/store"
	"berth/store/storetest"
	"berth/task"
)

// host is one machine in a simulation. Its disk and its sandboxes survive the
// death of the process; sandboxes do not survive a restart of the host. Time is
// that of the synctest bubble.
type host struct {
	t        *testing.T
	dir      string // the disk
	fake     *isolationtest.Fake
	luck     func(call string, id task.ID) error // nil: nothing fails
	boots    int
	latency  *runner.Latency // nil: tasks start as soon as they can
	spotRate float64         // interruptions of a task in an hour
	epoch    time.Time       // when the boot clock stood at zero

	drain func(context.Context, task.Task) error // nil: nothing balances

	secrets func() ([]string, error) // what containers are told in confidence; nil: they ask for nothing

	store  *store.Store
	runner *runner.Runner
	crash  func() // ends the process and waits until it is gone
}

func newHost(t *testing.T, luck func(call string, id task.ID) error) *host {
	dir, err := os.MkdirTemp(ramdisk(), "berth-simulation-")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, dir: dir, fake: &isolationtest.Fake{Fail: luck}, luck: luck, epoch: time.Now()}
	h.start()
	t.Cleanup(func() { h.crash(); os.RemoveAll(dir) })
	return h
}

// ramdisk is where syncing costs nothing. That a sync is a sync is another
// test's matter.
func ramdisk() string {
	if s, err := os.Stat("/dev/shm"); err == nil && s.IsDir() {
		return "/dev/shm"
	}
	return ""
}

func (h *host) now() task.Instant {
	return task.Instant{Wall: time.Now(), Boot: time.Since(h.epoch), BootID: fmt.Sprint("boot-", h.boots)}
}

// start starts the process, with a supervisor that restarts what gives up.
func (h *host) start() {
	st := storetest.OpenUnclosed(h.t, h.dir)
	h.store = st
	r, err := runner.New(context.Background(), runner.Config{
		Store: unlucky{st, h.luck}, Images: puller{}, Secrets: h, Runtime: h.fake,
		Capacity: task.Size{CPU: 2048, Memory: 4096}, Largest: task.Size{CPU: 2048, Memory: 4096},
		SpotRate: h.spotRate, SpotNotice: 2 * time.Minute, Latency: h.latency, Arch: "X86_64", Log: zap.NewNop(), Now: h.now, NewID: task.NewID,
		Drain: h.drain,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.runner = r
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error { return r.Run(ctx) })
			g.Go(func() error { return beat(ctx, st, h.now) })
			if err := g.Wait(); err != nil && ctx.Err() == nil {
				h.t.Log("the process gave up:", err)
			}
			select {
			case <-time.After(time.Second): // as a supervisor would
			case <-ctx.Done():
			}
		}
	}()
	h.crash = func() {
		cancel()
		<-done
		if err := st.Close(); err != nil {
			h.t.Error(err)
		}
		h.crash = func() {}
	}
}

// beat is the part of the meter that the runner rests on.
func beat(ctx context.Context, st *store.Store, now func() task.Instant) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		if err := st.Beat(ctx, now()); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reboot restarts the host: the process and all sandboxes are gone.
func (h *host) reboot() {
	h.crash()
	h.fake.Reboot()
	h.boots++
	h.epoch = time.Now()
	h.start()
}

// submit runs one task of a definition with these containers.
func (h *host) submit(r task.Run, containers ...task.ContainerDefinition) task.Task {
	h.t.Helper()
	d, err := h.store.Register(h.t.Context(), storetest.Realm, task.Definition{Family: "sim", CPU: "256", Memory: "512", ContainerDefinitions: containers})
	if err != nil {
		h.t.Fatal(err)
	}
	r.Realm, r.Definition = storetest.Realm, d.ARN
	for { // The store may say that it failed when it did not; the token makes asking again safe.
		ts, err := h.runner.Submit(h.t.Context(), r)
		if err == nil {
			return ts[0]
		}
		if fault.KindOf(err) != fault.Unavailable {
			h.t.Fatal(err)
		}
	}
}

func (h *host) task(id task.ID) task.Task {
	h.t.Helper()
	t, err := h.store.Task(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return t
}

// main is a container with a scripted command.
func main(command ...string) task.ContainerDefinition {
	return task.ContainerDefinition{Name: "main", Image: "demo", Command: command}
}

// puller has every image but those called missing.
type puller struct{}

func (puller) Pull(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, "missing") {
		return "", fault.New(fault.NotFound, "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref %s: not found", name)
	}
	select {
	case <-time.After(300 * time.Millisecond):
		return name + "@sha256:" + strings.Repeat("ab", 32), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// unlucky is a store that may say it failed when it has written.
type unlucky struct {
	*store.Store
	luck func(call string, id task.ID) error
}

func (u unlucky) Advance(ctx context.Context, id task.ID, tr task.Transition) (task.Task, error) {
	t, err := u.Store.Advance(ctx, id, tr)
	return t, u.maybe("advance", id, err)
}

func (u unlucky) Create(ctx context.Context, ts []task.Task, d *task.Definition, token, hash string) ([]task.Task, error) {
	made, err := u.Store.Create(ctx, ts, d, token, hash)
	return made, u.maybe("create-task", task.ID(token), err)
}

func (u unlucky) maybe(call string, id task.ID, err error) error {
	if err != nil || u.luck == nil {
		return err
	}
	return u.luck(call, id)
}

// Ensure a task passes through all its states in order, with stamps that say
// when.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		id := h.submit(task.Run{}, main("sleep", "90s")).ID
		time.Sleep(2 * time.Minute)
		got := h.task(id)
		if got.LastStatus != task.Stopped || got.StopCode != task.EssentialExited || *got.Containers[0].ExitCode != 0 {
			t.Errorf("ended as %s %s %q", got.LastStatus, got.StopCode, got.StoppedReason)
		}
		if pull, ran := got.PullStoppedAt.Sub(got.PullStartedAt), got.ExecutionStoppedAt.Sub(got.StartedAt); pull != 300*time.Millisecond || ran != 90*time.Second {
			t.Errorf("pulled for %v and ran for %v", pull, ran)
		}
		if got.Usage == nil {
			t.Error("no last reading of its counters")
		}
		var states []string
		for ev, err := range h.store.Follow(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			states = append(states, string(ev.Task.LastStatus))
			if ev.Task.LastStatus.Final() {
				break
			}
		}
		want := make([]string, len(task.Statuses))
		for i, s := range task.Statuses {
			want[i] = string(s)
		}
		if strings.Join(states, " ") != strings.Join(want, " ") {
			t.Errorf("passed through %v", states)
		}
	})
}

// Ensure a token makes its tasks once, whoever else asks at that moment and
// whatever became of the definition meanwhile, and that a refused run leaves no
// trace.
func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		submit := func(d task.Definition, token string) ([]task.Task, error) {
			return h.runner.Submit(t.Context(), task.Run{Realm: storetest.Realm, Inline: &d, Count: 2, Token: token})
		}
		revision := func() string {
			d, err := h.store.Definition(t.Context(), storetest.Realm, "inline")
			if err != nil {
				t.Fatal(err)
			}
			return d.ARN
		}
		one := task.Definition{Family: "inline", CPU: "256", Memory: "512", ContainerDefinitions: []task.ContainerDefinition{main("sleep", "1h")}}
		made := make([][]task.Task, 8)
		var at errgroup.Group
		for i := range made {
			at.Go(func() (err error) {
				made[i], err = submit(one, "once")
				return err
			})
		}
		if err := at.Wait(); err != nil {
			t.Fatal(err)
		}
		first, arn := made[0], revision()
		again := func(when string, got []task.Task, err error) {
			t.Helper()
			if err != nil || len(got) != 2 || got[0].ID != first[0].ID || got[1].ID != first[1].ID || got[0].DefinitionARN != arn {
				t.Errorf("%s: made %v of %s, %v; want the first two tasks", when, got, arn, err)
			}
		}
		for _, got := range made {
			again("at once", got, nil)
		}
		if d, err := h.store.Definition(t.Context(), storetest.Realm, arn); err != nil || d.Revision != 1 {
			t.Errorf("registered as revision %d, %v; want 1", d.Revision, err)
		}

		two := one
		two.ContainerDefinitions = []task.ContainerDefinition{main("sleep", "2h")}
		if _, err := submit(two, "once"); fault.KindOf(err) != fault.Conflict {
			t.Errorf("another definition with the same token: %v, want a conflict", err)
		}
		huge := two
		huge.CPU, huge.Memory = "16384", "122880"
		if _, err := submit(huge, "huge"); fault.KindOf(err) != fault.Exhausted {
			t.Errorf("a task for no host: %v, want exhausted", err)
		}
		if got := revision(); got != arn {
			t.Errorf("a refused run registered %s", got)
		}
		if _, err := submit(two, ""); err != nil || revision() == arn {
			t.Fatalf("the second definition is %s, %v", revision(), err)
		}
		got, err := submit(one, "once")
		again("after another revision", got, err)
		if _, err := h.store.Deregister(t.Context(), storetest.Realm, arn); err != nil {
			t.Fatal(err)
		}
		got, err = submit(one, "once")
		again("after the revision is INACTIVE", got, err)
	})
}

// Ensure a task whose end nobody saw ends when it ended, and one that the host
// took down ends when the server last lived.
func TestAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		id := h.submit(task.Run{}, main("sleep", "90s")).ID
		time.Sleep(30 * time.Second)
		h.crash()
		time.Sleep(time.Hour)
		h.start()
		time.Sleep(time.Minute)
		if got := h.task(id); got.LastStatus != task.Stopped || got.StoppedAt.Sub(got.StartedAt) != 90*time.Second {
			t.Errorf("it is %s and ended %v after its start, want 90 s", got.LastStatus, got.StoppedAt.Sub(got.StartedAt))
		}

		id = h.submit(task.Run{}, main("sleep", "24h")).ID
		time.Sleep(time.Minute)
		h.crash()
		h.start()
		time.Sleep(time.Minute)
		alive := time.Now()
		h.crash()
		time.Sleep(time.Hour)
		h.reboot()
		time.Sleep(time.Minute)
		got := h.task(id)
		if late := got.StoppedAt.Sub(alive); got.StopCode != task.Infrastructure || late > 0 || late < -5*time.Second {
			t.Errorf("%s %s: ended %v after the server last lived", got.LastStatus, got.StopCode, late)
		}
	})
}

// Ensure nothing changes a task's time line while it runs, not even somebody who
// sets the clock.
func TestOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		id := h.submit(task.Run{Timeout: 60}, main("ignore", "TERM")).ID
		time.Sleep(5 * time.Minute)
		got := h.task(id)
		if ran, stop := got.StoppingAt.Sub(got.StartedAt), got.ExecutionStoppedAt.Sub(got.StoppingAt); ran != time.Minute || stop != 30*time.Second {
			t.Errorf("ran %v before its timeout of 1 min, and was killed %v later, want 30 s", ran, stop)
		}
	})
}

// Ensure that whatever fails and whenever the process or the host dies, every
// task ends once, in order, with stamps in order, and leaves nothing.
func TestCrashes(t *testing.T) {
	seeds := uint64(30)
	if v := os.Getenv("BERTH_SEEDS"); v != "" {
		seeds, _ = strconv.ParseUint(v, 10, 64)
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { crashes(t, seed) })
		})
	}
}

func crashes(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	h := newHost(t, luck(seed))
	asked := make(map[task.ID]time.Time)
	rebooted := false
	var ids []task.ID
	for n := range 60 {
		run := task.Run{Token: fmt.Sprint(seed, "-", n)}
		switch p := rnd.IntN(100); {
		case p < 20:
			ids = append(ids, h.submit(run, main("sleep", "90s")).ID)
		case p < 30:
			no := false
			prepare, app := main("exit", "0"), main("sleep", "20s")
			prepare.Name, prepare.Essential = "prepare", &no
			app.DependsOn = []task.Dependency{{Container: "prepare", Condition: task.DependSuccess}}
			ids = append(ids, h.submit(run, prepare, app).ID)
		case p < 35:
			ids = append(ids, h.submit(run, main("ignore", "TERM")).ID)
		case p < 37:
			c := main("sleep", "70s")
			c.RestartPolicy = &task.RestartPolicy{Enabled: ptr(true), RestartAttemptPeriod: ptr(60)}
			ids = append(ids, h.submit(run, c).ID)
		case p < 39:
			db, app := main("sleep", "1h"), main("sleep", "40s")
			db.Name, db.HealthCheck = "db", &task.HealthCheck{Command: []string{"CMD", "exit", "0"}, Interval: ptr(5)}
			app.DependsOn = []task.Dependency{{Container: "db", Condition: task.DependHealthy}}
			ids = append(ids, h.submit(run, db, app).ID)
		case p == 39:
			run.Providers = []task.CapacityProvider{{Name: task.Spot, Weight: 1}}
			id := h.submit(run, main("ignore", "TERM")).ID
			ids = append(ids, id)
			if _, err := h.runner.Interrupt(t.Context(), id); err != nil && fault.KindOf(err) != fault.Unavailable {
				t.Fatal(err)
			}
		case p < 40:
			c := main("exit", "0")
			c.Image = "missing"
			ids = append(ids, h.submit(run, c).ID)
		case p < 60 && len(ids) > 0:
			id := ids[rnd.IntN(len(ids))]
			if _, ok := asked[id]; !ok {
				asked[id] = time.Now()
			}
			if _, err := h.runner.Stop(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
		case p < 78:
			h.crash()
			time.Sleep(time.Duration(rnd.IntN(60)) * time.Second)
			h.start()
		case p < 80:
			rebooted = true
			h.reboot()
		default:
			time.Sleep(time.Duration(rnd.IntN(30_000)) * time.Millisecond)
		}
	}
	for _, id := range ids { // what does not end by itself
		if _, err := h.runner.Stop(t.Context(), id, "the end"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Hour)

	for _, id := range ids {
		got := h.task(id)
		if got.LastStatus != task.Stopped {
			t.Errorf("task %s is %s", id, got.LastStatus)
			continue
		}
		if got.StopCode == "" || got.StoppedReason == "" {
			t.Errorf("task %s stopped for no reason", id)
		}
		stamps := []time.Time{got.CreatedAt, got.PullStartedAt, got.PullStoppedAt, got.StartedAt, got.StoppingAt, got.ExecutionStoppedAt, got.StoppedAt}
		last := stamps[0]
		for i, at := range stamps {
			if !at.IsZero() && at.Before(last) {
				t.Errorf("task %s: stamp %d is before the one before it: %v", id, i, stamps)
			}
			if !at.IsZero() {
				last = at
			}
		}
		for _, c := range got.Containers {
			if n := h.fake.Starts(id, c.Name); n > 1+c.RestartCount {
				t.Errorf("container %s of task %s was started %d times", c.Name, id, n)
			}
			if !c.StartedAt.IsZero() && c.ExitCode == nil && !rebooted {
				t.Errorf("container %s of task %s ran, and nobody knows how it ended: %s", c.Name, id, c.Reason)
			}
		}
		if when, ok := asked[id]; ok && got.StoppedAt.Sub(when) > 10*time.Minute {
			t.Errorf("task %s stopped %v after it was asked to", id, got.StoppedAt.Sub(when))
		}
	}
	if left := h.fake.Leftovers(); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if _, reserved, waiting := h.runner.Load(); reserved != (task.Size{}) || waiting != 0 {
		t.Errorf("%+v is still reserved and %d wait", reserved, waiting)
	}
	if err := h.store.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func ptr[T any](v T) *T { return &v }

// luck fails one call in eight. Which ones depends on the seed, the call and how
// often it was made, and not on the order in which goroutines happen to run.
func luck(seed uint64) func(string, task.ID) error {
	var mu sync.Mutex
	made := make(map[string]int)
	return func(call string, id task.ID) error {
		mu.Lock()
		defer mu.Unlock()
		made[call+string(id)]++
		h := fnv.New64a()
		fmt.Fprint(h, seed, call, id, made[call+string(id)])
		if h.Sum64()%8 == 0 {
			return fault.New(fault.Unavailable, "bad luck")
		}
		return nil
	}
}
