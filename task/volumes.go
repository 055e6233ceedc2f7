package task

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"berth/fault"
)

// Mount is something that a container has at a path of its own beside its root
// file system: a volume of the task, or memory.
type Mount struct {
	Path     string // absolute, in the container
	Volume   string // name of a volume, which all containers of the task share; empty: memory
	ReadOnly bool

	FileSystem string // of which the volume is a part, which outlives the task; empty: the volume is the task's own
	Root       string // the directory of it that the volume is

	Size    int      // MiB, of memory
	Options []string // of memory, in the words of mount(8)
}

// tmpfsOption are the options of a tmpfs that ECS lists (API reference, Tmpfs),
// without those that would change mounts outside the container.
var tmpfsOption = regexp.MustCompile(`^(defaults|r[ow]|(no)?(suid|dev|exec|atime|diratime|relatime|strictatime)|a?sync|dirsync|` +
	`mode=0?[0-7]{3,4}|[ug]id=[0-9]{1,9}|nr_(inodes|blocks)=[0-9]{1,9}[kmg]?)$`)

func (d Definition) validateVolumes() error {
	seen := make(map[string]bool)
	for i, v := range d.Volumes {
		at := fmt.Sprintf("volumes[%d]", i)
		if err := nameAt(at+".name", v.Name, "Volume.name"); err != nil {
			return err
		}
		if seen[v.Name] {
			return fault.At(at+".name", "Volume names must be unique: %q is there twice", v.Name)
		}
		seen[v.Name] = true
		switch {
		case v.Host != nil && v.Host.SourcePath != "":
			return unsupportedByFargate(at+".host.sourcePath", "sourcePath")
		case v.Docker != nil:
			return unsupportedByFargate(at+".dockerVolumeConfiguration", "dockerVolumeConfiguration")
		case v.ConfiguredAtLaunch != nil && *v.ConfiguredAtLaunch && !d.mounts(v.Name):
			return fault.At(at+".name", "Volumes [%s] are not referenced by any of the containers", v.Name)
		}
		if err := v.EFS.validate(at + ".efsVolumeConfiguration."); err != nil {
			return err
		}
		if v.S3Files != nil && v.S3Files.FileSystemARN == "" {
			return fault.At(at+".s3filesVolumeConfiguration.fileSystemArn", "should not be null or empty.")
		}
		if err := v.FSxWindows.validate(at + ".fsxWindowsFileServerVolumeConfiguration."); err != nil {
			return err
		}
	}
	for i, c := range d.ContainerDefinitions {
		at := fmt.Sprintf("containerDefinitions[%d].", i)
		for j, m := range c.MountPoints {
			if !seen[m.SourceVolume] {
				return fault.At(fmt.Sprintf("%smountPoints[%d].sourceVolume", at, j), "Unknown volume '%s'.", m.SourceVolume)
			}
		}
		for j, f := range c.VolumesFrom {
			at := fmt.Sprintf("%svolumesFrom[%d].sourceContainer", at, j)
			if f.SourceContainer == c.Name {
				return fault.At(at, "container %q cannot take volumes from itself", c.Name)
			}
			if d.container(f.SourceContainer) == nil {
				return fault.At(at, "there is no container %q in this task definition", f.SourceContainer)
			}
		}
		if err := validatePaths(at, c); err != nil {
			return err
		}
	}
	return nil
}

// validate reports which member is missing of those that the ECS API requires.
func (v *FSxWindowsVolume) validate(at string) error {
	const text = "should not be null or empty."
	switch {
	case v == nil:
		return nil
	case v.FileSystemID == "":
		return fault.At(at+"fileSystemId", text)
	case v.RootDirectory == "":
		return fault.At(at+"rootDirectory", text)
	case v.Authorization == nil:
		return fault.At(at+"authorizationConfig", text)
	case v.Authorization.CredentialsParameter == "":
		return fault.At(at+"authorizationConfig.credentialsParameter", text)
	case v.Authorization.Domain == "":
		return fault.At(at+"authorizationConfig.domain", text)
	}
	return nil
}

// fileSystemID is the form of EFS's IDs (EFS API reference, FileSystemId), which have at
// least 8 digits; ECS's own examples have 4 (developer guide, "Specify an Amazon EFS file
// system in an Amazon ECS task definition").
var fileSystemID = regexp.MustCompile(`^fs-[0-9a-f]{1,40}$`)

