package containerd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// createPatience is how long containerd may take to create a process, and
// leavePatience how long when the caller has gone: a creation that is called off
// leaves pieces to be found, and takes a tenth of a second to finish. Both are much
// more than ever is needed, and keep a shim that is stuck from blocking a task for
// ever: the next call sweeps first.
const (
	createPatience = 30 * time.Second
	leavePatience  = 5 * time.Second
)

// What can start the shim of a task, in containerd's names. Either way it is
// containerd's own shim for runc.
const (
	RuncShim  = "io.containerd.runc.v2"  // itself; every containerd has it
	BerthShim = "io.containerd.berth.v2" // cmd/containerd-shim-berth-v2, which is faster
)

// Create implements isolation.Runtime.
func (r *Runtime) Create(ctx context.Context, c isolation.Container) error {
	unlock, err := r.locks.lock(ctx, c.Task)
	if err != nil {
		return err
	}
	defer unlock()

	world, there, err := r.world(c.Task)
	if err != nil {
		return err
	}
	if !there {
		return fault.Wrap(fault.Conflict, isolation.ErrNotProvisioned, "task %s is not provisioned", c.Task)
	}
	dir, id := r.containerDir(c.Task, c.Name), runtimeID(c.Task, c.Name)
	if known, found, err := load[containerRecord](dir, containerFile); err != nil {
		return err
	} else if found && known.Name != c.Name {
		return fault.New(fault.Conflict, "containers %s and %s have the same ID %s", known.Name, c.Name, id)
	} else if found {
		if made, err := r.made(ctx, dir, id); made || err != nil {
			return err
		}
		if err := r.sweep(ctx, c.Task, c.Name); err != nil {
			return err
		}
	}
	err = r.create(ctx, c, world)
	if errors.Is(err, errGone) { // The cache was wrong; look again.
		r.images.forget(c.Image)
		err = r.create(ctx, c, world)
	}
	err = r.storageFault(c.Task, err)
	if kind := fault.KindOf(err); kind == fault.Invalid || kind == fault.NotFound {
		// It never will be: nobody is to wait for it. Its directory stays, so
		// that Remove looks for what was made of it.
		return errors.Join(err, forget(dir, containerFile))
	}
	return err
}

// made reports whether a container was made, whatever became of it.
func (r *Runtime) made(ctx context.Context, dir, id string) (bool, error) {
	if _, begun, err := load[startRecord](dir, intentFile); begun || err != nil {
		return begun, err
	}
	_, err := r.status(ctx, id)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func (r *Runtime) create(ctx context.Context, c isolation.Container, world sandboxRecord) error {
	dir, id := r.containerDir(c.Task, c.Name), runtimeID(c.Task, c.Name)
	img, err := r.image(ctx, c.Image)
	if err != nil {
		return err
	}
	stop, err := stopSignal(img.config.StopSignal)
	if err != nil {
		return err
	}
	shared, err := r.findShared(c)
	if err != nil {
		return err
	}
	inherited, err := r.inheritedVolumes(c)
	if err != nil {
		return err
	}
	secrets, err := secretsOf(ctx, c)
	if err != nil {
		return err
	}
	// From here on Remove knows of the container, and of its snapshot; and what containerd
	// was asked for is waited for: it would come about after Remove had looked for it.
	ctx, cancel := outlive(ctx, createPatience, leavePatience)
	defer cancel()
	record := containerRecord{Name: c.Name, Made: r.Now().UTC().Round(0), StopSignal: uint32(stop), Terminal: c.Terminal, Shared: shared}
	if err := save(dir, containerFile, record); err != nil {
		return err
	}
	rootfs, err := r.rootfs(ctx, world, c.Name, img)
	if err != nil {
		return err
	}
	if err := writeEtc(r.layerDir(c.Task, c.Name), c, world); err != nil {
		return err
	}
	if err := r.ensureVolumes(c, world.IDs, img, rootfs); err != nil {
		return err
	}
	paths, own, err := r.ownVolumes(c, inherited, world.IDs, img, rootfs)
	if err != nil {
		return err
	}
	if len(paths) > 0 { // Others may be to have them.
		record.Volumes = paths
		if err := save(dir, containerFile, record); err != nil {
			return err
		}
	}
	name := c.User
	if name == "" {
		name = img.config.User
	}
	who, err := r.user(img, rootfs, name)
	if err != nil {
		return err
	}
	spec, err := r.spec(c, world, img, who, shared, append(own, inherited...))
	if err != nil {
		return err
	}
	if err := r.keepSecrets(c, inherited, world.IDs, img, rootfs, spec, secrets); err != nil {
		return err
	}
	if world.Sandbox.Runtime == task.GVisor {
		joinSandbox(spec, c.Task)
		if err := r.ensureTmp(c, rootfs, spec); err != nil {
			return err
		}
	}
	specAny, err := typeurl.MarshalAny(spec)
	if err != nil {
		return fmt.Errorf("encode the spec of container %s: %w", id, err)
	}
	runtime, err := r.runtimeInfo(world.Sandbox.Runtime)
	if err != nil {
		return err
	}
	_, err = r.Client.ContainerService().Create(ctx, containers.Container{
		ID:          id,
		Labels:      map[string]string{labelTask: string(c.Task), labelContainer: c.Name},
		Image:       img.name,
		Runtime:     runtime,
		Spec:        specAny,
		Snapshotter: r.Snapshotter,
		SnapshotKey: id,
	})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("create container %s: %w", id, err)
	}
	return r.createTask(ctx, world, c.Name, c.Terminal, rootfs)
}

