package rest

import (
	"context"

	"berth/access"
	"berth/billing"
	"berth/billing/waste"
	"berth/billing/whatif"
)

type wasteIn struct {
	spanIn
	GroupBy words `query:"groupBy" doc:"Any of task, family, definition, group, user, account, region and tag:KEY, with commas between them; family if left out"`
	filtersIn
	Limit *int `query:"limit" minimum:"1" maximum:"10000" doc:"At most so many groups, the most waste first; 1000 if left out"`
}

// waste says which part of the costs was for nothing.
func (s *server) waste(ctx context.Context, in *wasteIn) (*waste.Report, error) {
	q := waste.Query{GroupBy: in.GroupBy.list, Filters: in.filters(ctx), Limit: costsLimit}
	q.From, q.To = in.times(s.Now())
	if q.GroupBy == nil {
		q.GroupBy = []string{billing.ByFamily}
	}
	if in.Limit != nil {
		q.Limit = *in.Limit
	}
	r, err := s.Hindsight.Waste(ctx, q)
	return &r, err
}

type whatIfIn struct{ Body whatif.Request }

// whatIf says what runs would have cost on other terms.
func (s *server) whatIf(ctx context.Context, in *whatIfIn) (*whatif.Result, error) {
	in.Body.Account = access.From(ctx).Account
	r, err := s.Hindsight.WhatIf(ctx, in.Body)
	return &r, err
}
