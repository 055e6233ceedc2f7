package pricestest

import (
	"context"
	"testing"
	"time"

	"berth/billing/prices"
	"berth/fault"
)

// Start is when what the suite makes begins.
var Start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// List returns a price list of that name which begins at a time.
func List(t testing.TB, name, vcpu string, from time.Time) prices.List {
	t.Helper()
	l, err := prices.Draft{Name: name, VCPU: prices.Price(vcpu), Memory: "0.002", EffectiveFrom: prices.Day(from.Format(time.RFC3339))}.List(from)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Suite checks that a book keeps what prices.Book promises. open returns an empty one.
func Suite(t *testing.T, open func(t *testing.T) prices.Book) {
	ctx := context.Background()
	t.Run("lists", func(t *testing.T) {
		b := open(t)
		first, second := List(t, "own", "0.02", Start), List(t, "own", "0.03", Start)
		for _, l := range []prices.List{first, second, first} {
			if err := b.PutPriceList(ctx, l); err != nil {
				t.Fatal(err)
			}
		}
		forged := second
		forged.ID = first.ID
		if err := b.PutPriceList(ctx, forged); fault.KindOf(err) != fault.Conflict {
			t.Errorf("another list of the same ID: %v", err)
		}
		got, err := b.PriceLists(ctx)
		if err != nil || len(got) != 2 || string(got[0].Body()) != string(first.Body()) || string(got[1].Body()) != string(second.Body()) {
			t.Errorf("%+v, %v, want what was put, in order, once", got, err)
		}
	})
	t.Run("changes", func(t *testing.T) {
		b := open(t)
		l := List(t, "own", "0.02", Start)
		if err := b.PutPriceList(ctx, l); err != nil {
			t.Fatal(err)
		}
		want := []prices.Change{
			{At: Start, List: l.ID, Name: "own", Region: "us-east-1"},
			{At: Start.Add(time.Hour), From: Start.Add(2 * time.Hour), Name: "own", Plan: "p"},
			{At: Start.Add(time.Hour), From: Start.Add(time.Hour), List: l.ID},
		}
		for i := range want {
			got, err := b.ChangePrices(ctx, want[i])
			if want[i].N = int64(i) + 1; err != nil || got != want[i] {
				t.Fatalf("%+v, %v, want %+v", got, err, want[i])
			}
		}
		if _, err := b.ChangePrices(ctx, prices.Change{At: Start, From: Start, List: "nothing"}); fault.KindOf(err) != fault.NotFound {
			t.Errorf("a list that is not there: %v", err)
		}
		for _, from := range []time.Time{{}, Start.Add(-time.Nanosecond)} {
			if _, err := b.ChangePrices(ctx, prices.Change{At: Start, From: from, Name: "own"}); err == nil {
				t.Errorf("a change was kept that began before it was decided, at %s", from)
			}
		}
		got, err := b.PriceChanges(ctx)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%+v, want %+v", got[i], want[i])
			}
		}
	})
}
