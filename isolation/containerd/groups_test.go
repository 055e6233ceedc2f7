//go:build e2e

package containerd_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"berth/isolation"
	"berth/isolation/containerd"
	"berth/task"
)

func port(n int) *int { return &n }

// setGroups sets the rules of security groups, for as long as the test runs.
func setGroups(t *testing.T, all ...task.SecurityGroup) {
	t.Helper()
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	if err := rt.SetGroups(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func member(groups ...string) isolation.Sandbox {
	s := small
	s.Groups = groups
	return s
}

// reaches checks which of addresses a task reaches.
func (b *box) reaches(name string, want []bool, addresses ...string) {
	b.Helper()
	got := make([]bool, len(addresses))
	for i, a := range addresses {
		b.run(isolation.Container{Name: name + itoa(i), Command: []string{"dial", a}})
	}
	for i := range addresses {
		got[i] = b.wait(name+itoa(i)).Code == 0
	}
	if !slices.Equal(got, want) {
		b.Errorf("%s: reaches %v: %v, want %v", name, addresses, got, want)
	}
}

// Ensure tasks reach one another as far as security groups say, and the world as far as
// those say, also after the rules were changed, after the server started again and after
// somebody flushed all rules.
func TestSecurityGroups(t *testing.T) {
	world := newOutside(t)
	shop, _ := world.listen(world.world)
	const web, db, shut = "sg-00000000000000001", "sg-00000000000000002", "sg-00000000000000003"
	rules := []task.SecurityGroup{
		{ID: web, Name: "web", Egress: task.Everything()},
		{ID: db, Name: "db", Ingress: []task.Permission{
			{Protocol: "tcp", FromPort: port(5432), ToPort: port(5433), Pairs: []task.GroupPair{{GroupID: web}}},
		}, Egress: task.Everything()},
		{ID: shut, Name: "shut", Ingress: []task.Permission{
			{Protocol: "tcp", FromPort: port(5432), ToPort: port(5432), Ranges: []task.IPRange{{CIDR: "0.0.0.0/0"}}},
		}, Egress: []task.Permission{}},
	}
	server, n := newBox(t, member(db))
	inner, m := newBox(t, member(shut))
	for _, b := range []*box{server, inner} {
		for _, p := range []string{"5432", "5434"} {
			b.run(isolation.Container{Name: "listen" + p, Command: []string{"listen", p}})
			b.does("ready"+p, isolation.Container{}, "dial", p)
		}
	}
	client, _ := newBox(t, member(web))
	stranger, _ := newBox(t, small)
	all := []string{n.IPv4 + ":5432", n.IPv4 + ":5434", m.IPv4 + ":5432", world.world + ":" + shop}
	client.reaches("no rules yet", []bool{false, false, false, false}, all...)
	setGroups(t, rules...)
	client.reaches("member", []bool{true, false, true, true}, all...)
	stranger.reaches("stranger", []bool{false, false, true, true}, all...)
	inner.reaches("shut", []bool{false, false}, all[0], all[3])

	rules[1].Ingress = append(rules[1].Ingress, task.Permission{Protocol: "-1", Pairs: []task.GroupPair{{GroupID: web}}})
	rules[0].Egress = []task.Permission{{Protocol: "tcp", Pairs: []task.GroupPair{{GroupID: db}}}}
	setGroups(t, rules...)
	client.reaches("changed", []bool{true, true, false, false}, all...)

	if err := flush(); err != nil {
		t.Fatal(err)
	}
	next, _ := newBox(t, member(web)) // a task that comes mends it, and the new server knows no rules
	next.reaches("forgotten", []bool{false, false, false, false}, all...)
	setGroups(t, rules...)
	next.reaches("again", []bool{true, true, false, false}, all...)
}

// Ensure ports that a task publishes are reached from this host, by every address of
// it, and from outside, with the sender's own address, and by nobody once it is gone.
func TestPublishedPorts(t *testing.T) {
	world := newOutside(t)
	s := small
	s.Publish = []task.Port{{Protocol: "tcp", Container: 7777}, {Protocol: "tcp", Container: 7778}}
	b, n := newBox(t, s)
	if len(n.Published) != 2 || n.Published[0].Host == 0 || n.Published[0].Host == n.Published[1].Host {
		t.Fatalf("published: %+v", n.Published)
	}
	b.run(isolation.Container{Name: "server", Command: []string{"listen", "7777"}})
	b.does("ready", isolation.Container{}, "dial", "7777")
	dial := func(host string, p task.Port) error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(host, itoa(p.Host)), 3*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	}
	open, closed := n.Published[0], n.Published[1]
	for _, host := range []string{"127.0.0.1", world.host} {
		if err := dial(host, open); err != nil {
			t.Errorf("this host by %s: %v", host, err)
		}
		if err := dial(host, closed); err == nil {
			t.Errorf("somebody answers at a port that nobody listens at")
		}
	}
	if err := world.in(func() error { return dial(world.host, open) }); err != nil {
		t.Errorf("the world: %v", err)
	}
	if err := world.in(func() error { return dial(n.IPv4, task.Port{Host: 7777}) }); err == nil {
		t.Error("the world reaches the task's own address")
	}
	_, m := newBox(t, s)
	if m.Published[0].Host == open.Host {
		t.Errorf("two tasks publish port %d", open.Host)
	}
	other, _ := newBox(t, small)
	other.reaches("task", []bool{false, false}, world.host+":"+itoa(open.Host), n.IPv4+":7777")

	if err := b.rt.Remove(t.Context(), b.id); err != nil {
		t.Fatal(err)
	}
	if err := dial("127.0.0.1", open); err == nil {
		t.Error("a port is published after its task has gone")
	}
}

// Ensure a port that somebody else's rules pass on is not published, though no program
// listens at it: two servers on one host would pass it on to two tasks.
func TestPublishedPortOfOthers(t *testing.T) {
	s := small
	s.Publish = []task.Port{{Protocol: "tcp", Container: 7777}}
	_, first := newBox(t, s)
	at := first.Published[0].Host
	after := func(n int) string { return itoa(49152 + (at-49152+n)%(65536-49152)) }
	table := "bt-others-" + itoa(at)
	nft(t, "add table ip "+table)
	t.Cleanup(func() { nft(t, "delete table ip "+table) })
	nft(t, "add chain ip "+table+" out { type nat hook output priority 0; }")
	nft(t, "add rule ip "+table+" out tcp dport "+after(1)+" dnat to 127.0.0.9:9")
	nft(t, "add rule ip "+table+" out udp dport "+after(2)+" dnat to 127.0.0.9:9")
	if _, next := newBox(t, s); itoa(next.Published[0].Host) != after(2) {
		t.Errorf("after port %d, port %d is published; want %s, for the one between is taken", at, next.Published[0].Host, after(2))
	}
}

func nft(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("nft", command).CombinedOutput(); err != nil {
		t.Fatalf("nft %s: %v: %s", command, err, out)
	}
}

// Ensure a published port of a task in groups is open to those whom they let in.
func TestPublishedPortInGroup(t *testing.T) {
	world := newOutside(t)
	const group = "sg-00000000000000001"
	s := member(group)
	s.Publish = []task.Port{{Protocol: "tcp", Container: 7777}}
	b, n := newBox(t, s)
	b.run(isolation.Container{Name: "server", Command: []string{"listen", "7777"}})
	b.does("ready", isolation.Container{}, "dial", "7777")
	for _, tt := range []struct {
		cidr string
		want bool
	}{{"203.0.113.0/24", false}, {world.world + "/32", true}} {
		setGroups(t, task.SecurityGroup{ID: group, Name: "g", Ingress: []task.Permission{{Protocol: "tcp", Ranges: []task.IPRange{{CIDR: tt.cidr}}}}})
		err := world.in(func() error {
			c, err := net.DialTimeout("tcp", world.host+":"+itoa(n.Published[0].Host), 2*time.Second)
			if err == nil {
				c.Close()
			}
			return err
		})
		if got := err == nil; got != tt.want {
			t.Errorf("open to %s: reached from %s: %v", tt.cidr, world.world, err)
		}
	}
}

// Ensure a task speaks under its own addresses only.
func TestForgedSenders(t *testing.T) {
	world := newOutside(t)
	_, v := newBox(t, small)
	b, n := newBox(t, small)
	link, err := net.InterfaceByName(bridgeName())
	if err != nil {
		t.Fatal(err)
	}
	var l net.PacketConn
	if err := world.in(func() (err error) { l, err = net.ListenPacket("udp4", world.world+":0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := itoa(l.LocalAddr().(*net.UDPAddr).Port)
	bridge := link.HardwareAddr.String()
	for name, c := range map[string][]string{
		"address": {"raw", bridge, v.IPv4, world.world, to},
		"both":    {"raw", bridge, v.IPv4, world.world, to, v.MAC},
		"mac":     {"raw", bridge, n.IPv4, world.world, to, v.MAC},
		"nobody":  {"raw", bridge, n.IPv4, world.world, to, "02:00:00:00:00:01"},
	} {
		if code := b.does(name, isolation.Container{}, c...); code != 0 {
			t.Fatalf("%s was not sent: %d", name, code)
		}
		if err := l.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if size, who, err := l.ReadFrom(make([]byte, 16)); err == nil {
			t.Errorf("%s: %d bytes came from %s", name, size, who)
		}
	}
	if code := b.does("own", isolation.Container{}, "raw", bridge, n.IPv4, world.world, to); code != 0 {
		t.Fatal(code)
	}
	if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.ReadFrom(make([]byte, 16)); err != nil {
		t.Errorf("its own packet does not come out: %v", err)
	}
}

// Ensure a task asks its own name servers, whatever its groups say and wherever they are,
// and that nothing else becomes reachable by that: not another port of theirs, not
// another one's, and nobody on the bridge. What a task writes into its resolv.conf counts
// for nothing, also after the server started again.
func TestNameServers(t *testing.T) {
	world := newOutside(t)
	for _, address := range []string{world.world, world.cloud} {
		for _, port := range []string{"53", "54"} {
			world.serve(address + ":" + port)
		}
	}
	answers := world.packets(world.world + ":53")
	other, n := newBox(t, small)
	other.run(isolation.Container{Name: "server", Command: []string{"listen", "53"}})
	other.does("ready", isolation.Container{}, "dial", "53")
	const none = "sg-00000000000000001"
	rules := task.SecurityGroup{ID: none, Name: "none", Egress: []task.Permission{}}
	setGroups(t, rules)
	ask := func(s isolation.Sandbox, servers ...string) (*box, task.Network) {
		t.Helper()
		text := ""
		for _, s := range servers {
			text += "nameserver " + s + "\n"
		}
		file := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		defer containerd.AskInstead(file)()
		b, w := newBox(t, s)
		b.want(b.sees("resolv", isolation.Container{}, "/etc/resolv.conf"), "text", text)
		return b, w
	}
	all := []string{world.world + ":53", world.world + ":54", world.cloud + ":53", world.cloud + ":54", n.IPv4 + ":53"}
	near, w := ask(member(none), world.world, n.IPv4, gatewayOf(t, n))
	near.reaches("near", []bool{true, false, false, false, false}, all...)
	cloud, _ := ask(member(none), world.cloud)
	cloud.reaches("cloud", []bool{false, false, true, false, false}, all...)
	plain, _ := ask(small, world.cloud)
	plain.reaches("plain", []bool{true, true, true, false, false}, all...)
	far, _ := ask(small, world.world)
	far.reaches("far", []bool{true, true, false, false, false}, all...)

	link, err := net.InterfaceByName(bridgeName())
	if err != nil {
		t.Fatal(err)
	}
	if code := near.does("udp", isolation.Container{}, "raw", link.HardwareAddr.String(), w.IPv4, world.world, "53"); code != 0 {
		t.Fatal(code)
	}
	if err := answers.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := answers.ReadFrom(make([]byte, 16)); err != nil {
		t.Errorf("a question over UDP does not come out: %v", err)
	}

	if code := cloud.does("write", isolation.Container{}, "put", "/etc/resolv.conf", "nameserver "+world.world+"\n"); code != 0 {
		t.Fatal(code)
	}
	setGroups(t, rules) // by a server that just began
	near.reaches("near again", []bool{true, false, false, false, false}, all...)
	cloud.reaches("cloud again", []bool{false, false, true, false, false}, all...)
}
