package containerd

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"berth/fault"
	"berth/isolation"
	"berth/isolation/cgroup"
	"berth/task"
)

// Provision implements isolation.Runtime.
func (r *Runtime) Provision(ctx context.Context, s isolation.Sandbox) (task.Network, error) {
	unlock, err := r.locks.lock(ctx, s.ID)
	if err != nil {
		return task.Network{}, err
	}
	defer unlock()

	known, there, err := r.world(s.ID)
	if err != nil {
		return task.Network{}, err
	}
	if there {
		return known.Network, nil
	}
	if known.BootID != "" { // An earlier call began this and did not come to its end.
		if err := errors.Join(r.unlink(s.ID), r.removeUsers(s.ID), r.removeStorage(s.ID), r.releaseCPUs(s.ID)); err != nil {
			return task.Network{}, err
		}
	}
	resolv := r.resolvConf(s)
	address, err := r.network.reserve(s, nameServers(resolv))
	if err != nil {
		return task.Network{}, err
	}
	ids, err := r.reserveIDs(s)
	if err != nil {
		return task.Network{}, errors.Join(err, r.network.release(s.ID))
	}
	// From here on the task is listed, whatever happens.
	record := sandboxRecord{Sandbox: s, BootID: r.bootID, Network: address, Disk: r.disks && s.Storage > 0, IDs: ids, CPUs: r.reserveCPUs(s), ResolvConf: resolv}
	if err := save(r.taskDir(s.ID), sandboxFile, record); err != nil {
		return task.Network{}, err
	}

	var g errgroup.Group
	g.Go(func() error {
		if err := r.cgroups.Create(string(s.ID), r.limits(s)); err != nil {
			return err
		}
		return r.confine(s.ID)
	})
	g.Go(func() error { return r.makeStorage(ctx, s) })
	g.Go(func() error {
		if err := r.createNamespaces(s.ID, ids); err != nil {
			return err
		}
		return r.network.attach(s.ID, r.netns(s.ID), address)
	})
	if err := g.Wait(); err != nil {
		return task.Network{}, err
	}
	record.Ready = true
	return record.Network, save(r.taskDir(s.ID), sandboxFile, record)
}

// unlink takes a task's network away, and then its address back.
func (r *Runtime) unlink(id task.ID) error {
	if err := errors.Join(r.network.detach(id), unpin(r.netns(id))); err != nil {
		return err
	}
	return r.network.release(id)
}

// world returns the record of a task's world, and whether that is there, whole.
func (r *Runtime) world(id task.ID) (sandboxRecord, bool, error) {
	record, found, err := load[sandboxRecord](r.taskDir(id), sandboxFile)
	if err != nil || !found || !record.Ready || record.BootID != r.bootID {
		return record, false, err
	}
	made, err := r.hasNamespaces(id, record.IDs)
	if err != nil || !made || !r.cgroups.Exists(string(id)) {
		return record, false, err
	}
	there, err := r.hasStorage(record)
	return record, there, err
}

func (r *Runtime) limits(s isolation.Sandbox) cgroup.Limits {
	l := cgroup.Limits{CPU: s.Size.CPU, Memory: s.Size.Memory, PIDs: s.PIDs}
	if l.PIDs == 0 {
		l.PIDs = r.PIDs
	}
	return l
}

// gauge is a cgroup.Gauge that Remove can find and close: while it is open, the
// kernel keeps the task's network namespace.
type gauge struct {
	*cgroup.Gauge
	r  *Runtime
	id task.ID

	mu       sync.Mutex
	readings int
	logs     uint64 // bytes, as of the last look
	storage  uint64 // bytes, logs included
}

// logsEvery is how many readings share one look at the sizes of a task's logs.
const logsEvery = 10

// Read implements isolation.Gauge.
func (g *gauge) Read() (task.Counters, error) {
	c, err := g.Gauge.Read()
	if err != nil {
		return c, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.readings%logsEvery == 0 {
		g.logs = g.r.logsUsed(g.id)
	}
	g.readings++
	if used, ok := g.r.storageUsed(g.id); ok {
		g.storage = used + g.logs
	}
	c.EphemeralStorageBytes = g.storage
	return c, nil
}

// Gauge implements isolation.Runtime.
func (r *Runtime) Gauge(_ context.Context, id task.ID) (isolation.Gauge, error) {
	_, there, err := r.world(id)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, fault.New(fault.NotFound, "task %s is not provisioned", id)
	}
	counters, err := r.cgroups.Gauge(string(id), r.netns(id))
	if err != nil {
		return nil, err
	}
	g := &gauge{Gauge: counters, r: r, id: id}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gauges[id] == nil {
		r.gauges[id] = make(map[*gauge]struct{})
	}
	r.gauges[id][g] = struct{}{}
	return g, nil
}

// Close implements isolation.Gauge.
func (g *gauge) Close() error {
	g.r.mu.Lock()
	delete(g.r.gauges[g.id], g)
	if len(g.r.gauges[g.id]) == 0 {
		delete(g.r.gauges, g.id)
	}
	g.r.mu.Unlock()
	return g.Gauge.Close()
}

// closeGauges closes all gauges of a task; reading them says then that it was
// removed.
func (r *Runtime) closeGauges(id task.ID) error {
	r.mu.Lock()
	open := r.gauges[id]
	delete(r.gauges, id)
	r.mu.Unlock()
	var errs []error
	for g := range open {
		errs = append(errs, g.Gauge.Close())
	}
	return errors.Join(errs...)
}
