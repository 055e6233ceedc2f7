package main

import (
	"context"
	"net"
	"strconv"
	"time"

	"go.uber.org/zap"

	"berth/balancer"
	"berth/fault"
	"berth/server/aws/elbv2"
	"berth/server/aws/wire"
	"berth/store"
	"berth/task"
)

// newBalancer returns what shares the ports of target groups out.
func newBalancer(c serverConfig, st *store.Store, log *zap.Logger) *balancer.Balancer {
	var d net.Dialer
	var l net.ListenConfig
	return balancer.New(balancer.Config{
		Book: st, Journal: st,
		Listen: func(ctx context.Context, port int) (net.Listener, error) {
			return l.Listen(ctx, "tcp", net.JoinHostPort(c.BalancerListen, strconv.Itoa(port)))
		},
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp4", address)
		},
		Log: log, Now: time.Now,
	})
}

// newELB returns the part of Elastic Load Balancing's API that is here.
func newELB(c serverConfig, b *balancer.Balancer, st *store.Store) wire.Service {
	return elbv2.New(elbv2.Config{
		Groups: b, Book: st, Address: c.BalancerListen, Now: time.Now,
		NewID: func() string { return string(task.NewID())[16:] }, // its random half
	})
}

// checkBalancer refuses what is no address to listen at.
func (c *serverConfig) checkBalancer() error {
	if net.ParseIP(c.BalancerListen) == nil {
		return fault.New(fault.Invalid, "--balancer-listen %q is not an IP address, as in 127.0.0.1 or 0.0.0.0", c.BalancerListen)
	}
	return nil
}