// maxPath is the longest path that Linux takes, and the longest rootDirectory of AWS Batch
// (API reference, EFSVolumeConfiguration), in bytes.
const maxPath = 4096

// validate checks an EFS volume by itself (ECS API, EFSVolumeConfiguration and
// EFSAuthorizationConfig). at is its path and a dot.
func (v *EFSVolume) validate(at string) error {
	switch {
	case v == nil:
		return nil
	case v.FileSystemID == "":
		return fault.At(at+"fileSystemId", "should not be null or empty.")
	case !fileSystemID.MatchString(v.FileSystemID):
		return fault.At(at+"fileSystemId", "must be the ID of a file system, as in fs-12345678, not %.64q", v.FileSystemID)
	case v.RootDirectory != "" && !path.IsAbs(v.RootDirectory):
		return fault.At(at+"rootDirectory", "must be an absolute path, not %.64q", v.RootDirectory)
	case len(v.RootDirectory) > maxPath || strings.Contains(v.RootDirectory, "\x00"):
		return fault.At(at+"rootDirectory", "must be a path of at most %d bytes, none of which is 0", maxPath)
	case v.TransitEncryptionPort != nil && (*v.TransitEncryptionPort < 0 || *v.TransitEncryptionPort > 65535):
		return fault.At(at+"transitEncryptionPort", "must be a port from 0 to 65535, not %d", *v.TransitEncryptionPort)
	}
	if err := oneOf(at+"transitEncryption", v.TransitEncryption, "ENABLED", "DISABLED"); err != nil {
		return err
	}
	a := v.Authorization
	if a == nil {
		return nil
	}
	if err := oneOf(at+"authorizationConfig.iam", a.IAM, "ENABLED", "DISABLED"); err != nil {
		return err
	}
	switch {
	case a.IAM == "ENABLED" && v.TransitEncryption != "ENABLED":
		return fault.At(at+"transitEncryption", "EFS IAM authorization requires TransitEncryption to be enabled")
	case a.AccessPointID != "" && v.RootDirectory != "" && v.RootDirectory != "/":
		return fault.At(at+"rootDirectory", "must be left out or / beside an access point, which has a directory of its own")
	}
	return nil
}

