//go:build e2e

package containerd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/isolation"
	"berth/isolation/containerd"
	"berth/isolation/containerd/daemon"
	"berth/isolation/isolationtest"
	"berth/task"
)

// These tests need root. Three variables steer them:
//
//	BERTH_LIBEXEC        where containerd, runc and the CNI plugins are; default bin/libexec
//	BERTH_TEST_STATE     a directory for state, where overlayfs works; default a temporary one
//	BERTH_TEST_EMULATED  if set, the CPU is emulated and slow: how long things take says nothing
//
// berth-log, berth-init and probe are built if they are not in BERTH_LIBEXEC.

// stage is a containerd of our own with an image in it, and a server's place on
// the host, both shared by all tests and different for every run.
type stage struct {
	libexec, state, run string
	address             string // of containerd
	config              containerd.Config
	image               string
	log                 *zap.Logger
}

var shared *stage

var emulated = os.Getenv("BERTH_TEST_EMULATED") != ""

func TestMain(m *testing.M) {
	if part := os.Getenv(childEnv); part != "" {
		os.Exit(child(part))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) (code int) {
	s, down, err := setUp()
	if err == nil {
		shared = s
		code = m.Run()
		err = s.leftovers()
	}
	if downErr := down(); err == nil {
		err = downErr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	return code
}

// setUp makes the stage. down is never nil.
func setUp() (s *stage, down func() error, err error) {
	var undo []func() error
	down = func() error {
		var errs []error
		for i := len(undo) - 1; i >= 0; i-- {
			errs = append(errs, undo[i]())
		}
		return errors.Join(errs...)
	}
	dir, err := os.MkdirTemp(os.Getenv("BERTH_TEST_STATE"), "berth-iso-")
	if err != nil {
		return nil, down, err
	}
	undo = append(undo, func() error { return os.RemoveAll(dir) })
	run, err := os.MkdirTemp("/run", "berth-iso-")
	if err != nil {
		return nil, down, err
	}
	undo = append(undo, func() error { return os.RemoveAll(run) })
	if err := os.Chmod(run, 0o711); err != nil {
		return nil, down, err
	}

	s = &stage{libexec: filepath.Join(dir, "libexec"), state: filepath.Join(dir, "state"), run: run}
	if err := s.gatherPrograms(); err != nil {
		return nil, down, err
	}
	s.log, err = zap.NewDevelopment(zap.IncreaseLevel(zap.WarnLevel), zap.AddStacktrace(zap.DPanicLevel))
	if err != nil {
		return nil, down, err
	}
	d, err := daemon.Open(daemon.Config{Libexec: s.libexec, StateDir: s.state, RunDir: run, Log: s.log})
	if err != nil {
		return nil, down, err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	undo = append(undo, func() error {
		stop()
		return errors.Join(<-ended, d.Close())
	})
	soon, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := d.Ready(soon); err != nil {
		return nil, down, err
	}
	s.address = d.Address()
	s.configure()
	c, err := s.dial()
	if err != nil {
		return nil, down, err
	}
	if s.config.Snapshotter, err = containerd.Snapshotter(soon, c, s.state, s.log); err != nil {
		return nil, down, err
	}
	if s.image, err = s.importImage(soon, c, "probe"); err != nil {
		return nil, down, err
	}
	return s, down, nil
}

func (s *stage) configure() {
	s.config = containerd.Config{
		Snapshotter: s.config.Snapshotter, Shim: containerd.BerthShim,
		Libexec: s.libexec, StateDir: s.state, RunDir: s.run, LogsDir: filepath.Join(s.state, "logs"),
		Instance: containerd.Instance(s.state), CgroupParent: "/berth-iso/" + containerd.Instance(s.state),
		Now: time.Now, Log: s.log,
	}
}

// gatherPrograms fills libexec with links to what there is, and builds the rest.
func (s *stage) gatherPrograms() error {
	if err := os.MkdirAll(filepath.Join(s.libexec), 0o755); err != nil {
		return err
	}
	from := os.Getenv("BERTH_LIBEXEC")
	if from == "" {
		from = "../../bin/libexec"
	}
	from, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("containerd, runc and the CNI plugins are needed: %w", err)
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(s.libexec, e.Name())); err != nil {
			return err
		}
	}
	for name, pkg := range map[string]string{
		"berth-log": "berth/cmd/berth-log", "berth-init": "berth/cmd/berth-init",
		"containerd-shim-berth-v2": "berth/cmd/containerd-shim-berth-v2", "berth-runsc": "berth/cmd/berth-runsc", "berth-hangup": "berth/cmd/berth-hangup", "probe": "berth/isolation/isolationtest/probe",
	} {
		path := filepath.Join(s.libexec, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

func (s *stage) dial() (*client.Client, error) {
	return client.New(s.address, client.WithDefaultNamespace(containerd.Namespace))
}

// Open implements isolationtest.Host: a new connection, nothing remembered.
func (s *stage) Open() (isolation.Runtime, error) {
	return s.open()
}

func (s *stage) open() (*containerd.Runtime, error) { return s.openWith(s.config) }

// openWith opens another server's view of the stage, with its own settings.
func (s *stage) openWith(config containerd.Config) (*containerd.Runtime, error) {
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	config.Client = c
	return containerd.New(context.Background(), config)
}

// Lose implements isolationtest.Host: it kills the shim.
func (s *stage) Lose(id task.ID, container string) error {
	shim, err := s.shim(id, container)
	if err != nil {
		return err
	}
	return unix.Kill(shim, unix.SIGKILL)
}

// process returns the PID of a container's main process on the host.
func (s *stage) process(id task.ID, container string) (int, error) {
	c, err := s.dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	ctx := namespaces.WithNamespace(context.Background(), containerd.Namespace)
	all, err := c.ContainerService().List(ctx, fmt.Sprintf(`labels."berth/task"==%s,labels."berth/container"==%s`, id, container))
	if err != nil || len(all) != 1 {
		return 0, fmt.Errorf("%d containers %s, %v", len(all), container, err)
	}
	got, err := c.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: all[0].ID})
	if err != nil {
		return 0, err
	}
	return int(got.Process.Pid), nil
}

// shim returns the PID of the shim of a container: its main process's parent.
func (s *stage) shim(id task.ID, container string) (int, error) {
	pid, err := s.process(id, container)
	if err != nil {
		return 0, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "PPid:")
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.Atoi(strings.TrimSpace(line))
}

// leftovers says what the tests left on the host, after taking away what a
// server takes away when it stops.
func (s *stage) leftovers() error {
	rt, err := s.open()
	if err != nil {
		return err
	}
	ctx := namespaces.WithNamespace(context.Background(), containerd.Namespace)
	var found []error
	note := func(format string, args ...any) { found = append(found, fmt.Errorf("left over: "+format, args...)) }
	ids, err := rt.List(ctx)
	if err != nil || len(ids) > 0 {
		note("tasks %v, %v", ids, err)
	}
	for _, id := range ids {
		filepath.WalkDir(s.config.StateDir, func(path string, _ fs.DirEntry, _ error) error {
			if strings.Contains(path, string(id)) {
				note("%s", path)
			}
			return nil
		})
	}
	for _, id := range ids {
		if err := rt.Remove(ctx, id); err != nil {
			note("%v", err)
		}
	}
	var snapshots []string
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if all, err := c.ContainerService().List(ctx); err != nil || len(all) > 0 {
		note("%d containers, %v", len(all), err)
	}
	err = walk(ctx, c, s.config.Snapshotter, &snapshots)
	if err != nil || len(snapshots) != 1 { // the image's one layer
		note("snapshots %v, %v", snapshots, err)
	}
	if err := rt.Close(ctx); err != nil {
		note("%v", err)
	}
	if _, err := os.Stat("/sys/class/net/berth" + s.config.Instance); err == nil {
		note("bridge")
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup"} {
		if dirs, _ := filepath.Glob(pattern + s.config.CgroupParent); len(dirs) > 0 {
			note("cgroups %v", dirs)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		note("mounts: %v", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, s.run) || strings.Contains(line, s.state) {
			note("mount %s", line)
		}
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, l := range loops {
		if file, err := os.ReadFile(l); err == nil && strings.HasPrefix(string(file), s.state) {
			note("loop device of %s", file)
		}
	}
	if sockets, err := os.ReadDir(filepath.Join(s.run, "s")); err != nil || len(sockets) > 0 {
		note("sockets of shims %v, %v", sockets, err)
	}
	if known, err := os.ReadDir(filepath.Join(s.run, "runc", containerd.Namespace)); err != nil && !errors.Is(err, fs.ErrNotExist) || len(known) > 0 {
		note("containers in runc %v, %v", known, err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left := append(s.processes("containerd-shim", "berth-log", "probe"), s.ofGVisor("")...)
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			note("processes %q", left)
			break
		}
	}
	return errors.Join(found...)
}

// processes returns the command lines of those programs of this stage that run.
func (s *stage) processes(programs ...string) []string {
	var found []string
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		line, _ := os.ReadFile(path)
		for _, p := range programs {
			if bytes.HasPrefix(line, []byte(filepath.Join(s.libexec, p))) {
				found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
			}
		}
	}
	return found
}

func TestSuite(t *testing.T) {
	isolationtest.Suite(t, shared.image, func(*testing.T) isolationtest.Host { return shared })
}

func walk(ctx context.Context, c *client.Client, snapshotter string, names *[]string) error {
	return c.SnapshotService(snapshotter).Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		*names = append(*names, info.Name)
		return nil
	})
}
