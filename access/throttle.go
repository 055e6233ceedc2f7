package access

import (
	"context"
	"sync"
	"time"

	"berth/fault"
)

// Throttle keeps the requests of accounts within their quotas: a bucket of tokens for each
// account, which holds two seconds' worth.
type Throttle struct {
	Quota func(ctx context.Context, account string) (Quota, error)
	Now   func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

// bucket is how many requests an account has left.
type bucket struct {
	rate   float64 // in a second; 0 is no limit. No money depends on it.
	tokens float64
	at     time.Time // tokens are of that time
	read   time.Time // the quota was read
}

// staleAfter is how long a quota that was read is believed.
const staleAfter = 2 * time.Second

// Take counts a request of who, or returns fault.Throttled if it comes too soon. A quota that
// cannot be read is none.
func (t *Throttle) Take(ctx context.Context, who Identity) error {
	now := t.Now()
	t.mu.Lock()
	b := t.buckets[who.Account]
	stale := b == nil || now.Sub(b.read) > staleAfter
	t.mu.Unlock()
	if stale {
		q, err := t.Quota(ctx, who.Account)
		if err != nil {
			return nil
		}
		t.mu.Lock()
		if t.buckets == nil {
			t.buckets = make(map[string]*bucket)
		}
		if b = t.buckets[who.Account]; b == nil || b.rate != float64(q.Requests) {
			b = &bucket{rate: float64(q.Requests), tokens: 2 * float64(q.Requests), at: now}
			t.buckets[who.Account] = b
		}
		b.read = now
		t.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if b.rate == 0 {
		return nil
	}
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.tokens, b.at = min(b.tokens+passed*b.rate, 2*b.rate), now
	}
	if b.tokens < 1 {
		return fault.New(fault.Throttled, "Rate exceeded")
	}
	b.tokens--
	return nil
}
