package doctor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// files makes a copy of a host: the files given, below a root of its own.
func files(t *testing.T, content map[string]string) host {
	root := t.TempDir()
	for name, text := range content {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return host{Config{Root: root, StateDir: filepath.Join(root, "var/lib/berth"), Libexec: filepath.Join(root, "libexec"), Now: time.Now}}
}

const (
	mountsV1 = `cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0
cgroup /sys/fs/cgroup/blkio cgroup rw,blkio 0 0
cgroup /sys/fs/cgroup/devices cgroup rw,devices 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0
`
	mountsV2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"
)

// Ensure each check tells good from bad, and says how to mend what is bad.
func TestChecks(t *testing.T) {
	type content = map[string]string
	for _, tt := range []struct {
		name  string
		look  func(context.Context, host) verdict
		files content
		want  Status
		found string // part of it
	}{
		{"new kernel", kernel, content{"proc/sys/kernel/osrelease": "6.1.0-13-amd64\n"}, OK, "6.1.0"},
		{"old kernel", kernel, content{"proc/sys/kernel/osrelease": "4.15.0"}, Fail, "4.18"},
		{"aging kernel", kernel, content{"proc/sys/kernel/osrelease": "5.4.0"}, Warn, ""},
		{"unknown kernel", kernel, content{}, Warn, ""},
		{"all capabilities", capabilities, content{"proc/self/status": "CapEff:\t000001ffffffffff\n"}, OK, ""},
		{"no NET_ADMIN", capabilities, content{"proc/self/status": "CapEff:\t000001ffffffefff\n"}, Fail, "CAP_NET_ADMIN"},
		{"no SYS_RESOURCE", sysResource, content{"proc/self/status": "CapEff:\t000001fffeffffff\n"}, Warn, "missing"},
		{"SYS_RESOURCE", sysResource, content{"proc/self/status": "CapEff:\t0000000001000000\n"}, OK, ""},
		{"v1", cgroupLayout, content{"proc/self/mounts": mountsV1}, OK, "v1"},
		{"hybrid", cgroupLayout, content{"proc/self/mounts": mountsV1 + mountsV2}, OK, "hybrid"},
		{"v2", cgroupLayout, content{"proc/self/mounts": mountsV2, "sys/fs/cgroup/cgroup.controllers": "cpu"}, OK, "v2"},
		{"no cgroups", cgroupLayout, content{"proc/self/mounts": "proc /proc proc rw 0 0\n"}, Fail, "no cgroups"},
		{"v1 whole", cgroupControllers, content{"proc/self/mounts": mountsV1}, OK, "cpuacct"},
		{"v1 without memory", cgroupControllers, content{"proc/self/mounts": strings.Replace(mountsV1, ",memory", "", 1)}, Fail, "missing: memory"},
		{"v1 without blkio", cgroupControllers, content{"proc/self/mounts": strings.Replace(mountsV1, "rw,blkio", "rw", 1)}, Warn, "blkio"},
		{"v2 whole", cgroupControllers, content{"proc/self/mounts": mountsV2, "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"}, OK, ""},
		{"v2 without pids", cgroupControllers, content{"proc/self/mounts": mountsV2, "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory\n"}, Fail, "pids"},
		{"v1 without quota", cpuQuota, content{"proc/self/mounts": mountsV1}, Fail, ""},
		{"v1 with quota", cpuQuota, content{"proc/self/mounts": mountsV1, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1"}, OK, ""},
		{"no swap", swapAccounting, content{"proc/swaps": "Filename Type\n"}, OK, "no swap"},
		{"swap not accounted", swapAccounting, content{"proc/swaps": "Filename Type\n/swap file\n", "proc/self/mounts": mountsV1}, Warn, ""},
		{"no namespaces", namespaces, content{"proc/self/ns/pid": ""}, Fail, "net"},
		{"no seccomp", seccomp, content{}, Fail, ""},
		{"overlay known", overlayfs, content{"proc/filesystems": "nodev\ttmpfs\nnodev\toverlay\n"}, OK, ""},
		{"overlay to load", overlayfs, content{"proc/sys/kernel/osrelease": "6.1.0", "lib/modules/6.1.0/modules.dep": "kernel/fs/overlayfs/overlay.ko.xz:\n"}, OK, ""},
		{"no overlay", overlayfs, content{"proc/filesystems": "nodev\ttmpfs\n"}, Fail, ""},
		{"few files", openFiles, content{"proc/self/limits": "Max open files            1024                 20000                files\n"}, Warn, "20000"},
		{"many files", openFiles, content{"proc/self/limits": "Max open files            1024                 1048576              files\n"}, OK, "1048576"},
		{"few processes", pidMax, content{"proc/sys/kernel/pid_max": "32768"}, Warn, "32768"},
		{"disks", disks, content{"dev/loop-control": "", "sbin/mkfs.ext4": ""}, OK, ""},
		{"no loop devices", disks, content{"sbin/mkfs.ext4": ""}, Warn, "no /dev/loop-control"},
		{"no mkfs", disks, content{"dev/loop-control": ""}, Warn, "no mkfs.ext4"},
		{"no programs", programs, content{"libexec/runc": "not executable"}, Fail, "runc, containerd-shim-runc-v2"},
		{"state directory", stateDir, content{}, OK, "can be made"},
		{"no boot ID", bootID, content{}, Fail, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := tt.look(t.Context(), files(t, tt.files))
			if v.status != tt.want || !strings.Contains(v.found, tt.found) {
				t.Errorf("got %s %q, want %s with %q", v.status, v.found, tt.want, tt.found)
			}
			if v.status == Fail && v.mend == "" {
				t.Error("does not say how to mend it")
			}
		})
	}
}

// Ensure a port in use is found, unless it is our own server that has it.
func TestPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := host{Config{Listen: l.Addr().String()}}
	if v := port(t.Context(), h); v.status != Fail {
		t.Errorf("taken by who says nothing: %+v", v)
	}
	said := "<html>"
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, said) }))
	defer other.Close()
	web := host{Config{Listen: other.Listener.Addr().String()}}
	if v := port(t.Context(), web); v.status != Fail {
		t.Errorf("taken by a web server: %+v", v)
	}
	said = `{"status":"unavailable","reasons":["x"],"version":"v1.2"}`
	if v := port(t.Context(), web); v.status != Warn || !strings.Contains(v.found, "v1.2") {
		t.Errorf("taken by another Berth: %+v", v)
	}
	h.Running = true
	if v := port(t.Context(), h); v.status != OK {
		t.Errorf("ours: %+v", v)
	}
	h.Running = false
	l.Close()
	if v := port(t.Context(), h); v.status != OK {
		t.Errorf("free: %+v", v)
	}
}

// Ensure every check of a real host says something, and no two have one name.
func TestExamine(t *testing.T) {
	dir := t.TempDir()
	findings := Examine(t.Context(), Config{Root: "/", StateDir: filepath.Join(dir, "a/b"), Listen: "127.0.0.1:0", Libexec: dir, Now: time.Now})
	seen := make(map[string]bool)
	for _, f := range findings {
		if f.Check == "" || f.Found == "" || f.Means == "" || f.Status != OK && f.Status != Warn && f.Status != Fail || seen[f.Check] {
			t.Errorf("odd finding %+v", f)
		}
		seen[f.Check] = true
	}
	if n := Count(findings, OK) + Count(findings, Warn) + Count(findings, Fail); n != len(checks()) {
		t.Errorf("%d findings of %d checks", n, len(checks()))
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
