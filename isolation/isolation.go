// Package isolation is the contract between the runner and whatever keeps tasks
// apart: containers on this host, or, in tests, a fake.
//
// The contract lives here and not in runner because it has several
// implementations, and one suite, isolationtest.Suite, that they all pass.
//
// The task is the unit of isolation. Provision makes the task's world: one
// parent cgroup with the task's vCPU quota, memory and PID limit, and one
// network namespace. Its containers are made inside that world, each in a child
// cgroup of its own, and none of them can reserve or use more than the task has.
// Remove takes the world away with everything in it.
//
// The rule that holds for every method: it can be repeated. The runner may die
// after a call took effect and before it wrote that down, and will then make the
// same call again. A second call finds what the first one did and answers the
// same. Attach is the exception: who has died cannot talk on.
package isolation

import (
	"context"
	"errors"
	"io"
	"time"

	"berth/task"
)

// Sandbox is a task's world.
type Sandbox struct {
	ID   task.ID
	Size task.Size // enforced by the kernel on all containers together
	PIDs int64     // most processes and threads in the task; 0 means the default of the runtime

	// Storage is how many bytes root file systems, volumes and logs of the task's
	// containers may take together; 0 means as much as the host has. A host that
	// cannot hold a task to it says so when it starts.
	Storage    int64
	Containers int // how many containers the task will have, for whose logs room is kept

	Runtime task.RuntimeClass // empty: runc

	Groups  []string    // IDs of security groups; none: see task.SecurityGroup
	Search  []string    // domains where the task looks for short names before those of the host, if names are answered here
	Publish []task.Port // ports that the host passes on to the task; it chooses its own
}

// Container is all that a Runtime needs to know about one container. Nil and
// zero values mean: as the image says.
type Container struct {
	Task  task.ID
	Name  string
	Image string // digest reference (name@sha256:…) that images.Pull returned

	EntryPoint       []string // replaces the image's ENTRYPOINT and clears its CMD
	Command          []string // replaces the image's CMD
	WorkingDirectory string
	User             string   // user, uid, user:group, uid:gid, uid:group or user:gid
	Env              []string // KEY=VALUE, on top of the image's
	Secrets          Secrets  // nil: none
	Hostname         string

	CPU               int // CPU units: the container's weight inside the task; 0 is the least weight
	Memory            int // MiB, hard limit; 0 means the task's
	MemoryReservation int // MiB, soft limit; 0 means none

	ReadonlyRootFilesystem bool
	Init                   bool // run an init process that reaps zombies and forwards signals as PID 1
	AddCapabilities        []string
	DropCapabilities       []string
	Ulimits                []Ulimit
	Sysctls                map[string]string
	Terminal               bool // allocate a pseudo-terminal
	StdinOpen              bool
	Mounts                 []Mount // outer paths before inner ones

	// Where the image declares a volume and there is none of Mounts, the container has one
	// of its own: writable, part of the task's storage, with what the image has there and
	// its owner. It is the same one after a Restart. What the kernel has in a container
	// stays: nothing below /proc, /sys and /dev becomes a volume. A volume where none can
	// be, at / or over a file, is fault.Invalid, and so are more than a host wants to make.
	//
	// VolumesFrom are others that were created before, of which this one has those volumes
	// too, wherever it has none of Mounts: more so than its own image's. Of two at one path
	// the first counts. One that was not created is fault.Conflict.
	VolumesFrom []VolumesFrom
}

// VolumesFrom names a container of the same task whose image's volumes another one gets.
type VolumesFrom struct {
	Container string
	ReadOnly  bool
}

// Secrets returns variables as KEY=VALUE, on top of Env, that are for the container's
// processes only: a Runtime writes them neither to a disk nor to anything that others
// can ask for. It is called when the container has to be made, and perhaps again; its
// error is then that of Create.
type Secrets func(context.Context) ([]string, error)

