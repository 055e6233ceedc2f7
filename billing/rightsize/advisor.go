package rightsize

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/billing"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

// Runs remembers how runs went.
type Runs interface {
	Runs(ctx context.Context, q history.Query) ([]history.Run, error)

	// Families returns the families of an account of which runs have stopped since a time, by name.
	Families(ctx context.Context, account string, since time.Time) ([]string, error)
}

// Live knows the tasks that run, which are not in the records yet.
type Live interface {
	// SoFar returns a record of each of an account's family ("": of all), of what it has used since a
	// time: as if it stopped now, but without a stop code.
	SoFar(ctx context.Context, account, family string, since time.Time) ([]history.Run, error)
}

// Config is what New needs. All fields are required.
type Config struct {
	Runs   Runs
	Live   Live
	Prices estimate.Prices
	Now    func() time.Time
}

// Advisor says which sizes tasks need. It changes nothing.
type Advisor struct{ Config }

// New returns an Advisor.
func New(c Config) *Advisor { return &Advisor{c} }

// Request says what to look at.
type Request struct {
	Account string `json:"-"` // whose runs are looked at; empty: everybody's

	TaskDefinition string `json:"taskDefinition,omitempty" doc:"family, or family:revision; every family that has run if left out"`

	LookbackDays          *int   `json:"lookbackDays,omitempty" minimum:"1" maximum:"400" doc:"14 if left out"`
	CPUPercentile         string `json:"cpuPercentile,omitempty" enum:"90,95,99,99.5,100" doc:"Of the minutes, how many percent must have enough CPU; 99.5 if left out"`
	CPUHeadroomPercent    *int   `json:"cpuHeadroomPercent,omitempty" minimum:"0" maximum:"90" doc:"Of the suggested CPU, how much is to stay free; 20 if left out"`
	MemoryHeadroomPercent *int   `json:"memoryHeadroomPercent,omitempty" minimum:"0" maximum:"90" doc:"Of the suggested memory, how much is to stay free; 20 if left out"`

	RunsPerDay int64  `json:"runsPerDay,omitempty" minimum:"0" doc:"For what a month saves; as often as it ran if left out"`
	Region     string `json:"region,omitempty" doc:"Whose prices; the server's if left out"`
}

// Limits and defaults of a Request (headrooms and percentiles as in AWS Compute Optimizer's
// preferences for EC2).
const (
	lookback, maxLookback = 14, 400
	room, maxRoom         = 20, 90
	maxRunsPerDay         = 1_000_000
)

var percentiles = map[string]int{"90": 900, "95": 950, "99": 990, "99.5": 995, "100": 1000}

// mostRuns is how many of the latest runs are looked at: of one family, or of all, of each as
// many but leastRuns at least.
const mostRuns, leastRuns = 20_000, 5 * enoughRuns

// What is enough to go by (billing.md 3.4): so many runs, or hours of them.
const enoughRuns, enoughTime = 20, 24 * time.Hour

// Advice is what Advise returns.
type Advice struct {
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Currency  string    `json:"currency"`
	PriceList string    `json:"priceList"`
	Request   Request   `json:"request" doc:"With what was left out filled in"`

	Recommendations []Recommendation `json:"recommendations" doc:"What saves most first"`
	PerMonth        billing.Money    `json:"savingPerMonth" doc:"If all that save are followed"`
}

// Finding is what there is to say about a size, in the words of AWS Compute Optimizer.
type Finding string

// The findings.
const (
	Optimized        Finding = "OPTIMIZED"
	Overprovisioned  Finding = "OVERPROVISIONED"
	Underprovisioned Finding = "UNDERPROVISIONED"
	Insufficient     Finding = "INSUFFICIENT_DATA"
)

// The reasons for a finding.
const (
	CPUOver, CPUUnder       = "CPU_OVERPROVISIONED", "CPU_UNDERPROVISIONED"
	MemoryOver, MemoryUnder = "MEMORY_OVERPROVISIONED", "MEMORY_UNDERPROVISIONED"
)

