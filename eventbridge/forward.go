package eventbridge

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/notice"
)

// Book keeps rules.
type Book interface {
	// EventRules returns the rules of all accounts and regions.
	EventRules(ctx context.Context) ([]Rule, error)

	// RulesChanged returns a channel that is closed when a rule was set or removed. Who
	// reads after taking it misses none.
	RulesChanged() <-chan struct{}

	// NoteProgress keeps how far the rule of that ID has come. If there is none any more,
	// nothing happens.
	NoteProgress(ctx context.Context, id string, p Progress) error
}

// Config is what NewForwarder needs. All fields are required.
type Config struct {
	Feed   Feed
	Book   Book
	Post   func(ctx context.Context, l notice.Letter) error
	Log    *zap.Logger
	Now    func() time.Time
	Jitter func() float64 // from 0 to less than 1
}

const (
	patience  = 24 * time.Hour   // after which an event that was not delivered is given up (EventBridge: retry policy)
	noteEvery = 1000             // events of which none was selected
	rest      = 10 * time.Second // after the book or the journal failed
)

// Forwarder posts events to the webhooks of rules.
type Forwarder struct{ Config }

// NewForwarder returns a Forwarder that does nothing until Run.
func NewForwarder(c Config) *Forwarder { return &Forwarder{c} }

// Run forwards until ctx ends, which is no error. Each rule has its own pace: its events are
// delivered one after the other, in the order of the feed, and one that fails is tried
// again before any later one. After a day it is given up. How far a rule has come is
// written down after each delivery, so after a crash at most one event is delivered again;
// receivers know it by its ID.
func (f *Forwarder) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	running := make(map[string]context.CancelFunc) // by ID
	for {
		changed := f.Book.RulesChanged()
		rules, err := f.Book.EventRules(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			f.Log.Error("read event rules", zap.Error(err))
			if !f.pause(ctx, rest) {
				return nil
			}
			continue
		}
		there := make(map[string]bool)
		for _, r := range rules {
			there[r.ID] = true
			if running[r.ID] != nil {
				continue
			}
			mine, cancel := context.WithCancel(ctx)
			running[r.ID] = cancel
			all.Go(func() { f.keep(mine, r) })
		}
		for id, cancel := range running {
			if !there[id] {
				cancel()
				delete(running, id)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// keep forwards for one rule until ctx ends, whatever fails.
func (f *Forwarder) keep(ctx context.Context, r Rule) {
	pattern, err := ParsePattern(r.Pattern)
	if err != nil { // It was checked when it was set.
		f.Log.Error("event rule has no pattern", zap.String("rule", r.Name), zap.Error(err))
		return
	}
	p := r.Progress
	for ctx.Err() == nil {
		err := f.forward(ctx, r, pattern, &p)
		if ctx.Err() != nil {
			return
		}
		f.Log.Error("event rule paused", zap.String("rule", r.Name), zap.Error(err))
		f.pause(ctx, rest)
	}
}

func (f *Forwarder) forward(ctx context.Context, r Rule, pattern Pattern, p *Progress) error {
	passed := 0
	for item, err := range f.Feed.Follow(ctx, p.At) {
		if err != nil {
			return err
		}
		next := *p
		next.At = item.Position
		selected := !item.None && item.Account == r.Realm.Account && item.Region == r.Realm.Region && pattern.Matches(item.Event)
		if selected {
			if err := f.deliver(ctx, r, item.Event, &next); err != nil {
				return err
			}
		} else if passed++; passed < noteEvery {
			p.At = item.Position
			continue
		}
		if err := f.Book.NoteProgress(context.WithoutCancel(ctx), r.ID, next); err != nil {
			return fmt.Errorf("note progress: %w", err)
		}
		*p, passed = next, 0
	}
	return nil
}

// deliver posts ev until it is answered well or given up, and notes in p which. The error is
// that ctx ended.
func (f *Forwarder) deliver(ctx context.Context, r Rule, ev Event, p *Progress) error {
	body, err := json.Marshal(ev)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	happened, _ := time.Parse(time.RFC3339, ev.Time) // event wrote it
	for attempt := 1; ; attempt++ {
		at := f.Now()
		err := f.Post(ctx, notice.Letter{Webhook: r.Webhook, ID: ev.ID, ContentType: "application/json", Body: body, At: at})
		if err == nil {
			p.Delivered, p.DeliveredAt, p.Failure = p.Delivered+1, at, ""
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.Failure = err.Error()
		if notice.Gone(err) || at.Sub(happened) >= patience {
			p.GivenUp++
			f.Log.Error("event given up", zap.String("rule", r.Name), zap.String("event", ev.ID), zap.Error(err))
			return nil
		}
		f.Log.Warn("event not delivered", zap.String("rule", r.Name), zap.String("event", ev.ID), zap.Int("attempt", attempt), zap.Error(err))
		failing := *p
		failing.At = Position{} // The book keeps what it has.
		if err := f.Book.NoteProgress(ctx, r.ID, failing); err != nil {
			f.Log.Error("note progress", zap.Error(err))
		}
		if !f.pause(ctx, notice.Delay(attempt, f.Jitter())) {
			return ctx.Err()
		}
	}
}

// pause waits, and reports whether ctx goes on.
func (f *Forwarder) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