// Mount is something mounted into a container beside its root file system.
type Mount struct {
	Path string // absolute, in the container; made if it is not there

	// Volume names one of the task's volumes, which its containers share. It is
	// made empty, or as the image has the place if the image declares a volume
	// there, by the first container that mounts it, and ends with the task. Empty
	// means memory, which counts as the container's.
	Volume   string
	ReadOnly bool

	// FileSystem is the ID of a file system that outlives tasks, and of which the
	// volume is the directory Root. One that this host does not have, or that has
	// no such directory, is fault.Invalid.
	FileSystem string
	Root       string

	Size    int      // MiB, the most of memory
	Options []string // of memory, in the words of mount(8)
}

// Command is a program to run inside a container beside its main process.
type Command struct {
	Name string // letters, digits and hyphens
	Args []string
}

// Session is a command in a container, and somebody who talks to it.
type Session struct {
	ID   string // letters, digits and hyphens, at most 64; no other session has it
	Args []string

	Terminal bool          // it has a pseudo-terminal
	Size     Window        // of the terminal when the command starts; zero: 80 columns by 24 rows
	Resize   <-chan Window // further sizes; nil: none

	// Stdin is what is typed or piped in; nil: nothing. Its end closes the command's
	// input; that of a terminal has no end.
	Stdin io.Reader

	// Stdout and Stderr take what the command prints; of a terminal all of it is Stdout.
	// Their Write is called by one goroutine each.
	Stdout, Stderr io.Writer
}

// Window is the size of a terminal in characters.
type Window struct{ Columns, Rows uint16 }

// DefaultWindow is the size of a terminal of which nobody said it.
var DefaultWindow = Window{Columns: 80, Rows: 24}

// Ulimit is one resource limit of a container, in the words of setrlimit(2)
// without RLIMIT_, in lower case: nofile, nproc, core, …
type Ulimit struct {
	Name       string
	Soft, Hard uint64
}

// Started is how a container came to run.
type Started struct {
	RuntimeID string    // how the runtime calls it
	At        time.Time // by the wall clock
}

// ErrNotProvisioned is in the error of Create when the task's world is not there, for
// Provision was never called or the host lost it. The kind of the error is
// fault.Conflict.
var ErrNotProvisioned = errors.New("there is no world of the task")

// ErrNoImage is in the error of Create when the container's image is not on this host.
// The kind of the error is fault.NotFound.
var ErrNoImage = errors.New("no such image on this host")