// Recommendation is about the runs of a family that had the same shape.
type Recommendation struct {
	TaskDefinition string        `json:"taskDefinition" doc:"family, or family:revision if one was asked for"`
	Shape          billing.Shape `json:"shape" doc:"That the runs had"`
	Runs           int           `json:"runs"`
	Failed         int           `json:"failed" doc:"Of these, how many did not do what they were for"`
	Truncated      bool          `json:"truncated,omitempty" doc:"There were more runs; the latest were looked at"`
	From           time.Time     `json:"from" doc:"When the first of them stopped"`
	To             time.Time     `json:"to"`
	Seconds        int64         `json:"billedSeconds" doc:"Of all of them"`

	Finding  Finding  `json:"finding" enum:"OPTIMIZED,OVERPROVISIONED,UNDERPROVISIONED,INSUFFICIENT_DATA"`
	Reasons  []string `json:"reasons" enum:"CPU_OVERPROVISIONED,CPU_UNDERPROVISIONED,MEMORY_OVERPROVISIONED,MEMORY_UNDERPROVISIONED"`
	Evidence Evidence `json:"evidence"`
	Needs    Needs    `json:"needs"`

	Suggested *billing.Shape `json:"suggested,omitempty" doc:"The cheapest that is enough; none if that cannot be said"`
	Options   []Option       `json:"options" doc:"The size that the runs had, the suggested one, and those around it, the cheapest first"`

	RunsPerMonth   int64         `json:"runsPerMonth" doc:"In 730 hours, at the rate of the lookback or the one asked for; rounded"`
	SavingPerRun   billing.Money `json:"savingPerRun" doc:"On average of those that did what they are for; negative if it costs more"`
	SavingPerMonth billing.Money `json:"savingPerMonth" doc:"Of all that ran in the lookback as much as there is of it in 730 hours, failed ones too; or of as many runs as were asked for"`
	SavingPercent  int           `json:"savingPercent" doc:"Of what a month costs"`

	Confidence string   `json:"confidence" enum:"HIGH,MEDIUM,LOW"`
	Because    []string `json:"because" doc:"Why the confidence is not higher, and what else to know"`
}

// Option is what the same runs cost at a size, if they take as long.
type Option struct {
	CPU      int           `json:"cpu"`
	Memory   int           `json:"memory"`
	Enough   bool          `json:"enough" doc:"For the needs"`
	PerRun   billing.Money `json:"perRun" doc:"On average of those that did what they are for"`
	PerMonth billing.Money `json:"perMonth" doc:"Of all that ran in the lookback, as much as there is of it in 730 hours"`
}

// Advise returns what r asks for. Errors are fault.Invalid with the field, and
// fault.NotFound for a family that has not run.
func (a *Advisor) Advise(ctx context.Context, r Request) (Advice, error) {
	family, revision, err := r.fill()
	if err != nil {
		return Advice{}, err
	}
	now := a.Now()
	list, err := a.Prices.PriceList(ctx, r.Region, now)
	if err != nil {
		return Advice{}, err
	}
	out := Advice{
		From: now.AddDate(0, 0, -*r.LookbackDays).UTC(), To: now.UTC(), Currency: "USD", PriceList: list.ID, Request: r, Recommendations: []Recommendation{},
	}
	live, err := a.live(ctx, r.Account, out.From, family, revision)
	if err != nil {
		return Advice{}, err
	}
	families, most := []string{family}, mostRuns
	if family == "" {
		if families, err = a.Runs.Families(ctx, r.Account, out.From); err != nil {
			return Advice{}, err
		}
		families = slices.AppendSeq(families, maps.Keys(live))
		slices.Sort(families)
		families = slices.Compact(families)
		most = max(mostRuns/max(len(families), 1), leastRuns)
	}
	for _, f := range families {
		runs, err := a.Runs.Runs(ctx, history.Query{Account: r.Account, Family: f, Revision: revision, Since: out.From, Limit: most})
		if err != nil {
			return Advice{}, err
		}
		truncated := len(runs) == most
		runs = append(live[f], runs...)
		if len(runs) == 0 && family != "" {
			return Advice{}, fault.New(fault.NotFound, "no task of %s has run in the last %d days", r.TaskDefinition, *r.LookbackDays)
		}
		for _, group := range byShape(runs) {
			rec, err := recommend(group, list, r, out.From, now)
			if err != nil {
				return Advice{}, err
			}
			if rec.Truncated = truncated; truncated {
				rec.Because = append(rec.Because, fmt.Sprintf("the latest %d runs of the family were looked at", most))
			}
			rec.TaskDefinition = f
			if revision > 0 {
				rec.TaskDefinition = fmt.Sprintf("%s:%d", f, revision)
			}
			out.PerMonth += max(rec.SavingPerMonth, 0)
			out.Recommendations = append(out.Recommendations, rec)
		}
	}
	slices.SortStableFunc(out.Recommendations, func(a, b Recommendation) int { return cmp.Compare(b.SavingPerMonth, a.SavingPerMonth) })
	return out, nil
}

