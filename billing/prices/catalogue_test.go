package prices_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/prices"
	"berth/billing/prices/pricestest"
	"berth/fault"
)

func TestMem(t *testing.T) {
	pricestest.Suite(t, func(*testing.T) prices.Book { return new(pricestest.Mem) })
}

// clock is a clock that tests set.
type clock struct{ t time.Time }

func (c *clock) now() time.Time        { return c.t }
func (c *clock) after(d time.Duration) { c.t = c.t.Add(d) }
func at(day int, hour int) time.Time   { return time.Date(2026, 12, day, hour, 0, 0, 0, time.UTC) }
func ask(c *prices.Catalogue, t time.Time) (string, billing.Rate) {
	r, list, _ := c.At(billing.VCPU, t)
	return list, r
}

func open(t *testing.T, b prices.Book, region string, now func() time.Time) *prices.Catalogue {
	t.Helper()
	c, err := prices.Open(t.Context(), prices.Config{Book: b, Region: region, Log: zap.NewNop(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func add(t *testing.T, c *prices.Catalogue, d prices.Draft) prices.List {
	t.Helper()
	if d.Memory == "" {
		d.Memory = "0.002"
	}
	l, err := c.AddDraft(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func use(t *testing.T, c *prices.Catalogue, ref, plan string, from time.Time) prices.Change {
	t.Helper()
	ch, err := c.Use(t.Context(), ref, plan, from)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// Ensure a server begins with the example of its region, for all time, and goes with
// its region until somebody chooses.
func TestBeginning(t *testing.T) {
	b, k := new(pricestest.Mem), &clock{at(1, 0)}
	c := open(t, b, "eu-central-1", k.now)
	for _, when := range []time.Time{{}, time.Unix(0, 0), at(1, 0), at(31, 0)} {
		if list, r := ask(c, when); list != "aws-eu-central-1-2026-09-11" || r != 465_600_000 {
			t.Errorf("at %s: %s, %s", when, list, r)
		}
	}
	k.after(time.Hour)
	c = open(t, b, "eu-central-1", k.now) // Nothing changes.
	c = open(t, b, "us-east-1", k.now)
	if list, _ := ask(c, k.now().Add(time.Second)); list != "aws-eu-central-1-2026-09-11" {
		t.Errorf("the past has become %s", list)
	}
	if list, _ := ask(c, k.now().Add(2*time.Second)); list != "aws-us-east-1-2026-09-28" {
		t.Errorf("in the other region: %s", list)
	}
	own := add(t, c, prices.Draft{VCPU: "0.02"})
	use(t, c, "own", "", time.Time{})
	k.after(time.Hour)
	c = open(t, b, "eu-west-1", k.now)
	k.after(time.Hour)
	if list, _ := ask(c, k.now()); list != own.ID {
		t.Errorf("after a choice: %s", list)
	}
	if changes, _ := b.PriceChanges(t.Context()); len(changes) != 3 {
		t.Errorf("%+v", changes)
	}

	c = open(t, new(pricestest.Mem), "mars-north-1", k.now)
	if list, _ := ask(c, k.now()); list != "aws-us-east-1-2026-09-28" {
		t.Errorf("in a region without prices: %s", list)
	}
}

// Ensure a change is seen at once, begins at a whole second in the future, and
// changes nothing before.
func TestChanges(t *testing.T) {
	k := &clock{at(1, 0).Add(300 * time.Millisecond)}
	c := pricestest.Open("us-east-1", k.now)
	l := add(t, c, prices.Draft{VCPU: "0.02"})
	if list, _ := ask(c, at(2, 0)); list != "aws-us-east-1-2026-09-28" {
		t.Errorf("a list that nobody uses holds: %s", list)
	}
	ch := use(t, c, "own", "", time.Time{})
	if want := at(1, 0).Add(2 * time.Second); !ch.From.Equal(want) || !ch.At.Equal(k.t) {
		t.Errorf("%+v, want to begin at %s", ch, want)
	}
	_, before, until := c.At(billing.VCPU, ch.From.Add(-1))
	if before != "aws-us-east-1-2026-09-28" || !until.Equal(ch.From) {
		t.Errorf("just before: %s until %s", before, until)
	}
	r, after, until := c.At(billing.SpotArmVCPU, ch.From)
	if after != l.ID || r != 2e8 || !until.IsZero() {
		t.Errorf("then: %s, %s until %s", after, r, until)
	}
	if got, ok := c.List(after); !ok || got.ID != l.ID || got.Rates[billing.VCPU] != 2e8 {
		t.Errorf("%+v", got)
	}
	again := use(t, c, "own", "", time.Time{})
	if again != ch {
		t.Errorf("repeated: %+v, was %+v", again, ch)
	}

	// A list for later, and the plan of another one.
	later := add(t, c, prices.Draft{VCPU: "0.03", EffectiveFrom: "2026-12-20"})
	planned, err := c.Activate(t.Context(), later.ID, time.Time{})
	if err != nil || !planned.From.Equal(at(20, 0)) {
		t.Errorf("%+v, %v", planned, err)
	}
	use(t, c, "us-east-1", "compute-1y-no-upfront", at(10, 0))
	use(t, c, "us-east-1", "", at(12, 0))
	use(t, c, l.ID, "", at(15, 0))
	for _, want := range []struct {
		at   time.Time
		list string
		r    billing.Rate
	}{
		{at(9, 23), l.ID, 2e8}, {at(10, 0), "aws-us-east-1-2026-09-28+compute-1y-no-upfront", 323_840_000}, {at(12, 0), "aws-us-east-1-2026-09-28", 404_800_000},
		{at(15, 0), l.ID, 2e8}, {at(20, 0), later.ID, 3e8},
	} {
		if list, r := ask(c, want.at); list != want.list || r != want.r {
			t.Errorf("at %s: %s %s, want %s %s", want.at, list, r, want.list, want.r)
		}
	}
	if r, _, _ := c.At(billing.SpotVCPU, at(11, 0)); r != 128_887_100 {
		t.Errorf("Spot on a plan costs %s", r)
	}
	if got, ok := c.List("aws-us-east-1-2026-09-28+compute-1y-no-upfront"); !ok || got.Rates[billing.VCPU] != 323_840_000 || got.Rates[billing.Storage] != 1_110_000 {
		t.Errorf("%+v", got)
	}
	// Another wish for the same time takes its place.
	use(t, c, "eu-west-1", "", at(20, 0))
	if list, _ := ask(c, at(20, 0)); list != "aws-eu-west-1-2026-09-28" {
		t.Errorf("%s", list)
	}
}

// Ensure what cannot be is refused, and leaves no trace.
func TestRefused(t *testing.T) {
	b, k := new(pricestest.Mem), &clock{at(1, 0)}
	c := open(t, b, "us-east-1", k.now)
	later := add(t, c, prices.Draft{Name: "later", VCPU: "0.03", EffectiveFrom: "2026-12-20"})
	before, _ := b.PriceChanges(t.Context())
	for _, tt := range []struct {
		name string
		f    func() (prices.Change, error)
		kind fault.Kind
	}{
		{"unknown", func() (prices.Change, error) { return c.Use(t.Context(), "nobody", "", time.Time{}) }, fault.NotFound},
		{"unknown list", func() (prices.Change, error) { return c.Activate(t.Context(), "us-east-1", time.Time{}) }, fault.NotFound},
		{"unknown plan", func() (prices.Change, error) { return c.Use(t.Context(), "us-east-1", "5y", time.Time{}) }, fault.Invalid},
		{"past", func() (prices.Change, error) { return c.Use(t.Context(), "eu-west-1", "", at(1, 0).Add(-1)) }, fault.Invalid},
		{"past activation", func() (prices.Change, error) {
			return c.Activate(t.Context(), "aws-eu-west-1-2026-09-28", at(1, 0).Add(-1))
		}, fault.Invalid},
		{"too early for a name", func() (prices.Change, error) { return c.Use(t.Context(), "later", "", time.Time{}) }, fault.Conflict},
		{"too early for a list", func() (prices.Change, error) { return c.Use(t.Context(), later.ID, "", at(2, 0)) }, fault.Invalid},
		{"in 300 years", func() (prices.Change, error) { return c.Use(t.Context(), "us-east-1", "", at(1, 0).AddDate(300, 0, 0)) }, fault.Invalid},
	} {
		if ch, err := tt.f(); fault.KindOf(err) != tt.kind {
			t.Errorf("%s: %+v, %v, want %s", tt.name, ch, err, tt.kind)
		}
	}
	if _, err := c.AddDraft(t.Context(), prices.Draft{VCPU: "1"}); fault.FieldOf(err) != "memory" {
		t.Errorf("half a list: %v", err)
	}
	after, _ := b.PriceChanges(t.Context())
	lists, _ := b.PriceLists(t.Context())
	if len(after) != len(before) || len(lists) != 2 {
		t.Errorf("%d changes, were %d; %d lists", len(after), len(before), len(lists))
	}
	if _, ok := c.List("nothing"); ok {
		t.Error("there is a list called nothing")
	}
	if _, ok := c.List("aws-us-east-1-2026-09-28+nothing"); ok {
		t.Error("there is a plan called nothing")
	}
}

// Ensure a book that cannot be written changes nothing that is seen.
func TestBookFails(t *testing.T) {
	b, k := new(pricestest.Mem), &clock{at(1, 0)}
	c := open(t, b, "us-east-1", k.now)
	add(t, c, prices.Draft{VCPU: "0.02"})
	b.Fail = fault.New(fault.Unavailable, "the disk is full")
	if _, err := c.Use(t.Context(), "own", "", time.Time{}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
	if _, err := c.AddDraft(t.Context(), prices.Draft{VCPU: "0.03", Memory: "1"}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
	if list, _ := ask(c, at(2, 0)); list != "aws-us-east-1-2026-09-28" {
		t.Errorf("%s", list)
	}
	if _, err := prices.Open(t.Context(), prices.Config{Book: b, Region: "eu-west-1", Log: zap.NewNop(), Now: k.now}); !errors.Is(err, b.Fail) {
		t.Errorf("%v", err)
	}
}

// Ensure a clock that was set back does not make a later wish begin before an earlier.
func TestClockSetBack(t *testing.T) {
	k := &clock{at(1, 12)}
	c := pricestest.Open("us-east-1", k.now)
	use(t, c, "eu-west-1", "", time.Time{})
	k.after(-time.Hour)
	use(t, c, "eu-west-2", "", time.Time{})
	if list, _ := ask(c, at(1, 13)); list != "aws-eu-west-2-2026-09-11" {
		t.Errorf("%s", list)
	}
}

// Ensure lists that were imported come before examples, and which list is what is
// told rightly.
func TestOverview(t *testing.T) {
	k := &clock{at(1, 0)}
	c := pricestest.Open("us-east-1", k.now)
	old := add(t, c, prices.Draft{Name: "us-east-1", Region: "us-east-1", VCPU: "0.05", EffectiveFrom: "2026-01-01"})
	if l, ok := c.Newest("us-east-1", k.now()); !ok || l.ID != old.ID {
		t.Errorf("the newest is %s", l.ID)
	}
	use(t, c, "us-east-1", "", time.Time{})
	k.after(time.Minute)
	next := add(t, c, prices.Draft{Name: "us-east-1", VCPU: "0.06", EffectiveFrom: "2026-12-24"})
	use(t, c, next.ID, "", time.Time{})
	own := add(t, c, prices.Draft{VCPU: "0.06"})
	spare := add(t, c, prices.Draft{Name: "spare", VCPU: "0.06"})
	if _, err := c.Activate(t.Context(), spare.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	k.after(time.Minute)
	got := make(map[string]prices.Status)
	o := c.Overview()
	for _, l := range o.Lists {
		got[l.ID] = l.Status
		if d, err := c.Describe(l.ID); err != nil || d.Status != l.Status {
			t.Errorf("%s is %s, %v", l.ID, d.Status, err)
		}
	}
	for id, want := range map[string]prices.Status{
		old.ID: prices.Holding, next.ID: prices.Planned, own.ID: prices.Stored, spare.ID: prices.Active,
		"aws-us-east-1-2026-09-28": prices.Past, "aws-eu-west-1-2026-09-28": prices.Shipped,
	} {
		if got[id] != want {
			t.Errorf("%s is %s, want %s", id, got[id], want)
		}
	}
	if len(o.Lists) != 23+4 || len(o.Timeline) != 3 || !strings.Contains(o.Notice, "AWS changes") {
		t.Errorf("%d lists, timeline %+v", len(o.Lists), o.Timeline)
	}
	if !slices.IsSortedFunc(o.Lists, func(a, b prices.Described) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the lists are not in order")
	}
	if c.PriceList(k.now()).ID != old.ID || c.PriceList(at(24, 0)).ID != next.ID {
		t.Errorf("%s now", c.PriceList(k.now()).ID)
	}
}

// Ensure that whatever happens, prices of time that has passed stay as they were,
// the answers of At fit together, and a server that starts again says the same.
func TestPastRapid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, k := new(pricestest.Mem), &clock{at(1, 0)}
		reopen := func() *prices.Catalogue {
			c, err := prices.Open(context.Background(), prices.Config{Book: b, Region: "us-east-1", Log: zap.NewNop(), Now: k.now})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := reopen()
		var refs []string
		said := make(map[time.Time]string) // what was said of a time when it was past
		names := rapid.SampledFrom([]string{"own", "rack", "us-east-1"})
		moment := func(what string) time.Time {
			if rapid.Bool().Draw(t, what+" later") {
				return k.t.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Hour)).Draw(t, what)))
			}
			return time.Time{}
		}
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				said[k.t], _ = ask(c, k.t)
				k.after(time.Duration(rapid.Int64Range(1, int64(5*time.Hour)).Draw(t, "d")))
			},
			"add": func(t *rapid.T) {
				d := prices.Draft{Name: names.Draw(t, "name"), VCPU: prices.Price(rapid.StringMatching(`0\.0[1-9]{2}`).Draw(t, "vcpu")), Memory: "0.001", Plans: []prices.DraftPlan{{Name: "half", Discount: "50%"}}}
				if from := moment("effective"); !from.IsZero() {
					d.EffectiveFrom = prices.Day(from.Format(time.RFC3339))
				}
				l, err := c.AddDraft(context.Background(), d)
				if err != nil {
					t.Fatal(err)
				}
				refs = append(refs, l.ID)
			},
			"use": func(t *rapid.T) {
				ref := rapid.SampledFrom(append([]string{"own", "rack", "us-east-1", "eu-west-1"}, refs...)).Draw(t, "ref")
				plan := rapid.SampledFrom([]string{"", "half"}).Draw(t, "plan")
				from := moment("from")
				ch, err := c.Use(context.Background(), ref, plan, from)
				if k := fault.KindOf(err); err != nil && k != fault.Invalid && k != fault.NotFound && k != fault.Conflict {
					t.Fatal(err)
				}
				if err == nil {
					if list, _ := ask(c, ch.From); list != prices.Charged(ch.List, ch.Plan) && !strings.HasPrefix(list, ch.Name) && !strings.HasPrefix(list, "aws-"+ch.Name) {
						t.Fatalf("from %s on %s holds, and what was wished is %+v", ch.From, list, ch)
					}
				}
			},
			"activate": func(t *rapid.T) {
				if len(refs) > 0 {
					c.Activate(context.Background(), rapid.SampledFrom(refs).Draw(t, "ref"), moment("from"))
				}
			},
			"restart": func(*rapid.T) { c = reopen() },
			"": func(t *rapid.T) {
				for when, want := range said {
					if got, _ := ask(c, when); got != want {
						t.Fatalf("at %s %s held, and now they say %s", when, want, got)
					}
				}
				// Following until, the prices change there and only there.
				for when := at(1, 0); when.Before(at(9, 0)); {
					_, list, until := c.At(billing.VCPU, when)
					if until.IsZero() {
						break
					}
					if !until.After(when) {
						t.Fatalf("at %s until %s", when, until)
					}
					if last, _ := ask(c, until.Add(-1)); last != list {
						t.Fatalf("%s from %s until %s, and %s just before", list, when, until, last)
					}
					if next, _ := ask(c, until); next == list {
						t.Fatalf("%s until %s and after", list, until)
					}
					when = until
				}
			},
		})
	})
}

// Ensure many may ask and change at once.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pricestest.Open("us-east-1", time.Now)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range 20 {
					if i%2 == 0 {
						l, err := c.AddDraft(context.Background(), prices.Draft{VCPU: prices.Price("0.0" + string(rune('1'+i))), Memory: "1"})
						if err == nil {
							_, err = c.Use(context.Background(), l.ID, "", time.Time{})
						}
						if err != nil {
							t.Error(err)
						}
						time.Sleep(time.Second)
					}
					if _, list, _ := c.At(billing.VCPU, time.Now()); list == "" {
						t.Error("no list")
					}
					c.Overview()
				}
			})
		}
		all.Wait()
	})
}
