package containerd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/task"
)

// A task in gVisor is one sandbox: a process with gVisor's kernel in it, in the
// task's cgroup and network namespace, and in that kernel the task's containers,
// which share its loopback. The sandbox's own first program does nothing; it is
// there because a sandbox ends with its first program, and any container of the
// task may end before the others. runsc knows sandboxes and containers apart by
// the annotations of Kubernetes' CRI.
const (
	criType      = "io.kubernetes.cri.container-type"
	criSandbox   = "io.kubernetes.cri.sandbox-id"
	gvisorBundle = "sandboxes"
)

// GVisor returns the programs that gVisor needs beside runc's, as they lie in a
// libexec directory.
func GVisor(libexec string) []string {
	return []string{filepath.Join(libexec, "runsc"), filepath.Join(libexec, "berth-runsc")}
}

// hasGVisor is an error if gVisor is not set up here.
func (r *Runtime) hasGVisor() error {
	for _, program := range GVisor(r.Libexec) {
		if !isFile(program) {
			return fault.New(fault.Unavailable, "gVisor is not set up here (%s is missing): make up GVISOR=1", program)
		}
	}
	return nil
}

// runsc is the runtime that the shim is told of.
func (r *Runtime) runsc() string { return filepath.Join(r.Libexec, "berth-runsc") }

// runscDir is for runsc's own state: RunDir/runsc.
func (c Config) runscDir() string { return filepath.Join(c.RunDir, "runsc") }

// runscRoot is where the shim puts that, by containerd's namespace.
func (r *Runtime) runscRoot() string { return filepath.Join(r.runscDir(), r.Client.DefaultNamespace()) }

// sandboxID is the ID in runsc of a task's sandbox, and the name of its cgroup.
func sandboxID(id task.ID) string { return string(id) + "-sandbox" }

// sandboxBundle is the sandbox's bundle: RunDir/sandboxes/<task>.
func (r *Runtime) sandboxBundle(id task.ID) string {
	return filepath.Join(r.RunDir, gvisorBundle, string(id))
}

// joinSandbox makes a container's spec one for its task's sandbox.
func joinSandbox(s *specs.Spec, id task.ID) {
	s.Annotations[criType], s.Annotations[criSandbox] = "container", sandboxID(id)
	// Devices and system calls are the sandbox's own; the host's never reach it.
	s.Linux.Seccomp = nil
	// runsc cannot mount its cgroups a second time, for the next run of a container.
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" })
}

// sandboxPID returns the process of a task's sandbox, or 0 if it has none.
func (r *Runtime) sandboxPID(id task.ID) int {
	text, err := os.ReadFile(filepath.Join(r.sandboxBundle(id), "pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.Contains(line, []byte(sandboxID(id))) {
		return 0
	}
	return pid
}

// ensureSandbox makes a task's sandbox, unless it runs.
func (r *Runtime) ensureSandbox(ctx context.Context, world sandboxRecord) error {
	id := world.Sandbox.ID
	bundle := r.sandboxBundle(id)
	if r.sandboxPID(id) != 0 && isFile(filepath.Join(bundle, "started")) {
		return nil
	}
	if err := r.hasGVisor(); err != nil {
		return err
	}
	if err := r.removeSandbox(ctx, id); err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(bundle, 0o700), os.MkdirAll(r.runscRoot(), 0o700)); err != nil {
		return fmt.Errorf("make sandbox: %w", err)
	}
	root, err := r.pauseRoot()
	if err != nil {
		return err
	}
	spec, err := json.Marshal(r.sandboxSpec(world, root))
	if err != nil {
		return fmt.Errorf("encode the spec of sandbox %s: %w", id, err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), spec, 0o600); err != nil {
		return fmt.Errorf("make sandbox: %w", err)
	}
	if err := r.callRunsc(ctx, "create", "--bundle", bundle, "--pid-file", filepath.Join(bundle, "pid"), sandboxID(id)); err != nil {
		return err
	}
	if err := r.callRunsc(ctx, "start", sandboxID(id)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bundle, "started"), nil, 0o600); err != nil {
		return fmt.Errorf("make sandbox: %w", err)
	}
	return nil
}

// callRunsc calls runsc itself. What it says goes to a file and not a pipe: the
// sandbox inherits it and would keep the pipe open. The file is in memory and has no
// name, that would stay if this process were killed.
func (r *Runtime) callRunsc(ctx context.Context, args ...string) error {
	fd, err := unix.MemfdCreate("runsc", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("call runsc: %w", err)
	}
	said := os.NewFile(uintptr(fd), "runsc")
	defer said.Close()
	p := exec.CommandContext(ctx, filepath.Join(r.Libexec, "runsc"),
		append([]string{"--root", r.runscRoot(), "--overlay2=none"}, args...)...)
	p.Stderr = said
	if err := p.Run(); err != nil {
		text := make([]byte, 4<<10)
		n, _ := said.ReadAt(text, 0)
		return fmt.Errorf("runsc %s: %w: %s", args[0], err, bytes.TrimSpace(text[:n]))
	}
	return nil
}

// sandboxSpec is what runsc has to do for a task's sandbox.
func (r *Runtime) sandboxSpec(world sandboxRecord, root string) *specs.Spec {
	id, limit, score := world.Sandbox.ID, int64(world.Sandbox.Size.Memory)<<20, oomScore
	return &specs.Spec{
		Version:     specs.Version,
		Hostname:    string(id[max(0, len(id)-12):]),
		Root:        &specs.Root{Path: root, Readonly: true},
		Annotations: map[string]string{criType: "sandbox"},
		Process: &specs.Process{
			Args: []string{"/pause", "pause"}, Cwd: "/", NoNewPrivileges: true, Capabilities: &specs.LinuxCapabilities{}, OOMScoreAdj: &score,
		},
		Mounts: []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}},
		Linux: &specs.Linux{
			CgroupsPath: r.cgroups.Path(string(id)) + "/" + sandboxID(id),
			// By it gVisor knows how much memory its programs see.
			Resources: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}},
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
				{Type: specs.NetworkNamespace, Path: r.netns(id)},
			},
		},
	}
}

