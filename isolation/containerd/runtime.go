// Package containerd keeps the contract of package isolation with containerd and
// runc: a task is a parent cgroup and a network namespace that this package
// makes, and containers of containerd inside them that share one shim.
//
// The rule: what exists is asked of those who have it (containerd, the kernel),
// each time. Only what nobody else can know is written down here, before it
// takes effect: that a task's world was begun, and that a container's process
// was started. So any call can be cut short by the death of this process, of
// containerd or of a shim, and made again.
package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"go.uber.org/zap"

	"berth/isolation"
	"berth/isolation/cgroup"
	"berth/isolation/cpuset"
	"berth/isolation/userns"
	"berth/task"
)

// Namespace is containerd's namespace for everything that Berth makes, unless
// another one is configured.
const Namespace = "berth"

// DefaultPIDs is how many processes and threads a task may have if its Sandbox
// does not say.
const DefaultPIDs = 2048

// Config is what New needs. All fields are required but those that say what
// their zero value means.
type Config struct {
	Client      *client.Client // of containerd 1.7 or later; its default namespace holds the tasks
	Snapshotter string         // for the containers' root file systems; see Snapshotter

	// Shim is containerd's name for what starts a task's shim; zero: RuncShim.
	Shim string

	// KataShim is the path of Kata Containers' containerd-shim-kata-v2; empty: tasks
	// cannot be run with Kata.
	KataShim string

	Libexec  string // has runc, containerd-shim-runc-v2, berth-log and berth-init
	StateDir string // survives restarts of the host
	RunDir   string // does not, and is short, as in /run/berth/1a2b3c4d
	LogsDir  string // berth-log writes to LogsDir/<task>/<container>

	LogMaxSize  int64 // bytes of one log file of one container; zero: 10 MiB
	LogMaxFiles int   // log files of one container; zero: 5

	// Instance tells servers on one host apart; see Instance. The cgroup of all
	// tasks and the bridge are named after it.
	Instance string

	CgroupParent string       // zero: /berth/<instance>
	Bridge       string       // zero: berth<instance>; at most 15 bytes
	Subnet       netip.Prefix // of the bridge; zero: a free /20 of 100.64.0.0/10 is chosen, once
	PIDs         int64        // zero: DefaultPIDs

	// DiskFloor is how many bytes have to be free where StateDir is for a task to get its
	// storage; zero: 1 GiB.
	DiskFloor int64

	// FileSystems are the directories of this host that volumes can be parts of, by
	// the ID that a Mount calls them.
	FileSystems map[string]string

	// HostUsers gives tasks the user and group IDs of the host; zero: each has its own, if
	// the host can do that.
	HostUsers bool

	// ShareCPUs lets all tasks run on all CPUs; zero: a task that reserves whole CPUs has
	// them to itself.
	ShareCPUs bool

	Now func() time.Time
	Log *zap.Logger
}

// Instance derives a name from a server's state directory: eight hex digits.
func Instance(stateDir string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(stateDir)))
	return hex.EncodeToString(sum[:4])
}

// Runtime is the isolation.Runtime of this host.
type Runtime struct {
	Config
	cgroups *cgroup.Tree
	network *network
	images  imageCache
	users   userCache
	locks   locks
	nofile  sync.Once // the note that it had to be lowered
	bootID  string
	disks   bool // tasks can have disks of their own

	ownUsers bool // tasks get user IDs of their own
	ids      *userns.Pool

	cpus      *cpuset.Pool
	confining sync.Mutex         // held while tasks are kept to CPUs
	confined  map[task.ID]string // CPUs that a task was last kept to; absent: all

	mu     sync.Mutex
	gauges map[task.ID]map[*gauge]struct{}

	killing sync.Mutex                      // held while limits of CPU time are lifted or set again
	dying   map[task.ID]map[string]struct{} // runtime IDs of containers that were killed and have not ended

	hangup hangup
}

var _ isolation.Runtime = (*Runtime)(nil)

