//go:build e2e

package escape

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"berth/isolation/containerd"
	"berth/isolation/containerd/daemon"
	"berth/task"
)

// facts are what the probe is told; see its own.
type facts struct {
	State, Socket         string
	APIPort, OpenPort     int
	Gateway, Host, Victim string
	VictimID              string
	VictimPort, VictimPID int
	Disk                  uint64
	Control               bool
}

type result struct{ Probe, Tries, Verdict, How, Control string }

// leastProbes and leastShown are how many ways are tried, and how many of them have to
// work where nothing stops them: on the host itself.
const (
	leastProbes = 150
	leastShown  = 75
)

// who are those that try.
var who = []struct{ name, extra string }{
	{"root", ""},
	{"nobody", `,"user":"65534:65534"`},
	{"root of a read-only file system", `,"readonlyRootFilesystem":true`},
	{"root with an init process and SYS_PTRACE", `,"linuxParameters":{"initProcessEnabled":true,"capabilities":{"add":["SYS_PTRACE"]}}`},
}

// Ensure nothing in a task gets out of it or across to another, whoever it is there.
func TestEscape(t *testing.T) {
	s := open(t)
	victim := s.neighbour()
	known := s.facts(victim)
	table := s.table()
	if len(table) < leastProbes {
		t.Errorf("%d probes, want at least %d", len(table), leastProbes)
	}
	s.controls(table, known)
	before := s.hostState(victim)

	for _, sandbox := range s.runtimes() {
		for _, w := range who {
			t.Run(strings.TrimPrefix(sandbox+"/"+w.name, "/"), func(t *testing.T) {
				s := *s
				s.TB = t
				seen := s.listen()
				text, err := json.Marshal(known)
				if err != nil {
					t.Fatal(err)
				}
				attacker := s.run(sandbox, "1024", "2048", w.extra, "all", string(text))
				ended := s.until(attacker.ID, task.Stopped)
				if code := ended.Containers[0].ExitCode; code == nil || *code != 0 {
					t.Errorf("the probe ended with %v: %s %s", code, ended.StoppedReason, ended.Containers[0].Reason)
				}
				s.judge(table, s.results(attacker.ID), sandbox == "gvisor")
				// gVisor makes no frames for its programs.
				s.checkFrames(seen(), sandbox == "" && strings.HasPrefix(w.name, "root"))
			})
		}
	}

	if after := s.hostState(victim); after != before {
		t.Errorf("the host is not as it was:\n%s\nand was:\n%s", after, before)
	}
	for _, l := range s.lines(victim.id) {
		if strings.HasPrefix(l, "HEARD") && !strings.Contains(l, known.Gateway) {
			t.Errorf("the neighbour %s", l)
		}
	}
	if now := s.until(victim.id, task.Running); now.LastStatus != task.Running {
		t.Errorf("the neighbour is %s", now.LastStatus)
	}
}

// runtimes are those that this server offers, by the name that a request has for them.
func (s *stage) runtimes() []string {
	offered := []string{""}
	if _, err := s.try("gvisor", "256", "512", "", true, "list"); err == nil {
		offered = append(offered, "gvisor")
		s.Log("tried with runc and with gVisor")
	} else {
		s.Logf("tried with runc only: this server does not offer gVisor: %.200s", err)
	}
	return offered
}

