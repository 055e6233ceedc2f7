package main

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"berth/discovery"
	"berth/isolation/containerd"
	"berth/server/metadata"
	"berth/service"
	"berth/store"
	"berth/task"
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
		Journal: st, Holder: host.Holder, Subnet: host.Subnet(), Aliases: newAliases(st, time.Now).find, Forward: upstream.Forward, Shuffle: rand.Shuffle, Log: log, Now: time.Now,
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

// aliases are the names that services have by Service Connect.
type aliases struct {
	services interface {
		UnfinishedServices(ctx context.Context) ([]service.Service, error)
	}
	now func() time.Time

	mu    sync.Mutex
	read  time.Time
	names map[alias][]discovery.Service
}

// alias is a name in an account and region.
type alias struct{ account, region, name string }

func newAliases(st *store.Store, now func() time.Time) *aliases {
	return &aliases{services: st, now: now}
}

// aliasesFresh is how long it takes until a changed service has its names.
const aliasesFresh = 2 * time.Second

// find returns the services of that name.
func (a *aliases) find(ctx context.Context, in task.Realm, name string) ([]discovery.Service, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := a.now(); a.read.IsZero() || now.Sub(a.read) >= aliasesFresh {
		all, err := a.services.UnfinishedServices(ctx)
		if err != nil {
			return nil, err
		}
		a.read, a.names = now, aliasesOf(all)
	}
	return a.names[alias{in.Account, in.Region, name}], nil
}

// aliasesOf returns the names of services by Service Connect: a client alias's dnsName, or
// the discovery name in its namespace, which an alias without a name has too.
func aliasesOf(all []service.Service) map[alias][]discovery.Service {
	names := make(map[alias][]discovery.Service)
	for _, v := range all {
		c := v.Template.ServiceConnect
		if c == nil || !c.Enabled {
			continue
		}
		namespace := c.Namespace[strings.LastIndexByte(c.Namespace, '/')+1:] // It may be an ARN.
		add := func(name string) {
			at := alias{v.Realm.Account, v.Realm.Region, strings.ToLower(name)}
			names[at] = append(names[at], discovery.Service{Cluster: v.Realm.Cluster, Name: v.Name})
		}
		for _, each := range c.Services {
			full := cmp.Or(each.DiscoveryName, each.PortName) + "." + namespace
			if namespace != "" {
				add(full)
			}
			for _, client := range each.ClientAliases {
				if client.DNSName != "" && !strings.EqualFold(client.DNSName, full) {
					add(client.DNSName)
				}
			}
		}
	}
	return names
}
