package runner

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"berth/task"
)

// Latency makes tasks start as late as on Fargate: each step takes as long as it was
// measured to take there, from when it began. How long that is for a task follows from
// its ID and Seed, so that a server that starts anew neither repeats a delay nor leaves
// one out. A task that is to stop waits for none.
//
// The figures are of standalone tasks with an image of 918 MiB in ap-northeast-1, August
// 2026 (agent-fleet, docs/62): from creation to pull 9.5 to 11.5 s, mean 10.3; pull 27 to
// 32 s, whatever was pulled before, for Fargate keeps no images; from the end of the pull
// to running 2.0 to 3.8 s, mean 2.9. The size of a task had no influence.
type Latency struct {
	Seed uint64

	// Size returns how many bytes a pull of an image moves.
	Size func(ctx context.Context, ref string) (int64, error)
}

// spread is the distribution of a delay or a rate: triangular, which has a least, a
// likeliest and a most, and claims to know no more.
type spread struct{ least, likeliest, most float64 }

var (
	provisioning = spread{9.5, 9.9, 11.5} // seconds; its mean is 10.3
	pullRate     = spread{28.7, 31.6, 34} // MiB a second
	starting     = spread{2.0, 2.9, 3.8}  // seconds
)

// at returns the value that a share u of all are below.
func (s spread) at(u float64) float64 {
	width, rise := s.most-s.least, s.likeliest-s.least
	if u < rise/width {
		return s.least + math.Sqrt(u*width*rise)
	}
	return s.most - math.Sqrt((1-u)*width*(s.most-s.likeliest))
}

// draw returns t's value of s; what tells the draws of one task apart.
func (l *Latency) draw(t task.Task, what string, s spread) float64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s", l.Seed, what, t.ID))
	return s.at((float64(binary.BigEndian.Uint64(sum[:])>>11) + 0.5) / (1 << 53))
}

// provision waits until t would have its place on Fargate.
func (l *Latency) provision(r *Runner, wanted context.Context, t task.Task) {
	if l != nil {
		l.until(r, wanted, t, t.CreatedAt, l.draw(t, "provision", provisioning))
	}
}

// pull waits until t's images would be there on Fargate.
func (l *Latency) pull(r *Runner, wanted context.Context, t task.Task, refs map[string]string) error {
	if l == nil {
		return nil
	}
	bytes, seen := int64(0), make(map[string]bool)
	for _, ref := range refs {
		if seen[ref] {
			continue
		}
		seen[ref] = true
		n, err := l.Size(wanted, ref)
		if err != nil {
			return fmt.Errorf("find out how large image %s is: %w", ref, err)
		}
		bytes += n
	}
	l.until(r, wanted, t, t.PullStartedAt, float64(bytes)/(1<<20)/l.draw(t, "pull", pullRate))
	return nil
}

// start waits until t's containers would start on Fargate.
func (l *Latency) start(r *Runner, wanted context.Context, t task.Task) {
	if l != nil {
		l.until(r, wanted, t, t.PullStoppedAt, l.draw(t, "start", starting))
	}
}

// until waits until so many seconds after a moment on t's time line, or until t is to
// stop.
func (l *Latency) until(r *Runner, wanted context.Context, t task.Task, from time.Time, seconds float64) {
	end := from.Add(time.Duration(seconds * float64(time.Second)))
	if left := end.Sub(t.Time(r.Now())); left > 0 {
		sleep(wanted, left)
	}
}
