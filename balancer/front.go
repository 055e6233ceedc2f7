package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"go.uber.org/zap"
)

// listenAgain is how long to wait before a port is tried again that somebody else has.
const listenAgain = 5 * time.Second

// listen serves the group's port until ctx ends, with l if that is there already. A port
// that somebody else took while no server ran is tried over and over.
func (p *pool) listen(ctx context.Context, g TargetGroup, l net.Listener) {
	log := p.b.Log.With(zap.String("targetGroup", g.ARN), zap.Int("port", g.ListenPort))
	for told := false; ctx.Err() == nil; l = nil {
		if l == nil {
			var err error
			if l, err = p.b.Listen(ctx, g.ListenPort); err != nil {
				if !told && ctx.Err() == nil {
					log.Warn("the port of a target group cannot be opened, and will be tried again", zap.Error(err))
				}
				told = true
				pause(ctx, listenAgain)
				continue
			}
		}
		serve := p.serveHTTP
		if g.Protocol == TCP {
			serve = p.serveTCP
		}
		if err := serve(ctx, l); err != nil && ctx.Err() == nil {
			log.Warn("the listener of a target group failed", zap.Error(err))
			pause(ctx, time.Second)
		}
	}
	if l != nil {
		l.Close()
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// serveTCP shares connections out until ctx ends; those that are open then are cut off.
func (p *pool) serveTCP(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		var again net.Error
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return ctx.Err()
		case errors.As(err, &again): // Too many files are open: others will end.
			pause(ctx, 10*time.Millisecond)
		case err != nil:
			return errors.Join(err, l.Close())
		default:
			p.b.spawn(func() { p.connect(ctx, c) })
		}
	}
}

// connect sends a connection on to a target. If there is none, it is refused as late as
// somebody can who has accepted it: with a reset.
func (p *pool) connect(ctx context.Context, client net.Conn) {
	defer client.Close()
	var tried []*target
	for len(tried) < maxTries {
		t := p.take(tried)
		if t == nil {
			break
		}
		server, err := p.b.dial(t.life, t.address())
		if err != nil {
			t.release()
			tried = append(tried, t)
			continue
		}
		defer t.release()
		t.splice(ctx, client, server)
		return
	}
	if c, ok := client.(*net.TCPConn); ok {
		_ = c.SetLinger(0) // Else it would look as if somebody had answered nothing.
	}
}

// splice copies between two connections until both sides have said all they had to say, or
// their time is up.
func (t *target) splice(ctx context.Context, client, server net.Conn) {
	shut := func() { client.Close(); server.Close() }
	defer shut()
	defer context.AfterFunc(ctx, shut)()
	defer context.AfterFunc(t.life, shut)()
	back := make(chan struct{})
	go func() {
		defer close(back)
		pour(client, server, shut)
	}()
	pour(server, client, shut)
	<-back
}

// pour copies what one side says to the other, and that it has ended.
func pour(to, from net.Conn, shut func()) {
	_, err := io.Copy(to, from) // splice(2), between TCP connections
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		shut()
	}
}
