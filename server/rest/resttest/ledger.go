package resttest

import (
	"context"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/note"

	"berth/billing"
	"berth/billing/proof"
	"berth/fault"
)

// zeros is as random as a fake needs it: its key is always the same.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func ledgerKeys() (note.Signer, string) {
	private, public, err := note.GenerateKey(zeros{}, "berth/fake")
	if err != nil {
		panic(err)
	}
	s, err := note.NewSigner(private)
	if err != nil {
		panic(err)
	}
	return s, public
}

// records is the ledger: what the stopped tasks were charged, and what was taken
// back.
func (f *Fake) records(ctx context.Context) (all []billing.Record, err error) {
	f.mu.Lock()
	order, reversed := f.order, f.reversed
	f.mu.Unlock()
	for _, id := range order {
		t, err := f.Task(ctx, id)
		if err != nil || t.StoppedAt.IsZero() {
			continue
		}
		b, err := f.Bill(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, e := range b.Entries {
			all = append(all, billing.Record{N: int64(len(all)), Entry: e})
		}
	}
	for _, e := range reversed {
		all = append(all, billing.Record{N: int64(len(all)), Entry: e})
	}
	return all, nil
}

// Records is rest.Ledger.
func (f *Fake) Records(ctx context.Context, q billing.EntryFilter) ([]billing.Record, string, error) {
	all, err := f.records(ctx)
	if err != nil {
		return nil, "", err
	}
	after := int64(-1)
	if q.Token != "" {
		if after, err = strconv.ParseInt(q.Token, 10, 64); err != nil {
			return nil, "", fault.At("nextToken", "it is not one that this server gave")
		}
	}
	var page []billing.Record
	for _, r := range all {
		if r.N <= after || q.Task != "" && r.Task != q.Task || q.SKU != "" && r.SKU != q.SKU || q.Kind != "" && r.Kind != q.Kind ||
			r.Booked.Before(q.From) || !q.To.IsZero() && !r.Booked.Before(q.To) {
			continue
		}
		if len(page) == q.Limit {
			return page, strconv.FormatInt(page[len(page)-1].N, 10), nil
		}
		page = append(page, r)
	}
	return page, "", nil
}

func find(all []billing.Record, id string) (billing.Record, error) {
	for _, r := range all {
		if r.ID == id {
			return r, nil
		}
	}
	return billing.Record{}, fault.New(fault.NotFound, "there is no ledger entry %s", id)
}

// leaves is a proof.Reader without tiles.
type leaves []billing.Record

func (l leaves) Leaves(from, n int64) (hs []proof.Hash, err error) {
	for _, r := range l[from : from+n] {
		hs = append(hs, proof.Hash(r.Hash()))
	}
	return hs, nil
}

func (leaves) Tile(int, int64) ([]byte, error) { return nil, nil }

func (l leaves) checkpoint(size int64) (string, error) {
	if size == 0 {
		size = int64(len(l))
	}
	if size == 0 || size > int64(len(l)) {
		return "", fault.New(fault.NotFound, "there is no checkpoint of size %d", size)
	}
	root, err := proof.Root(l, size)
	if err != nil {
		return "", err
	}
	signer, _ := ledgerKeys()
	signed, err := proof.Checkpoint{Origin: signer.Name(), Size: size, Root: root}.Sign(signer)
	return string(signed), err
}

// Checkpoint is rest.Ledger.
func (f *Fake) Checkpoint(ctx context.Context, size int64) (string, error) {
	all, err := f.records(ctx)
	if err != nil {
		return "", err
	}
	return leaves(all).checkpoint(size)
}

// LedgerKey is rest.Ledger.
func (f *Fake) LedgerKey() string { _, public := ledgerKeys(); return public }

// Inclusion is rest.Ledger.
func (f *Fake) Inclusion(ctx context.Context, id string) (p proof.Inclusion, err error) {
	all, err := f.records(ctx)
	if err != nil {
		return p, err
	}
	r, err := find(all, id)
	if err != nil {
		return p, err
	}
	p = proof.Inclusion{Kind: proof.KindInclusion, N: r.N, Body: string(r.Body())}
	if p.Checkpoint, err = leaves(all).checkpoint(0); err != nil {
		return p, err
	}
	p.Proof, err = proof.ProveInclusion(leaves(all), int64(len(all)), r.N)
	return p, err
}

// Consistency is rest.Ledger.
func (f *Fake) Consistency(ctx context.Context, older, newer int64) (p proof.Consistency, err error) {
	all, err := f.records(ctx)
	if err != nil {
		return p, err
	}
	if newer == 0 {
		newer = int64(len(all))
	}
	p = proof.Consistency{Kind: proof.KindConsistency}
	if p.Old, err = leaves(all).checkpoint(older); err != nil {
		return p, err
	}
	if p.New, err = leaves(all).checkpoint(newer); err != nil {
		return p, err
	}
	p.Proof, err = proof.ProveConsistency(leaves(all), newer, older)
	return p, err
}

// VerifyLedger is rest.Ledger. Bad is what it finds.
func (f *Fake) VerifyLedger(ctx context.Context) (billing.Audit, error) {
	all, err := f.records(ctx)
	if err != nil {
		return billing.Audit{}, err
	}
	a := billing.Audit{OK: f.Bad == nil, Bad: f.Bad, Entries: int64(len(all)), Rows: []billing.TableRows{{Table: "ledger_entries", Rows: int64(len(all))}}}
	if len(all) > 0 {
		root, err := proof.Root(leaves(all), int64(len(all)))
		if err != nil {
			return a, err
		}
		a.Root = root.String()
		a.Checkpoint, err = leaves(all).checkpoint(0)
		return a, err
	}
	return a, nil
}

// Periods is rest.Ledger.
func (f *Fake) Periods(ctx context.Context) ([]billing.Period, error) {
	all, err := f.records(ctx)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ps := append([]billing.Period(nil), f.periods...)
	for _, r := range all {
		name := r.Booked.Format("2006-01")
		if n := len(ps); n == 0 || ps[n-1].Name != name {
			from := time.Date(r.Booked.Year(), r.Booked.Month(), 1, 0, 0, 0, 0, time.UTC)
			ps = append(ps, billing.Period{Name: name, From: from, To: from.AddDate(0, 1, 0), Status: billing.PeriodOpen})
		}
		p := &ps[len(ps)-1]
		p.Entries, p.Amount = p.Entries+1, p.Amount+r.Amount
	}
	return ps, nil
}

// ClosePeriod is rest.Ledger. A month is over when the clock of tasks says so.
func (f *Fake) ClosePeriod(_ context.Context, name string) (billing.Period, error) {
	from, err := time.Parse("2006-01", name)
	if err != nil {
		return billing.Period{}, err
	}
	p := billing.Period{Name: name, From: from, To: from.AddDate(0, 1, 0), Status: billing.PeriodClosed, ClosedAt: f.Now()}
	if p.ClosedAt.Before(p.To) {
		return p, fault.New(fault.Conflict, "%s is not over before %s", name, p.To.Format(time.RFC3339))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.periods = append(f.periods, p)
	return p, nil
}

// Reverse is rest.Ledger.
func (f *Fake) Reverse(ctx context.Context, id, reason string) (billing.Record, error) {
	all, err := f.records(ctx)
	if err != nil {
		return billing.Record{}, err
	}
	e, err := find(all, id)
	if err != nil {
		return e, err
	}
	r, err := e.Reverse(reason, time.Time{}, f.Now())
	if err != nil {
		return billing.Record{}, err
	}
	if by, err := find(all, r.ID); err == nil {
		return by, fault.New(fault.Conflict, "entry %s was taken back by entry %s", id, r.ID)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reversed = append(f.reversed, r)
	return billing.Record{N: int64(len(all)), Entry: r}, nil
}
