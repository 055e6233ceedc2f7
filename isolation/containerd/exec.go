package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// execPatience is how long a command that was killed may take to be gone.
const execPatience = 10 * time.Second

// Exec implements isolation.Runtime. The command is a session of its own (runc calls
// setsid), by which what it started is found when it has to be killed.
func (r *Runtime) Exec(ctx context.Context, id task.ID, name string, c isolation.Command) (int, error) {
	rid := runtimeID(id, name)
	if status, err := r.status(ctx, rid); errdefs.IsNotFound(err) || err == nil && status != tasktypes.Status_RUNNING {
		return 0, notRunning(err, name)
	} else if err != nil {
		return 0, err
	}
	process, err := r.mainProcess(ctx, rid)
	if err != nil {
		return 0, err
	}
	process.Args, process.Terminal, process.ConsoleSize = withSecrets(process.Args, c.Args), false, nil
	x := execution{r: r, task: id, container: rid, id: "exec-" + c.Name, stdout: lostOutput, stderr: lostOutput}
	if err := x.make(ctx, process); err != nil {
		return 0, err
	}
	code, err := x.run(ctx)
	if err != nil {
		settle(ctx)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), execPatience)
	defer cancel()
	if ctx.Err() != nil {
		return 0, errors.Join(ctx.Err(), x.clear(last))
	}
	return code, errors.Join(err, x.clear(last))
}

// settle waits for the end of a context that is due. containerd keeps its caller's deadline
// too, and may be a moment ahead: what fails then fails for want of time, and has to say so.
func settle(ctx context.Context) {
	const moment = 100 * time.Millisecond
	if at, ok := ctx.Deadline(); ok && time.Until(at) < moment {
		<-ctx.Done()
	}
}

// notRunning is the error for a command in a container that does not run.
func notRunning(err error, name string) error {
	return fault.Wrap(fault.Conflict, err, "container %s does not run", name)
}

// mainProcess returns what a container's main process was made of.
func (r *Runtime) mainProcess(ctx context.Context, rid string) (*specs.Process, error) {
	known, err := r.Client.ContainerService().Get(ctx, rid)
	if errdefs.IsNotFound(err) {
		return nil, notRunning(err, rid)
	}
	if err != nil {
		return nil, fmt.Errorf("read container %s: %w", rid, err)
	}
	var spec specs.Spec
	if err := typeurl.UnmarshalTo(known.Spec, &spec); err != nil {
		return nil, fmt.Errorf("read the spec of container %s: %w", rid, err)
	}
	return spec.Process, nil
}

// execution is one command in a container.
type execution struct {
	r         *Runtime
	task      task.ID
	container string // runtime ID
	id        string
	pid       uint32 // on this host; 0: not started
	over      bool   // it was seen to end
	mark      string // a variable by which all that it starts is known; may be empty

	terminal              bool
	stdin, stdout, stderr string // as the shim is to be told
}

// lostOutput is where what a command prints goes. Left to itself the shim gives the command
// a /dev/null that is open for reading: a program that says anything fails, or ends with
// another code. With this it is a pipe, and the shim copies that.
const lostOutput = "file:///dev/null"

// make makes the command's process ready to start.
func (x *execution) make(ctx context.Context, process *specs.Process) error {
	encoded, err := typeurl.MarshalAny(process)
	if err != nil {
		return fmt.Errorf("encode command: %w", err)
	}
	req := &tasks.ExecProcessRequest{
		ContainerID: x.container, ExecID: x.id, Spec: typeurl.MarshalProto(encoded),
		Terminal: x.terminal, Stdin: x.stdin, Stdout: x.stdout, Stderr: x.stderr,
	}
	_, err = x.r.tasks().Exec(ctx, req)
	if err = errgrpc.ToNative(err); errdefs.IsAlreadyExists(err) { // Its caller died.
		if err := x.clear(ctx); err != nil {
			return err
		}
		_, err = x.r.tasks().Exec(ctx, req)
		err = errgrpc.ToNative(err)
	}
	if ended(err) {
		return notRunning(err, x.container)
	}
	if err != nil {
		return fmt.Errorf("make command in container %s: %w", x.container, err)
	}
	return nil
}

