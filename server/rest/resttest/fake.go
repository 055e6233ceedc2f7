// Package resttest is a Berth without a host: all that package rest needs, kept
// in memory and driven by the test. It is for tests of the API, of the client
// and of the command line.
//
// The rule: nothing happens by itself. A task stays where it is until the test
// calls Advance or lets Script drive tasks when they are submitted; the clock
// of tasks moves by a second with every step.
package resttest

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/access"
	"berth/balancer"
	"berth/billing"
	"berth/billing/anomaly"
	"berth/billing/budget"
	"berth/billing/history"
	"berth/billing/prices"
	"berth/billing/prices/pricestest"
	"berth/billing/tuning"
	"berth/eventbridge"
	"berth/fault"
	"berth/logs"
	"berth/money"
	"berth/notice"
	"berth/server/api"
	"berth/server/rest"
	"berth/task"
)

// Fake is the Berth. Make it with New.
type Fake struct {
	Realm task.Realm
	Who   access.Identity // who calls
	people
	Largest  task.Size
	NotReady []string                   // why tasks cannot run
	Script   func(f *Fake, t task.Task) // drives a submitted task; may be nil
	Broken   error                      // what Capacity fails with; nil if it works
	Prices   *prices.Catalogue          // its clock is a year ahead, when the examples have begun

	Bad   *billing.BadRow // what is wrong with the ledger
	Spent money.Amount    // of each budget

	Ran []history.Run // by family, the latest first

	mu           sync.Mutex
	reversed     []billing.Entry
	periods      []billing.Period
	now          time.Time
	definitions  []task.Definition
	tasks        map[task.ID]task.Task
	order        []task.ID
	events       []task.Event
	entries      map[task.ID][]logs.Entry
	tokens       map[string][]task.ID
	groups       []task.SecurityGroup
	targetGroups map[string]balancer.TargetGroup // by ARN
	budgets      []budget.Budget
	notices      []notice.Record
	rules        []eventbridge.Rule
	anomalies    []anomaly.Anomaly
	images       []task.Image
	kept         []api.SecretInfo
	pulls        []task.PullProgress
	grown        chan struct{} // closed when anything was added
	tuner        *tuning.Tuner
}

// Epoch is when the clock of every Fake begins.
var Epoch = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// New returns an empty Fake on a host of 4 vCPU and 8 GiB.
func New() *Fake {
	f := &Fake{
		Realm:   task.Realm{Region: "us-east-1", Account: "000000000000", Cluster: "default"},
		Who:     access.Identity{Account: "000000000000", Region: "us-east-1", Admin: true},
		Largest: task.Size{CPU: 4096, Memory: 8192},
		now:     Epoch,
		tasks:   make(map[task.ID]task.Task), entries: make(map[task.ID][]logs.Entry),
		tokens: make(map[string][]task.ID), grown: make(chan struct{}),
	}
	f.tuner = f.newTuner()
	f.Prices = pricestest.Open(f.Realm.Region, func() time.Time { return f.Now().AddDate(1, 0, 0) })
	return f
}

// Now reads the clock.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Config returns what rest.New needs to serve f, without its logger.
func (f *Fake) Config() rest.Config {
	n := 0
	return rest.Config{
		Tasks: f, Definitions: f, Groups: f, Journal: f, Images: f, Secrets: f, Logs: f, Meter: f, Host: f,
		Ledger: f, Costs: f, Hindsight: f, Estimates: f, Budgets: f, Notices: f, Anomalies: f, Sizes: f, EventBridge: f, Provider: "Berth",
		Tunings: tuned{f}, Sessions: f,
		Access: access.Open{}, Users: f, Audit: func(_ context.Context, r access.Record) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.audited = append(f.audited, r)
		},
		Balancer: f.Balancer(),
		Identify: func(*http.Request) (access.Identity, error) { return f.Who, nil },
		Prices:   f.Prices, MaxImport: 1 << 20, Version: "test", Now: time.Now, // connections have deadlines by the real clock
		NewRequestID: func() string { f.mu.Lock(); defer f.mu.Unlock(); n++; return "request-" + strconv.Itoa(n) },
	}
}

