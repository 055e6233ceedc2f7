package resttest

import (
	"context"
	"iter"
	"strings"

	"berth/notice"
)

// Tell keeps a notice whose delivery, if it names a webhook, failed once.
func (f *Fake) Tell(n notice.Notice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := notice.Record{Seq: notice.Seq(len(f.notices) + 1), Notice: n}
	if n.Webhook != "" {
		r.Attempts, r.Next, r.Failure = 1, n.At, "answered 500 Internal Server Error"
	}
	f.notices = append(f.notices, r)
	f.changed()
}

func (f *Fake) selectNotices(q notice.Query) (all []notice.Record, grown <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.notices {
		if r.Seq > q.After && strings.HasPrefix(r.Type, q.Type) && (q.Subject == "" || r.Subject == q.Subject) {
			all = append(all, r)
		}
	}
	return all, f.grown
}

// Notices is part of rest.Notices.
func (f *Fake) Notices(_ context.Context, q notice.Query) ([]notice.Record, error) {
	all, _ := f.selectNotices(q)
	return all[:min(q.Limit, len(all))], nil
}

// LastNotices is part of rest.Notices.
func (f *Fake) LastNotices(_ context.Context, q notice.Query) ([]notice.Record, error) {
	all, _ := f.selectNotices(q)
	return all[max(0, len(all)-q.Limit):], nil
}

// FollowNotices is part of rest.Notices.
func (f *Fake) FollowNotices(ctx context.Context, q notice.Query) iter.Seq2[notice.Record, error] {
	return func(yield func(notice.Record, error) bool) {
		for q := q; ; {
			all, grown := f.selectNotices(q)
			for _, r := range all {
				if !yield(r, nil) {
					return
				}
				q.After = r.Seq
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}
}

// LastNotice is part of rest.Notices.
func (f *Fake) LastNotice(context.Context) (notice.Seq, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return notice.Seq(len(f.notices)), nil
}
