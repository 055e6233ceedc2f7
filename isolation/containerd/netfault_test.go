//go:build e2e

package containerd_test

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"berth/fault"
	"berth/isolation"
	"berth/isolation/containerd"
	"berth/isolation/thread"
	"berth/task"
)

// inside runs do in the network of a task.
func (b *box) inside(do func() error) error {
	b.Helper()
	space, err := netns.GetFromPath(filepath.Join(shared.config.RunDir, "netns", string(b.id)))
	if err != nil {
		b.Fatal(err)
	}
	defer space.Close()
	return thread.Apart(func() error {
		if err := netns.Set(space); err != nil {
			return err
		}
		return do()
	})
}

// faults is a box whose network is hurt.
type faults struct {
	*box
	rt *containerd.Runtime
}

func (b faults) start(f task.NetworkFault) {
	b.Helper()
	if err := b.rt.StartFault(b.Context(), b.id, f); err != nil {
		b.Fatalf("start %+v: %v", f, err)
	}
	next, err := shared.open() // the next server
	if err != nil {
		b.Fatal(err)
	}
	if there, err := next.Fault(b.Context(), b.id, f); err != nil || !there {
		b.Errorf("%+v was started and the kernel says %v, %v", f, there, err)
	}
}

func (b faults) stop(f task.NetworkFault) {
	b.Helper()
	for range 2 {
		if err := b.rt.StopFault(b.Context(), b.id, f); err != nil {
			b.Fatalf("stop %+v: %v", f, err)
		}
		if there, err := b.rt.Fault(b.Context(), b.id, f); err != nil || there {
			b.Errorf("%+v was stopped and the kernel says %v, %v", f, there, err)
		}
	}
}