// changed wakes who waits. mu is held.
func (f *Fake) changed() {
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *Fake) instant() task.Instant {
	return task.Instant{Wall: f.now, Boot: f.now.Sub(Epoch) + time.Hour, BootID: "b"}
}

// definition returns what r shall run.
func (f *Fake) definition(ctx context.Context, r task.Run) (task.Definition, error) {
	if r.Inline == nil {
		return f.Definition(ctx, r.Realm, r.Definition)
	}
	d := *r.Inline
	d.Status = task.Active
	return d, nil
}

func (f *Fake) prepare(r task.Run, d task.Definition) ([]task.Task, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if d.Status != task.Active {
		return nil, fault.At("taskDefinition", "TaskDefinition is inactive")
	}
	if r.Realm == (task.Realm{}) {
		r.Realm = f.Realm
	}
	n := len(f.order)
	all, err := task.Tasks(d, r, func() task.ID { n++; return task.ID(fmt.Sprintf("%032x", n)) }, f.instant())
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if s := t.Size(); s.CPU > f.Largest.CPU || s.Memory > f.Largest.Memory {
			return all, fault.New(fault.Exhausted, "RESOURCE:CPU: the host has %s", f.Largest)
		}
	}
	return all, nil
}

// Submit is rest.Tasks.
func (f *Fake) Submit(ctx context.Context, r task.Run) ([]task.Task, error) {
	d, err := f.definition(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.Inline != nil {
		if latest, err := f.Definition(ctx, r.Realm, d.Family); err == nil && latest.Same(d) {
			d = latest
		} else if _, err := f.previewed(r, d); err != nil {
			return nil, err
		} else if d, err = f.Register(ctx, f.Realm, d); err != nil {
			return nil, err
		}
	}
	all, again, err := f.create(r, d)
	if err != nil || again || f.Script == nil {
		return all, err
	}
	for _, t := range all {
		f.Script(f, t)
	}
	return all, nil
}

func (f *Fake) create(r task.Run, d task.Definition) (all []task.Task, again bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ids, ok := f.tokens[r.Token]; ok {
		for _, id := range ids {
			all = append(all, f.tasks[id])
		}
		return all, true, nil
	}
	if all, err = f.prepare(r, d); err != nil {
		return nil, false, err
	}
	for _, t := range all {
		f.order = append(f.order, t.ID)
		f.put(t)
		if r.Token != "" {
			f.tokens[r.Token] = append(f.tokens[r.Token], t.ID)
		}
	}
	return all, false, nil
}

// put writes a task and its event. mu is held.
func (f *Fake) put(t task.Task) {
	f.tasks[t.ID] = t
	f.events = append(f.events, task.Event{Seq: task.Seq(len(f.events) + 1), At: f.now, Task: t})
	f.changed()
}

// Interrupt is rest.Tasks.
func (f *Fake) Interrupt(_ context.Context, id task.ID) (task.Task, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.tasks[id]
	switch {
	case !ok:
		return t, fault.New(fault.NotFound, "no task %q", id)
	case !t.Interruptible():
		return t, fault.New(fault.Conflict, "task %s is not on %s, so nobody interrupts it", id, task.Spot)
	}
	t, changed := t.AskStop(task.SpotInterruption, task.ReasonInterrupted)
	if changed {
		f.put(t)
	}
	return t, nil
}

// Isolation is rest.Tasks.
func (f *Fake) Isolation(_ context.Context, id task.ID) (task.Isolation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.tasks[id]
	switch {
	case !ok:
		return task.Isolation{}, fault.New(fault.NotFound, "no task %q", id)
	case t.LastStatus.Final():
		return task.Isolation{}, fault.New(fault.Conflict, "task %s is %s: nothing of it is on the host", id, t.LastStatus)
	}
	swap := int64(0)
	return task.Isolation{
		TaskARN: t.ARN, Runtime: "runc",
		Cgroup:  task.CgroupLimits{Version: "cgroup v2", Path: "/berth/" + string(id), VCPU: 0.25, CPUWeight: 25, MemoryBytes: 512 << 20, SwapBytes: &swap, PIDs: 2048},
		Network: task.NetworkIsolation{Namespace: "net:[1]", Interfaces: []string{"eth0 100.64.0.2/20"}, PortIsolated: true, SenderGuard: []string{"0a:58:64:40:00:02 100.64.0.2"}},
		Storage: task.StorageIsolation{Limited: true, Device: "/dev/loop3", SizeBytes: 20 << 30, UsedBytes: 1 << 20},
		Containers: []task.ContainerIsolation{{
			Name: "main", HostPID: 7, UIDMap: "0 0 4294967295", NoNewPrivileges: true, Namespaces: map[string]string{"mnt": "mnt:[2]", "net": "net:[1]", "pid": "pid:[3]", "time": "time:[4]", "user": "user:[5]"}, SharedWithHost: []string{"time", "user"},
			Capabilities: task.Capabilities{Effective: []string{"CAP_CHOWN"}}, Seccomp: task.Seccomp{Mode: "filter", Filters: 1, Profile: "0123456789abcdef"},
			MaskedPaths: []string{"/proc/kcore"}, ReadonlyPaths: []string{"/proc/sys"}, OOMScoreAdj: 500,
		}},
	}, nil
}

// Stop is rest.Tasks.
func (f *Fake) Stop(_ context.Context, id task.ID, reason string) (task.Task, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.tasks[id]
	if !ok {
		return t, noTask(id)
	}
	if reason == "" {
		reason = task.ReasonUserStopped
	}
	t, changed := t.AskStop(task.UserInitiated, reason)
	if changed {
		f.put(t)
	}
	return t, nil
}

func noTask(id task.ID) error { return fault.New(fault.NotFound, "task %s not found", id) }

// Advance applies a step to the task, a second after what came before. It panics
// if the task cannot make it: the test is wrong.
func (f *Fake) Advance(id task.ID, step func(t task.Task, now task.Instant) task.Transition) task.Task {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(time.Second)
	t, err := f.tasks[id].Apply(step(f.tasks[id], f.instant()))
	if err != nil {
		panic(err)
	}
	f.put(t)
	return t
}

// Write lets a container print one line.
func (f *Fake) Write(id task.ID, container, stream, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.entries[id]) + 1
	f.entries[id] = append(f.entries[id], logs.Entry{
		Time: f.now, Container: container, Stream: stream, Message: text, Cursor: logs.Cursor(container + ":1:" + strconv.Itoa(n)),
	})
	f.changed()
}

