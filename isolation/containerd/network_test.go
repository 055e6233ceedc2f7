//go:build e2e

package containerd_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"berth/fault"
	"berth/isolation"
	"berth/isolation/thread"
	"berth/task"
)

// outside is the world beyond this host: a namespace at the other end of a cable,
// with three addresses, of which one is link-local and one the host's own.
type outside struct {
	*testing.T
	space string
	host  string // the host's end
	world string
	cloud string // link-local, as a cloud's metadata service
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	// Addresses of this run's own, out of those for tests of networks (RFC 2544).
	mine, err := hex.DecodeString(shared.config.Instance)
	if err != nil {
		t.Fatal(err)
	}
	address := func(last byte) string { return fmt.Sprintf("198.%d.%d.%d", 18+mine[0]&1, mine[1], mine[2]&^3+last) }
	o := &outside{
		T: t, space: "berth-world-" + shared.config.Instance,
		host: address(1), world: address(2), cloud: fmt.Sprintf("169.254.%d.%d", mine[1], mine[2]),
	}
	cable := "bw" + shared.config.Instance
	run := func(line string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	run("netns add " + o.space)
	t.Cleanup(func() {
		for _, line := range []string{"link del " + cable, "netns del " + o.space} {
			if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
				t.Errorf("ip %s: %v: %s", line, err, out)
			}
		}
	})
	run(fmt.Sprintf("link add %s type veth peer name eth0 netns %s", cable, o.space))
	run("addr add " + o.host + "/30 dev " + cable)
	run("link set " + cable + " up")
	run(fmt.Sprintf("-n %s addr add %s/30 dev eth0", o.space, o.world))
	run(fmt.Sprintf("-n %s addr add %s/32 dev eth0", o.space, o.cloud))
	run(fmt.Sprintf("-n %s link set eth0 up", o.space))
	run(fmt.Sprintf("-n %s route add default via %s", o.space, o.host))
	run(fmt.Sprintf("route add %s/32 via %s", o.cloud, o.world))
	return o
}

// in runs do in the world.
func (o *outside) in(do func() error) error {
	space, err := netns.GetFromName(o.space)
	if err != nil {
		return err
	}
	defer space.Close()
	return thread.Apart(func() error {
		if err := netns.Set(space); err != nil {
			return err
		}
		return do()
	})
}

// listen listens in the world and tells who came.
func (o *outside) listen(address string) (port string, came <-chan string) {
	o.Helper()
	return o.serve(address + ":0")
}

// packets receives in the world what comes to an address with a port over UDP.
func (o *outside) packets(at string) (l net.PacketConn) {
	o.Helper()
	if err := o.in(func() (err error) { l, err = net.ListenPacket("udp4", at); return err }); err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() { l.Close() })
	return l
}

// serve is listen at a port of one's choice.
func (o *outside) serve(at string) (port string, came <-chan string) {
	o.Helper()
	var l net.Listener
	err := o.in(func() (err error) {
		l, err = net.Listen("tcp", at)
		return err
	})
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() { l.Close() })
	guests := make(chan string, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			guests <- host
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, guests
}

// dials runs one container for each address and returns which could be reached.
func (b *box) dials(addresses ...string) []bool {
	b.Helper()
	reached := make([]bool, len(addresses))
	for i, a := range addresses {
		b.run(isolation.Container{Name: fmt.Sprint("dial", i), Command: []string{"dial", a}})
	}
	for i := range addresses {
		reached[i] = b.wait(fmt.Sprint("dial", i)).Code == 0
	}
	return reached
}

// gatewayOf is the address of the bridge.
func gatewayOf(t *testing.T, n task.Network) string {
	t.Helper()
	p, err := netip.ParsePrefix(n.Subnet)
	if err != nil {
		t.Fatal(err)
	}
	return p.Masked().Addr().Next().String()
}

