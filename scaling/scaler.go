package scaling

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"berth/fault"
)

// Services changes services.
type Services interface {
	// Desired returns how many tasks a service wants. One that does not exist, or is being
	// deleted, is fault.NotFound.
	Desired(ctx context.Context, r Resource) (int, error)

	// SetDesired changes how many; the reason becomes one of the service's events. Repeating
	// it changes nothing.
	SetDesired(ctx context.Context, r Resource, n int, reason string) error
}

// Meter knows what services use.
type Meter interface {
	// LoadOf returns what the tasks of each service used in the minute that begins then, by
	// resource. What had no tasks is not there.
	LoadOf(ctx context.Context, minute time.Time) (map[Resource]Load, error)
}

// Plan is a target with its policies.
type Plan struct {
	Target   Target
	Policies []Policy
}

// Book keeps targets, policies and activities.
type Book interface {
	// ScalingPlans returns all targets with their policies.
	ScalingPlans(ctx context.Context) ([]Plan, error)

	// NoteScaling keeps a, in place of the activity of that ID, and s as the state of its
	// target, in one step. If the target is gone, only a is kept.
	NoteScaling(ctx context.Context, a Activity, s State) error

	// DeregisterScalableTarget forgets a target and its policies. One that is not there is
	// fault.NotFound.
	DeregisterScalableTarget(ctx context.Context, r Resource) error

	// ScalingChanged returns a channel that is closed when a target or policy was changed.
	ScalingChanged() <-chan struct{}
}

// Config is what New needs. All fields are required.
type Config struct {
	Book     Book
	Services Services
	Meter    Meter
	Log      *zap.Logger
	Now      func() time.Time
	NewID    func() string
}

// lag is how long after a minute it is looked at: by then the meter has written down what
// was used in it.
const lag = 20 * time.Second

// Scaler scales.
type Scaler struct {
	Config
	loads []minute // of the last quarter of an hour, in order, without a gap
}

// minute is what was used by all services in a minute.
type minute struct {
	at   time.Time
	used map[Resource]Load
}

// New returns a Scaler that does nothing until Run.
func New(c Config) *Scaler { return &Scaler{Config: c} }

// Run scales until ctx ends, which is no error. It looks once a minute, and whenever a
// target or policy was changed.
func (s *Scaler) Run(ctx context.Context) error {
	for {
		changed := s.Book.ScalingChanged()
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("scale services", zap.Error(err))
		}
		now := s.Now()
		next := now.Truncate(time.Minute).Add(lag)
		if !next.After(now) {
			next = next.Add(time.Minute)
		}
		timer := time.NewTimer(next.Sub(now))
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// look does for each target what has to be done for it now.
func (s *Scaler) look(ctx context.Context) error {
	plans, err := s.Book.ScalingPlans(ctx)
	if err != nil || len(plans) == 0 {
		return err
	}
	if err := s.read(ctx); err != nil {
		return err
	}
	for _, p := range plans {
		if err := s.tend(ctx, p); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.Log.Error("scale service", zap.String("resource", p.Target.Resource.ID()), zap.Error(err))
		}
	}
	return nil
}

// read brings loads up to the last minute that is written down.
func (s *Scaler) read(ctx context.Context) error {
	last := s.Now().Add(-lag).Truncate(time.Minute).Add(-time.Minute)
	at := last.Add(-(lowMinutes - 1) * time.Minute)
	for len(s.loads) > 0 && s.loads[0].at.Before(at) {
		s.loads = s.loads[1:]
	}
	if n := len(s.loads); n > 0 && (!s.loads[0].at.Equal(at) || s.loads[n-1].at.After(last)) {
		s.loads = nil // The clock was set.
	}
	for at = at.Add(time.Duration(len(s.loads)) * time.Minute); !at.After(last); at = at.Add(time.Minute) {
		used, err := s.Meter.LoadOf(ctx, at)
		if err != nil {
			return fmt.Errorf("read load: %w", err)
		}
		s.loads = append(s.loads, minute{at, used})
	}
	return nil
}

// of returns the loads of a resource in the newest minutes of which there are any.
func (s *Scaler) of(r Resource) []Load {
	var all []Load
	for _, m := range s.loads {
		l, ok := m.used[r]
		if !ok {
			all = nil // What was before a gap says nothing.
			continue
		}
		l.At = m.at
		all = append(all, l)
	}
	return all
}

// tend does for one target what has to be done for it now.
func (s *Scaler) tend(ctx context.Context, p Plan) error {
	t := p.Target
	if t.Open != nil {
		return s.finish(ctx, t, *t.Open)
	}
	have, err := s.Services.Desired(ctx, t.Resource)
	if fault.KindOf(err) == fault.NotFound {
		s.Log.Info("scalable target forgotten with its service", zap.String("resource", t.Resource.ID()))
		return s.Book.DeregisterScalableTarget(ctx, t.Resource)
	}
	if err != nil {
		return err
	}
	now := s.Now()
	d, some := decide(t, p.Policies, s.of(t.Resource), have, now)
	if !some {
		return nil
	}
	a := Activity{ID: s.NewID(), Resource: t.Resource, From: have, To: d.want, Cause: d.cause, Start: now, Status: InProgress}
	t.Open = &a
	if err := s.Book.NoteScaling(ctx, a, t.State); err != nil {
		return err
	}
	return s.finish(ctx, t, a)
}

// finish does what a says and writes down what came of it. It can be repeated.
func (s *Scaler) finish(ctx context.Context, t Target, a Activity) error {
	err := s.Services.SetDesired(ctx, t.Resource, a.To, a.Cause)
	if err != nil && (ctx.Err() != nil || fault.KindOf(err) == fault.Internal || fault.KindOf(err) == fault.Unavailable) {
		return err // The next look tries again.
	}
	a.End, a.Status = s.Now(), Successful
	a.Message = fmt.Sprintf("Successfully set desired count to %d. Change successfully fulfilled by ecs.", a.To)
	if err != nil {
		a.Status, a.Message = Failed, fmt.Sprintf("Failed to set desired count to %d. Reason: %s", a.To, fault.Message(err))
	}
	t.Open = nil
	if a.Status == Successful && a.To > a.From {
		t.LastOut = a.End
	} else if a.Status == Successful {
		t.LastIn = a.End
	}
	s.Log.Info("service scaled", zap.String("resource", t.Resource.ID()), zap.Int("from", a.From), zap.Int("to", a.To), zap.String("cause", a.Cause), zap.String("status", string(a.Status)))
	return s.Book.NoteScaling(context.WithoutCancel(ctx), a, t.State)
}