// createTask makes the container's process, up to the point where it would
// execute its program.
func (r *Runtime) createTask(ctx context.Context, world sandboxRecord, name string, terminal bool, rootfs []mount.Mount) error {
	s := world.Sandbox
	rid := runtimeID(s.ID, name)
	logger := r.logURI(s, name)
	req := &tasks.CreateTaskRequest{ContainerID: rid, Terminal: terminal, Stdout: logger, Stderr: logger, Rootfs: wireMounts(rootfs)}
	if terminal {
		req.Stderr = "" // A terminal has one stream.
	}
	ctx, cancel := outlive(ctx, createPatience, leavePatience)
	defer cancel()
	if err := r.sweepAbandoned(ctx, rid); err != nil {
		return err
	}
	if s.Runtime == task.GVisor {
		if err := r.ensureSandbox(ctx, world); err != nil {
			return err
		}
	}
	dir := r.containerDir(s.ID, name)
	_, cut, err := load[cutRecord](dir, cutFile)
	if err != nil {
		return err
	}
	if err := save(dir, cutFile, cutRecord{At: r.Now().UTC().Round(0)}); err != nil {
		return err
	}
	_, err = r.tasks().Create(ctx, req)
	if err = errgrpc.ToNative(err); err != nil && !errdefs.IsAlreadyExists(err) {
		return startFault(err, rid)
	}
	if !cut { // Otherwise Remove has something to look for.
		return forget(dir, cutFile)
	}
	return nil
}

// outlive returns a context that ends after some time, and some shorter time
// after its parent.
func outlive(parent context.Context, after, afterParent time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), after)
	stop := context.AfterFunc(parent, func() { time.AfterFunc(afterParent, cancel) })
	return ctx, func() { stop(); cancel() }
}

func wireMounts(mounts []mount.Mount) []*types.Mount {
	var out []*types.Mount
	for _, m := range mounts {
		out = append(out, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	return out
}

// logURI tells the shim to send the container's output to a berth-log process of
// its own, a child of the shim and so in no task's cgroup. containerd passes the
// query as arguments, pair by pair, in any order.
func (r *Runtime) logURI(s isolation.Sandbox, name string) string {
	size, files := r.logLimits(s)
	args := url.Values{
		logDirFlag: {r.logDir(s.ID, name)}, "-max-size": {strconv.FormatInt(size, 10)}, "-max-files": {strconv.Itoa(files)},
	}
	if cpus := r.cpusOf(s.ID); cpus != "" {
		args.Set("-cpus", cpus)
	}
	u := url.URL{Scheme: "binary", Path: r.logger(), RawQuery: args.Encode()}
	return u.String()
}

// logDirFlag is berth-log's flag for where to write.
const logDirFlag = "-dir"

func (r *Runtime) logger() string { return filepath.Join(r.Libexec, "berth-log") }

func (r *Runtime) logDir(id task.ID, name string) string {
	return filepath.Join(r.LogsDir, string(id), name)
}

// runtimeInfo names the shim, which containerd finds beside itself or in its
// PATH.
func (r *Runtime) runtimeInfo(class task.RuntimeClass) (containers.RuntimeInfo, error) {
	o := &options.Options{Root: r.runcDir(), BinaryName: r.runc()}
	switch class {
	case task.GVisor:
		o = &options.Options{Root: r.runscDir(), BinaryName: r.runsc()}
	case task.Kata:
		return r.kataInfo()
	}
	opts, err := typeurl.MarshalAny(o)
	if err != nil {
		return containers.RuntimeInfo{}, fmt.Errorf("encode runtime options: %w", err)
	}
	return containers.RuntimeInfo{Name: r.Shim, Options: opts}, nil
}

// runc returns the path of our runc or, if we have none, the name of the host's.
func (r *Runtime) runc() string {
	if path := filepath.Join(r.Libexec, "runc"); isFile(path) {
		return path
	}
	return "runc"
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

func stopSignal(name string) (unix.Signal, error) {
	if name == "" {
		return unix.SIGTERM, nil
	}
	s, err := parseSignal(name)
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "CannotCreateContainerError: the image's STOPSIGNAL %q is no signal", name)
	}
	return s, nil
}
