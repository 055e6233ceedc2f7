package task

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Ensure what is refused as the host's cannot be set in a network namespace of this
// kernel. The rest is told: some kernels have more for the host only, and show less in a
// namespace that belongs to a user namespace, as this one does and those of tasks may.
func TestHostsControls(t *testing.T) {
	const top = "/proc/sys/net"
	find := exec.Command("find", top, "-type", "f", "-writable")
	find.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := find.Output()
	if err != nil || len(out) == 0 {
		t.Skipf("no network namespace to look into: %v", err)
	}
	inside := strings.Fields(string(out))
	name := func(path string) string {
		return "net." + strings.ReplaceAll(strings.TrimPrefix(path, top+"/"), "/", ".")
	}
	for _, path := range inside {
		if hostsControl(name(path)) {
			t.Errorf("%s is refused, and a container could set it", name(path))
		}
	}
	if len(inside) < 50 {
		t.Errorf("a namespace has %d only: %q", len(inside), inside)
	}
	if hostsControl("net.core.somaxconn") || hostsControl("net.ipv4.tcp_memory") || hostsControl("net.ipv4.conf.all.forwarding") {
		t.Error("a container's own is taken for the host's")
	}
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !slices.Contains(inside, path) && !hostsControl(name(path)) &&
			!strings.Contains(path, "/conf/") && !strings.Contains(path, "/neigh/") {
			t.Logf("not refused, and cannot be set in a namespace of this kernel: %s", name(path))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
