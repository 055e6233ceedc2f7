package rightsize_test

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/history"
	"berth/billing/rightsize"
	"berth/fault"
	"berth/task"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// records is what ran, the latest first.
type records struct{ runs, live []history.Run }

func (r records) Runs(_ context.Context, q history.Query) ([]history.Run, error) {
	var all []history.Run
	for _, run := range r.runs {
		if run.Family == q.Family && (q.Revision == 0 || run.Revision == q.Revision) && !run.StoppedAt.Before(q.Since) && (q.Limit == 0 || len(all) < q.Limit) {
			all = append(all, run)
		}
	}
	return all, nil
}

func (r records) Families(_ context.Context, _ string, since time.Time) (all []string, err error) {
	for _, run := range r.runs {
		if !run.StoppedAt.Before(since) && !slices.Contains(all, run.Family) {
			all = append(all, run.Family)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (r records) SoFar(_ context.Context, _, family string, _ time.Time) (all []history.Run, err error) {
	for _, run := range r.live {
		if family == "" || run.Family == family {
			all = append(all, run)
		}
	}
	return all, nil
}

type list struct{}

func (list) PriceList(_ context.Context, region string, _ time.Time) (billing.PriceList, error) {
	if region == "nowhere" {
		return billing.PriceList{}, fault.At("region", "there are no prices")
	}
	return billing.BuiltIn(), nil
}

func advise(r records, q rightsize.Request) (rightsize.Advice, error) {
	return rightsize.New(rightsize.Config{Runs: r, Live: r, Prices: list{}, Now: func() time.Time { return noon }}).Advise(context.Background(), q)
}

func advised(t interface{ Fatal(...any) }, r records, q rightsize.Request) rightsize.Advice {
	a, err := advise(r, q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ran returns n runs of two minutes, one a minute, each at so many CPU units and MiB.
func ran(n, cpu, memory, usedCPU, usedMemory int) []history.Run {
	var all []history.Run
	for i := range n {
		all = append(all, history.Run{
			Task: task.ID(fmt.Sprintf("%032x", i)), Family: "job", Revision: 1, Charged: true, Ran: true, StopCode: task.EssentialExited,
			Shape: billing.Shape{CPU: cpu, Memory: memory, Storage: 20, Arch: "X86_64"}, StoppedAt: noon.Add(-time.Duration(i) * time.Minute),
			Pull: 2 * time.Second, Rest: 118 * time.Second,
			Use: &history.Use{
				PeakBytes: uint64(usedMemory) << 20, WorkingSetBytes: uint64(usedMemory) << 20, Periods: 1000,
				Minutes: map[int]int{usedCPU / history.CPUStep: 2},
			},
		})
	}
	return all
}

func given(n int) *int { return &n }

// cost is what a run costs, by hand: rates of us-east-1, each line rounded to a nano-dollar.
func cost(s task.Size, seconds int64) billing.Money {
	part := func(units int, rate string) billing.Money {
		r, _ := new(big.Rat).SetString(rate)
		return rounded(r.Mul(r, big.NewRat(int64(units)*seconds*1e9, 1024*3600)))
	}
	return part(s.CPU, "0.04048") + part(s.Memory, "0.004445")
}

func rounded(r *big.Rat) (m billing.Money) {
	fmt.Sscan(r.FloatString(0), (*int64)(&m))
	return m
}

// times is m × n / d.
func times(m billing.Money, n, d int64) billing.Money {
	r := new(big.Rat).SetInt64(int64(m))
	return rounded(r.Mul(r, big.NewRat(n, d)))
}

func near(a, b billing.Money) bool { return max(a-b, b-a) <= 1 }

func TestAdvise(t *testing.T) {
	for name, c := range map[string]struct {
		runs      []history.Run
		spoil     func(*history.Run)
		request   rightsize.Request
		finding   rightsize.Finding
		reasons   []string
		suggested task.Size
		level     string
	}{
		"four times too large": {runs: ran(100, 1024, 4096, 192, 800), finding: rightsize.Overprovisioned, reasons: []string{rightsize.CPUOver, rightsize.MemoryOver},
			suggested: task.Size{CPU: 256, Memory: 1024}, level: "HIGH"},
		"right": {runs: ran(30, 256, 512, 192, 400), finding: rightsize.Optimized, suggested: task.Size{CPU: 256, Memory: 512}, level: "MEDIUM"},
		"CPU at its limit": {runs: ran(30, 256, 512, 256, 100), finding: rightsize.Underprovisioned, reasons: []string{rightsize.CPUUnder},
			suggested: task.Size{CPU: 512, Memory: 1024}, level: "MEDIUM"},
		"throttled at low average": {runs: ran(30, 256, 512, 64, 100), spoil: func(r *history.Run) { r.Use.ThrottledPeriods = 80 },
			finding: rightsize.Underprovisioned, reasons: []string{rightsize.CPUUnder}, suggested: task.Size{CPU: 512, Memory: 1024}, level: "MEDIUM"},
		"out of memory": {runs: ran(30, 1024, 2048, 512, 100), spoil: func(r *history.Run) { r.Use.OOMKills, r.ExitCode = 1, 137 },
			finding: rightsize.Underprovisioned, reasons: []string{rightsize.MemoryUnder}, suggested: task.Size{CPU: 1024, Memory: 3072}, level: "LOW"},
		"page cache is not given away": {runs: ran(30, 256, 2048, 64, 300), spoil: func(r *history.Run) { r.Use.PeakBytes = 1500 << 20 },
			finding: rightsize.Optimized, suggested: task.Size{CPU: 256, Memory: 2048}, level: "MEDIUM"},
		"no room asked for": {runs: ran(30, 512, 1024, 256, 512), request: rightsize.Request{CPUHeadroomPercent: given(0), MemoryHeadroomPercent: given(0)},
			finding: rightsize.Overprovisioned, reasons: []string{rightsize.CPUOver, rightsize.MemoryOver}, suggested: task.Size{CPU: 256, Memory: 512}, level: "MEDIUM"},
		"a little more than a twentieth throttled": {runs: ran(30, 256, 512, 64, 100), spoil: func(r *history.Run) { r.Use.ThrottledPeriods = 51 },
			finding: rightsize.Underprovisioned, reasons: []string{rightsize.CPUUnder}, suggested: task.Size{CPU: 512, Memory: 1024}, level: "MEDIUM"},
		"a twentieth throttled": {runs: ran(30, 256, 512, 64, 100), spoil: func(r *history.Run) { r.Use.ThrottledPeriods = 50 },
			finding: rightsize.Optimized, suggested: task.Size{CPU: 256, Memory: 512}, level: "MEDIUM"},
		"readings beyond the limit": {runs: ran(30, 256, 512, 352, 100), request: rightsize.Request{CPUHeadroomPercent: given(0)},
			finding: rightsize.Optimized, suggested: task.Size{CPU: 256, Memory: 512}, level: "MEDIUM"},
		"stopped by others": {runs: ran(30, 256, 512, 64, 100), spoil: func(r *history.Run) { r.StopCode = "UserInitiated" },
			finding: rightsize.Optimized, suggested: task.Size{CPU: 256, Memory: 512}, level: "LOW"},
		"nothing measured": {runs: ran(30, 1024, 4096, 16, 16), spoil: func(r *history.Run) { r.Use = nil }, finding: rightsize.Insufficient, level: "LOW"},
		"over at once": {runs: ran(100, 256, 512, 272, 10), spoil: short(0),
			finding: rightsize.Optimized, suggested: task.Size{CPU: 256, Memory: 512}, level: "HIGH"},
		"brief, and held back": {runs: ran(100, 256, 512, 272, 10), spoil: short(900),
			finding: rightsize.Underprovisioned, reasons: []string{rightsize.CPUUnder}, suggested: task.Size{CPU: 512, Memory: 1024}, level: "HIGH"},
		"brief, of one thread": {runs: ran(100, 1024, 2048, 1024, 10), spoil: short(0),
			finding: rightsize.Optimized, suggested: task.Size{CPU: 1024, Memory: 2048}, level: "HIGH"},
		"brief, with memory that no sample saw": {runs: ran(100, 256, 1024, 16, 2), spoil: func(r *history.Run) { short(0)(r); r.Use.PeakBytes = 500 << 20 },
			finding: rightsize.Optimized, suggested: task.Size{CPU: 256, Memory: 1024}, level: "HIGH"},
		"too few":            {runs: ran(19, 1024, 4096, 16, 16), finding: rightsize.Insufficient, level: "LOW"},
		"more than there is": {runs: ran(30, 32768, 249856, 32768, 100), finding: rightsize.Underprovisioned, reasons: []string{rightsize.CPUUnder}, level: "MEDIUM"},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range c.runs {
				if c.spoil != nil {
					c.spoil(&c.runs[i])
				}
			}
			c.request.TaskDefinition = "job"
			a := advised(t, records{runs: c.runs}, c.request)
			if len(a.Recommendations) != 1 {
				t.Fatalf("%+v", a)
			}
			r := a.Recommendations[0]
			var got task.Size
			if r.Suggested != nil {
				got = r.Suggested.Size()
			}
			if r.Finding != c.finding || got != c.suggested || r.Confidence != c.level || !slices.Equal(r.Reasons, append([]string{}, c.reasons...)) {
				t.Errorf("%s, %v, %v, %s: %v\n%+v", r.Finding, r.Reasons, got, r.Confidence, r.Because, r.Needs)
			}
			if c.suggested.CPU > 0 {
				seconds := int64(billing.Billed(c.runs[0].Metered()) / time.Second)
				now, then := cost(c.runs[0].Shape.Size(), seconds), cost(c.suggested, seconds)
				n := int64(len(c.runs)) // in a day
				if r.SavingPerRun != now-then || !near(r.SavingPerMonth, times(now, n*730, 24)-times(then, n*730, 24)) || r.RunsPerMonth != (n*730+12)/24 {
					t.Errorf("saves %s a run, want %s; %s a month of %d runs", r.SavingPerRun, now-then, r.SavingPerMonth, r.RunsPerMonth)
				}
			}
		})
	}
}

// short makes a run one of ten milliseconds with so many of a thousand periods throttled.
func short(throttled uint64) func(*history.Run) {
	return func(r *history.Run) {
		r.Rest, r.Use.ThrottledPeriods = 10*time.Millisecond, throttled
		for step := range r.Use.Minutes {
			r.Use.Minutes[step] = 1
		}
	}
}

// Ensure that trials of sizes say nothing of the size that a task has.
func TestTrials(t *testing.T) {
	runs := ran(30, 1024, 4096, 16, 16)
	for i := range runs {
		runs[i].StartedBy = history.Trial + "1"
	}
	if a := advised(t, records{runs: runs}, rightsize.Request{}); len(a.Recommendations) != 0 {
		t.Errorf("%+v", a.Recommendations)
	}
}

func TestRefusals(t *testing.T) {
	for field, q := range map[string]rightsize.Request{
		"lookbackDays":          {LookbackDays: given(401)},
		"cpuPercentile":         {CPUPercentile: "98"},
		"cpuHeadroomPercent":    {CPUHeadroomPercent: given(91)},
		"memoryHeadroomPercent": {MemoryHeadroomPercent: given(-1)},
		"runsPerDay":            {RunsPerDay: -1},
		"lookbackDays ":         {LookbackDays: given(0)},
		"region":                {Region: "nowhere"},
		"taskDefinition":        {TaskDefinition: "a b"},
	} {
		if _, err := advise(records{}, q); fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != strings.TrimSpace(field) {
			t.Errorf("%s: %v at %q", field, err, fault.FieldOf(err))
		}
	}
	if _, err := advise(records{}, rightsize.Request{TaskDefinition: "job"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a family that never ran: %v", err)
	}
	if a := advised(t, records{}, rightsize.Request{}); len(a.Recommendations) != 0 || a.Recommendations == nil {
		t.Errorf("nothing ran: %+v", a)
	}
}

// Ensure that a service that runs counts for as long as it has run within the lookback,
// beside jobs of the same family, and that its month is 730 hours however old it is.
func TestLive(t *testing.T) {
	for _, c := range []struct {
		days int64
		jobs int
		runs int64 // in a month
	}{{10, 0, 3}, {13, 0, 2}, {45, 0, 2}, {300, 0, 2}, {300, 14 * 24, 732}} {
		service := ran(1, 1024, 4096, 192, 400)[0]
		service.StopCode, service.Rest, service.StoppedAt = "", time.Duration(c.days)*24*time.Hour-2*time.Second, noon
		service.Use.Minutes = map[int]int{12: 14000}
		jobs := ran(c.jobs, 1024, 4096, 192, 400)
		for i := range jobs {
			jobs[i].StoppedAt = noon.Add(-time.Duration(i) * time.Hour)
		}
		r := advised(t, records{live: []history.Run{service}, runs: jobs}, rightsize.Request{}).Recommendations[0]
		then := task.Size{CPU: 256, Memory: 512}
		if r.Finding != rightsize.Overprovisioned || r.Suggested.Size() != then || r.Confidence != "HIGH" || r.RunsPerMonth != c.runs {
			t.Errorf("%d days: %+v", c.days, r)
		}
		want := billing.Money(730 * (40_480_000 + 4*4_445_000 - 40_480_000/4 - 4_445_000/2))
		if c.jobs > 0 {
			now := service.Shape.Size()
			want += times(cost(now, 120)-cost(then, 120), 730, 1) // an hour each
			if one := cost(now, 120) - cost(then, 120); r.SavingPerRun != one {
				t.Errorf("a job saves %s, want %s", r.SavingPerRun, one)
			}
		}
		if max(r.SavingPerMonth-want, want-r.SavingPerMonth) > 200 { // each job was rounded
			t.Errorf("%d days, and %d jobs: saves %s a month, want %s", c.days, c.jobs, r.SavingPerMonth, want)
		}
	}
}

// Ensure that how long a run takes is not said by those that failed, and that a month costs
// what they cost, too.
func TestFailedRuns(t *testing.T) {
	runs := ran(40, 1024, 4096, 192, 400)
	for i := range 20 {
		runs[i].ExitCode, runs[i].Rest = 1, 598*time.Second
	}
	size, then := task.Size{CPU: 1024, Memory: 4096}, task.Size{CPU: 256, Memory: 512}
	saves := func(seconds int64) billing.Money { return cost(size, seconds) - cost(then, seconds) }
	r := advised(t, records{runs: runs}, rightsize.Request{}).Recommendations[0]
	if r.Failed != 20 || r.Confidence != "LOW" || r.SavingPerRun != saves(120) || !near(r.SavingPerMonth, times(20*(saves(120)+saves(600)), 730, 24)) {
		t.Errorf("%+v", r)
	}
	r = advised(t, records{runs: runs}, rightsize.Request{RunsPerDay: 7}).Recommendations[0]
	if r.RunsPerMonth != 213 || !near(r.SavingPerMonth, times(saves(120), 7*730, 24)) {
		t.Errorf("7 runs a day: %+v", r)
	}
	if r = advised(t, records{runs: runs[:20]}, rightsize.Request{}).Recommendations[0]; r.SavingPerRun != saves(600) {
		t.Errorf("all failed: %+v", r)
	}
	// Runs that never came to use anything say nothing of what is needed.
	for i := range 39 {
		runs[i].Ran, runs[i].Use = false, nil
	}
	if r = advised(t, records{runs: runs}, rightsize.Request{}).Recommendations[0]; r.Finding != rightsize.Insufficient || r.Suggested != nil {
		t.Errorf("one run that was measured: %+v", r)
	}
}

// Ensure that, whatever ran, the suggestion is a size of Fargate that has all that was
// seen and is needed, that none is cheaper, that more room is never smaller, and that
// quantiles are those of a sorted list.
func TestSuggestions(t *testing.T) {
	sizes := task.Sizes()
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.SampledFrom(sizes).Draw(rt, "size")
		runs := ran(rapid.IntRange(20, 40).Draw(rt, "runs"), size.CPU, size.Memory, 16, 16)
		var minutes []int
		oom, throttled, periods, peak := uint64(0), uint64(0), uint64(0), uint64(0)
		for i := range runs {
			u := runs[i].Use
			u.Minutes = make(map[int]int)
			for range rapid.IntRange(1, 6).Draw(rt, "minutes") {
				step := rapid.IntRange(1, size.CPU/history.CPUStep).Draw(rt, "step")
				u.Minutes[step]++
				minutes = append(minutes, step*history.CPUStep)
			}
			u.PeakBytes = rapid.Uint64Range(0, uint64(size.Memory)<<20).Draw(rt, "peak")
			u.WorkingSetBytes = rapid.Uint64Range(0, u.PeakBytes).Draw(rt, "working set")
			u.ThrottledPeriods = rapid.Uint64Range(0, 100).Draw(rt, "throttled")
			if rapid.IntRange(0, 60).Draw(rt, "killed") == 0 {
				u.OOMKills = 1
			}
			oom, throttled, periods, peak = oom+u.OOMKills, throttled+u.ThrottledPeriods, periods+u.Periods, max(peak, u.PeakBytes)
		}
		room := rapid.IntRange(0, 80).Draw(rt, "room")
		q := rightsize.Request{TaskDefinition: "job", CPUHeadroomPercent: &room, MemoryHeadroomPercent: &room}
		r := advised(rt, records{runs: runs}, q).Recommendations[0]

		slices.Sort(minutes)
		nearest := func(permille int) int { return minutes[(len(minutes)*permille+999)/1000-1] }
		if e := r.Evidence; e.CPU != nearest(995) || e.CPUP50 != nearest(500) || e.CPUP95 != nearest(950) || e.CPUMax != minutes[len(minutes)-1] ||
			e.OOMKills != oom || e.ThrottledPercent != int((100*throttled+periods-1)/periods) {
			rt.Errorf("%+v, want %d, %d, %d", e, nearest(500), nearest(950), nearest(995))
		}
		if r.Suggested == nil {
			for _, s := range sizes {
				if s.CPU >= r.Needs.CPU && s.Memory >= r.Needs.Memory {
					rt.Errorf("nothing was suggested, and %v is enough for %+v", s, r.Needs)
				}
			}
			return
		}
		got := r.Suggested.Size()
		if !slices.Contains(sizes, got) || got.CPU < r.Needs.CPU || got.Memory < r.Needs.Memory {
			rt.Errorf("%v for %+v", got, r.Needs)
		}
		if uint64(got.Memory)<<20 < peak || 100*nearest(995) > (100-room)*got.CPU {
			rt.Errorf("%v, and %d CPU units and %d bytes were used", got, nearest(995), peak)
		}
		if oom > 0 && got.Memory <= size.Memory || throttled*100 > 5*periods && got.CPU <= size.CPU {
			rt.Errorf("%v after a limit of %v was hit", got, size)
		}
		hour := func(s task.Size) int64 { return int64(s.CPU)*404_800_000 + int64(s.Memory)*44_450_000 }
		for _, s := range sizes {
			if s.CPU >= r.Needs.CPU && s.Memory >= r.Needs.Memory && hour(s) < hour(got)-2*1024 { // but for what is less than a nano-dollar an hour
				rt.Errorf("%v was suggested, and %v is cheaper", got, s)
			}
		}
		more := room + rapid.IntRange(0, 90-room).Draw(rt, "more")
		q.CPUHeadroomPercent, q.MemoryHeadroomPercent = &more, &more
		if n := advised(rt, records{runs: runs}, q).Recommendations[0].Needs; n.CPU < r.Needs.CPU || n.Memory < r.Needs.Memory {
			rt.Errorf("with %d %% room %+v is needed, and with %d %% %+v", room, r.Needs, more, n)
		}
	})
}

func BenchmarkAdvise(b *testing.B) {
	runs := ran(20_000, 1024, 4096, 192, 800)
	for i := range runs {
		runs[i].Rest += time.Duration(i) * time.Millisecond
	}
	for b.Loop() {
		advised(b, records{runs: runs}, rightsize.Request{TaskDefinition: "job", LookbackDays: given(400)})
	}
}
