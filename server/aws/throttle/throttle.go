// Package throttle refuses calls that come too soon after others, at the rates at which
// Amazon ECS does: each kind of calls has a bucket of tokens for each account and region,
// a call takes one, and tokens come back at a steady rate (Amazon ECS API reference,
// "Request throttling for the Amazon ECS API"; ECS developer guide, "AWS Fargate throttling
// quotas").
package throttle

import (
	"sync"
	"time"

	"berth/access"
	"berth/fault"
	"berth/task"
)

// Rate is how fast calls of a kind may come.
type Rate struct {
	Burst  int // tokens in a full bucket
	Refill int // tokens that come back in a second
}

// Limiter remembers how many calls came. Methods are safe for concurrent use. A nil Limiter
// lets everything pass.
type Limiter struct {
	now func() time.Time

	mu      sync.Mutex
	buckets map[key]bucket
}

// key names a bucket.
type key struct{ account, region, kind string }

// bucket is what a bucket had at some time.
type bucket struct {
	tokens float64
	at     time.Time
}

// New returns a Limiter with full buckets.
func New(now func() time.Time) *Limiter {
	return &Limiter{now: now, buckets: make(map[key]bucket)}
}

// Call takes a token for a call of an operation of ECS, from each bucket that it is for, or
// returns fault.Throttled and takes none. Other services are not throttled.
func (l *Limiter) Call(who access.Identity, service, operation string) error {
	if l == nil || service != "ecs" {
		return nil
	}
	kinds := []string{kindOf(operation)}
	if operation == "RunTask" {
		kinds = append(kinds, runTask)
	}
	return l.take(who.Account, who.Region, 1, kinds...)
}

// Launch takes a token for each of so many tasks that are about to be launched, or returns
// fault.Throttled and takes none. Those on Spot have a bucket of their own.
func (l *Limiter) Launch(in task.Realm, spot bool, tasks int) error {
	if l == nil {
		return nil
	}
	kind := launchOnDemand
	if spot {
		kind = launchSpot
	}
	return l.take(in.Account, in.Region, tasks, kind)
}

// take takes n tokens from each of some buckets, or from none.
func (l *Limiter) take(account, region string, n int, kinds ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if len(l.buckets) >= most {
		l.forget(now)
	}
	left := make([]float64, len(kinds))
	for i, kind := range kinds {
		left[i] = l.filled(key{account, region, kind}, now) - float64(n)
		if left[i] < 0 {
			return fault.New(fault.Throttled, "Rate exceeded")
		}
	}
	for i, kind := range kinds {
		l.buckets[key{account, region, kind}] = bucket{left[i], now}
	}
	return nil
}

// filled returns how many tokens are in a bucket now.
func (l *Limiter) filled(k key, now time.Time) float64 {
	rate := Rates[k.kind]
	b, ok := l.buckets[k]
	if !ok {
		return float64(rate.Burst)
	}
	back := now.Sub(b.at).Seconds() * float64(rate.Refill) // by the monotonic clock
	return min(float64(rate.Burst), b.tokens+back)
}

// most is how many buckets are remembered before full ones are forgotten: on a server that
// believes everybody, accounts cost nothing.
const most = 10_000

// forget forgets the buckets that are full again; if none is, all: that is the mistake that
// refuses nobody.
func (l *Limiter) forget(now time.Time) {
	for k := range l.buckets {
		if l.filled(k, now) >= float64(Rates[k.kind].Burst) {
			delete(l.buckets, k)
		}
	}
	if len(l.buckets) >= most {
		clear(l.buckets)
	}
}