func (x *execution) run(ctx context.Context) (int, error) {
	if err := x.start(ctx); err != nil {
		return 0, err
	}
	return x.wait(ctx)
}

func (x *execution) start(ctx context.Context) error {
	started, err := x.r.tasks().Start(ctx, &tasks.StartRequest{ContainerID: x.container, ExecID: x.id})
	if err = errgrpc.ToNative(err); err != nil {
		if _, gone := x.r.status(ctx, x.container); ended(err) || errdefs.IsNotFound(gone) {
			return notRunning(err, x.container)
		}
		return startFault(err, x.container)
	}
	x.pid = started.Pid
	return nil
}

func (x *execution) wait(ctx context.Context) (int, error) {
	done, err := x.r.tasks().Wait(ctx, &tasks.WaitRequest{ContainerID: x.container, ExecID: x.id})
	if err = errgrpc.ToNative(err); ended(err) {
		return 0, notRunning(err, x.container)
	}
	if err != nil {
		return 0, fmt.Errorf("wait for command in container %s: %w", x.container, err)
	}
	x.over = true
	return int(done.ExitStatus), nil
}

// stillRuns is in the error of containerd's shim, which has no kind, when a process that
// has not ended is deleted.
const stillRuns = "cannot delete a running process"

// clear kills the command and what it started, if they still run, and takes away what
// containerd knows of it.
func (x *execution) clear(ctx context.Context) error {
	if x.pid == 0 {
		got, err := x.r.tasks().Get(ctx, &tasks.GetRequest{ContainerID: x.container, ExecID: x.id})
		if err == nil {
			x.pid = got.Process.Pid
		}
	}
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		if err := x.killAll(ctx); err != nil {
			return err
		}
		_, err := x.r.tasks().DeleteProcess(ctx, &tasks.DeleteProcessRequest{ContainerID: x.container, ExecID: x.id})
		if err = errgrpc.ToNative(err); err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		if !errdefs.IsFailedPrecondition(err) && !strings.Contains(err.Error(), stillRuns) {
			return fmt.Errorf("delete command in container %s: %w", x.container, err)
		}
		_, err = x.r.tasks().Kill(ctx, &tasks.KillRequest{ContainerID: x.container, ExecID: x.id, Signal: uint32(unix.SIGKILL)})
		if err = errgrpc.ToNative(err); err != nil && !ended(err) {
			return fmt.Errorf("kill command in container %s: %w", x.container, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("delete command in container %s: %w", x.container, ctx.Err())
		}
	}
}

// killAll kills the command and what it started, as far as they are seen.
func (x *execution) killAll(ctx context.Context) error {
	if x.pid == 0 && x.mark == "" {
		return nil
	}
	if !x.over || x.mark != "" {
		x.killInside(ctx)
	}
	return x.r.cgroups.KillSession(string(x.task), x.container, int(x.pid), x.mark)
}

// killInside kills a command in gVisor, whose processes the host does not see: what the
// host has of it is a process that waits for it. Which one it is inside, berth-runsc had
// written down.
func (x *execution) killInside(ctx context.Context) {
	file := filepath.Join(x.r.bundle(x.container), x.id+".pid.inner")
	text, err := os.ReadFile(file)
	if err != nil {
		return // It is not in gVisor, or not started.
	}
	pid := strings.TrimSpace(string(text))
	for _, flag := range []string{"--pgid", "--pid"} {
		// Mostly there is nothing left, which runsc calls an error.
		_ = x.r.callRunsc(ctx, "kill", flag, pid, x.container, "KILL")
	}
	os.Remove(file)
}
