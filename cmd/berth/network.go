package main

import (
	"context"
	"net"

	"berth/isolation/containerd"
	"berth/runner"
	"berth/server/aws/ec2"
	"berth/server/aws/wire"
	"berth/store"
	"berth/task"
)

// newEC2 returns what speaks of this host's network in EC2's words.
func newEC2(st *store.Store, groups *runner.Runner, host *containerd.Runtime) wire.Service {
	return ec2.New(ec2.Config{Tasks: connected{st}, Groups: groups, Subnet: host.Subnet(), HostIP: outwardIP})
}

// connected knows the tasks that have a network.
type connected struct{ *store.Store }

func (c connected) Connected(ctx context.Context, in task.Realm) ([]task.Task, error) {
	all, _, err := c.Unfinished(ctx)
	var ours []task.Task
	for _, t := range all {
		if r := t.Realm(); r.Account == in.Account && r.Region == in.Region {
			ours = append(ours, t)
		}
	}
	return ours, err
}

// outwardIP is the address by which this host reaches others. Nothing is sent.
func outwardIP() string {
	c, err := net.Dial("udp4", "192.0.2.1:9") // TEST-NET-1, RFC 5737
	if err != nil {
		return "127.0.0.1"
	}
	defer c.Close()
	host, _, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		return "127.0.0.1"
	}
	return host
}