func (s *stage) facts(victim neighbour) facts {
	s.Helper()
	state := filepath.Join(s.dir, "state")
	d := &daemon.Daemon{Config: daemon.Config{StateDir: state, RunDir: filepath.Join("/run/berth", containerd.Instance(state))}}
	port := func(address string) int {
		_, p, err := net.SplitHostPort(address)
		if err != nil {
			s.Fatal(err)
		}
		n := 0
		fmt.Sscan(p, &n)
		return n
	}
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	var st unix.Stat_t
	if err := unix.Stat(s.dir, &st); err != nil {
		s.Fatal(err)
	}
	disk := st.Dev
	if unix.Major(disk) == 0 { // no disk of its own: an overlay or tmpfs
		disk = unix.Mkdev(7, 0)
	}
	f := facts{
		State: filepath.Join(state, "berth.db"), Socket: d.Address(), APIPort: port(s.addr), OpenPort: port(l.Addr().String()),
		Victim: victim.address, VictimID: task.RuntimeID(victim.id, "main"), VictimPort: victimPort, VictimPID: victim.pid, Disk: disk,
	}
	if _, err := os.Stat(f.State); err != nil {
		s.Fatal(err)
	}
	links, err := net.Interfaces()
	if err != nil {
		s.Fatal(err)
	}
	for _, link := range links {
		addresses, _ := link.Addrs()
		for _, a := range addresses {
			n, ok := a.(*net.IPNet)
			switch {
			case !ok || n.IP.To4() == nil || n.IP.IsLoopback():
			case n.Contains(net.ParseIP(victim.address)):
				f.Gateway = n.IP.String()
			default:
				f.Host = n.IP.String()
			}
		}
	}
	if f.Gateway == "" {
		s.Fatal("no bridge has the neighbour's subnet")
	}
	if f.Host == "" {
		f.Host = f.Gateway // a host without any network
	}
	return f
}

// table is what the probe says that it tries.
func (s *stage) table() []result {
	s.Helper()
	out, err := exec.Command(s.probe, "list").Output()
	if err != nil {
		s.Fatal(err)
	}
	return decode(s.TB, string(out))
}

func decode(t testing.TB, text string) (all []result) {
	t.Helper()
	names := make(map[string]bool)
	for line := range strings.Lines(text) {
		var r result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Errorf("the probe said %.200q", line)
			continue
		}
		if names[r.Probe] {
			t.Errorf("two probes are called %s", r.Probe)
		}
		names[r.Probe] = true
		all = append(all, r)
	}
	return all
}

func (s *stage) results(id task.ID) []result {
	s.Helper()
	return decode(s.TB, strings.Join(s.lines(id), "\n"))
}

