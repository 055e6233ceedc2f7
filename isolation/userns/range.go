// Package userns gives tasks user and group IDs of their own: a user namespace, in which
// root is nobody of the host and nobody of another task, and views of directories in which
// files have the owners that a user namespace knows.
//
// Layers of images are shown to tasks by such views, idmapped mounts; what tasks write lies
// on the host with the IDs that they have there.
package userns

import specs "github.com/opencontainers/runtime-spec/specs-go"

// Size is how many user and group IDs a task has of its own: all that the files of
// ordinary images have, 65534 being nobody.
const Size = 1 << 16

// The IDs that tasks get are those that systemd leaves to others, above its containers'
// and below what does not fit into 31 bits (systemd.io/UIDS-GIDS).
const (
	first  = 0x70000000
	Ranges = (0x7ffe0000 - first) / Size // how many tasks can have their own at once
)

// Range is the first of the IDs that a task has of its own on the host; 0: it has the
// host's IDs.
type Range uint32

// Mappings is what runtimes and the kernel have to know. IDs from Size on are few and
// belong to no image's files, but a definition may name any: there they are what they are
// on the host, and shared between tasks.
func (r Range) Mappings() []specs.LinuxIDMapping {
	if r == 0 {
		return nil
	}
	return []specs.LinuxIDMapping{
		{ContainerID: 0, HostID: uint32(r), Size: Size},
		{ContainerID: Size, HostID: Size, Size: first - Size},
	}
}

// Outside returns what an ID of the task is on the host.
func (r Range) Outside(id uint32) int {
	if r == 0 || id >= Size {
		return int(id)
	}
	return int(uint32(r) + id)
}

// Inside returns what an ID of the host is in the task.
func (r Range) Inside(id uint32) uint32 {
	if r == 0 || id < uint32(r) || id-uint32(r) >= Size {
		return id
	}
	return id - uint32(r)
}
