package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// status returns what containerd says of a container's process. If there is
// none, the error is errdefs.ErrNotFound.
func (r *Runtime) status(ctx context.Context, rid string) (tasktypes.Status, error) {
	got, err := r.tasks().Get(ctx, &tasks.GetRequest{ContainerID: rid})
	if err != nil {
		return 0, fmt.Errorf("look at process of container %s: %w", rid, errgrpc.ToNative(err))
	}
	return got.Process.Status, nil
}

// Start implements isolation.Runtime.
//
// The order of its acts is what makes a process start once: a durable note of
// the intent, the start itself, a note of the result. After a crash between
// them containerd knows whether the process still waits to be started: runc
// starts it at most once. Only if there is no process at all can nobody know,
// and then it counts as started and lost.
func (r *Runtime) Start(ctx context.Context, id task.ID, name string) (isolation.Started, error) {
	unlock, err := r.locks.lock(ctx, id)
	if err != nil {
		return isolation.Started{}, err
	}
	defer unlock()

	made, found, err := load[containerRecord](r.containerDir(id, name), containerFile)
	if err != nil || !found {
		return isolation.Started{}, absent(err, id, name)
	}
	return r.startOnce(ctx, id, made)
}

// startOnce starts the latest run of a container, if that was not done. The caller has
// the task's lock.
func (r *Runtime) startOnce(ctx context.Context, id task.ID, c containerRecord) (isolation.Started, error) {
	dir, rid := r.containerDir(id, c.Name), runtimeID(id, c.Name)
	result, begun, err := load[startRecord](dir, ofRun(startedFile, c.Run))
	if err != nil {
		return isolation.Started{}, err
	}
	if !begun {
		if result, err = r.start(ctx, id, c); err != nil {
			return isolation.Started{}, err
		}
		if err := save(dir, ofRun(startedFile, c.Run), result); err != nil {
			return isolation.Started{}, err
		}
	}
	if result.Failure != "" {
		return isolation.Started{}, fault.New(fault.Invalid, "%s", result.Failure)
	}
	return isolation.Started{RuntimeID: rid, At: result.At}, nil
}

func (r *Runtime) start(ctx context.Context, id task.ID, c containerRecord) (startRecord, error) {
	dir, rid := r.containerDir(id, c.Name), runtimeID(id, c.Name)
	world, _, err := r.world(id)
	if err != nil {
		return startRecord{}, err
	}
	status, err := r.status(ctx, rid)
	exists := err == nil
	if err != nil && !errdefs.IsNotFound(err) {
		return startRecord{}, err
	}
	intent, begun, err := load[startRecord](dir, ofRun(intentFile, c.Run))
	switch {
	case err != nil:
		return startRecord{}, err
	case begun && !(exists && status == tasktypes.Status_CREATED):
		return intent, nil // It was started, and may have ended or been lost since.
	case !begun && !exists:
		// Its shim was killed before it was ever started.
		rootfs, err := r.layers(ctx, world, c.Name)
		if err != nil {
			return startRecord{}, err
		}
		if err := r.createTask(ctx, world, c.Name, c.Terminal, rootfs); err != nil {
			return startRecord{}, err
		}
	}
	if err := r.checkShared(ctx, rid, c.Shared); err != nil {
		return startRecord{}, err
	}
	if err := r.cgroups.Throttle(string(id), rid, world.Sandbox.Size.CPU); err != nil {
		return startRecord{}, err
	}
	if err := r.cgroups.CountBuffers(string(id), rid, world.Sandbox.Size.Memory); err != nil {
		return startRecord{}, err
	}
	if err := ctx.Err(); err != nil {
		return startRecord{}, err
	}
	// From here on it is sooner finished than called off and sorted out.
	ctx, cancel := outlive(ctx, createPatience, leavePatience)
	defer cancel()
	result := startRecord{At: r.Now().UTC().Round(0)}
	var g errgroup.Group
	g.Go(func() error { return r.keepExit(ctx, rid) })
	if !begun {
		g.Go(func() error { return saveDurably(dir, ofRun(intentFile, c.Run), result) })
	}
	if err := g.Wait(); err != nil {
		return startRecord{}, err
	}
	_, err = r.tasks().Start(ctx, &tasks.StartRequest{ContainerID: rid})
	if err = errgrpc.ToNative(err); err == nil {
		return result, nil
	}
	failure := r.storageFault(id, startFault(err, rid))
	if fault.KindOf(failure) == fault.Invalid {
		result.Failure = fault.Message(failure)
		return result, nil
	}
	return startRecord{}, failure // The next call looks at what became of it.
}