// New returns the Runtime of this host. It needs root. containerd need not be
// there yet.
func New(ctx context.Context, c Config) (*Runtime, error) {
	if c.CgroupParent == "" {
		c.CgroupParent = "/berth/" + c.Instance
	}
	if c.Bridge == "" {
		c.Bridge = "berth" + c.Instance
	}
	if c.Shim == "" {
		c.Shim = RuncShim
	}
	if c.PIDs == 0 {
		c.PIDs = DefaultPIDs
	}
	if c.DiskFloor == 0 {
		c.DiskFloor = defaultDiskFloor
	}
	if c.LogMaxSize == 0 {
		c.LogMaxSize = defaultLogSize
	}
	if c.LogMaxFiles == 0 {
		c.LogMaxFiles = defaultLogFiles
	}
	if err := os.RemoveAll(c.trashDir()); err != nil { // of a Remove that was cut short at its very end
		return nil, fmt.Errorf("empty the trash: %w", err)
	}
	for _, dir := range []string{c.tasksDir(), c.trashDir(), c.netnsDir(), c.usersDir(), c.lookDir(), c.storagesDir(), c.sessionsDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make directories: %w", err)
		}
	}
	tree, err := cgroup.Open(c.CgroupParent)
	if err != nil {
		return nil, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("read the boot ID: %w", err)
	}
	n, err := openNetwork(c)
	if err != nil {
		return nil, err
	}
	ids := userns.NewPool(c.Instance)
	if err := c.eachWorld(func(id task.ID, record sandboxRecord) { ids.Hold(record.IDs, id) }); err != nil {
		return nil, err
	}
	c.Log.Info("isolation ready", zap.String("cgroups", tree.Layout()), zap.String("cgroupParent", c.CgroupParent),
		zap.String("bridge", c.Bridge), zap.Stringer("subnet", n.subnet), zap.String("snapshotter", c.Snapshotter))
	r := &Runtime{
		Config:  c,
		cgroups: tree,
		network: n,
		bootID:  string(boot[:len(boot)-1]),
		ids:     ids,
		gauges:  make(map[task.ID]map[*gauge]struct{}),
		dying:   make(map[task.ID]map[string]struct{}),
	}
	r.tryUserns()
	return r, errors.Join(r.openCPUs(), r.tryDisks(ctx))
}

// Close takes away what the server has on the host beside its tasks, the bridge
// and the parent cgroup, unless there are tasks: those need it.
func (r *Runtime) Close(ctx context.Context) error {
	ids, err := r.traces()
	if err != nil || len(ids) > 0 {
		return err
	}
	return errors.Join(r.closeHangup(), r.closeGVisor(), r.network.remove(), r.cgroups.Close(ctx))
}

// List implements isolation.Runtime.
func (r *Runtime) List(ctx context.Context) ([]task.ID, error) {
	ids, err := r.traces()
	if err != nil {
		return nil, err
	}
	containers, err := r.Client.ContainerService().List(ctx, fmt.Sprintf("labels.%q", labelTask))
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	for _, c := range containers {
		ids = append(ids, task.ID(c.Labels[labelTask]))
	}
	// A server that dies while containerd makes one may leave a snapshot alone.
	err = r.Client.SnapshotService(r.Snapshotter).Walk(ctx, func(_ context.Context, s snapshots.Info) error {
		ids = append(ids, task.ID(s.Labels[labelTask]))
		return nil
	}, fmt.Sprintf("labels.%q", labelTask))
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// traces returns the tasks that left something on the host, apart from what
// containerd has.
func (r *Runtime) traces() ([]task.ID, error) {
	names, err := r.cgroups.List()
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{r.tasksDir(), r.netnsDir(), r.usersDir(), r.storagesDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("list tasks: %w", err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	var ids []task.ID
	for _, name := range names {
		if id, err := task.ParseID(name); err == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func (r *Runtime) tasks() tasks.TasksClient { return r.Client.TaskService() }
