//go:build e2e

package containerd_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// These tests prove from inside what package isolation promises.

// box is one task of one test.
type box struct {
	*testing.T
	rt isolation.Runtime
	id task.ID
}

func newBox(t *testing.T, s isolation.Sandbox) (*box, task.Network) {
	t.Helper()
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	return newBoxOf(t, rt, s)
}

func newBoxOf(t *testing.T, rt isolation.Runtime, s isolation.Sandbox) (*box, task.Network) {
	t.Helper()
	b := &box{T: t, rt: rt, id: task.NewID()}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := rt.Remove(ctx, b.id); err != nil {
			t.Error(err)
		}
	})
	s.ID = b.id
	n, err := rt.Provision(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return b, n
}

var small = isolation.Sandbox{Size: task.Size{CPU: 256, Memory: 512}, Storage: 256 << 20, Containers: 1}

func (b *box) run(c isolation.Container) {
	b.Helper()
	c.Task, c.Image = b.id, cmp.Or(c.Image, shared.image)
	if err := b.rt.Create(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	if _, err := b.rt.Start(b.Context(), b.id, c.Name); err != nil {
		b.Fatal(err)
	}
}

func (b *box) wait(name string) task.Exit {
	b.Helper()
	e, err := b.rt.Wait(b.Context(), b.id, name)
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// report returns the JSON object that a container printed.
func (b *box) report(name string) (m map[string]any) {
	b.Helper()
	dir := filepath.Join(shared.config.LogsDir, string(b.id), name)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		files, _ := filepath.Glob(dir + "/*")
		for _, f := range files {
			text, _ := os.ReadFile(f)
			from, to := strings.IndexByte(string(text), '{'), strings.LastIndexByte(string(text), '}')
			if from >= 0 && to > from && json.Unmarshal(text[from:to+1], &m) == nil {
				return m
			}
		}
	}
	b.Fatalf("no report in %s", dir)
	return nil
}

func (b *box) inspect(c isolation.Container) map[string]any {
	b.Helper()
	// It stays: a namespace that is gone may leave its number to another one.
	c.Command = []string{"inspect", "1h"}
	b.run(c)
	return b.report(c.Name)
}

func (b *box) want(report map[string]any, key string, want any) {
	b.Helper()
	if got := fmt.Sprint(report[key]); got != fmt.Sprint(want) {
		b.Errorf("%s = %s, want %v", key, got, want)
	}
}

func TestConfinement(t *testing.T) {
	b, n := newBox(t, small)
	r := b.inspect(isolation.Container{Name: "plain", Hostname: "my-host", Env: []string{"BOTH=ours", "OURS=1"}})

	const defaults = "00000000a80425fb" // Docker's fourteen
	for _, key := range []string{"CapPrm", "CapEff", "CapBnd"} {
		b.want(r, key, defaults)
	}
	b.want(r, "CapInh", "0000000000000000")
	b.want(r, "CapAmb", "0000000000000000")
	b.want(r, "NoNewPrivs", 1)
	b.want(r, "Seccomp", 2)
	b.want(r, "pid", 1)
	b.want(r, "kcore", false)
	b.want(r, "keys", false)
	b.want(r, "oomScore", 500)
	b.want(r, "writable", "[/ /etc/hosts]")
	if routes := strings.Fields(fmt.Sprint(r["routes"])); !slices.Equal(routes[min(11, len(routes)):], routeTo(t, n)) {
		t.Errorf("routes = %q, want %q", routes, routeTo(t, n))
	}
	b.want(r, "interfaces", fmt.Sprintf("[lo [127.0.0.1/8 ::1/128] eth0 [%s/20]]", n.IPv4))
	b.want(r, "hostname", "my-host")
	b.want(r, "cwd", "/work/here")
	if devices := strings.Replace(fmt.Sprint(r["devices"]), "/dev/core ", "", 1); // a link to /proc/kcore, which is masked
	devices != "[/dev/fd /dev/full /dev/mqueue /dev/null /dev/ptmx /dev/pts /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero]" {
		t.Errorf("devices = %s", devices)
	}
	if env := fmt.Sprint(r["env"]); env != "[PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOSTNAME=my-host FROM=image BOTH=ours OURS=1 HOME=/root]" {
		b.Errorf("env = %s", env)
	}
	if hosts := fmt.Sprint(r["hosts"]); !strings.Contains(hosts, n.IPv4+"\tmy-host") {
		b.Errorf("/etc/hosts = %q", hosts)
	}
	for _, line := range strings.Split(fmt.Sprint(r["cgroup"]), "\n") {
		if !strings.HasSuffix(line, ":/") && !strings.Contains(line, "name=") {
			b.Errorf("the container sees the host's cgroup path: %s", line)
		}
	}
	host := map[string]any{}
	for ns := range r["namespaces"].(map[string]any) {
		host[ns], _ = os.Readlink("/proc/self/ns/" + ns)
	}
	for ns, inside := range r["namespaces"].(map[string]any) {
		if inside == "" || inside == host[ns] {
			b.Errorf("%s namespace is %v, the host's is %v", ns, inside, host[ns])
		}
	}

	// The second container of the task shares its network and users, and nothing else.
	second := b.inspect(isolation.Container{Name: "second", ReadonlyRootFilesystem: true, DropCapabilities: []string{"ALL"}})
	for ns, inside := range second["namespaces"].(map[string]any) {
		if first := r["namespaces"].(map[string]any)[ns]; (inside == first) != (ns == "net" || ns == "user") {
			b.Errorf("two containers of a task have %s namespaces %v and %v", ns, first, inside)
		}
	}
	b.want(second, "writable", "<nil>")
	b.want(second, "CapBnd", "0000000000000000")
	b.want(second, "hostname", string(b.id[20:]))

	for _, tt := range []struct {
		name, user, uid, gid, groups, effective string
		add, drop                               []string
	}{
		{"named", "app", "1000", "1001", "[1001 1002]", "0000000000000000", nil, nil},
		{"numeric", "1000", "1000", "1001", "[1001 1002]", "0000000000000000", nil, nil},
		{"unknown-number", "4242:77", "4242", "77", "[77]", "0000000000000000", nil, nil},
		{"group-name", "app:extra", "1000", "1002", "[1002]", "0000000000000000", nil, nil},
		{"debugger", "", "0", "0", "[0]", "00000000a80c25fb", []string{"SYS_PTRACE"}, nil},
		{"humble", "root", "0", "0", "[0]", "00000000000004c0", nil, without("SETGID", "SETUID", "NET_BIND_SERVICE")},
	} {
		r := b.inspect(isolation.Container{Name: tt.name, User: tt.user, AddCapabilities: tt.add, DropCapabilities: tt.drop})
		b.want(r, "uid", tt.uid)
		b.want(r, "gid", tt.gid)
		b.want(r, "groups", tt.groups)
		b.want(r, "CapEff", tt.effective)
	}
}

// without returns Docker's default capabilities but those named.
func without(keep ...string) []string {
	all := []string{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
		"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
	return slices.DeleteFunc(all, func(c string) bool { return slices.Contains(keep, c) })
}

// routeTo is the line of /proc/net/route for a task's own subnet, the only one.
func routeTo(t *testing.T, n task.Network) []string {
	t.Helper()
	_, subnet, err := net.ParseCIDR(n.Subnet)
	if err != nil {
		t.Fatal(err)
	}
	little := func(b []byte) string { return fmt.Sprintf("%02X%02X%02X%02X", b[3], b[2], b[1], b[0]) }
	gateway := slices.Clone(subnet.IP)
	gateway[3]++
	return []string{
		"eth0", "00000000", little(gateway), "0003", "0", "0", "0", "00000000", "0", "0", "0",
		"eth0", little(subnet.IP), "00000000", "0001", "0", "0", "0", little(subnet.Mask), "0", "0", "0",
	}
}

func TestRefusals(t *testing.T) {
	b, _ := newBox(t, small)
	words := map[string]string{
		"no-sysctl": "a container on this host has no net.ipv4.no_such_thing",
		"not-set":   "net.core.rmem_max", // older kernels do not even show it
		"no-value":  `net.core.somaxconn cannot be "many words"`,
	}
	for name, c := range map[string]isolation.Container{
		"capability":  {AddCapabilities: []string{"SYS_ADMIN"}},
		"user":        {User: "nobody-we-know"},
		"group":       {User: "app:nobody-we-know"},
		"ulimit":      {Ulimits: []isolation.Ulimit{{Name: "files", Soft: 1, Hard: 1}}},
		"program":     {EntryPoint: []string{"no-such-program"}},
		"directory":   {EntryPoint: []string{"/etc"}},
		"not-a-dir":   {WorkingDirectory: "/etc/passwd"},
		"not-allowed": {EntryPoint: []string{"/etc/passwd"}},
		"sysctl":      {Sysctls: map[string]string{"kernel.pid_max": "100"}},
		"no-sysctl":   {Sysctls: map[string]string{"net.ipv4.no_such_thing": "1"}},
		"not-set":     {Sysctls: map[string]string{"net.core.rmem_max": "100000"}},
		"no-value":    {Sysctls: map[string]string{"net.core.somaxconn": "many words"}},
	} {
		c.Task, c.Name, c.Image = b.id, name, shared.image
		err := b.rt.Create(t.Context(), c)
		if err == nil {
			_, err = b.rt.Start(t.Context(), b.id, name)
		}
		if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.Message(err), "Cannot") || !strings.Contains(fault.Message(err), words[name]) {
			t.Errorf("%s: %v; want the user's fault in Fargate's words", name, err)
		} else {
			t.Logf("%s: %s", name, fault.Message(err))
		}
	}
}

func TestInitReapsOrphans(t *testing.T) {
	b, _ := newBox(t, small)
	b.run(isolation.Container{Name: "without", Command: []string{"orphans", "3"}})
	b.run(isolation.Container{Name: "with", Command: []string{"orphans", "3"}, Init: true})
	b.run(isolation.Container{Name: "stopped", Command: []string{"sleep", "1h", "8081"}, Init: true})
	b.run(isolation.Container{Name: "ready", Command: []string{"dial", "8081"}})
	b.wait("ready")
	if e := b.wait("without"); e.Code != 3 {
		t.Errorf("without an init process: %+v, want 3 zombies", e)
	}
	if e := b.wait("with"); e.Code != 0 {
		t.Errorf("with an init process: %+v, want no zombies", e)
	}
	if _, err := b.rt.Stop(t.Context(), b.id, "stopped"); err != nil {
		t.Fatal(err)
	}
	if e := b.wait("stopped"); e.Code != 143 {
		t.Errorf("stopped through an init process: %+v, want 143", e)
	}
}

func TestLimitsOfAContainer(t *testing.T) {
	b, _ := newBox(t, small)
	b.run(isolation.Container{Name: "hog", Command: []string{"oom", "1"}, Memory: 64, MemoryReservation: 32})
	if e := b.wait("hog"); e.Code != 137 || !e.OOMKilled {
		t.Errorf("hog in 64 MiB ended with %+v", e)
	}
	g, err := b.rt.Gauge(t.Context(), b.id)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if c, err := g.Read(); err != nil || c.MemoryPeakBytes < 60<<20 || c.MemoryPeakBytes > 80<<20 || c.OOMKills != 1 {
		t.Errorf("its task's counters are %+v, %v; want a peak of 64 MiB and one OOM kill", c, err)
	}
	r := b.inspect(isolation.Container{Name: "files", Ulimits: []isolation.Ulimit{{Name: "nofile", Soft: 100, Hard: 200}}})
	if limit := fmt.Sprint(r["nofile"]); !strings.HasSuffix(limit, " 200]") { // Go raises its own soft limit.
		t.Errorf("nofile = %s, want 100 and 200", limit)
	}
}

// tolerated is how far from its share a program may be, as a part of that.
func tolerated(onHardware float64) float64 {
	if emulated {
		return 0.6 // Its clock ticks late, and that is when the kernel enforces.
	}
	return onHardware
}

// TestCPU gives a program that wants all CPUs a quarter of one.
func TestCPU(t *testing.T) {
	b, _ := newBox(t, small)
	b.run(isolation.Container{Name: "spin", Command: []string{"spin", "10s"}})
	b.wait("spin")
	r := b.report("spin")
	cpu, elapsed := r["cpu"].(float64), r["elapsed"].(float64)
	tolerance := tolerated(0.05)
	if share := cpu / elapsed; share < 0.25*(1-tolerance) || share > 0.25*(1+tolerance) {
		t.Errorf("the program got %.2f s of CPU in %.2f s, %.4f CPUs; want 0.25 ± %.0f %%", cpu, elapsed, share, 100*tolerance)
	} else {
		t.Logf("%.3f s of CPU in %.3f s: %.4f CPUs", cpu, elapsed, share)
	}
}

// Ensure the limit holds again when a container was killed and another goes on.
func TestCPUAfterAKill(t *testing.T) {
	b, _ := newBox(t, small)
	b.run(isolation.Container{Name: "deaf", Command: []string{"ignore", "TERM"}})
	b.run(isolation.Container{Name: "spin", Command: []string{"spin", "6s"}})
	if err := b.rt.Kill(t.Context(), b.id, "deaf"); err != nil {
		t.Fatal(err)
	}
	b.wait("deaf")
	if err := b.rt.Kill(t.Context(), b.id, "deaf"); err != nil { // as after a restart of the server
		t.Fatal(err)
	}
	g, err := b.rt.Gauge(t.Context(), b.id)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	before, err := g.Read()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	time.Sleep(3 * time.Second)
	after, err := g.Read()
	if err != nil {
		t.Fatal(err)
	}
	cpu, elapsed := float64(after.CPUNanos-before.CPUNanos)/1e9, time.Since(begin).Seconds()
	if share := cpu / elapsed; share < 0.1 || share > 0.25*(1+2*tolerated(0.1)) {
		t.Errorf("the task got %.2f s of CPU in %.2f s, %.4f CPUs; want 0.25", cpu, elapsed, share)
	}
}

// TestForkBomb lets one go off and looks whether the host notices.
func TestForkBomb(t *testing.T) {
	b, _ := newBox(t, isolation.Sandbox{Size: task.Size{CPU: 256, Memory: 1024}, PIDs: 200})
	b.run(isolation.Container{Name: "bomb", Command: []string{"bomb"}})
	g, err := b.rt.Gauge(t.Context(), b.id)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var most uint64
	var slowest time.Duration
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		c, err := g.Read()
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, c.PIDs)
		begin := time.Now()
		if _, err := b.rt.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(begin))
	}
	t.Logf("at most %d processes and threads; the slowest answer took %v", most, slowest)
	if most < 150 && !emulated || most > 200 {
		t.Errorf("the task had up to %d processes and threads; want about 200 and never more", most)
	}
	if slowest > time.Second && !emulated {
		t.Errorf("containerd took %v to answer", slowest)
	}
	begin := time.Now()
	if err := b.rt.Remove(t.Context(), b.id); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second && !emulated {
		t.Errorf("Remove took %v", took)
	}
}
