package focus_test

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/focus"
	"berth/task"
)

var day = time.Date(2026, 10, 30, 0, 0, 0, 0, time.UTC)

// sizes are some of Fargate's (AWS Fargate pricing page, task sizes).
var sizes = [][2]string{{"256", "512"}, {"256", "2048"}, {"512", "1024"}, {"1024", "3072"}, {"4096", "30720"}, {"16384", "122880"}}

// history is what some tasks were charged, by hour, task and SKU.
func history(t *rapid.T) []billing.Charge {
	known := rapid.SliceOfN(rapid.Custom(facts), 1, 3).Draw(t, "facts")
	var all []billing.Charge
	for i := range rapid.IntRange(1, 6).Draw(t, "tasks") {
		f := known[rapid.IntRange(0, len(known)-1).Draw(t, "of")]
		size := sizes[rapid.IntRange(0, len(sizes)-1).Draw(t, "size")]
		from := day.Add(time.Duration(rapid.Int64Range(0, int64(60*time.Hour)).Draw(t, "start")))
		ran := time.Duration(rapid.OneOf(rapid.Int64Range(0, int64(2*time.Minute)), rapid.Int64Range(0, int64(5*time.Hour)),
			rapid.Map(rapid.Int64Range(0, 7200), func(s int64) int64 { return s * int64(time.Second) })).Draw(t, "ran"))
		tk := task.Task{
			ID: task.ID(fmt.Sprintf("%032x", i+1)), ARN: fmt.Sprintf("arn:aws:ecs:%s:%s:task/default/%032x", f.Region, f.Account, i+1),
			CPU: size[0], Memory: size[1], PullStartedAt: from, Arch: rapid.SampledFrom([]string{"X86_64", "ARM64"}).Draw(t, "arch"),
		}
		if rapid.Bool().Draw(t, "spot") {
			tk.CapacityProvider = "FARGATE_SPOT"
		}
		if rapid.Bool().Draw(t, "disk") {
			tk.Ephemeral = &task.EphemeralStorage{SizeInGiB: rapid.IntRange(21, 200).Draw(t, "gib")}
		}
		overrun := time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "overrun")) * time.Duration(rapid.IntRange(0, 1).Draw(t, "crash"))
		plan := rapid.IntRange(0, 2).Draw(t, "plan") == 0
		for _, e := range charged(tk, ran, overrun) {
			c := charge(e, f)
			if plan {
				c.PriceList += "+compute-1y-no-upfront"
				if tk.CapacityProvider == "" && !strings.Contains(string(c.SKU), "Storage") { // which no plan covers
					c.Rate, c.Amount = c.Rate*8/10, c.Amount*8/10
				}
			}
			if c.Used.Known = rapid.Bool().Draw(t, "measured"); c.Used.Known && c.Units != 0 {
				c.Used.Units = rapid.Int64Range(min(0, 2*(c.Units/2)), max(0, 2*(c.Units/2))).Draw(t, "used")
			}
			all = append(all, c)
			if rapid.IntRange(0, 20).Draw(t, "reverse") == 0 {
				c.Kind, c.ID = billing.Reversal, strings.Repeat("f", 32)
				c.Units, c.Used.Units, c.Amount = -c.Units, -c.Used.Units, -c.Amount
				c.Booked = c.Booked.Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "later")) * 40 * 24 * time.Hour)
				all = append(all, c)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b billing.Charge) int {
		if d := a.Booked.Truncate(time.Hour).Compare(b.Booked.Truncate(time.Hour)); d != 0 {
			return d
		}
		if d := strings.Compare(string(a.Task), string(b.Task)); d != 0 {
			return d
		}
		return strings.Compare(string(a.SKU), string(b.SKU))
	})
	return all
}

// charged returns the entries of a task that ran for a time, of which the meter
// had posted overrun more.
func charged(t task.Task, ran, overrun time.Duration) []billing.Entry {
	terms := billing.Terms{Prices: billing.BuiltIn()}
	var all []billing.Entry
	for _, c := range billing.Open(t, billing.BuiltIn()) {
		var entries []billing.Entry
		if overrun > 0 {
			c, entries = c.Advance(t.PullStartedAt.Add(ran+overrun), terms)
			all = append(all, entries...)
		}
		_, entries = c.Close(t.PullStartedAt.Add(ran), terms, nil)
		all = append(all, entries...)
	}
	return all
}

func charge(e billing.Entry, f *billing.Facts) billing.Charge {
	return billing.Charge{Entry: e, Facts: f}
}

func facts(t *rapid.T) *billing.Facts {
	word := rapid.StringMatching(`[a-z][a-z0-9-]{0,12}`)
	any := rapid.OneOf(word, rapid.SampledFrom([]string{"", `with "quotes", commas`, "Grüße\n", "北京 🚀", `back\slash`}))
	f := &billing.Facts{
		Account: rapid.SampledFrom([]string{"000000000000", "123456789012"}).Draw(t, "account"),
		Region:  rapid.SampledFrom([]string{"us-east-1", "eu-central-1", "cellar-1"}).Draw(t, "region"),
		Cluster: "default", Definition: word.Draw(t, "family") + ":1", StartedBy: any.Draw(t, "startedBy"),
	}
	f.Group = "family:" + f.Family()
	keys := rapid.SliceOfNDistinct(rapid.OneOf(word, rapid.SampledFrom([]string{"Größe", "a b", "team"})), 0, 4, rapid.ID).Draw(t, "keys")
	for _, k := range keys {
		f.Tags = append(f.Tags, task.Tag{Key: k, Value: any.Draw(t, "value")})
	}
	return f
}

func seq(charges []billing.Charge) iter.Seq2[billing.Charge, error] {
	return func(yield func(billing.Charge, error) bool) {
		for _, c := range charges {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// options are those of a server that has the built-in prices.
func options(v focus.Version) focus.Options {
	return focus.Options{Version: v, Provider: "Berth", OnDemand: func(_ string, k billing.SKU) (billing.Rate, bool) {
		rate, known := billing.BuiltIn().Rates[k]
		return rate, known
	}}
}

func write(t testing.TB, v focus.Version, charges []billing.Charge) string {
	t.Helper()
	return writeAs(t, options(v), charges)
}

func writeAs(t testing.TB, o focus.Options, charges []billing.Charge) string {
	t.Helper()
	var out strings.Builder
	if err := focus.CSV(&out, o, focus.Rows(seq(charges))); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
