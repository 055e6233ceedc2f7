package containerd

import (
	"path/filepath"

	"berth/task"
)

// Labels of a container in containerd.
const (
	labelTask      = "berth/task"
	labelContainer = "berth/container"
)

// shimGroup is the annotation by which containers share a shim process.
const shimGroup = "io.containerd.runc.v2.group"

// runtimeID is the ID of a container in containerd and runc, and the name of its
// cgroup and snapshot. A container's own name may be longer than containerd allows an
// ID to be.
func runtimeID(id task.ID, container string) string { return task.RuntimeID(id, container) }

// Where things are on disk:
//
//	StateDir/tasks/<task>/sandbox.json         the task's world; there before anything else is
//	StateDir/tasks/<task>/<runtime ID>/        one container: its record, its markers
//	StateDir/storage/<task>/                   the task's storage, see storageDir
//	StateDir/trash/                            records on their way out
//	StateDir/network.json                      the bridge's subnet
//	RunDir/netns/<task>                        the task's network namespace is mounted here
//	RunDir/users/<task>/                       the task's user namespace and view of layers, see usersDir
//	RunDir/runc/                               runc's own state
//	RunDir/s/<task>                            the socket of the task's shim
//	RunDir/secrets/<task>/<runtime ID>         a container's secrets, in memory; see secretsDir
//	RunDir/sessions/<ID>/                      a session: its record and its streams
//	RunDir/look                                empty; images are mounted here out of everybody's sight
func (c Config) tasksDir() string { return filepath.Join(c.StateDir, "tasks") }
func (c Config) trashDir() string { return filepath.Join(c.StateDir, "trash") }
func (c Config) netnsDir() string { return filepath.Join(c.RunDir, "netns") }

// bundlesDir is where the supervised containerd keeps the bundles of its runc
// shims, by namespace and container. Another containerd keeps its own, which is
// none of our business.
func (c Config) bundlesDir() string {
	return filepath.Join(c.RunDir, "containerd", "io.containerd.runtime.v2.task")
}

// shimSocket is where the task's shim listens, if it is a BerthShim's, in the
// directory that the supervised containerd gives it.
func (c Config) shimSocket(id task.ID) string { return filepath.Join(c.RunDir, "s", string(id)) }

func (c Config) runcDir() string     { return filepath.Join(c.RunDir, "runc") }
func (c Config) sessionsDir() string { return filepath.Join(c.RunDir, "sessions") }

func (c Config) lookDir() string { return filepath.Join(c.RunDir, "look") }

func (c Config) taskDir(id task.ID) string { return filepath.Join(c.tasksDir(), string(id)) }
func (c Config) netns(id task.ID) string   { return filepath.Join(c.netnsDir(), string(id)) }

func (c Config) containerDir(id task.ID, container string) string {
	return filepath.Join(c.taskDir(id), runtimeID(id, container))
}
