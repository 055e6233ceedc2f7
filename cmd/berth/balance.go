package main

import (
	"context"
	"net"
	"strconv"
	"time"

	"go.uber.org/zap"

	"berth/balancer"
	"berth/fault"
	"berth/store"
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

// checkBalancer refuses what is no address to listen at.
func (c *serverConfig) checkBalancer() error {
	if net.ParseIP(c.BalancerListen) == nil {
		return fault.New(fault.Invalid, "--balancer-listen %q is not an IP address, as in 127.0.0.1 or 0.0.0.0", c.BalancerListen)
	}
	return nil
}
