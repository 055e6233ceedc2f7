package discovery

import (
	"net/netip"
	"sync"
	"time"
)

// perSecond is how many questions a task may ask in a second (VPC user guide, "DNS quotas":
// 1,024 packets for each network interface).
const perSecond = 1024

// pace counts the questions of this second.
type pace struct {
	now func() time.Time

	mu     sync.Mutex
	second int64
	asked  map[netip.Addr]int
}

func newPace(now func() time.Time) *pace {
	return &pace{now: now, asked: make(map[netip.Addr]int)}
}

// allow reports whether one more question is not too much.
func (p *pace) allow(from netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if second := p.now().Unix(); second != p.second {
		p.second = second
		clear(p.asked)
	}
	p.asked[from]++
	return p.asked[from] <= perSecond
}
