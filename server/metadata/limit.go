package metadata

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// maxConnections is how many connections one task may have open.
const maxConnections = 64

// Limit returns a listener that closes a connection at once if its peer has too many:
// no task keeps the others, or the server, from their files.
func Limit(l net.Listener) net.Listener {
	return &limited{Listener: l, open: make(map[netip.Addr]int)}
}

// limited is a listener for peers of which none can have many connections.
type limited struct {
	net.Listener

	mu   sync.Mutex
	open map[netip.Addr]int
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err != nil || !l.enter(peer.Addr()) {
			c.Close()
			continue
		}
		return &counted{Conn: c, leave: sync.OnceFunc(func() { l.leave(peer.Addr()) })}, nil
	}
}

func (l *limited) enter(peer netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[peer] >= maxConnections {
		return false
	}
	l.open[peer]++
	return true
}

func (l *limited) leave(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[peer]--; l.open[peer] <= 0 {
		delete(l.open, peer)
	}
}

type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// How many questions a task may ask: so many a second, and so many at once (ECS agent,
// ECS_TASK_METADATA_RPS_LIMIT).
const (
	steady = 40
	burst  = 60
)

// pace counts questions by address.
type pace struct {
	mu sync.Mutex
	by map[netip.Addr]bucket
}

// bucket is what is left of a burst, as of a moment.
type bucket struct {
	left float64
	at   time.Time
}

func newPace() *pace { return &pace{by: make(map[netip.Addr]bucket)} }

// may reports whether one more question is allowed.
func (p *pace) may(peer netip.Addr, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, known := p.by[peer]
	if !known || now.Before(b.at) {
		b = bucket{left: burst, at: now}
	}
	b.left = min(burst, b.left+steady*now.Sub(b.at).Seconds())
	b.at = now
	ok := b.left >= 1
	if ok {
		b.left--
	}
	p.by[peer] = b
	if len(p.by) > 4096 { // more than there are addresses by default
		clear(p.by)
	}
	return ok
}

// slow refuses questions of whoever asks too many.
func (e *endpoint) slow(c *gin.Context) {
	peer, err := netip.ParseAddrPort(c.Request.RemoteAddr)
	if err != nil || e.pace.may(peer.Addr(), e.Now()) {
		return
	}
	c.Abort()
	c.String(http.StatusTooManyRequests, "You have reached maximum request limit.")
}
