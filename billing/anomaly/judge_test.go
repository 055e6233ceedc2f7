package anomaly

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"berth/billing"
)

// dollars makes a series of what f says each hour costs.
func dollars(n int, f func(hour int) float64) []billing.Money {
	all := make([]billing.Money, n)
	for i := range all {
		all[i] = billing.Money(math.Round(f(i) * 1e9))
	}
	return all
}

// told returns the hours that are told of, each judged by those before it alone.
func told(hours []billing.Money) (at []int) {
	for i := range hours {
		if v, ok := Judge(hours, i); ok && Defaults.Tell(v) {
			at = append(at, i)
		}
	}
	return at
}

// Ensure patterns are not told of, from their first hour on, and what breaks them is; a
// spike is found where it is, and nothing after it.
func TestSeries(t *testing.T) {
	noise := func(seed uint64, sd float64) func() float64 {
		r := rand.New(rand.NewPCG(seed, 7))
		return func() float64 { return 1 + sd*r.NormFloat64() }
	}
	office := func(h int) float64 { // Monday to Friday, 8 to 18
		if h/24%7 < 5 && h%24 >= 8 && h%24 < 18 {
			return 20
		}
		return 2
	}
	spike := func(at int, factor float64, f func(int) float64) func(int) float64 {
		return func(h int) float64 {
			if h == at {
				return factor * f(h)
			}
			return f(h)
		}
	}
	steady := func(int) float64 { return 5 }
	for name, tt := range map[string]struct {
		f    func(h int) float64
		want []int
	}{
		"constant":                {steady, nil},
		"nothing":                 {func(int) float64 { return 0 }, nil},
		"daily":                   {func(h int) float64 { return 10 + 8*math.Sin(float64(h)*math.Pi/12) }, nil},
		"weekly":                  {office, nil},
		"spike on constant":       {spike(1000, 2, steady), []int{1000}},
		"small growth":            {spike(1000, 1.3, steady), nil},
		"of cents":                {spike(1000, 50, func(int) float64 { return 0.01 }), nil},
		"spike at night":          {spike(5*168+3, 6, office), []int{5*168 + 3}},
		"spike by day":            {spike(5*168+10, 2, office), []int{5*168 + 10}},
		"day's cost at night":     {spike(5*168+27, 10, office), []int{5*168 + 27}},
		"fall":                    {spike(1000, 0.1, steady), nil},
		"cold start, spike":       {spike(40, 3, steady), []int{40}},
		"cold start, too early":   {spike(9, 3, steady), nil},
		"began late, then steady": {func(h int) float64 { return map[bool]float64{true: 5}[h >= 800] }, nil},
		"began late, then spike":  {spike(830, 4, func(h int) float64 { return map[bool]float64{true: 5}[h >= 800] }), []int{830}},
	} {
		if got := told(dollars(1344, tt.f)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: told of %v, want %v", name, got, tt.want)
		}
	}

	// What is noisy is told of seldom: noise of 2 % never, of 10 % in less than one of 2,500 hours.
	for _, tt := range []struct {
		sd   float64
		most int
	}{{0.02, 0}, {0.1, 10}} {
		count := 0
		for seed := range uint64(20) {
			n := noise(seed, tt.sd)
			count += len(told(dollars(1344, func(h int) float64 { return office(h) * n() })))
		}
		if count > tt.most {
			t.Errorf("noise of %v: told %d times in 20 × 8 weeks", tt.sd, count)
		}
	}
	// And a spike in it is found each time.
	for seed := range uint64(20) {
		n := noise(seed, 0.1)
		if got := told(dollars(1344, spike(1000, 4, func(h int) float64 { return office(h) * n() }))); !slices.Contains(got, 1000) {
			t.Errorf("seed %d: told of %v", seed, got)
		}
	}
}

// Ensure the median and the spread are those of the definition, worked out by counting.
func TestMedians(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		points := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) billing.Money { return billing.Money(rapid.Int64Range(-1e3, 1e12).Draw(t, "p")) }), 1, 4).Draw(rt, "points")
		middle := func(xs []float64) float64 { // the mean of those that have as many below as above
			var mids []float64
			for _, x := range xs {
				below, above := 0, 0
				for _, y := range xs {
					if y < x {
						below++
					} else if y > x {
						above++
					}
				}
				if 2*below <= len(xs) && 2*above <= len(xs) {
					mids = append(mids, x)
				}
			}
			return (slices.Min(mids) + slices.Max(mids)) / 2
		}
		var xs []float64
		for _, p := range points {
			xs = append(xs, float64(p))
		}
		want := middle(xs)
		for i := range xs {
			xs[i] = math.Abs(xs[i] - want)
		}
		median, m, spread := medians(slices.Clone(points))
		if m != want || math.Abs(float64(median)-want) > 0.5 || math.Abs(spread-1.4826*middle(xs)) > 1e-6*spread {
			rt.Fatalf("%v: %v %v %v, want %v %v", points, median, m, spread, want, 1.4826*middle(xs))
		}
	})
}

