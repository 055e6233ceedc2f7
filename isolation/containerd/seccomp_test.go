package containerd

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden list anew")

func profileFor(caps ...string) *specs.LinuxSeccomp {
	s := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
	return seccompProfile(s)
}

// says is what a profile says of a system call.
func says(p *specs.LinuxSeccomp, name string) string {
	said := ""
	for _, rule := range p.Syscalls {
		switch {
		case !slices.Contains(rule.Names, name):
		case rule.Action != specs.ActAllow:
			said = "blocked"
			if rule.ErrnoRet != nil {
				said = fmt.Sprintf("blocked (errno %d)", *rule.ErrnoRet)
			}
		case len(rule.Args) == 0:
			return "allowed"
		default:
			said = "conditional"
		}
	}
	if said == "" {
		return "blocked"
	}
	return said
}

// systemCalls are those that this architecture has, from the list of golang.org/x/sys.
func systemCalls(t *testing.T) []string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+runtime.GOARCH+".go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\tSYS_(\w+) `).FindAllSubmatch(text, -1) {
		names = append(names, strings.ToLower(string(m[1])))
	}
	slices.Sort(names)
	return names
}

// Ensure nobody changes what a task may ask of the kernel without seeing it: the list
// is what the profile says of every system call, with Fargate's default capabilities and
// with SYS_PTRACE added and NET_RAW dropped. Write it anew with -update, and look at the
// difference.
func TestSeccompGolden(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the list is of amd64; the rules are the same elsewhere")
	}
	plain := profileFor(defaultCapabilities...)
	var other []string
	for _, c := range append([]string{addable}, defaultCapabilities...) {
		if c != "CAP_NET_RAW" {
			other = append(other, c)
		}
	}
	changed := profileFor(other...)
	var b bytes.Buffer
	for _, name := range append(systemCalls(t), "socketcall") {
		a, c := says(plain, name), says(changed, name)
		fmt.Fprintf(&b, "%-24s %s", name, a)
		if c != a {
			fmt.Fprintf(&b, "; with SYS_PTRACE and without NET_RAW: %s", c)
		}
		b.WriteByte('\n')
	}
	const golden = "testdata/seccomp.golden"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Split(string(want), "\n")
	for line := range strings.SplitSeq(b.String(), "\n") {
		if !slices.Contains(wanted, line) {
			t.Errorf("not in %s: %s", golden, line)
		}
	}
	if !bytes.Equal(want, b.Bytes()) {
		t.Errorf("the profile is not that of %s", golden)
	}
}

// Ensure each call that is taken out of containerd's profile was in it, with a reason,
// and is out.
func TestSeccompUnneeded(t *testing.T) {
	p := profileFor(defaultCapabilities...)
	for name, why := range unneeded {
		if v := says(p, name); v != "blocked" {
			t.Errorf("%s is %s: %s", name, v, why)
		}
		if why == "" {
			t.Errorf("%s is taken out without a reason", name)
		}
	}
	for _, name := range []string{"ptrace", "process_vm_readv", "kcmp"} {
		if v := says(profileFor(append([]string{addable}, defaultCapabilities...)...), name); v != "allowed" {
			t.Errorf("%s with SYS_PTRACE is %s", name, v)
		}
	}
}

// Ensure what servers stand on stays.
func TestSeccompKeeps(t *testing.T) {
	p := profileFor(defaultCapabilities...)
	for _, name := range []string{
		"accept4", "bind", "brk", "chroot", "connect", "copy_file_range", "epoll_pwait2", "eventfd2", "execve", "fallocate",
		"flock", "futex", "futex_waitv", "getrandom", "inotify_add_watch", "io_setup", "io_submit", "landlock_create_ruleset", "madvise",
		"membarrier", "memfd_create", "mlock", "mmap", "mprotect", "openat2", "pidfd_open", "pkey_alloc", "preadv2", "rseq", "sched_setaffinity",
		"seccomp", "semtimedop", "sendfile", "shmget", "signalfd4", "splice", "statx", "sync_file_range", "timerfd_create", "tee", "waitid",
	} {
		if v := says(p, name); v != "allowed" {
			t.Errorf("%s is %s", name, v)
		}
	}
}