// keepExit makes containerd remember how a process ends while containerd itself
// is down. When it starts it does away with containers in which no process runs
// any more, and with their exit codes, unless it has a sandbox by the name of the
// container: so it gets one, which is an entry in its database and nothing else.
func (r *Runtime) keepExit(ctx context.Context, rid string) error {
	_, err := r.Client.SandboxStore().Create(ctx, sandbox.Sandbox{ID: rid, Runtime: sandbox.RuntimeOpts{Name: r.Shim}})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("keep the exit code of container %s: %w", rid, err)
	}
	return nil
}

// absent is the error for a container that is not there, unless err is one.
func absent(err error, id task.ID, name string) error {
	if err != nil {
		return err
	}
	return fault.New(fault.NotFound, "no container %s in task %s", name, id)
}

// Between two looks at a container that cannot be waited for now: containerd
// restarts, or the container was made and not started.
const (
	firstPause = 10 * time.Millisecond
	maxPause   = time.Second
)

// Wait implements isolation.Runtime. A restart of containerd meanwhile goes
// unnoticed.
func (r *Runtime) Wait(ctx context.Context, id task.ID, name string) (task.Exit, error) {
	dir := r.containerDir(id, name)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		c, found, err := load[containerRecord](dir, containerFile)
		if err != nil || !found {
			return task.Exit{}, absent(err, id, name)
		}
		if exit, ended, err := load[task.Exit](dir, ofRun(exitFile, c.Run)); ended || err != nil {
			return exit, err
		}
		if result, known, err := load[startRecord](dir, ofRun(startedFile, c.Run)); err != nil || known && result.Failure != "" {
			return task.Exit{}, never(err, result, name)
		}
		exit, err := r.await(ctx, id, c)
		switch {
		case err == nil:
			return exit, nil
		case ctx.Err() != nil:
			return task.Exit{}, ctx.Err()
		case errdefs.IsNotFound(err):
			if _, begun, err := load[startRecord](dir, ofRun(intentFile, c.Run)); begun || err != nil {
				return task.Exit{}, lost(errors.Join(err, r.dead(id, runtimeID(id, name))), dir, name)
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return task.Exit{}, ctx.Err()
		}
	}
}

// never is the error for a process that never will be, unless err is one.
func never(err error, result startRecord, name string) error {
	if err != nil {
		return err
	}
	return fault.New(fault.NotFound, "container %s has no process: %s", name, result.Failure)
}

// lost is the error for a process that was started and is not there, unless err
// is one. Another waiter may just have written down how it ended.
func lost(err error, dir, name string) error {
	if err != nil {
		return err
	}
	return fault.New(fault.NotFound, "the process of container %s was lost", name)
}

// await asks containerd to wait, once, and writes down the answer. It does that
// before anybody can delete the process and its cgroup.
func (r *Runtime) await(ctx context.Context, id task.ID, c containerRecord) (task.Exit, error) {
	rid := runtimeID(id, c.Name)
	resp, err := r.tasks().Wait(ctx, &tasks.WaitRequest{ContainerID: rid})
	if err != nil {
		return task.Exit{}, errgrpc.ToNative(err)
	}
	kills, err := r.oomKills(id, rid)
	if err != nil {
		return task.Exit{}, err
	}
	exit := task.Exit{Code: int(resp.ExitStatus), At: resp.ExitedAt.AsTime(), OOMKilled: kills > 0}
	dir := r.containerDir(id, c.Name)
	// A Remove may be deleting the directory: it must not come back.
	now, found, err := load[containerRecord](dir, containerFile)
	if err != nil || !found {
		return exit, err
	}
	if now.Run != c.Run {
		return exit, errNextRun
	}
	if err := r.endInside(ctx, id, c, exit.Code); err != nil {
		return task.Exit{}, err
	}
	if err := save(dir, ofRun(exitFile, c.Run), exit); err != nil {
		return task.Exit{}, err
	}
	return exit, r.dead(id, rid)
}

// errNextRun says that what was waited for is another run than that which was meant.
var errNextRun = errors.New("the container is in its next run")

// Stop implements isolation.Runtime.
func (r *Runtime) Stop(ctx context.Context, id task.ID, name string) (time.Time, error) {
	dir := r.containerDir(id, name)
	c, found, err := load[containerRecord](dir, containerFile)
	if err != nil || !found {
		return time.Time{}, err
	}
	if before, sent, err := load[stopRecord](dir, ofRun(stopFile, c.Run)); sent || err != nil {
		return before.At, err
	}
	sent, err := r.end(ctx, id, name, c.StopSignal)
	if err != nil || !sent {
		return time.Time{}, err
	}
	asked := stopRecord{At: r.Now().UTC().Round(0)}
	return asked.At, save(dir, ofRun(stopFile, c.Run), asked)
}