// Ensure a task reaches the world, under the host's address, and nothing that is
// the host's or another task's; and that the world does not reach it.
func TestWhatTasksReach(t *testing.T) {
	world := newOutside(t)
	shop, came := world.listen(world.world)
	cloud, _ := world.listen(world.cloud)
	server, n := newBox(t, small)
	server.run(isolation.Container{Name: "server", Command: []string{"listen", "7777"}})
	careless, err := net.Listen("tcp", "0.0.0.0:0") // a service of the host's on every address
	if err != nil {
		t.Fatal(err)
	}
	defer careless.Close()
	_, port, _ := net.SplitHostPort(careless.Addr().String())

	allowed := []string{world.world + ":" + shop}
	refused := []string{n.IPv4 + ":7777", world.cloud + ":" + cloud, gatewayOf(t, n) + ":" + port}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil {
			refused = append(refused, net.JoinHostPort(ip.IP.String(), port))
		}
	}
	task, _ := newBox(t, small)
	for i, reached := range task.dials(append(allowed, refused...)...) {
		if i < len(allowed) != reached {
			t.Errorf("dialling %s from a task: reached: %v", append(allowed, refused...)[i], reached)
		}
	}
	select {
	case who := <-came:
		if who != world.host {
			t.Errorf("the world sees %s, want the host's address %s", who, world.host)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody came out")
	}

	c, err := net.DialTimeout("tcp", n.IPv4+":7777", 10*time.Second)
	if err != nil {
		t.Errorf("the host cannot reach a task: %v", err)
	} else {
		c.Close()
	}
	err = world.in(func() error {
		c, err := net.DialTimeout("tcp", n.IPv4+":7777", 2*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err == nil {
		t.Error("the world reaches a task")
	}
}

// Ensure packets that a task makes itself come no further than others, whatever
// address they say they come from, also after somebody flushed all rules.
func TestForgedPackets(t *testing.T) {
	world := newOutside(t)
	l, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := fmt.Sprint(l.LocalAddr().(*net.UDPAddr).Port)
	b, n := newBox(t, small)
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	next := small
	next.ID = task.NewID()
	if _, err := b.rt.Provision(t.Context(), next); err != nil { // makes the filter again
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.rt.Remove(context.Background(), next.ID); err != nil {
			t.Error(err)
		}
	})
	link, err := net.InterfaceByName(bridgeName())
	if err != nil {
		t.Fatal(err)
	}
	mac, gateway := link.HardwareAddr.String(), gatewayOf(t, n)
	sent := 0
	for _, from := range []string{n.IPv4, gateway, world.host, "127.0.0.1", "8.8.8.8"} {
		for _, to := range []string{world.host, gateway, "127.0.0.1", "255.255.255.255"} {
			for _, hardware := range []string{mac, "ff:ff:ff:ff:ff:ff"} {
				name := fmt.Sprint("raw", sent)
				sent++
				b.run(isolation.Container{Name: name, Command: []string{"raw", hardware, from, to, port}})
				if e := b.wait(name); e.Code != 0 {
					t.Fatalf("the packet was not sent: %+v", e)
				}
			}
		}
	}
	// The host's own packet comes last: once it is here, the others are not coming.
	c, err := net.Dial("udp4", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("own")); err != nil {
		t.Fatal(err)
	}
	for {
		text := make([]byte, 16)
		if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		size, who, err := l.ReadFrom(text)
		if err != nil {
			t.Fatal(err)
		}
		if string(text[:size]) == "own" {
			return
		}
		t.Errorf("the host got %q from %s", text[:size], who)
	}
}

// Ensure a server does not take another subnet while tasks have addresses of the one
// before, and does so when they have gone, with nothing left of that.
func TestAnotherSubnet(t *testing.T) {
	world := newOutside(t)
	shop, _ := world.listen(world.world)
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	before, other := rt.Subnet(), netip.MustParsePrefix("203.0.113.0/24")
	config := shared.config
	config.Subnet = netip.PrefixFrom(other.Addr().Next(), other.Bits()) // as somebody writes it who thinks of the gateway
	b, _ := newBoxOf(t, rt, small)
	for range 2 {
		_, err := shared.openWith(config)
		if text := fault.Message(err); fault.KindOf(err) != fault.Conflict || !strings.Contains(text, "--bridge-subnet "+before.String()) || !strings.Contains(text, string(b.id)) {
			t.Fatalf("another subnet while a task runs: %v", err)
		}
	}
	b.reaches("still", []bool{true}, world.world+":"+shop)
	config.Subnet = before
	if rt, err = shared.openWith(config); err != nil || rt.Subnet() != before {
		t.Fatalf("the same subnet while a task runs: %v", err)
	}
	if err := rt.Remove(t.Context(), b.id); err != nil {
		t.Fatal(err)
	}
	for _, subnet := range []netip.Prefix{other, before} {
		config.Subnet = subnet
		rt, err := shared.openWith(config)
		if err != nil {
			t.Fatal(err)
		}
		next, n := newBoxOf(t, rt, small)
		if addr := netip.MustParseAddr(n.IPv4); !subnet.Contains(addr) {
			t.Errorf("a task has %s, which is not of %s", addr, subnet)
		}
		next.reaches("next", []bool{true}, world.world+":"+shop)
		link, err := net.InterfaceByName(bridgeName())
		if err != nil {
			t.Fatal(err)
		}
		if addrs, err := link.Addrs(); err != nil || len(addrs) != 1 || addrs[0].String() != netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits()).String() {
			t.Errorf("the bridge has %v, %v", addrs, err)
		}
		if err := rt.Remove(t.Context(), next.id); err != nil {
			t.Fatal(err)
		}
	}
}

// flush takes the filter away, as "nft flush ruleset" does.
func flush() error {
	for _, family := range []string{"inet", "bridge"} {
		if out, err := exec.Command("nft", "delete", "table", family, bridgeName()).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	return nil
}

func itoa(n int) string { return strconv.Itoa(n) }

func bridgeName() string { return "berth" + shared.config.Instance }