// pauseRoot returns the root file system of all sandboxes, RunDir/pause. It has
// one program in it, which is made in one step.
func (r *Runtime) pauseRoot() (string, error) {
	root := filepath.Join(r.RunDir, "pause")
	program := filepath.Join(root, "pause")
	for _, dir := range []string{"proc", "dev", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return "", fmt.Errorf("make the root of sandboxes: %w", err)
		}
	}
	if isFile(program) {
		return root, nil
	}
	text, err := os.ReadFile(r.runsc())
	if err != nil {
		return "", fmt.Errorf("make the root of sandboxes: %w", err)
	}
	f, err := os.CreateTemp(r.RunDir, "pause.")
	if err != nil {
		return "", fmt.Errorf("make the root of sandboxes: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o755), f.Close()); err == nil {
		err = os.Rename(f.Name(), program)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("make the root of sandboxes: %w", err), os.Remove(f.Name()))
	}
	return root, nil
}

// removeSandbox removes what there is of a task's sandbox.
func (r *Runtime) removeSandbox(ctx context.Context, id task.ID) error {
	if err := r.cutSandbox(ctx, id); err != nil {
		return err
	}
	if err := r.sweepRunsc(ctx, sandboxID(id)); err != nil {
		return err
	}
	// Of a creation that failed before runsc had a record of it.
	if err := forget(r.runscRoot(), "runsc-"+sandboxID(id)+".sock"); err != nil {
		return err
	}
	if err := os.RemoveAll(r.sandboxBundle(id)); err != nil {
		return fmt.Errorf("remove the bundle of sandbox %s: %w", id, err)
	}
	return nil
}

// cutSandbox ends the creation of a sandbox whose server died over it: that goes on, and
// what it has begun is in the task's cgroup.
func (r *Runtime) cutSandbox(ctx context.Context, id task.ID) error {
	bundle := r.sandboxBundle(id)
	if _, err := os.Stat(bundle); err != nil || isFile(filepath.Join(bundle, "started")) {
		return nil
	}
	runsc := filepath.Join(r.Libexec, "runsc")
	if err := errors.Join(killAll(runsc, "--bundle", bundle), killAll(runsc, "start", sandboxID(id))); err != nil {
		return err
	}
	return r.cgroups.Kill(ctx, string(id))
}

// sweepRunsc removes a container from runsc, whatever state it is in, if runsc knows
// of it.
func (r *Runtime) sweepRunsc(ctx context.Context, rid string) error {
	r.annulRunsc(rid)
	records := func() []string {
		found, _ := filepath.Glob(filepath.Join(r.runscRoot(), rid+"_sandbox:*"))
		return found
	}
	for _, file := range records() {
		if text, err := os.ReadFile(file); err == nil && strings.HasSuffix(file, ".state") && !json.Valid(text) {
			os.Remove(file) // Who wrote it was killed in the middle, and runsc would never get over it.
		}
	}
	if len(records()) == 0 {
		return nil
	}
	err := r.callRunsc(ctx, "delete", "--force", rid)
	for _, file := range records() {
		if strings.HasSuffix(file, ".lock") {
			os.Remove(file)
			continue
		}
		if err != nil {
			return fmt.Errorf("sweep container %s: %w", rid, err)
		}
	}
	return nil
}

// annulRunsc tells the monitor of a container that was not started that it never
// will be (cmd/berth-runsc): it is in no cgroup and would wait for ever.
func (r *Runtime) annulRunsc(rid string) {
	socket := filepath.Join(r.runscRoot(), "begin-"+rid)
	if conn, err := net.Dial("unix", socket); err == nil {
		conn.Close() // says it
	}
	os.Remove(socket)
}

// endInside ends what may be left in the sandbox of a container whose monitor was killed,
// maybe alone. Meanwhile the task's lock keeps the container from its next run.
func (r *Runtime) endInside(ctx context.Context, id task.ID, c containerRecord, code int) error {
	if code != 128+int(unix.SIGKILL) || r.sandboxPID(id) == 0 {
		return nil
	}
	unlock, err := r.locks.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	dir := r.containerDir(id, c.Name)
	if now, found, err := load[containerRecord](dir, containerFile); err != nil || !found || now.Run != c.Run {
		return err
	}
	if _, ended, err := load[task.Exit](dir, ofRun(exitFile, c.Run)); err != nil || ended {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, deathPatience)
	defer cancel()
	if err := r.callRunsc(patience, "kill", runtimeID(id, c.Name), "KILL"); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil // Mostly there was nothing left, which runsc calls an error.
}

// oomKills returns how often the kernel killed something of a container for memory.
// In gVisor that is its sandbox, with all containers in it.
func (r *Runtime) oomKills(id task.ID, rid string) (uint64, error) {
	kills, err := r.cgroups.OOMKills(string(id), rid)
	if err != nil || kills > 0 {
		return kills, err
	}
	return r.cgroups.OOMKills(string(id), sandboxID(id))
}

// closeGVisor takes away the empty network namespace that runsc keeps for the
// processes that serve files to sandboxes.
func (r *Runtime) closeGVisor() error {
	at := filepath.Join(r.runscRoot(), "null-netns")
	for {
		err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", at, err)
		}
	}
}
