package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/containerd/containerd/v2/client"
	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/budget"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/billing/prices"
	"berth/fault"
	"berth/images"
	"berth/isolation"
	"berth/isolation/containerd"
	"berth/notice"
	"berth/runner"
	"berth/server/api"
	"berth/server/rest"
	"berth/store"
	"berth/task"
)

// The types below fit the rooms to one another where one's words differ from the
// other's. They decide nothing.

// journal lets the server ask the store about tasks.
type journal struct{ *store.Store }

func (j journal) Tasks(ctx context.Context, f rest.TaskFilter) ([]task.Task, string, error) {
	return j.Store.Tasks(ctx, store.Filter{
		Account: f.Account, Region: f.Region, Cluster: f.Cluster,
		Status: f.LastStatus, DesiredStatus: f.DesiredStatus, Family: f.Family, Group: f.Group, StartedBy: f.StartedBy, Tag: f.Tag,
	}, store.Page{Limit: f.Limit, Token: f.Token})
}

// StartedBy is part of tuning.Journal.
func (j journal) StartedBy(ctx context.Context, by string) (all []task.Task, err error) {
	for token := ""; ; {
		page, next, err := j.Store.Tasks(ctx, store.Filter{StartedBy: by}, store.Page{Limit: 100, Token: token})
		if all = append(all, page...); err != nil || next == "" {
			return all, err
		}
		token = next
	}
}

// definitions lets the server ask the store about definitions.
type definitions struct{ *store.Store }

func (d definitions) Definitions(ctx context.Context, f rest.DefinitionFilter) ([]task.Definition, string, error) {
	return d.Store.Definitions(ctx, store.DefinitionFilter{Account: f.In.Account, Region: f.In.Region, FamilyPrefix: f.FamilyPrefix, Status: f.Status, Newest: f.Descending},
		store.Page{Limit: f.Limit, Token: f.Token})
}

// at runs tasks in one realm, whatever they say.
type at struct {
	*runner.Runner
	realm task.Realm
}

func (a at) Preview(ctx context.Context, r task.Run) (task.Definition, []task.Task, error) {
	r.Realm = a.realm
	return a.Runner.Preview(ctx, r)
}

func (a at) Submit(ctx context.Context, r task.Run) ([]task.Task, error) {
	r.Realm = a.realm
	return a.Runner.Submit(ctx, r)
}

// held lets the runner's tasks begin only if there is money for them.
type held struct {
	*store.Store
	budgets *budget.Keeper
}

func (h held) Create(ctx context.Context, ts []task.Task, d *task.Definition, token, hash string) ([]task.Task, error) {
	return h.budgets.Admit(ctx, ts, func(holds []budget.Hold) ([]task.Task, error) {
		return h.Store.CreateHeld(ctx, ts, holds, d, token, hash)
	})
}

// running knows what the tasks that run have used.
type running struct {
	*store.Store
	now func() task.Instant
}

func (r running) SoFar(ctx context.Context, account, family string, since time.Time) ([]history.Run, error) {
	tasks, _, err := r.Unfinished(ctx)
	if err != nil {
		return nil, err
	}
	now := r.now()
	var all []history.Run
	for _, t := range tasks {
		if of, _, _ := task.ParseDefinitionRef(t.DefinitionARN); t.LastStatus != task.Running || account != "" && t.Realm().Account != account || family != "" && of != family {
			continue
		}
		used, err := r.UsedByMinute(ctx, t.ID, since)
		if err != nil {
			return nil, err
		}
		all = append(all, history.SoFar(t, used, t.Time(now)))
	}
	return all, nil
}

// told keeps what budgets lead to as notices, and says it in the server's log.
func told(st *store.Store, log *zap.Logger) func(context.Context, budget.Event) error {
	return func(ctx context.Context, e budget.Event) error {
		n, err := noticeOf(e)
		if err != nil {
			return err
		}
		logEvent(log, e)
		return st.PutNotice(ctx, n)
	}
}

// stops has a task stopped for want of money and keeps the notice of it in one step.
func stops(st *store.Store, log *zap.Logger) func(context.Context, task.ID, string, string, budget.Event) (task.Task, error) {
	return func(ctx context.Context, id task.ID, code, reason string, e budget.Event) (task.Task, error) {
		n, err := noticeOf(e)
		if err != nil {
			return task.Task{}, err
		}
		t, err := st.AskStopNoted(ctx, id, code, reason, n)
		if err == nil && t.StopCode == code {
			logEvent(log, e)
		}
		return t, err
	}
}

// noticeOf is e in the words of notices.
func noticeOf(e budget.Event) (notice.Notice, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return notice.Notice{}, fmt.Errorf("encode event: %w", err)
	}
	subject := "budget/" + e.Budget
	if e.Budget == "" {
		subject = "task/" + lastPart(e.Task)
	}
	return notice.Notice{
		ID: notice.ID(e.ID), At: e.At, Type: "berth.budget." + string(e.Type), Subject: subject, Data: data, Webhook: e.Webhook,
	}, nil
}

func logEvent(log *zap.Logger, e budget.Event) {
	log.Info(e.Reason, zap.String("event", string(e.Type)), zap.String("budget", e.Budget), zap.String("task", e.Task))
}

// probe lets the meter read the tasks' counters.
type probe struct{ isolation.Runtime }

func (p probe) Open(ctx context.Context, id task.ID) (billing.Gauge, error) { return p.Gauge(ctx, id) }

// regional lets estimates ask for the prices of any region.
type regional struct{ *prices.Catalogue }