// Kill implements isolation.Runtime. The main process is PID 1 of a namespace of
// its own: with it the kernel ends all the others, as fast as it can. Until it has,
// the task has no limit of CPU time.
func (r *Runtime) Kill(ctx context.Context, id task.ID, name string) error {
	if err := r.lift(id, name); err != nil {
		return err
	}
	_, err := r.end(ctx, id, name, uint32(unix.SIGKILL))
	return err
}

// lift takes the limit of CPU time from a task of which a container is to be
// killed, unless that was never started or has ended already: nobody would call
// dead.
func (r *Runtime) lift(id task.ID, name string) error {
	r.killing.Lock()
	defer r.killing.Unlock()
	dir := r.containerDir(id, name)
	c, found, err := load[containerRecord](dir, containerFile)
	if err != nil || !found {
		return err
	}
	if _, begun, err := load[startRecord](dir, ofRun(intentFile, c.Run)); !begun || err != nil {
		return err
	}
	if _, ended, err := load[task.Exit](dir, ofRun(exitFile, c.Run)); ended || err != nil {
		return err
	}
	if r.dying[id] == nil {
		r.dying[id] = make(map[string]struct{})
	}
	r.dying[id][runtimeID(id, name)] = struct{}{}
	return r.cgroups.Unthrottle(string(id))
}

// dead is called when a container has ended and that is written down. It limits the
// task's CPU time again after the last of its containers that were killed:
// others may go on for as long as their stopTimeout. It does so after any that
// ended, as one may have been killed by a server that died since.
func (r *Runtime) dead(id task.ID, rid string) error {
	r.killing.Lock()
	defer r.killing.Unlock()
	delete(r.dying[id], rid)
	if len(r.dying[id]) > 0 {
		return nil
	}
	delete(r.dying, id)
	world, found, err := load[sandboxRecord](r.taskDir(id), sandboxFile)
	if err != nil || !found {
		return err
	}
	err = r.cgroups.Throttle(string(id), rid, world.Sandbox.Size.CPU)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil // It is being removed.
	}
	return err
}

// end sends a signal to a container's process, or sees to it that there never is
// one. It reports whether there was one.
func (r *Runtime) end(ctx context.Context, id task.ID, name string, signal uint32) (sent bool, err error) {
	annulled, err := r.annul(ctx, id, name)
	if err != nil || annulled {
		return false, err
	}
	return r.signal(ctx, runtimeID(id, name), signal)
}

// annul writes down that a container that was not started yet never will be. It
// reports whether that is so.
func (r *Runtime) annul(ctx context.Context, id task.ID, name string) (bool, error) {
	unlock, err := r.locks.lock(ctx, id)
	if err != nil {
		return false, err
	}
	defer unlock()
	dir := r.containerDir(id, name)
	c, found, err := load[containerRecord](dir, containerFile)
	if err != nil || !found {
		return !found, err
	}
	if result, known, err := load[startRecord](dir, ofRun(startedFile, c.Run)); err != nil || known {
		return known && result.Failure != "", err
	}
	if _, begun, err := load[startRecord](dir, ofRun(intentFile, c.Run)); err != nil {
		return false, err
	} else if begun {
		if ran, err := r.preventStart(ctx, runtimeID(id, name)); err != nil || ran {
			return false, err
		}
	}
	return true, save(dir, ofRun(startedFile, c.Run), startRecord{Failure: "it was stopped before it was started"})
}

// preventStart sees to it that a process whose start was cut short is not started
// after all, or reports that it runs, or ran, or was lost. The caller holds the
// lock, so nobody starts it from here; but what containerd was asked to do when the
// start was cut short may still be on its way, so the process is killed. If it ran
// for that moment, nobody will know.
func (r *Runtime) preventStart(ctx context.Context, rid string) (ran bool, err error) {
	status, err := r.status(ctx, rid)
	if errdefs.IsNotFound(err) {
		return true, nil
	}
	if err != nil || status != tasktypes.Status_CREATED {
		return true, err
	}
	_, err = r.tasks().Kill(ctx, &tasks.KillRequest{ContainerID: rid, Signal: uint32(unix.SIGKILL)})
	if err = errgrpc.ToNative(err); err != nil && !ended(err) {
		return false, fmt.Errorf("prevent start of container %s: %w", rid, err)
	}
	return false, nil
}

func (r *Runtime) signal(ctx context.Context, rid string, signal uint32) (sent bool, err error) {
	status, err := r.status(ctx, rid)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if status != tasktypes.Status_RUNNING {
		return false, nil // A process that waits to be started must not notice.
	}
	_, err = r.tasks().Kill(ctx, &tasks.KillRequest{ContainerID: rid, Signal: signal})
	if err = errgrpc.ToNative(err); err != nil && !ended(err) {
		return false, fmt.Errorf("send signal %d to container %s: %w", signal, rid, err)
	}
	return err == nil, nil
}

// ended reports whether err says that there is no process to act on any more.
func ended(err error) bool { return errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) }
