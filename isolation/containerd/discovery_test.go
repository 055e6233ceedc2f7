//go:build e2e

package containerd_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/isolation"
	"berth/isolation/containerd"
	"berth/task"
)

// Ensure what a task asks the bridge's address on port 53 comes to the listeners, whatever
// its groups say, and nothing else does; and that the host's name server is asked instead
// once nobody renews the lease, or as soon as the server ends.
func TestNameListeners(t *testing.T) {
	world := newOutside(t)
	_, outside := world.serve(world.world + ":53")
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver "+world.world+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer containerd.AskInstead(file)()
	const none = "sg-00000000000000001"
	setGroups(t, task.SecurityGroup{ID: none, Name: "none", Egress: []task.Permission{}})
	b, n := newBox(t, member(none))
	rt := b.rt.(*containerd.Runtime)
	stream, packets, err := rt.NameListeners(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	defer packets.Close()
	here := guests(stream)
	at := gatewayOf(t, n)
	tries := 0
	asks := func() (answered bool) { // and whether that was here
		t.Helper()
		tries++
		name := "asks" + itoa(tries)
		b.run(isolation.Container{Name: name, Command: []string{"dial", at + ":53"}})
		if e := b.wait(name); e.Code != 0 {
			t.Fatalf("nobody answers the task: %+v", e)
		}
		select {
		case who := <-here:
			if who != netip.MustParseAddr(n.IPv4) {
				t.Errorf("%s came, want %s", who, n.IPv4)
			}
			return true
		case <-outside:
			return false
		case <-time.After(10 * time.Second):
			t.Fatal("nobody came")
		}
		return false
	}
	if !asks() {
		t.Error("the host's name server is asked while this one lives")
	}
	own := stream.Addr().String()
	b.reaches("others", []bool{false, false}, own, at+":54")
	for _, network := range []string{"tcp", "udp"} {
		c, err := net.DialTimeout(network, own, time.Second)
		if err != nil {
			continue
		}
		if _, err := c.Write([]byte("?")); err == nil && network == "tcp" {
			t.Errorf("the host reaches the listener over %s", network)
		}
		c.Close()
	}
	if err := packets.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, who, err := packets.ReadFrom(make([]byte, 16)); err == nil {
		t.Errorf("%s reaches the listener over UDP", who)
	}

	ctx, end := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- rt.KeepNames(ctx) }()
	time.Sleep(20 * time.Second) // longer than a lease
	if !asks() {
		t.Error("the lease was not renewed")
	}
	end()
	if err := <-kept; err != nil {
		t.Fatal(err)
	}
	if asks() {
		t.Error("questions come here after the end")
	}
	again, more, err := rt.NameListeners(t.Context()) // by a server that will be killed
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	defer more.Close()
	here = guests(again)
	begin := time.Now()
	for asks() {
		if time.Since(begin) > 30*time.Second {
			t.Fatal("the lease does not run out")
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Logf("the lease ran out after %v", time.Since(begin))
}
