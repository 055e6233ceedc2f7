//go:build e2e

package containerd_test

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"berth/isolation"
	"berth/isolation/containerd"
	"berth/task"
)

// guests accepts connections and tells who came.
func guests(l net.Listener) <-chan netip.Addr {
	came := make(chan netip.Addr, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
			c.Close()
		}
	}()
	return came
}

// Ensure the tasks, and they alone, reach the listener, by the metadata address alone,
// also after a restart of the server and after somebody flushed all rules.
func TestMetadataListener(t *testing.T) {
	first, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	old, err := first.MetadataListener(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old.Close() // the first server dies
	b, n := newBox(t, small)
	rt := b.rt.(*containerd.Runtime)
	l, err := rt.MetadataListener(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	came := guests(l)
	const metadata = "169.254.170.2:80"
	expect := func(when string) {
		t.Helper()
		select {
		case who := <-came:
			if id, ok := rt.Holder(who); !ok || id != b.id || who.String() != n.IPv4 {
				t.Errorf("%s: %s came, of task %s (%v); want %s of task %s", when, who, id, ok, n.IPv4, b.id)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: nobody came", when)
		}
	}
	careless, err := net.Listen("tcp4", "0.0.0.0:0") // a service of the host's on every address
	if err != nil {
		t.Fatal(err)
	}
	defer careless.Close()
	_, port, _ := net.SplitHostPort(careless.Addr().String())
	b.run(isolation.Container{Name: "first", Command: []string{"dial", metadata}})
	if e := b.wait("first"); e.Code != 0 {
		t.Errorf("the metadata address does not answer: %+v", e)
	}
	expect("at first")
	others := []string{"169.254.170.2:81", "169.254.170.3:80", l.Addr().String(), gatewayOf(t, n) + ":" + port, "169.254.170.2:" + port}
	for i, reached := range b.dials(others...) {
		if reached {
			t.Errorf("a task reaches %s", others[i])
		}
	}
	if c, err := net.DialTimeout("tcp", l.Addr().String(), time.Second); err == nil {
		c.Close()
		t.Error("the host reaches the listener")
	}
	if len(came) > 0 {
		t.Errorf("and %s came", <-came)
	}

	if out, err := exec.Command("nft", "delete", "table", "inet", bridgeName()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
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
	b = &box{T: t, rt: rt, id: next.ID}
	if !b.dials(metadata)[0] {
		t.Error("after a flush the metadata address does not answer")
	}
	if who := <-came; !who.IsValid() {
		t.Error("nobody came after a flush")
	}
}
