package rest

import (
	"context"
	"strings"
	"time"

	"berth/billing"
	"berth/billing/proof"
	"berth/fault"
	"berth/server/api"
)

// Ledger keeps the books, and proves them.
type Ledger interface {
	// VerifyLedger works the whole ledger out again. It takes a while.
	VerifyLedger(ctx context.Context) (billing.Audit, error)

	// Records returns a page of the ledger in its order, and the token of the next
	// page, "" if there is none.
	Records(ctx context.Context, f billing.EntryFilter) ([]billing.Record, string, error)

	// Inclusion proves that an entry is in the ledger as its newest checkpoint has it,
	// and Consistency that it has only grown from one checkpoint to another, which is
	// the newest if newer is 0.
	Inclusion(ctx context.Context, entry string) (proof.Inclusion, error)
	Consistency(ctx context.Context, older, newer int64) (proof.Consistency, error)

	// Checkpoint returns what was signed at a size, or last if size is 0.
	Checkpoint(ctx context.Context, size int64) (string, error)
	LedgerKey() string

	Periods(ctx context.Context) ([]billing.Period, error)

	// ClosePeriod closes a month that is over and posted; else it is a fault.Conflict.
	// Closing again changes nothing.
	ClosePeriod(ctx context.Context, name string) (billing.Period, error)

	// Reverse takes a whole entry back, once.
	Reverse(ctx context.Context, entry, reason string) (billing.Record, error)
}

type entriesIn struct {
	Task taskID `query:"task" doc:"ID or ARN of a task"`
	SKU  string `query:"sku" doc:"As in Fargate-GB-Hours"`
	Kind string `query:"kind" enum:"METER,SECOND_ROUNDUP,MINIMUM_TOPUP,CORRECTION,REVERSAL"`
	From moment `query:"from" doc:"Booked then or later: RFC 3339, or how long ago, as in 10m"`
	To   moment `query:"to" doc:"Booked before: RFC 3339, or how long ago, as in 10m"`
	pageIn
}

func (s *server) entries(ctx context.Context, in *entriesIn) (*api.LedgerPage, error) {
	f := billing.EntryFilter{
		Task: in.Task.ID, SKU: billing.SKU(in.SKU), Kind: billing.Kind(in.Kind),
		From: in.From.at(s.Now()), To: in.To.at(s.Now()), Limit: in.limit(), Token: in.NextToken,
	}
	if !f.From.IsZero() && !f.To.IsZero() && f.To.Before(f.From) {
		return nil, fault.At("to", "it is before from")
	}
	records, next, err := s.Ledger.Records(ctx, f)
	page := &api.LedgerPage{Entries: []api.LedgerEntry{}, NextToken: next}
	for _, r := range records {
		page.Entries = append(page.Entries, api.NewLedgerEntry(r))
	}
	return page, err
}

type entryIn struct {
	ID string `path:"id" doc:"Of an entry of the ledger: 32 hex digits"`
}

func (s *server) entryProof(ctx context.Context, in *entryIn) (*proof.Inclusion, error) {
	p, err := s.Ledger.Inclusion(ctx, in.ID)
	return &p, err
}

type reverseIn struct {
	entryIn
	Body api.ReverseRequest
}

func (s *server) reverse(ctx context.Context, in *reverseIn) (*api.LedgerEntry, error) {
	if strings.TrimSpace(in.Body.Reason) == "" {
		return nil, fault.At("reason", "it says why the entry is taken back; bills show it")
	}
	r, err := s.Ledger.Reverse(ctx, in.ID, in.Body.Reason)
	if err != nil {
		return nil, err
	}
	e := api.NewLedgerEntry(r)
	return &e, nil
}

func (s *server) verifyLedger(ctx context.Context, _ *none) (*billing.Audit, error) {
	a, err := s.Ledger.VerifyLedger(ctx)
	a.Rows = some(a.Rows)
	return &a, err
}

type consistencyIn struct {
	From int64 `query:"from" minimum:"1" required:"true" doc:"Size of the older checkpoint"`
	To   int64 `query:"to" minimum:"1" doc:"Size of the newer one; the newest if left out"`
}

func (s *server) consistency(ctx context.Context, in *consistencyIn) (*proof.Consistency, error) {
	p, err := s.Ledger.Consistency(ctx, in.From, in.To)
	p.Proof = some(p.Proof)
	return &p, err
}

type checkpointIn struct {
	Size int64 `query:"size" minimum:"1" doc:"How many entries there were; now if left out"`
}

func (s *server) checkpoint(ctx context.Context, in *checkpointIn) (*api.LedgerCheckpoint, error) {
	signed, err := s.Ledger.Checkpoint(ctx, in.Size)
	return &api.LedgerCheckpoint{Checkpoint: signed}, err
}

func (s *server) ledgerKey(context.Context, *none) (*api.LedgerKey, error) {
	return &api.LedgerKey{Key: s.Ledger.LedgerKey()}, nil
}

func (s *server) periods(ctx context.Context, _ *none) (*api.PeriodList, error) {
	all, err := s.Ledger.Periods(ctx)
	return &api.PeriodList{Periods: some(all)}, err
}

type closeIn struct {
	Period period `path:"period" doc:"A month in UTC, as in 2026-10"`
}

// period is the name of a month.
type period string

func (p *period) UnmarshalText(text []byte) error {
	if _, err := time.Parse("2006-01", string(text)); err != nil {
		return fault.New(fault.Invalid, "%q is not a month, as in 2026-10", text)
	}
	*p = period(text)
	return nil
}

func (s *server) closePeriod(ctx context.Context, in *closeIn) (*billing.Period, error) {
	p, err := s.Ledger.ClosePeriod(ctx, string(in.Period))
	return &p, err
}
