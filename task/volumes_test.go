package task

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"berth/fault"
)

// Ensure a container gets its own mounts and those of others, outer ones first.
func TestMountsOf(t *testing.T) {
	yes := true
	d := Definition{
		Volumes: []Volume{{Name: "a"}, {Name: "b"}},
		ContainerDefinitions: []ContainerDefinition{
			{Name: "one", MountPoints: []MountPoint{{SourceVolume: "a", ContainerPath: "/x/y/"}, {SourceVolume: "b", ContainerPath: "/x", ReadOnly: &yes}}},
			{
				Name: "two", MountPoints: []MountPoint{{SourceVolume: "b", ContainerPath: "/x/y"}},
				VolumesFrom:     []VolumeFrom{{SourceContainer: "one", ReadOnly: &yes}, {SourceContainer: "three"}},
				LinuxParameters: &LinuxParameters{Tmpfs: []Tmpfs{{ContainerPath: "/x/y/z", Size: 3, MountOptions: []string{"exec"}}}},
			},
			{Name: "three", MountPoints: []MountPoint{{SourceVolume: "a", ContainerPath: "/t"}}},
		},
	}
	for name, want := range map[string][]Mount{
		"one": {{Path: "/x", Volume: "b", ReadOnly: true}, {Path: "/x/y", Volume: "a"}},
		"two": {
			{Path: "/t", Volume: "a"}, {Path: "/x", Volume: "b", ReadOnly: true},
			{Path: "/x/y", Volume: "b"}, {Path: "/x/y/z", Size: 3, Options: []string{"exec"}},
		},
		"three": {{Path: "/t", Volume: "a"}},
	} {
		if got, _ := d.mountsOf(*d.container(name)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

// Ensure what a container takes from another one it passes on, also to those who come by
// it on several ways, and that it is made first.
func TestVolumesFromOthers(t *testing.T) {
	yes := true
	from := func(all ...string) (out []VolumeFrom) {
		for _, name := range all {
			plain, readOnly := strings.CutSuffix(name, ":ro")
			f := VolumeFrom{SourceContainer: plain}
			if readOnly {
				f.ReadOnly = &yes
			}
			out = append(out, f)
		}
		return out
	}
	point := func(volume, path string) []MountPoint {
		return []MountPoint{{SourceVolume: volume, ContainerPath: path}}
	}
	d := Definition{
		Volumes: []Volume{{Name: "v"}, {Name: "w"}},
		ContainerDefinitions: []ContainerDefinition{
			{Name: "chain", VolumesFrom: from("b")},
			{Name: "b", VolumesFrom: from("a")},
			{Name: "a", MountPoints: point("v", "/v"), LinuxParameters: &LinuxParameters{Tmpfs: []Tmpfs{{ContainerPath: "/t", Size: 1}}}},
			{Name: "reader", VolumesFrom: from("b:ro")},
			{Name: "of a reader", VolumesFrom: from("reader")},
			{Name: "other", MountPoints: point("w", "/v")},
			{Name: "both", VolumesFrom: from("reader", "other")},
			{Name: "memory", VolumesFrom: from("a"), LinuxParameters: &LinuxParameters{Tmpfs: []Tmpfs{{ContainerPath: "/v/", Size: 1}}}},
		},
	}
	var names []string
	for _, p := range Plan(d, Task{}) {
		names = append(names, p.Name)
	}
	if want := []string{"a", "b", "chain", "reader", "of a reader", "other", "both", "memory"}; !slices.Equal(names, want) {
		t.Errorf("made in the order %v, want %v", names, want)
	}
	v, readOnly := Mount{Path: "/v", Volume: "v"}, Mount{Path: "/v", Volume: "v", ReadOnly: true}
	for _, tt := range []struct {
		name   string
		mounts []Mount
		images []Inherited
	}{
		{"b", []Mount{v}, []Inherited{{"a", false}}},
		{"chain", []Mount{v}, []Inherited{{"b", false}, {"a", false}}},
		{"reader", []Mount{readOnly}, []Inherited{{"b", true}, {"a", true}}},
		{"of a reader", []Mount{readOnly}, []Inherited{{"reader", false}, {"b", true}, {"a", true}}},
		{"both", []Mount{{Path: "/v", Volume: "w"}}, []Inherited{{"other", false}, {"reader", false}, {"b", true}, {"a", true}}},
		{"memory", []Mount{{Path: "/v", Size: 1}}, []Inherited{{"a", false}}},
	} {
		mounts, images := d.mountsOf(*d.container(tt.name))
		if !reflect.DeepEqual(mounts, tt.mounts) || !reflect.DeepEqual(images, tt.images) {
			t.Errorf("%s: got %+v and %+v, want %+v and %+v", tt.name, mounts, images, tt.mounts, tt.images)
		}
	}
}

// Ensure a definition whose containers name one another many times over costs no more
// than it is long, and one with a cycle, which an earlier version took, comes to an end.
func TestManyVolumesFrom(t *testing.T) {
	var d Definition
	for i := range maxContainers {
		c := ContainerDefinition{Name: fmt.Sprint(i), MountPoints: []MountPoint{{SourceVolume: "v", ContainerPath: fmt.Sprint("/", i)}}}
		for range 1000 {
			c.VolumesFrom = append(c.VolumesFrom, VolumeFrom{SourceContainer: fmt.Sprint((i + 1) % maxContainers)})
		}
		d.ContainerDefinitions = append(d.ContainerDefinitions, c)
	}
	plans := Plan(d, Task{})
	if len(plans) != maxContainers {
		t.Fatalf("%d containers of %d", len(plans), maxContainers)
	}
	for _, p := range plans {
		if len(p.Mounts) != maxContainers {
			t.Errorf("%s has %d mounts", p.Name, len(p.Mounts))
		}
	}
}

func TestBadVolumes(t *testing.T) {
	c, at := "containerDefinitions.0.", "containerDefinitions[0]."
	volumes := []any{map[string]any{"name": "v"}, map[string]any{"name": "w", "host": map[string]any{}}}
	mount := func(volume, path string) map[string]any {
		return map[string]any{"sourceVolume": volume, "containerPath": path}
	}
	tmpfs := func(path string, size int, options ...any) map[string]any {
		return map[string]any{"tmpfs": []any{map[string]any{"containerPath": path, "size": size, "mountOptions": options}}}
	}
	for _, tt := range []struct {
		name  string
		def   []byte
		field string // empty: taken
	}{
		{"good", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/a"), mount("v", "/a/b"), mount("w", "/c")}), ""},
		{"unknown", with(t, "volumes", volumes, c+"mountPoints", []any{mount("u", "/a")}), at + "mountPoints[0].sourceVolume"},
		{"no path", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "")}), at + "mountPoints[0].containerPath"},
		{"relative", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "a/b")}), at + "mountPoints[0].containerPath"},
		{"the root", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/a/..")}), at + "mountPoints[0].containerPath"},
		{"twice", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/a"), mount("w", "/a/")}), at + "mountPoints[1].containerPath"},
		{"over a volume", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/a")}, c+"linuxParameters", tmpfs("/a", 1)), at + "linuxParameters.tmpfs[0].containerPath"},
		{"memory", with(t, c+"linuxParameters", tmpfs("/m", 64, "noexec", "mode=1777", "uid=0", "nr_inodes=4k")), ""},
		{"no size", with(t, c+"linuxParameters", tmpfs("/m", 0)), at + "linuxParameters.tmpfs[0].size"},
		{"a size of its own", with(t, c+"linuxParameters", tmpfs("/m", 1, "size=1g")), at + "linuxParameters.tmpfs[0].mountOptions[0]"},
		{"shared", with(t, c+"linuxParameters", tmpfs("/m", 1, "ro", "rshared")), at + "linuxParameters.tmpfs[0].mountOptions[1]"},
		{"two in one", with(t, c+"linuxParameters", tmpfs("/m", 1, "ro,bind")), at + "linuxParameters.tmpfs[0].mountOptions[0]"},
		{"shared memory", with(t, c+"linuxParameters", tmpfs("/dev/shm", 256)), ""},
		{"volumes in shared memory", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/dev/shm"), mount("w", "/dev/shm/x")}), ""},
		{"paths that only look like others", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/device"), mount("w", "/process"), mount("w", "/etc/hosts.d"), mount("w", "/x/proc"), mount("v", "/etc")}), ""},
		{"processes", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/proc")}), at + "mountPoints[0].containerPath"},
		{"below processes", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/a/../proc/self/")}), at + "mountPoints[0].containerPath"},
		{"the kernel", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/sys/fs/cgroup")}), at + "mountPoints[0].containerPath"},
		{"devices", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/a"), mount("v", "//dev//")}), at + "mountPoints[1].containerPath"},
		{"a device", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/dev/null")}), at + "mountPoints[0].containerPath"},
		{"beside shared memory", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/dev/shm/../shmem")}), at + "mountPoints[0].containerPath"},
		{"hosts", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/etc/hosts")}), at + "mountPoints[0].containerPath"},
		{"below the name", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/etc/hostname/x")}), at + "mountPoints[0].containerPath"},
		{"name servers", with(t, "volumes", volumes, c+"mountPoints", []any{mount("v", "/etc/./resolv.conf")}), at + "mountPoints[0].containerPath"},
		{"memory over processes", with(t, c+"linuxParameters", tmpfs("/proc/x", 1)), at + "linuxParameters.tmpfs[0].containerPath"},
		{"memory over the kernel", with(t, c+"linuxParameters", tmpfs("/sys", 1)), at + "linuxParameters.tmpfs[0].containerPath"},
		{"memory over devices", with(t, c+"linuxParameters", tmpfs("/dev", 1)), at + "linuxParameters.tmpfs[0].containerPath"},
		{"memory at no absolute path", with(t, c+"linuxParameters", tmpfs("m", 1)), at + "linuxParameters.tmpfs[0].containerPath"},
		{"memory over the root", with(t, c+"linuxParameters", tmpfs("/", 1)), at + "linuxParameters.tmpfs[0].containerPath"},
		{"memory over hosts", with(t, c+"linuxParameters", tmpfs("/etc/hosts", 1)), at + "linuxParameters.tmpfs[0].containerPath"},
		{"from nobody", with(t, c+"volumesFrom", []any{map[string]any{"sourceContainer": "x"}}), at + "volumesFrom[0].sourceContainer"},
		{"from itself", with(t, c+"volumesFrom", []any{map[string]any{"sourceContainer": "web"}}), at + "volumesFrom[0].sourceContainer"},
		{"from one another", with(t, "containerDefinitions", []any{
			map[string]any{"name": "web", "image": "i", "volumesFrom": []any{map[string]any{"sourceContainer": "b"}}},
			map[string]any{"name": "b", "image": "i", "volumesFrom": []any{map[string]any{"sourceContainer": "web"}}},
		}), "containerDefinitions[1].volumesFrom"},
		{"from one that waits for it", with(t, "containerDefinitions", []any{
			map[string]any{"name": "web", "image": "i", "volumesFrom": []any{map[string]any{"sourceContainer": "b"}}},
			map[string]any{"name": "b", "image": "i", "dependsOn": []any{map[string]any{"containerName": "web", "condition": "START"}}},
		}), "containerDefinitions[1].dependsOn"},
	} {
		d, err := ParseDefinition(tt.def)
		if tt.field == "" && err == nil {
			err = Unsupported(d, Run{}, "X86_64")
		}
		if tt.field == "" && err != nil || tt.field != "" && (fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != tt.field) {
			t.Errorf("%s: %v at %q, want at %q", tt.name, err, fault.FieldOf(err), tt.field)
		}
	}
}