// ownPaths are a container's own: what the kernel shows it, its devices, and the files
// that it is given for its network. Nothing can be mounted there or below. The exception
// is shmPath: who needs more shared memory than 64 MiB, which sharedMemorySize cannot say
// on Fargate, puts a tmpfs there, as with Docker.
var ownPaths = []string{"/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}

const shmPath = "/dev/shm"

// within reports whether a clean path is dir or lies below it.
func within(clean, dir string) bool { return clean == dir || strings.HasPrefix(clean, dir+"/") }

// validatePaths checks where a container's volumes and memory file systems are
// mounted: each at a place of its own, and none over the root or what Berth mounts.
func validatePaths(at string, c ContainerDefinition) error {
	taken := make(map[string]bool)
	free := func(field, at string) error {
		clean := path.Clean(at)
		own := slices.IndexFunc(ownPaths, func(dir string) bool { return within(clean, dir) && !within(clean, shmPath) })
		switch {
		case !path.IsAbs(at) || clean == "/" || strings.Contains(at, "\x00"):
			return fault.At(field, "must be an absolute path below /, not %q", at)
		case own >= 0:
			return fault.At(field, "must not be %s or lie below it, for that is the container's own, but for %s", ownPaths[own], shmPath)
		case taken[clean]:
			return fault.At(field, "something is mounted at %s already", clean)
		default:
			taken[clean] = true
			return nil
		}
	}
	for i, m := range c.MountPoints {
		if err := free(fmt.Sprintf("%smountPoints[%d].containerPath", at, i), m.ContainerPath); err != nil {
			return err
		}
	}
	if c.LinuxParameters == nil {
		return nil
	}
	for i, t := range c.LinuxParameters.Tmpfs {
		at := fmt.Sprintf("%slinuxParameters.tmpfs[%d].", at, i)
		if err := free(at+"containerPath", t.ContainerPath); err != nil {
			return err
		}
		if t.Size < 1 {
			return fault.At(at+"size", "must be 1 MiB or more")
		}
		for j, o := range t.MountOptions {
			if !tmpfsOption.MatchString(o) {
				return fault.At(fmt.Sprintf("%smountOptions[%d]", at, j), "%q is not an option of a tmpfs", o)
			}
		}
	}
	return nil
}

func (d Definition) mounts(volume string) bool {
	for _, c := range d.ContainerDefinitions {
		if slices.ContainsFunc(c.MountPoints, func(m MountPoint) bool { return m.SourceVolume == volume }) {
			return true
		}
	}
	return false
}

// Inherited says that a container also has the volumes that the image of another one
// declares, wherever it has nothing of its own.
type Inherited struct {
	Container string
	ReadOnly  bool
}

// mounting finds out what containers get of one another, each once: a definition may
// name one container many times, on many ways.
type mounting struct {
	d     Definition
	known map[string]*inheritance
}

// inheritance is what a container has and passes on. Of two mounts at one path, and of
// two entries for one container, the first one counts, and there is no second.
type inheritance struct {
	mounts []Mount     // of volumes: memory is not passed on
	images []Inherited // others that it has volumes of images from
}

// mountsOf returns what to mount into a container, outer paths before inner ones, and
// whose images' volumes it gets. As with Docker, a container that takes the volumes of
// another one gets what that one took itself, read-only if any on the way says so. Of two
// at one path its own counts more than one from another container, and that of a later
// entry of volumesFrom more than that of an earlier one.
func (d Definition) mountsOf(c ContainerDefinition) ([]Mount, []Inherited) {
	got := mounting{d, make(map[string]*inheritance)}.of(c)
	all := got.mounts
	if c.LinuxParameters != nil {
		for _, t := range c.LinuxParameters.Tmpfs {
			m := Mount{Path: path.Clean(t.ContainerPath), Size: t.Size, Options: t.MountOptions}
			all = append(slices.DeleteFunc(all, func(other Mount) bool { return other.Path == m.Path }), m)
		}
	}
	slices.SortStableFunc(all, func(a, b Mount) int {
		return cmp.Compare(strings.Count(a.Path, "/"), strings.Count(b.Path, "/"))
	})
	return all, got.images
}

func (m mounting) of(c ContainerDefinition) *inheritance {
	if known := m.known[c.Name]; known != nil {
		return known // In a cycle, which is refused when a definition is registered, what there is so far.
	}
	got := new(inheritance)
	m.known[c.Name] = got
	for _, p := range c.MountPoints {
		got.mount(m.d.mount(p))
	}
	for _, f := range slices.Backward(c.VolumesFrom) {
		source := m.d.container(f.SourceContainer)
		if source == nil {
			continue // So is this.
		}
		from, readOnly := m.of(*source), set(f.ReadOnly)
		for _, mount := range from.mounts {
			mount.ReadOnly = mount.ReadOnly || readOnly
			got.mount(mount)
		}
		got.image(Inherited{source.Name, readOnly})
		for _, i := range from.images {
			got.image(Inherited{i.Container, i.ReadOnly || readOnly})
		}
	}
	return got
}

func (i *inheritance) mount(m Mount) {
	if !slices.ContainsFunc(i.mounts, func(other Mount) bool { return other.Path == m.Path }) {
		i.mounts = append(i.mounts, m)
	}
}

func (i *inheritance) image(from Inherited) {
	if !slices.ContainsFunc(i.images, func(other Inherited) bool { return other.Container == from.Container }) {
		i.images = append(i.images, from)
	}
}

// mount is what a mount point says.
func (d Definition) mount(p MountPoint) Mount {
	m := Mount{Path: path.Clean(p.ContainerPath), Volume: p.SourceVolume, ReadOnly: set(p.ReadOnly)}
	i := slices.IndexFunc(d.Volumes, func(v Volume) bool { return v.Name == p.SourceVolume })
	if i >= 0 && d.Volumes[i].EFS != nil {
		m.FileSystem, m.Root = d.Volumes[i].EFS.FileSystemID, path.Clean("/"+d.Volumes[i].EFS.RootDirectory)
	}
	return m
}

func set(b *bool) bool { return b != nil && *b }