// live returns the tasks that run, by family: only those of one family, and one revision
// of it, if they are named.
func (a *Advisor) live(ctx context.Context, account string, since time.Time, family string, revision int) (map[string][]history.Run, error) {
	runs, err := a.Live.SoFar(ctx, account, family, since)
	if err != nil {
		return nil, err
	}
	all := make(map[string][]history.Run)
	for _, r := range runs {
		if revision == 0 || r.Revision == revision {
			all[r.Family] = append(all[r.Family], r)
		}
	}
	return all, nil
}

// fill fills in what is left out and checks the rest.
func (r *Request) fill() (family string, revision int, err error) {
	if r.TaskDefinition != "" {
		if family, revision, err = task.ParseDefinitionRef(r.TaskDefinition); err != nil {
			return "", 0, fault.At("taskDefinition", "%s", fault.Message(err))
		}
	}
	r.LookbackDays = cmp.Or(r.LookbackDays, new(lookback))
	r.CPUHeadroomPercent, r.MemoryHeadroomPercent = cmp.Or(r.CPUHeadroomPercent, new(room)), cmp.Or(r.MemoryHeadroomPercent, new(room))
	r.CPUPercentile = cmp.Or(r.CPUPercentile, "99.5")
	_, known := percentiles[r.CPUPercentile]
	switch {
	case *r.LookbackDays < 1 || *r.LookbackDays > maxLookback:
		err = fault.At("lookbackDays", "must be from 1 to %d", maxLookback)
	case !known:
		err = fault.At("cpuPercentile", "%q is not one of 90, 95, 99, 99.5, 100", r.CPUPercentile)
	case *r.CPUHeadroomPercent < 0 || *r.CPUHeadroomPercent > maxRoom:
		err = fault.At("cpuHeadroomPercent", "must be from 0 to %d", maxRoom)
	case *r.MemoryHeadroomPercent < 0 || *r.MemoryHeadroomPercent > maxRoom:
		err = fault.At("memoryHeadroomPercent", "must be from 0 to %d", maxRoom)
	case r.RunsPerDay < 0 || r.RunsPerDay > maxRunsPerDay:
		err = fault.At("runsPerDay", "must be from 0 to %d", maxRunsPerDay)
	}
	return family, revision, err
}

// byShape groups the runs that were charged by their shape, the one that ran last first.
func byShape(runs []history.Run) [][]history.Run {
	var groups [][]history.Run
	at := make(map[billing.Shape]int)
	for _, r := range runs {
		if !r.Charged || strings.HasPrefix(r.StartedBy, history.Trial) { // a trial is at a size that nobody chose
			continue
		}
		i, ok := at[r.Shape]
		if !ok {
			i = len(groups)
			at[r.Shape], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], r)
	}
	return groups
}