// Task is rest.Journal.
func (f *Fake) Task(_ context.Context, id task.ID) (task.Task, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.tasks[id]
	if !ok {
		return t, noTask(id)
	}
	return t, nil
}

// Tasks is rest.Journal.
func (f *Fake) Tasks(_ context.Context, q rest.TaskFilter) ([]task.Task, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := 0
	if q.Token != "" {
		n, err := strconv.Atoi(q.Token)
		if err != nil {
			return nil, "", fault.At("nextToken", "it is not one that this server gave")
		}
		from = n
	}
	newest := slices.Clone(f.order)
	slices.Reverse(newest)
	var page []task.Task
	for i, id := range newest[min(from, len(newest)):] {
		t := f.tasks[id]
		switch {
		case q.LastStatus != "" && t.LastStatus != q.LastStatus,
			q.DesiredStatus != "" && t.DesiredStatus != q.DesiredStatus,
			q.Group != "" && t.Group != q.Group, q.StartedBy != "" && t.StartedBy != q.StartedBy,
			q.Family != "" && !strings.Contains(t.DefinitionARN, "/"+q.Family+":"),
			q.Tag != nil && !slices.Contains(t.Tags, *q.Tag):
			continue
		}
		if len(page) == q.Limit {
			return page, strconv.Itoa(from + i), nil
		}
		page = append(page, t)
	}
	return page, "", nil
}

