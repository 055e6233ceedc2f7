package task

import (
	"reflect"
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
			{Path: "/x", Volume: "b", ReadOnly: true}, {Path: "/t", Volume: "a"},
			{Path: "/x/y", Volume: "b"}, {Path: "/x/y/z", Size: 3, Options: []string{"exec"}},
		},
		"three": {{Path: "/t", Volume: "a"}},
	} {
		if got := d.mountsOf(*d.container(name)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
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
		{"from nobody", with(t, c+"volumesFrom", []any{map[string]any{"sourceContainer": "x"}}), at + "volumesFrom[0].sourceContainer"},
		{"from itself", with(t, c+"volumesFrom", []any{map[string]any{"sourceContainer": "web"}}), at + "volumesFrom[0].sourceContainer"},
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
