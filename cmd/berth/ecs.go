package main

import (
	"context"
	"time"

	"go.uber.org/zap"

	"berth/cluster"
	"berth/runner"
	"berth/server/aws/ecs"
	"berth/server/aws/throttle"
	"berth/server/aws/wire"
	"berth/server/metadata"
	"berth/service"
	"berth/store"
	"berth/task"
)

// pace returns what holds requests to AWS's rates; nil: nothing.
func (c *serverConfig) pace() *throttle.Limiter {
	if c.Throttle != "aws" {
		return nil
	}
	return throttle.New(time.Now)
}

// newECS returns what answers for Amazon ECS.
func newECS(st *store.Store, tasks *runner.Runner, services *service.Scheduler, exec ecs.Exec, pace *throttle.Limiter) wire.Service {
	config := ecs.Config{
		Definitions: ecsDefinitions{st}, Tasks: tasks, Journal: ecsJournal{st}, Clusters: ecsClusters{st}, Settings: st,
		Now: time.Now, Launch: pace.Launch, Exec: exec,
	}
	serveServices(&config, services, st)
	return ecs.New(config)
}

// The types below fit the store to the words of package ecs.

type ecsDefinitions struct{ *store.Store }

func (d ecsDefinitions) Definitions(ctx context.Context, f ecs.DefinitionFilter) ([]task.Definition, string, error) {
	return d.Store.Definitions(ctx, store.DefinitionFilter{
		Account: f.In.Account, Region: f.In.Region, Family: f.Family, FamilyPrefix: f.FamilyPrefix, Status: f.Status, Newest: f.Descending,
	}, store.Page{Limit: f.Limit, Token: f.Token})
}

func (d ecsDefinitions) Families(ctx context.Context, in task.Realm, prefix, status string, limit int, token string) ([]string, string, error) {
	return d.DefinitionFamilies(ctx, in, prefix, status, store.Page{Limit: limit, Token: token})
}

type ecsJournal struct{ *store.Store }

func (j ecsJournal) Tasks(ctx context.Context, f ecs.TaskFilter) ([]task.Task, string, error) {
	return j.Store.Tasks(ctx, store.Filter{
		Account: f.In.Account, Region: f.In.Region, Cluster: f.In.Cluster, IDs: f.IDs, DesiredStatus: f.Desired,
		Family: f.Family, Group: f.Group, StartedBy: f.StartedBy,
	}, store.Page{Limit: f.Limit, Token: f.Token})
}

type ecsClusters struct{ *store.Store }

func (c ecsClusters) Clusters(ctx context.Context, in task.Realm, limit int, token string) ([]cluster.Cluster, string, error) {
	return c.Store.Clusters(ctx, in, store.Page{Limit: limit, Token: token})
}

func (c ecsClusters) Load(ctx context.Context, in task.Realm) (l ecs.Load, err error) {
	counts, err := c.CountIn(ctx, in)
	for status, n := range counts {
		switch status {
		case task.Running:
			l.Running += n
		case task.Provisioning, task.Pending, task.Activating:
			l.Pending += n
		}
	}
	if err == nil {
		l.Active, l.Leaving, err = c.CountServices(ctx, in)
	}
	return l, err
}

// protection keeps who may not be stopped by its service where the task is kept.
type protection struct {
	*store.Store
	now func() time.Time
}

func (p protection) Protected(_ context.Context, t task.Task) (metadata.ProtectedUntil, error) {
	if err := t.Protectable(); err != nil || !t.ProtectedAt(p.now()) {
		return metadata.ProtectedUntil{}, err
	}
	return metadata.ProtectedUntil(t.ProtectedUntil), nil
}

func (p protection) Protect(ctx context.Context, t task.Task, enabled bool, lasts time.Duration) (metadata.ProtectedUntil, error) {
	var until time.Time
	if enabled {
		until = p.now().Add(lasts).UTC()
	}
	t, err := p.Store.Protect(ctx, t.ID, until)
	return metadata.ProtectedUntil(t.ProtectedUntil), err
}

// forgetEvery is how often deleted task definitions are looked for that nothing uses any
// more.
const forgetEvery = time.Minute

// forgetDefinitions takes away task definitions that were deleted, until ctx ends.
func forgetDefinitions(ctx context.Context, st *store.Store, log *zap.Logger) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch n, err := st.ForgetDefinitions(ctx); {
		case err != nil && ctx.Err() == nil:
			log.Warn("deleted task definitions are still there", zap.Error(err))
		case n > 0:
			log.Info("task definitions forgotten", zap.Int("count", n))
		}
	}
}