// LastSeq is rest.Journal.
func (f *Fake) LastSeq(context.Context) (task.Seq, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return task.Seq(len(f.events)), nil
}

// Count is rest.Journal.
func (f *Fake) Count(context.Context) (map[task.Status]int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := make(map[task.Status]int)
	for _, t := range f.tasks {
		counts[t.LastStatus]++
	}
	return counts, nil
}

// Follow is rest.Journal.
func (f *Fake) Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		for at := int(seq); ; {
			f.mu.Lock()
			batch, grown := slices.Clone(f.events[min(at, len(f.events)):]), f.grown
			f.mu.Unlock()
			for _, ev := range batch {
				if !yield(ev, nil) {
					return
				}
				at = int(ev.Seq)
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Read is rest.Logs.
func (f *Fake) Read(ctx context.Context, id task.ID, q logs.Query) iter.Seq2[logs.Entry, error] {
	return func(yield func(logs.Entry, error) bool) {
		if strings.HasPrefix(string(q.After), "bad") {
			yield(logs.Entry{}, fault.At("after", "it is not a cursor"))
			return
		}
		for at := 0; ; {
			last := !q.Follow || q.Ended()
			f.mu.Lock()
			batch, grown := slices.Clone(f.entries[id][at:]), f.grown
			f.mu.Unlock()
			if q.Tail > 0 && at == 0 {
				batch = batch[max(0, len(batch)-q.Tail):]
			}
			for i, e := range batch {
				if q.After != "" {
					if e.Cursor == q.After {
						q.After = ""
					}
					continue
				}
				if len(q.Containers) > 0 && !slices.Contains(q.Containers, e.Container) ||
					len(q.Streams) > 0 && !slices.Contains(q.Streams, e.Stream) || e.Time.Before(q.Since) {
					continue
				}
				if !yield(batch[i], nil) {
					return
				}
			}
			at += len(batch)
			if last {
				return
			}
			look := time.NewTimer(10 * time.Millisecond) // q.Ended tells nobody when it turns true
			select {
			case <-grown:
			case <-look.C:
			case <-ctx.Done():
				look.Stop()
				return
			}
			look.Stop()
		}
	}
}

// Capacity is rest.Host.
func (f *Fake) Capacity(context.Context) (api.Capacity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Broken != nil {
		return api.Capacity{}, f.Broken
	}
	out := api.Capacity{Total: api.Resources{CPU: f.Largest.CPU, Memory: f.Largest.Memory}}
	for _, t := range f.tasks {
		switch {
		case t.LastStatus == task.Provisioning:
			out.Waiting++
		case !t.LastStatus.Final():
			out.Reserved.CPU += t.Size().CPU
			out.Reserved.Memory += t.Size().Memory
		}
	}
	return out, nil
}

// Ready is rest.Host.
func (f *Fake) Ready(context.Context) []string { return f.NotReady }

// StorageUsed is rest.Host. It is known of tasks that run.
func (f *Fake) StorageUsed(id task.ID) (uint64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return 261 << 20, f.tasks[id].LastStatus == task.Running
}

// Import is rest.Images. The archive is any text; it is named as it says.
func (f *Fake) Import(_ context.Context, name string, r io.Reader) ([]task.Image, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, fault.New(fault.Invalid, "the archive is empty")
	}
	if name == "" {
		name = strings.TrimSpace(string(text))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i := task.Image{
		Name: name, Digest: fmt.Sprintf("sha256:%064d", len(text)), SizeBytes: int64(len(text)), Platform: "linux/amd64",
		Imported: true, CreatedAt: f.now, UsedAt: f.now,
	}
	f.images = append(f.images, i)
	return []task.Image{i}, nil
}

// Bill is rest.Meter.
func (f *Fake) Bill(ctx context.Context, id task.ID) (billing.Bill, error) {
	t, err := f.Task(ctx, id)
	if err != nil {
		return billing.Bill{}, err
	}
	cursors := billing.Open(t, billing.BuiltIn())
	var entries []billing.Entry
	for i := range cursors {
		if !t.StoppedAt.IsZero() {
			var closing []billing.Entry
			cursors[i], closing = cursors[i].Close(t.StoppedAt, billing.Terms{Prices: billing.BuiltIn()}, nil)
			entries = append(entries, closing...)
		}
	}
	return billing.NewBill(t, billing.BuiltIn(), cursors, entries, f.Now()), nil
}

// Usage is rest.Meter. Every task that came to run uses 64 ms of CPU and another 4 MiB a second.
func (f *Fake) Usage(ctx context.Context, id task.ID, q billing.UsageQuery) (billing.Usage, error) {
	t, err := f.Task(ctx, id)
	if err != nil {
		return billing.Usage{}, err
	}
	var samples []task.Sample
	for i := range uint64(3) {
		if t.StartedAt.IsZero() {
			break
		}
		n := i + 1
		samples = append(samples, task.Sample{At: t.PullStartedAt.Add(time.Duration(n) * time.Second), Counters: task.Counters{
			CPUNanos: n * 64e6, Periods: n * 10, ThrottledPeriods: n, ThrottledNanos: n * 1e6, PIDs: 7,
			MemoryBytes: n << 22, WorkingSetBytes: n << 22, MemoryPeakBytes: n << 22, ReadBytes: n << 10,
		}})
	}
	return billing.NewUsage(t, samples, q), nil
}

// UsageGroups is rest.Meter. There is one group, named after what was asked for.
func (f *Fake) UsageGroups(_ context.Context, q billing.GroupQuery, token string) (billing.UsageGroups, error) {
	if err := q.Check(); err != nil {
		return billing.UsageGroups{}, err
	}
	out := billing.UsageGroups{GroupBy: append([]string{}, q.By...), Series: "1h", Groups: []billing.UsageGroup{}}
	if token != "" {
		return out, nil
	}
	g := billing.UsageGroup{
		Key: make(map[string]string), Tasks: 2, TaskSeconds: 7200, ReservedCPUSeconds: 1800, CPUSeconds: 450, WastedCPUSeconds: 1350, CPUEfficiency: .25,
		ReservedMemoryGiBSeconds: 3600, MemoryGiBSeconds: 720, WastedMemoryGiBSeconds: 2880, MemoryEfficiency: .2,
		PeakWorkingSetBytes: 300 << 20, ThrottledSeconds: 12, OOMKills: 1,
	}
	for _, by := range q.By {
		g.Key[by] = "a-" + strings.TrimPrefix(by, "tag:")
	}
	out.Groups, out.NextToken = append(out.Groups, g), "more"
	return out, nil
}

// Present is rest.Meter. Every task that runs uses half of what it reserved.
func (f *Fake) Present() []billing.Present {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []billing.Present
	for _, t := range f.tasks {
		if t.LastStatus == task.Running {
			size := t.Size()
			all = append(all, billing.Present{Subject: billing.SubjectOf(t), CPU: float64(size.CPU) / 2, Last: task.Sample{At: f.now, Counters: task.Counters{
				CPUNanos: 5e9, ThrottledNanos: 1e9, WorkingSetBytes: uint64(size.Memory) << 19, OOMKills: 1,
				ReadBytes: 10, WriteBytes: 20, RxBytes: 30, TxBytes: 40,
			}}})
		}
	}
	return all
}