// reaches dials from the task, for that long.
func (b faults) reaches(address string, patience time.Duration) (ok bool) {
	b.Helper()
	err := b.inside(func() error {
		c, err := net.DialTimeout("tcp", address, patience)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil && !strings.Contains(err.Error(), "timeout") {
		b.Errorf("dial %s: %v", address, err)
	}
	return err == nil
}

func one(address string) netip.Prefix { return netip.PrefixFrom(netip.MustParseAddr(address), 32) }

// Ensure faults do to a task's network what they say, and nothing more.
func TestNetworkFaults(t *testing.T) {
	world := newOutside(t)
	port, _ := world.listen(world.world)
	inner, n := newBox(t, small)
	b := faults{inner, inner.rt.(*containerd.Runtime)}
	l, err := b.rt.MetadataListener(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	guests(l)
	shop := net.JoinHostPort(world.world, port)
	var number uint16
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	want := func(when, address string, want bool) {
		t.Helper()
		patience := time.Second
		if want {
			patience = 20 * time.Second
		}
		if got := b.reaches(address, patience); got != want {
			t.Errorf("%s: reaches %s: %v", when, address, got)
		}
	}
	want("at first", shop, true)

	out := task.NetworkFault{Kind: task.BlackholePort, Port: number, Protocol: "tcp"}
	b.start(out)
	want("with a black hole", shop, false)
	b.stop(out)
	want("after a black hole", shop, true)
	out.Except = []netip.Prefix{one(world.world)}
	b.start(out)
	want("with a black hole that spares it", shop, true)
	b.stop(out)
	out.Protocol = "udp"
	b.start(out)
	want("with a black hole for UDP", shop, true)
	b.stop(out)

	web := task.NetworkFault{Kind: task.BlackholePort, Port: 80, Protocol: "tcp", Except: []netip.Prefix{one("169.254.170.2")}}
	b.start(web)
	setMetadata(t, b.rt, l)
	want("with a black hole for port 80", "169.254.170.2:80", true)
	b.stop(web)

	b.run(isolation.Container{Name: "server", Command: []string{"listen", "7777"}})
	in := task.NetworkFault{Kind: task.BlackholePort, Port: 7777, Protocol: "tcp", Ingress: true}
	dial := func(when string, want bool) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for {
			patience := time.Second
			if want {
				patience = 20 * time.Second
			}
			c, err := net.DialTimeout("tcp", n.IPv4+":7777", patience)
			if err == nil {
				c.Close()
			}
			refused := err != nil && !strings.Contains(err.Error(), "timeout") // It does not listen yet.
			if refused && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if (err == nil) != want {
				t.Errorf("%s: %v", when, err)
			}
			return
		}
	}
	dial("at first", true)
	b.start(in)
	dial("with a black hole", false)
	b.stop(in)
	in.Except = []netip.Prefix{one(gatewayOf(t, n))}
	b.start(in)
	dial("with a black hole that spares the host", true)
	b.stop(in)

	all := task.NetworkFault{Kind: task.PacketLoss, LossPercent: 100, Sources: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Except: []netip.Prefix{one("169.254.170.2")}}
	b.start(all)
	setMetadata(t, b.rt, l)
	want("with nothing but losses", shop, false)
	want("with nothing but losses", "169.254.170.2:80", true)
	b.stop(all)
	want("after the losses", shop, true)
	half := task.NetworkFault{Kind: task.PacketLoss, LossPercent: 50, Sources: []netip.Prefix{one(world.world)}}
	b.start(half)
	const sent = 400
	if got := b.arrive(world, sent); got < 140 || got > 260 {
		t.Errorf("of %d packets %d arrive with a loss of 50 %%", sent, got)
	}
	b.stop(half)
	if got := b.arrive(world, sent); got != sent {
		t.Errorf("of %d packets %d arrive without losses", sent, got)
	}

	late := task.NetworkFault{Kind: task.Latency, Delay: time.Second, Sources: []netip.Prefix{one(world.world)}, Except: []netip.Prefix{one("169.254.170.2")}}
	err = b.rt.StartFault(t.Context(), b.id, late)
	if fault.KindOf(err) == fault.Unavailable {
		if there, err := b.rt.Fault(t.Context(), b.id, late); there || err != nil || !strings.Contains(fault.Message(b.rt.StartFault(t.Context(), b.id, late)), "lacks netem") {
			t.Errorf("this kernel cannot delay, and yet: %v, %v", there, err)
		}
		b.stop(late)
		t.Log("this kernel has no netem: that it says so is what was tried")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	took := func() time.Duration {
		begun := time.Now()
		want("with delays", shop, true)
		return time.Since(begun)
	}
	if d := took(); d < late.Delay {
		t.Errorf("with a delay of %v it took %v", late.Delay, d)
	}
	if there, err := b.rt.Fault(t.Context(), b.id, late); !there || err != nil {
		t.Errorf("the delay is there: %v, %v", there, err)
	}
	b.stop(late)
	if d := took(); d >= late.Delay {
		t.Errorf("after the delay it took %v", d)
	}
}

// setMetadata makes the filter of a server again whose place another one took.
func setMetadata(t *testing.T, rt *containerd.Runtime, old net.Listener) {
	t.Helper()
	l, err := rt.MetadataListener(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	guests(l)
	old.Close()
}

// arrive sends packets from the task to the world and returns how many arrive.
func (b faults) arrive(world *outside, sent int) (arrived int) {
	b.Helper()
	var l net.PacketConn
	err := world.in(func() (err error) {
		l, err = net.ListenPacket("udp4", world.world+":0")
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var c net.Conn
	err = b.inside(func() (err error) {
		c, err = net.Dial("udp4", l.LocalAddr().String())
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	receive := func(patience time.Duration) bool {
		if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
			b.Fatal(err)
		}
		_, _, err := l.ReadFrom(make([]byte, 1))
		return err == nil
	}
	for range sent {
		if _, err := c.Write([]byte("x")); err != nil {
			b.Fatalf("the program notices: %v", err)
		}
		if receive(5 * time.Millisecond) {
			arrived++
		}
	}
	for receive(time.Second) { // what was late
		arrived++
	}
	return arrived
}