// controls makes the tries on the host, where they should get through: those that do not
// show nothing. What is not in this kernel cannot be shown.
func (s *stage) controls(table []result, known facts) {
	s.Helper()
	known.Control = true
	text, err := json.Marshal(known)
	if err != nil {
		s.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	shown, turns := 0, make(chan struct{}, 8)
	control := func(p result) {
		defer func() { <-turns }()
		cmd := exec.Command(s.probe, "one", p.Probe, string(text))
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC}
		if p.Control == "network" {
			cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
		}
		out, err := cmd.Output()
		var r result
		if err != nil || json.Unmarshal(out, &r) != nil {
			s.Logf("control of %s: %v %s", p.Probe, err, out)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if r.Verdict == "open" {
			shown++
		} else {
			s.Logf("not shown on this host: %s: %s", p.Probe, r.How)
		}
	}
	for _, p := range table {
		if p.Control == "host" || p.Control == "network" {
			turns <- struct{}{}
			group.Go(func() { control(p) })
		}
	}
	group.Wait()
	s.Logf("%d probes, %d of them shown to work on the host", len(table), shown)
	if shown < leastShown {
		s.Errorf("only %d probes work on the host itself; want %d", shown, leastShown)
	}
}

// judge wants every probe blocked, or sent for others to judge; of the kernel only if that
// is the host's.
func (s *stage) judge(table, got []result, ownKernel bool) {
	s.Helper()
	of := func(p result) bool {
		return slices.ContainsFunc(kernelProbes, func(group string) bool { return strings.HasPrefix(p.Probe, group) })
	}
	for _, p := range table {
		i := slices.IndexFunc(got, func(r result) bool { return r.Probe == p.Probe })
		switch {
		case i < 0:
			s.Errorf("%s: no result", p.Probe)
		case got[i].Verdict == "blocked":
		case got[i].Verdict == "sent" && p.Control == "outside":
		case ownKernel && of(p): // What it steered is its own; see hostState.
		default:
			s.Errorf("%s is %s: who tries to %s gets: %s", p.Probe, got[i].Verdict, p.Tries, got[i].How)
		}
	}
}

// kernelProbes are those that want something of the kernel, by the beginning of their
// names. In gVisor that is the task's own, which lets a program do what hurts nobody else;
// that the host is as it was is checked from outside.
var kernelProbes = []string{"proc-", "device-", "ns-", "kernel-", "priv-", "net-link-mac", "net-forward"}

// listen counts, on the bridge, the frames that the probe marks as its own.
func (s *stage) listen() (seen func() map[string]int) {
	s.Helper()
	all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
	if err != nil {
		s.Fatal(err)
	}
	links, _ := filepath.Glob("/sys/class/net/*" + s.instance + "*/bridge")
	if len(links) != 1 {
		s.Fatalf("bridges of this server: %v", links)
	}
	link, err := net.InterfaceByName(filepath.Base(filepath.Dir(links[0])))
	if err != nil {
		s.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: all}); err != nil {
		s.Fatal(err)
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	stop, done, found := make(chan struct{}), make(chan struct{}), map[string]int{}
	go func() {
		defer close(done)
		b := make([]byte, 2000)
		for {
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err == nil {
				for _, mark := range []string{"berth-forged", "berth-honest", "berth-broadcast"} {
					if bytes.Contains(b[:n], []byte(mark)) {
						found[fmt.Sprintf("%s %x", mark, b[6:14])]++
					}
				}
				continue
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	return func() map[string]int {
		close(stop)
		<-done
		unix.Close(fd)
		return found
	}
}

// checkFrames wants frames to be seen that were honest and none that was not.
func (s *stage) checkFrames(seen map[string]int, mayMakeFrames bool) {
	s.Helper()
	honest := 0
	for frame, n := range seen {
		switch {
		case strings.HasPrefix(frame, "berth-honest"):
			honest += n
		case strings.HasPrefix(frame, "berth-forged"):
			s.Errorf("the host took %d forged frames (sender and type: %s)", n, frame)
		}
	}
	if mayMakeFrames && honest == 0 {
		s.Error("not even honest frames were seen: this shows nothing")
	}
}

// hostState is what may not change, whatever a task does.
func (s *stage) hostState(victim neighbour) string {
	s.Helper()
	var b strings.Builder
	for _, f := range []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/randomize_va_space",
		"/proc/sys/net/ipv4/ip_forward", "/proc/sys/vm/overcommit_memory", "/proc/swaps", "/sys/fs/cgroup/memory/release_agent",
	} {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "%s: %s", f, text)
	}
	for _, pattern := range []string{"/probe*", "/tmp/probe*", "/dev/probe*", "/dev/shm/probe*", "/sys/fs/cgroup/*/probe", "/sys/class/net/probe*"} {
		found, _ := filepath.Glob(pattern)
		fmt.Fprintf(&b, "%s: %v\n", pattern, found)
	}
	keys, _ := os.ReadFile("/proc/keys")
	fmt.Fprintf(&b, "keys of the probe: %d\n", bytes.Count(keys, []byte("user      probe")))
	mounts, _ := os.ReadFile("/proc/1/mountinfo")
	ours := 0
	for m := range strings.Lines(string(mounts)) {
		if strings.Contains(m, "/probe") {
			ours++
		}
	}
	fmt.Fprintf(&b, "mounts of the probe: %d\n", ours)
	// What the host and the neighbour believe of each other.
	for table, address := range map[string]string{"/proc/net/arp": victim.address} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 3 && f[0] == address && f[3] != "00:00:00:00:00:00" {
				fmt.Fprintf(&b, "the neighbour's hardware address: %s\n", f[3])
			}
		}
	}
	return b.String()
}