// Ensure scores say nothing of how large costs are: a thousand times as dear is as unusual.
func TestScale(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 900).Draw(rt, "hours")
		seed := rapid.Uint64().Draw(rt, "seed")
		idle := rapid.Float64Range(0, 0.95).Draw(rt, "idle")
		factor := billing.Money(rapid.Int64Range(2, 1_000_000).Draw(rt, "factor"))
		r := rand.New(rand.NewPCG(seed, 1))
		hours, scaled := make([]billing.Money, n), make([]billing.Money, n)
		for i := range hours {
			if r.Float64() >= idle {
				hours[i] = billing.Money(r.Int64N(1e10))
			}
			scaled[i] = hours[i] * factor
		}
		a, okA := Judge(hours, n-1)
		b, okB := Judge(scaled, n-1)
		if okA != okB || a.Method != b.Method || math.Abs(a.Score-b.Score) > 1e-9*max(1, math.Abs(a.Score)) {
			rt.Fatalf("%+v %v and %+v %v", a, okA, b, okB)
		}
		if a.Actual-a.Expected != a.Impact || okA && a.Actual != hours[n-1] {
			rt.Fatalf("amounts do not add up: %+v", a)
		}
	})
}

// Ensure what never varied has a spread all the same: a tenth of what it costs, or of what
// it costs on average if it costs nothing at such hours.
func TestSlack(t *testing.T) {
	for name, tt := range map[string]struct {
		f        func(h int) float64
		n        int
		expected billing.Money
		score    float64
	}{
		"always the same":     {func(h int) float64 { return map[bool]float64{true: 7, false: 5}[h == 700] }, 700, 5e9, 4},
		"at other hours only": {func(h int) float64 { return map[bool]float64{true: 8, false: 0}[h%2 == 1 || h == 700] }, 700, 0, 6710.0 / 336}, // of 671 hours, 336
		"cold start":          {func(h int) float64 { return map[bool]float64{true: 10, false: 5}[h == 30] }, 30, 5e9, 10},
	} {
		v, ok := Judge(dollars(tt.n+1, tt.f), tt.n)
		if !ok || v.Expected != tt.expected || math.Abs(v.Score-tt.score) > 1e-9 {
			t.Errorf("%s: %+v, want %s and a score of %v", name, v, tt.expected, tt.score)
		}
	}
}

// Ensure each rule alone keeps an hour from being told, at its border too.
func TestRules(t *testing.T) {
	r := Rules{Score: 4, Impact: 1e9, Percent: 40}
	v := Verdict{Actual: 35e8 + 1, Expected: 25e8, Impact: 1e9 + 1, Score: 4.1}
	if !r.Tell(v) {
		t.Error("not told")
	}
	for name, spoil := range map[string]func(*Verdict){
		"score":   func(v *Verdict) { v.Score = 4 },
		"impact":  func(v *Verdict) { v.Impact = 1e9 },
		"percent": func(v *Verdict) { v.Expected = 25e8 + 3 },
		"fall":    func(v *Verdict) { v.Impact, v.Score = -v.Impact, -v.Score },
	} {
		w := v
		if spoil(&w); r.Tell(w) {
			t.Errorf("%s: told of %+v", name, w)
		}
	}
	big := Verdict{Expected: math.MaxInt64 / 2, Impact: math.MaxInt64 / 2, Score: 5}
	if !r.Tell(big) || percent(big.Impact, 1) != math.MaxInt64 || percent(3, 2) != 150 {
		t.Error("large amounts overflow")
	}
	for _, bad := range []Rules{{Score: 0.5}, {Score: math.NaN()}, {Score: 4, Impact: -1}, {Score: 4, Percent: -1}} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// BenchmarkJudge judges the newest hour of 10,000 series of four weeks.
func BenchmarkJudge(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	all := make([][]billing.Money, 10_000)
	for i := range all {
		all[i] = dollars(History+1, func(h int) float64 { return 5 + r.NormFloat64() })
		if i%4 == 0 { // of two weeks
			clear(all[i][:History/2])
		}
	}
	for b.Loop() {
		for _, hours := range all {
			if _, ok := Judge(hours, History); !ok {
				b.Fatal("not judged")
			}
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/10000-series")
}
