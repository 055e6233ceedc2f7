package rest_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"berth/billing"
	"berth/billing/proof"
	"berth/server/api"
	"berth/task"
)

// charged is a world in which one task ended, and the ledger has its entries.
func charged(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	if rec := w.call("POST", "/tasks", `{"taskDefinition":`+hello+`}`); rec.Code != 201 {
		t.Fatal(rec.Body)
	}
	id := task.ID(first)
	w.Advance(id, func(t task.Task, now task.Instant) task.Transition {
		return task.Provisioned(t, now, task.Network{}, "eni-1")
	})
	w.Advance(id, func(t task.Task, now task.Instant) task.Transition {
		return task.GaveUp(t, now.Wall, task.FailedToStart, "CannotPullContainerError", nil)
	})
	w.Advance(id, func(t task.Task, now task.Instant) task.Transition { return task.Removed(now.Wall) })
	return w
}

// Ensure the ledger is read page by page, and by what it is about.
func TestLedgerEntries(t *testing.T) {
	w := charged(t)
	page := decode[api.LedgerPage](t, w.call("GET", "/ledger/entries?limit=3", ""))
	if len(page.Entries) != 3 || page.NextToken == "" || page.Entries[2].N != 2 {
		t.Fatalf("a page: %+v", page)
	}
	rest := decode[api.LedgerPage](t, w.call("GET", "/ledger/entries?limit=3&nextToken="+page.NextToken, ""))
	if len(rest.Entries) != 1 || rest.NextToken != "" || rest.Entries[0].N != 3 {
		t.Errorf("the page behind it: %+v", rest)
	}
	e := page.Entries[0]
	if e.TaskARN == "" || e.AccountID != "000000000000" || e.UnitPrice == 0 || e.Units == 0 || e.PriceList == "" || e.Booked.IsZero() || e.Hash == (proof.Hash{}) {
		t.Errorf("an entry: %+v", e)
	}
	for query, want := range map[string]int{
		"task=" + first: 4, "task=" + strings.Repeat("0", 32): 0, "sku=Fargate-GB-Hours": 2, "kind=MINIMUM_TOPUP": 2, "kind=REVERSAL": 0,
		"from=2026-01-02T15:04:00Z": 4, "to=2026-01-02T15:04:00Z": 0,
	} {
		if got := decode[api.LedgerPage](t, w.call("GET", "/ledger/entries?"+query, "")); len(got.Entries) != want || got.Entries == nil {
			t.Errorf("%s: %d entries, want %d", query, len(got.Entries), want)
		}
	}
}

// Ensure what the server proves, holds with its public key alone.
func TestLedgerProofs(t *testing.T) {
	w := charged(t)
	v, err := note.NewVerifier(decode[api.LedgerKey](t, w.call("GET", "/ledger/key", "")).Key)
	if err != nil {
		t.Fatal(err)
	}
	id := decode[api.LedgerPage](t, w.call("GET", "/ledger/entries?limit=1", "")).Entries[0].ID
	in := decode[proof.Inclusion](t, w.call("GET", "/ledger/entries/"+id+"/proof", ""))
	if c, err := in.Check(v); err != nil || c.Size != 4 {
		t.Errorf("the proof of an entry: %+v, %v", c, err)
	}
	grown := decode[proof.Consistency](t, w.call("GET", "/ledger/consistency?from=4", ""))
	if older, newer, err := grown.Check(v); err != nil || older != newer || grown.Proof == nil {
		t.Errorf("the proof that nothing happened: %+v, %v", grown, err)
	}
	signed := decode[api.LedgerCheckpoint](t, w.call("GET", "/ledger/checkpoint?size=2", ""))
	if c, err := proof.Open([]byte(signed.Checkpoint), v); err != nil || c.Size != 2 {
		t.Errorf("a checkpoint: %+v, %v", c, err)
	}
	a := decode[billing.Audit](t, w.call("GET", "/ledger/verify", ""))
	if !a.OK || a.Bad != nil || a.Entries != 4 {
		t.Errorf("a sound ledger: %+v", a)
	}
	w.Bad = &billing.BadRow{Table: "ledger_entries", Row: "2", Why: "it is not what its hash says"}
	rec := w.call("GET", "/ledger/verify", "")
	if a := decode[billing.Audit](t, rec); rec.Code != 200 || a.OK || a.Bad == nil || a.Bad.Row != "2" {
		t.Errorf("a ledger that is not sound: %d %+v", rec.Code, a)
	}
}

// Ensure entries are taken back, and months closed, and what cannot be is refused.
func TestLedgerChanges(t *testing.T) {
	w := charged(t)
	id := decode[api.LedgerPage](t, w.call("GET", "/ledger/entries?limit=1", "")).Entries[0].ID
	r := decode[api.LedgerEntry](t, w.call("POST", "/ledger/entries/"+id+"/reverse", `{"reason":"a gift"}`))
	if r.Kind != billing.Reversal || r.Ref != id || r.Reason != "a gift" || r.Amount >= 0 {
		t.Errorf("what was taken back: %+v", r)
	}
	if ps := decode[api.PeriodList](t, w.call("GET", "/ledger/periods", "")).Periods; len(ps) != 1 || ps[0].Name != "2026-01" || ps[0].Status != billing.PeriodOpen || ps[0].Entries != 5 {
		t.Errorf("months: %+v", ps)
	}
	for what, c := range map[string]struct {
		answer *httptest.ResponseRecorder
		status int
	}{
		"taken back twice":  {w.call("POST", "/ledger/entries/"+id+"/reverse", `{"reason":"again"}`), 409},
		"taken back anew":   {w.call("POST", "/ledger/entries/"+r.ID+"/reverse", `{"reason":"again"}`), 409},
		"no reason":         {w.call("POST", "/ledger/entries/"+id+"/reverse", `{"reason":" "}`), 400},
		"no such entry":     {w.call("GET", "/ledger/entries/nothing/proof", ""), 404},
		"a month not over":  {w.call("POST", "/ledger/periods/2026-01/close", ""), 409},
		"no month":          {w.call("POST", "/ledger/periods/January/close", ""), 400},
		"a month that is":   {w.call("POST", "/ledger/periods/2025-12/close", ""), 200},
		"no such size":      {w.call("GET", "/ledger/checkpoint?size=99", ""), 404},
		"no size":           {w.call("GET", "/ledger/consistency", ""), 400},
		"a size of nothing": {w.call("GET", "/ledger/consistency?from=0", ""), 400},
		"no kind":           {w.call("GET", "/ledger/entries?kind=GIFT", ""), 400},
		"no task":           {w.call("GET", "/ledger/entries?task=x", ""), 404},
		"back in time":      {w.call("GET", "/ledger/entries?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", ""), 400},
	} {
		if c.answer.Code != c.status {
			t.Errorf("%s: %d %s, want %d", what, c.answer.Code, c.answer.Body, c.status)
		}
	}
}