func (r regional) PriceList(_ context.Context, region string, at time.Time) (billing.PriceList, error) {
	if region == "" {
		return r.Catalogue.PriceList(at), nil
	}
	l, ok := r.Newest(region, at)
	if !ok {
		return billing.PriceList{}, fault.At("region", "there are no prices of %q; \"berth price list\" shows whose there are", region)
	}
	return l.PriceList(""), nil
}

// quotes lets the server ask for estimates, and for those that were made.
type quotes struct {
	*estimate.Estimator
	store *store.Store
}

func (q quotes) Quote(ctx context.Context, id task.ID) (history.Quote, error) {
	return q.store.Quote(ctx, id)
}

// priceOf returns what tasks cost now, by the prices that the server charges.
func priceOf(rates *prices.Catalogue) func(context.Context, task.Task, time.Duration) (billing.Money, error) {
	return func(_ context.Context, t task.Task, d time.Duration) (billing.Money, error) {
		return estimate.Total(billing.ShapeOf(t), rates.PriceList(time.Now()), d)
	}
}

// imagesInUse returns what unfinished tasks need of the images.
func imagesInUse(st *store.Store) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		tasks, _, err := st.Unfinished(ctx)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, t := range tasks {
			for _, c := range t.Containers {
				names = append(names, c.Image)
				if c.ImageRef != "" {
					names = append(names, c.ImageRef)
				}
			}
		}
		return names, nil
	}
}

// imageStore lets the server look after the images.
type imageStore struct{ *images.Store }

func (s imageStore) Import(ctx context.Context, name string, r io.Reader) ([]task.Image, error) {
	return s.Store.Import(ctx, r, name)
}

func (s imageStore) Images(ctx context.Context) ([]task.Image, error) { return s.List(ctx) }

// Pull pulls and yields the progress of it, the last with how it ended.
func (s imageStore) Pull(ctx context.Context, name string) iter.Seq2[task.PullProgress, error] {
	return func(yield func(task.PullProgress, error) bool) {
		want, err := images.Normalise(name)
		if err != nil {
			yield(task.PullProgress{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := s.Store.Pull(ctx, name)
			done <- err
			cancel() // ends the watch below
		}()
		last := task.PullProgress{Image: want, Status: "RESOLVING", Layers: []task.LayerProgress{}}
		for p := range s.Watch(ctx) {
			if p.Image != want || p.Status == "DONE" || p.Status == "FAILED" {
				continue // How it ended is told below, once.
			}
			if last = p; !yield(p, nil) {
				cancel()
				<-done
				return
			}
		}
		if err := <-done; err != nil {
			yield(last, err)
			return
		}
		last.Status, last.DoneBytes = "DONE", last.TotalBytes
		yield(last, nil)
	}
}

// Pulls yields all pulls whenever one of them has moved.
func (s imageStore) Pulls(ctx context.Context) iter.Seq2[[]task.PullProgress, error] {
	return func(yield func([]task.PullProgress, error) bool) {
		if !yield(s.Progress(ctx), nil) {
			return
		}
		for p := range s.Watch(ctx) {
			all := s.Progress(ctx)
			if p.Status == "DONE" || p.Status == "FAILED" {
				all = append(all, p) // It is under way no more, and this is how it ended.
			}
			if !yield(all, nil) {
				return
			}
		}
	}
}

func (s imageStore) Remove(ctx context.Context, name string, force bool) error {
	return s.Store.Remove(ctx, name, force)
}

func (s imageStore) Collect(ctx context.Context) (api.Collected, error) {
	before, err := s.List(ctx)
	if err != nil {
		return api.Collected{}, err
	}
	freed, err := s.Store.Collect(ctx, 0)
	if err != nil {
		return api.Collected{}, err
	}
	after, err := s.List(ctx)
	if err != nil {
		return api.Collected{}, err
	}
	left := make(map[string]bool)
	for _, img := range after {
		left[img.Name] = true
	}
	c := api.Collected{Removed: []string{}, FreedBytes: freed}
	for _, img := range before {
		if !left[img.Name] {
			c.Removed = append(c.Removed, img.Name)
		}
	}
	return c, nil
}

// host lets the server ask about this machine.
type host struct {
	tasks      *runner.Runner
	containerd *client.Client
	store      *store.Store
	sandboxes  *containerd.Runtime
}

func (h host) Capacity(context.Context) (api.Capacity, error) {
	total, reserved, waiting := h.tasks.Load()
	return api.Capacity{
		Total:    api.Resources{CPU: total.CPU, Memory: total.Memory},
		Reserved: api.Resources{CPU: reserved.CPU, Memory: reserved.Memory},
		Waiting:  waiting,
	}, nil
}

// answerPatience is how long containerd may take to say that it serves.
const answerPatience = 2 * time.Second

func (h host) Ready(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	var reasons []string
	if ok, err := h.containerd.IsServing(ctx); err != nil || !ok {
		reasons = append(reasons, "containerd does not answer")
	}
	if err := h.store.Refusing(); err != nil {
		reasons = append(reasons, fault.Message(err))
	}
	return reasons
}

func (h host) StorageUsed(id task.ID) (bytes uint64, known bool) { return h.sandboxes.StorageUsed(id) }

// ledger lets the server ask the store about the books. It verifies them for one
// caller at a time, since that takes two CPUs.
type ledger struct {
	*store.Store
	turn chan struct{} // has room for one
}

func newLedger(st *store.Store) ledger { return ledger{st, make(chan struct{}, 1)} }

func (l ledger) VerifyLedger(ctx context.Context) (billing.Audit, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
		return l.Store.VerifyLedger(ctx, nil)
	case <-ctx.Done():
		return billing.Audit{}, ctx.Err()
	}
}