// Runtime runs tasks. Methods are safe for concurrent use, also for one task.
//
// Errors of kind fault.Invalid and fault.NotFound that Create and Start return
// are the user's: an image without the command, a user that is not in the image.
// Their message is shown as the container's reason. Any other error is the
// host's, and the runner repeats the call.
type Runtime interface {
	// Provision makes the task's cgroup with its limits and its network
	// namespace with an address. Calling it again changes nothing and returns
	// the same Network.
	Provision(ctx context.Context, s Sandbox) (task.Network, error)

	// SetGroups sets what all security groups allow, in place of what they allowed
	// before, for tasks that run too. Until it is called nothing is allowed to and from
	// tasks that are in groups. A group that tasks are in and that is not among all
	// allows nothing.
	SetGroups(ctx context.Context, all []task.SecurityGroup) error

	// Create makes a container ready to start, inside a provisioned task. None
	// of the image's code runs yet. If it exists already, Create does nothing.
	Create(ctx context.Context, c Container) error

	// Start starts the container's main process, once in its life: if it was
	// ever started before, whether it still runs, has ended or was lost, Start
	// starts nothing and returns when that was.
	Start(ctx context.Context, id task.ID, container string) (Started, error)

	// Restart starts the main process of a container anew, with what it wrote to its
	// root file system and its log going on. run counts the processes that there were
	// before, from 1 on, and makes it safe to repeat: each run is started once. The run
	// before has to have ended, or else it is fault.Conflict. Everything that is said of
	// a container's main process is about that of its latest run. Otherwise as Start.
	Restart(ctx context.Context, id task.ID, container string, run int) (Started, error)

	// Life returns how far a container has come, for those who do not want it to go any
	// further; nothing, if it does not exist or Start and Restart failed.
	Life(id task.ID, container string) (task.ContainerLife, error)

	// Exec runs a command inside a container that runs, as its user and with its
	// environment, and returns its exit code when it has ended; what it prints is lost.
	// When ctx ends the command is killed with all that it started, and the error is
	// that of ctx. There is one command at a time in a container under a name: one that
	// still runs, whose caller died, is killed first. A container that does not run is
	// fault.Conflict, a command that cannot be executed fault.Invalid.
	Exec(ctx context.Context, id task.ID, container string, c Command) (code int, err error)

	// Attach runs a command inside a container that runs, for somebody who talks to it, and
	// returns its exit code when it has ended and all that it printed was written. It runs
	// as root of the task, as on Fargate, in all other respects as the container's main
	// process would: with its environment, its capabilities and its limits.
	//
	// When the command ends, what it started in the background is killed; when ctx ends or
	// one of the streams fails, the command is too, and the error is that of ctx or the
	// stream. A caller that dies takes its sessions with it, whether or not another one ever
	// opens the Runtime. A Read of Stdin that blocks is left behind, and so is a Write that
	// does when ctx has ended.
	//
	// A container that does not run is fault.Conflict, and so is an ID that is in use; a
	// command that cannot be executed is fault.Invalid.
	Attach(ctx context.Context, id task.ID, container string, s Session) (code int, err error)

	// Wait blocks until the main process has ended and returns how. Any number
	// of callers may wait, before and after it ended. Ending ctx ends the wait
	// and leaves the process alone. If there is no such process and never will
	// be, because the container does not exist or its process was lost (the host
	// restarted, its monitor was killed), the error is fault.NotFound.
	Wait(ctx context.Context, id task.ID, container string) (task.Exit, error)

	// Stop sends the main process the image's STOPSIGNAL, SIGTERM by default, once:
	// many programs take a second one for the wish to end at once. It returns when that
	// was, by the wall clock, also if it is called again; use Wait to learn the outcome.
	// A container that was not started yet never will be: Start is then fault.Invalid. A
	// container that has ended or does not exist is left as it is. Of both the time is
	// zero.
	Stop(ctx context.Context, id task.ID, container string) (time.Time, error)

	// Kill sends SIGKILL to every process of the container. Otherwise as Stop.
	Kill(ctx context.Context, id task.ID, container string) error

	// Inspect reads back from the kernel what keeps the task apart. TaskARN is for the
	// caller to fill in. A task that is not provisioned is fault.Conflict.
	Inspect(ctx context.Context, id task.ID) (task.Isolation, error)

	// Gauge opens the task's counters for reading, many times and cheaply. The
	// caller closes it. If the task is not provisioned the error is
	// fault.NotFound.
	Gauge(ctx context.Context, id task.ID) (Gauge, error)

	// Stats reads the counters of one container, and of its task's network
	// interface. If the container is not made, or has ended and its counters are
	// gone, the error is fault.NotFound.
	Stats(ctx context.Context, id task.ID, container string) (task.ContainerStats, error)

	// Remove kills what still runs and deletes every trace of the task: its
	// containers, snapshots, mounts, cgroups, namespaces and addresses. If there
	// is none, Remove does nothing. What containers wrote to their logs stays.
	Remove(ctx context.Context, id task.ID) error

	// List returns the tasks of which there is any trace.
	List(ctx context.Context) ([]task.ID, error)
}

// Gauge reads a task's counters. It keeps what it reads from open, so that a
// reading costs microseconds. It is not safe for concurrent use.
type Gauge interface {
	// Read returns the counters now; those of processes, of operations and of the
	// kernel's own peak of memory may be as of up to three readings before, but not in
	// the first. After the task's last process has ended and until Remove it still
	// returns their final values; after Remove the error is fault.NotFound.
	Read() (task.Counters, error)

	// Close releases what the Gauge holds. It may be called twice.
	Close() error
}
