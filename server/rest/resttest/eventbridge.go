package resttest

import (
	"context"
	"iter"
	"slices"

	"berth/eventbridge"
	"berth/fault"
	"berth/task"
)

// LastEvent is part of rest.EventBridge.
func (f *Fake) LastEvent(ctx context.Context) (eventbridge.Position, error) {
	return eventbridge.Feed{Journal: f}.Last(ctx)
}

// FollowEvents is part of rest.EventBridge.
func (f *Fake) FollowEvents(ctx context.Context, from eventbridge.Position) iter.Seq2[eventbridge.Item, error] {
	return eventbridge.Feed{Journal: f}.Follow(ctx, from)
}

// EventRulesOf is part of rest.EventBridge.
func (f *Fake) EventRulesOf(context.Context, task.Realm) ([]eventbridge.Rule, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.rules), nil
}

func (f *Fake) indexRule(name string) int {
	return slices.IndexFunc(f.rules, func(r eventbridge.Rule) bool { return r.Name == name })
}

// EventRule is part of rest.EventBridge.
func (f *Fake) EventRule(_ context.Context, _ task.Realm, name string) (eventbridge.Rule, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.indexRule(name); i >= 0 {
		return f.rules[i], nil
	}
	return eventbridge.Rule{}, fault.New(fault.NotFound, "no event rule is called %s", name)
}

// PutEventRule is part of rest.EventBridge.
func (f *Fake) PutEventRule(_ context.Context, r eventbridge.Rule) (eventbridge.Rule, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.ChangedAt = f.now
	if i := f.indexRule(r.Name); i >= 0 {
		r.Progress = f.rules[i].Progress
		f.rules[i] = r
		return r, nil
	}
	f.rules = append(f.rules, r)
	return r, nil
}

// RemoveEventRule is part of rest.EventBridge.
func (f *Fake) RemoveEventRule(ctx context.Context, in task.Realm, name string) error {
	if _, err := f.EventRule(ctx, in, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = slices.Delete(f.rules, f.indexRule(name), f.indexRule(name)+1)
	return nil
}
