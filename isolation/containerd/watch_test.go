//go:build e2e

package containerd_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"berth/isolation"
	"berth/task"
)

// listFilter is the filter as an administrator sees it.
func listFilter() string {
	var all strings.Builder
	for _, family := range []string{"inet", "bridge"} {
		out, _ := exec.Command("nft", "-n", "list", "table", family, bridgeName()).CombinedOutput()
		all.Write(out)
	}
	return all.String()
}

// Ensure the filter comes back at once when somebody takes it away or changes it, that
// what the server changes itself is no reason for that, and that a server that has ended
// leaves it alone.
func TestKeepFilter(t *testing.T) {
	core, logged := observer.New(zap.WarnLevel)
	config := shared.config
	config.Log = zap.New(core)
	rt, err := shared.openWith(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- rt.KeepFilter(ctx) }()

	server, n := newBoxOf(t, rt, small)
	server.run(isolation.Container{Name: "server", Command: []string{"listen", "7777"}})
	server.does("ready", isolation.Container{}, "dial", "7777")
	client, _ := newBoxOf(t, rt, member("sg-00000000000000001"))
	plain, _ := newBoxOf(t, rt, small)
	whole := listFilter()
	back := func(what string) {
		t.Helper()
		begin := time.Now()
		for listFilter() != whole {
			if time.Since(begin) > 2*time.Second {
				t.Fatalf("%s: the filter is not back:\n%s\nwant\n%s", what, listFilter(), whole)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	back("at first")
	plain.reaches("plain", []bool{false}, n.IPv4+":7777")
	client.reaches("client", []bool{false}, n.IPv4+":7777")
	warnings := func() int {
		return logged.FilterMessageSnippet("put back").FilterField(zap.String("program", "nft")).Len()
	}
	for _, command := range []string{
		"delete table inet " + bridgeName(), "delete table bridge " + bridgeName(), "flush table inet " + bridgeName(),
		"flush chain inet " + bridgeName() + " forward", "add rule bridge " + bridgeName() + " prerouting accept",
		"flush set bridge " + bridgeName() + " senders",
	} {
		before := warnings()
		nft(t, command)
		for begin := time.Now(); warnings() == before; time.Sleep(10 * time.Millisecond) {
			if time.Since(begin) > 2*time.Second {
				t.Fatalf("%s: nobody noticed: %+v", command, logged.All())
			}
		}
		back(command)
	}
	plain.reaches("again", []bool{false}, n.IPv4+":7777")

	// Changes of its own, and of tables that are not ours.
	time.Sleep(time.Second)
	before := logged.Len()
	nft(t, "add table inet bt-others")
	nft(t, "delete table inet bt-others")
	for range 3 {
		if err := rt.SetGroups(t.Context(), []task.SecurityGroup{{ID: "sg-00000000000000001", Name: "g", Egress: task.Everything()}}); err != nil {
			t.Fatal(err)
		}
		next, _ := newBoxOf(t, rt, small)
		if err := rt.Remove(t.Context(), next.id); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	if logged.Len() != before {
		t.Errorf("its own changes were taken for somebody else's: %+v", logged.All()[before:])
	}

	end()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the watch does not end")
	}
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if got := listFilter(); strings.Contains(got, "forward") {
		t.Errorf("after the server ended the filter came back:\n%s", got)
	}
	if err := rt.SetGroups(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
