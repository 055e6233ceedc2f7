package main

import (
	"context"
	"math/rand/v2"
	"net"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"berth/discovery"
	"berth/isolation/containerd"
	"berth/server/metadata"
	"berth/store"
)

// names answers what tasks ask for names.
type names struct {
	server  *discovery.Server
	host    *containerd.Runtime
	stream  net.Listener
	packets net.PacketConn
}

// openNames returns what answers for names, nil if nobody wants it.
func openNames(ctx context.Context, c serverConfig, st *store.Store, host *containerd.Runtime, log *zap.Logger) (*names, error) {
	if !c.Discovery {
		return nil, nil
	}
	upstream := discovery.Upstream{File: "/etc/resolv.conf", Now: time.Now}
	s := discovery.New(discovery.Config{
		Journal: st, Holder: host.Holder, Subnet: host.Subnet(), Forward: upstream.Forward, Shuffle: rand.Shuffle, Log: log, Now: time.Now,
	})
	stream, packets, err := host.NameListeners(ctx)
	if err != nil {
		return nil, err
	}
	return &names{s, host, metadata.Limit(stream), packets}, nil
}

// run answers until ctx ends.
func (n *names) run(ctx context.Context) error {
	if n == nil {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.server.Run(ctx, n.stream, n.packets) })
	g.Go(func() error { return n.host.KeepNames(ctx) })
	return g.Wait()
}
