package rest

import (
	"context"
	"strconv"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/server/api"
	"berth/task"
)

type usageIn struct {
	taskIn
	Resolution resolution `query:"resolution" doc:"Time between two readings: 1s, 60s, 1h, or a number of seconds, up to 24h; 1s if left out. The coarsest series that serves is used: samples, minutes or hours"`
	From       moment     `query:"from" doc:"RFC 3339, or how long ago, as in 10m"`
	To         moment     `query:"to" doc:"RFC 3339, or how long ago, as in 10m"`
	Limit      int        `query:"limit" minimum:"1" maximum:"10000" doc:"At most this many readings; 1000 if left out"`
	NextToken  string     `query:"nextToken" doc:"The nextToken of the page before"`
}

// readingsMax is how many readings a page has if nobody says.
const readingsMax = 1000

func (s *server) usage(ctx context.Context, in *usageIn) (*billing.Usage, error) {
	from, to, err := s.between(in.From, in.To)
	if err != nil {
		return nil, err
	}
	q := billing.UsageQuery{Resolution: max(time.Second, time.Duration(in.Resolution)), From: from, To: to, Limit: in.Limit, Token: in.NextToken}
	if q.Limit == 0 {
		q.Limit = readingsMax
	}
	if err := s.ours(ctx, in.ID.ID); err != nil {
		return nil, err
	}
	u, err := s.Meter.Usage(ctx, in.ID.ID, q)
	return &u, err
}

// between returns the times that a query names.
func (s *server) between(from, to moment) (time.Time, time.Time, error) {
	first, last := from.at(s.Now()), to.at(s.Now())
	if !first.IsZero() && !last.IsZero() && last.Before(first) {
		return first, last, fault.At("to", "it is before from")
	}
	return first, last, nil
}

// resolution is a whole number of seconds, with or without a unit.
type resolution time.Duration

func (r *resolution) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if n, number := strconv.ParseInt(string(text), 10, 32); number == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < time.Second || d > 24*time.Hour || d%time.Second != 0 {
		return fault.New(fault.Invalid, "%q is not a whole number of seconds from 1s to 24h, as in 1s, 60s or 1h", text)
	}
	*r = resolution(d)
	return nil
}

type usageGroupsIn struct {
	GroupBy string `query:"groupBy" doc:"At most three of task, family, definition, day (UTC) and tag:KEY, with commas between them; all tasks together if left out"`
	Family  string `query:"family" doc:"Only tasks of this family"`
	From    moment `query:"from" doc:"RFC 3339, or how long ago, as in 24h"`
	To      moment `query:"to" doc:"RFC 3339, or how long ago, as in 24h"`
	pageIn
}

func (s *server) usageGroups(ctx context.Context, in *usageGroupsIn) (*billing.UsageGroups, error) {
	from, to, err := s.between(in.From, in.To)
	if err != nil {
		return nil, err
	}
	q := billing.GroupQuery{From: from, To: to, Family: in.Family, Limit: in.limit()}
	if in.GroupBy != "" {
		q.By = strings.Split(in.GroupBy, ",")
	}
	g, err := s.Meter.UsageGroups(ctx, q, in.NextToken)
	return &g, err
}

func (s *server) bill(ctx context.Context, in *taskIn) (*billing.Bill, error) {
	if err := s.ours(ctx, in.ID.ID); err != nil {
		return nil, err
	}
	b, err := s.Meter.Bill(ctx, in.ID.ID)
	return &b, err
}

// quote says what t would cost.
func (s *server) quote(t task.Task) *api.Quote {
	list := s.Prices.PriceList(s.Now())
	lines, hour := billing.Estimate(t, list, time.Hour)
	_, least := billing.Estimate(t, list, 0)
	return &api.Quote{PriceList: list, PerHour: hour, Minimum: least, Lines: lines}
}
