package anomaly

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/notice"
)

// Settle is how long after an hour, and after the server began, an hour is looked at: what
// ran in it has been posted by then.
const Settle = 10 * time.Minute

// Series is what was charged hour by hour, from an hour that is the same for all.
type Series struct {
	Key
	Hours []billing.Money
}

// Book knows what was charged, and keeps what is found. Store is one. Times are full hours.
type Book interface {
	// CostSeries returns what was charged in each hour from from to to, which is not
	// included, of all that has a charge there, in the order of their keys.
	CostSeries(ctx context.Context, from, to time.Time) ([]Series, error)

	// CostCount adds up what k was charged in some hours.
	CostCount(ctx context.Context, k Key, hours []time.Time) (Count, error)

	// AnomaliesUntil returns up to which hour PutAnomalies has come; zero if it never did.
	AnomaliesUntil(ctx context.Context) (time.Time, error)

	// PutAnomalies keeps what was found in the hours before until, and notices of it, all
	// or nothing. What is there already stays as it is.
	PutAnomalies(ctx context.Context, until time.Time, found []Anomaly, tell []notice.Notice) error
}

// Config is what NewWatch needs. All fields but the webhook are required.
type Config struct {
	Book    Book
	Rules   Rules
	Webhook string // that is told; empty: none
	Log     *zap.Logger
	Now     func() time.Time
}

// Watch looks at each hour when it is over.
type Watch struct{ Config }

// NewWatch returns a Watch that does nothing until Run.
func NewWatch(c Config) *Watch { return &Watch{c} }

// retry is how long after an error it is tried again.
const retry = time.Minute

// Run looks at hours until ctx ends, which is no error: at all that are over and were not
// looked at, but at most four weeks of them, and then at each ten minutes after its end.
// The first time ever, only at the last one.
func (w *Watch) Run(ctx context.Context) error {
	for next := w.Now().Add(Settle); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next.Sub(w.Now())):
		}
		now := w.Now()
		next = now.Add(-Settle).Truncate(time.Hour).Add(time.Hour + Settle)
		if err := w.Look(ctx, now.Add(-Settle)); err != nil && ctx.Err() == nil {
			w.Log.Error("look for anomalies of costs", zap.Error(err))
			next = now.Add(retry)
		}
	}
}

// Look looks at the full hours before now that were not looked at yet.
func (w *Watch) Look(ctx context.Context, now time.Time) error {
	until := now.UTC().Truncate(time.Hour)
	from, err := w.Book.AnomaliesUntil(ctx)
	if err != nil {
		return err
	}
	if from.IsZero() {
		from = until.Add(-time.Hour)
	}
	if oldest := until.Add(-History * time.Hour); from.Before(oldest) {
		from = oldest
	}
	if !from.Before(until) {
		return nil
	}
	begin := from.Add(-(History + 1) * time.Hour) // of the hour before the first one, too
	all, err := w.Book.CostSeries(ctx, begin, until)
	if err != nil {
		return err
	}
	var found []Anomaly
	for _, s := range all {
		for i := History + 1; i < len(s.Hours); i++ {
			v, ok := Judge(s.Hours, i)
			if !ok || !w.Rules.Tell(v) {
				continue
			}
			before, ok := Judge(s.Hours, i-1)
			cause, err := w.cause(ctx, s, begin, i, v.Method)
			if err != nil {
				return err
			}
			found = append(found, newAnomaly(s.Key, begin.Add(time.Duration(i)*time.Hour), v, cause, ok && w.Rules.Tell(before)))
		}
	}
	slices.SortFunc(found, func(a, b Anomaly) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Family, b.Family), cmp.Compare(b.Impact, a.Impact), cmp.Compare(a.SKU, b.SKU))
	})
	tell, err := w.notices(found)
	if err != nil {
		return err
	}
	if err := w.Book.PutAnomalies(ctx, until, found, tell); err != nil {
		return fmt.Errorf("keep anomalies: %w", err)
	}
	for _, a := range found {
		w.Log.Warn("costs are not as they were", zap.String("family", a.Family), zap.String("sku", string(a.SKU)), zap.Time("hour", a.From),
			zap.Stringer("actual", a.Actual), zap.Stringer("expected", a.Expected), zap.Float64("score", a.Score), zap.String("why", string(a.Cause.Why)))
	}
	return nil
}

// cause compares hour i of s with those that it was judged by: the same hour of other
// weeks, or those of the day before.
func (w *Watch) cause(ctx context.Context, s Series, begin time.Time, i int, by Method) (Cause, error) {
	first := max(0, i-History)
	for first < i && s.Hours[first] == 0 {
		first++
	}
	at := usual(first, i)
	if by == Recent {
		at = at[:0]
		for j := max(first, i-24); j < i; j++ {
			at = append(at, j)
		}
	}
	hours := make([]time.Time, len(at))
	for n, j := range at {
		hours[n] = begin.Add(time.Duration(j) * time.Hour)
	}
	before, err := w.Book.CostCount(ctx, s.Key, hours)
	if err != nil {
		return Cause{}, err
	}
	is, err := w.Book.CostCount(ctx, s.Key, []time.Time{begin.Add(time.Duration(i) * time.Hour)})
	return CauseOf(is, before, len(hours)), err
}

// notices returns one for each family and hour in which an anomaly has begun. found is in
// the order of these.
func (w *Watch) notices(found []Anomaly) ([]notice.Notice, error) {
	var all []notice.Notice
	for len(found) > 0 {
		first, n := found[0], 1
		for n < len(found) && found[n].From.Equal(first.From) && found[n].Account == first.Account && found[n].Family == first.Family {
			n++
		}
		group := found[:n]
		found = found[n:]
		if !slices.ContainsFunc(group, func(a Anomaly) bool { return !a.Continues }) {
			continue
		}
		data, err := json.Marshal(newTold(group))
		if err != nil {
			return nil, fmt.Errorf("encode notice: %w", err)
		}
		all = append(all, notice.Notice{
			ID: notice.ID(NoticeType, first.Account, first.Family, strconv.FormatInt(first.From.Unix(), 10)), At: first.To,
			Type: NoticeType, Subject: "family/" + first.Family, Data: data, Webhook: w.Webhook,
		})
	}
	return all, nil
}
