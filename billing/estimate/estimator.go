package estimate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"berth/billing"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

// Prices knows what things cost where.
type Prices interface {
	// PriceList returns the list that holds in a region at a time; "" is the
	// server's own region. A region without prices is fault.NotFound.
	PriceList(ctx context.Context, region string, at time.Time) (billing.PriceList, error)
}

// Runs remembers how runs went.
type Runs interface {
	Runs(ctx context.Context, q history.Query) ([]history.Run, error)
}

// Definitions remembers task definitions.
type Definitions interface {
	Definition(ctx context.Context, in task.Realm, ref string) (task.Definition, error)
}

// Config is what New needs. All fields are required.
type Config struct {
	Prices      Prices
	Runs        Runs
	Definitions Definitions
	Now         func() time.Time
}

// Estimator makes estimates. It changes nothing.
type Estimator struct{ Config }

// New returns an Estimator.
func New(c Config) *Estimator { return &Estimator{c} }

// Request says what to estimate: exactly one of TaskDefinition, Compose and
// TerraformPlan.
type Request struct {
	Realm task.Realm `json:"-"` // of who asks: whose definitions and runs count

	TaskDefinition json.RawMessage   `json:"taskDefinition,omitempty" doc:"The name of a definition (family, family:revision or ARN), or a whole one"`
	Compose        string            `json:"compose,omitempty" doc:"The text of a compose file"`
	Variables      map[string]string `json:"variables,omitempty" doc:"Values of the variables in the compose file"`
	TerraformPlan  json.RawMessage   `json:"terraformPlan,omitempty" doc:"What terraform show -json prints of a plan"`

	Region          string `json:"region,omitempty" doc:"Whose prices; the server's if left out"`
	Architecture    string `json:"cpuArchitecture,omitempty" enum:"X86_64,ARM64" doc:"Instead of the definition's"`
	Spot            bool   `json:"spot,omitempty" doc:"On FARGATE_SPOT; a capacity provider strategy in a plan counts more"`
	DurationSeconds int64  `json:"durationSeconds,omitempty" minimum:"0" doc:"How long a run goes on after the pull; measured runs, or else an assumption, if left out"`
	RunsPerDay      int64  `json:"runsPerDay,omitempty" minimum:"0" doc:"Of each task; a month has 730 hours"`
	RunsPerMonth    int64  `json:"runsPerMonth,omitempty" minimum:"0" doc:"Not beside runsPerDay"`
	Count           int    `json:"count,omitempty" minimum:"0" doc:"Tasks at a time, of a task definition; 1 if left out"`
}

// Limits of a Request.
const (
	maxDuration = 366 * 24 * 3600 // seconds
	maxRuns     = 1_000_000_000   // in a month
)

// Estimate is what something will cost. Amounts are US dollars as decimal strings.
type Estimate struct {
	Currency  string            `json:"currency"`
	PriceList billing.PriceList `json:"priceList"`
	Items     []Item            `json:"items"`
	PerMonth  Range             `json:"perMonth" doc:"All items, as they are defined"`
}

// Item is a task definition or a service.
type Item struct {
	Name     string        `json:"name"`
	Address  string        `json:"address,omitempty" doc:"Where it stands in the file"`
	Kind     string        `json:"kind" enum:"TASK,SERVICE" doc:"A SERVICE runs all the time, a TASK now and then"`
	Count    int           `json:"count" doc:"Tasks at a time"`
	Spot     int           `json:"spotCount" doc:"Of those, the ones on FARGATE_SPOT"`
	Shape    billing.Shape `json:"shape" doc:"Of one task"`
	Notes    []string      `json:"notes" doc:"What was decided in reading the file"`
	Pull     Basis         `json:"pullBasis" doc:"Where the time of the pull comes from"`
	Duration Basis         `json:"durationBasis" doc:"Where the time of the run comes from"`
	Month    string        `json:"month" doc:"What a month is: so many hours, or so many runs"`
	Options  []Option      `json:"options" doc:"The first is what was asked for"`
	PerMonth Range         `json:"perMonth" doc:"As it is defined, with its share on FARGATE_SPOT"`
}

// Option is what an Item costs on some terms.
type Option struct {
	CapacityProvider string        `json:"capacityProvider" enum:"FARGATE,FARGATE_SPOT"`
	Architecture     string        `json:"cpuArchitecture" enum:"X86_64,ARM64"`
	Unavailable      string        `json:"unavailable,omitempty" doc:"Why there is no price on these terms"`
	PerHour          billing.Money `json:"perHour" doc:"Of one task, for as long as it goes on"`
	PerRun           *Costs        `json:"perRun,omitempty" doc:"Of one task"`
	PerMonth         Range         `json:"perMonth" doc:"Of all tasks of the item, if all were on these terms"`
}

// Costs is a run as it may turn out.
type Costs struct {
	Low      Cost `json:"low"`
	Expected Cost `json:"expected"`
	High     Cost `json:"high"`
}

func (c Costs) totals() Range { return Range{c.Low.Total, c.Expected.Total, c.High.Total} }

// Kinds of Item.
const (
	KindTask    = "TASK"
	KindService = "SERVICE"
)

// Estimate returns what r asks for. Errors are fault.Invalid with the field, and
// fault.NotFound for a definition or a region that is not known.
func (e *Estimator) Estimate(ctx context.Context, r Request) (Estimate, error) {
	if err := r.validate(); err != nil {
		return Estimate{}, err
	}
	list, err := e.Prices.PriceList(ctx, r.Region, e.Now())
	if err != nil {
		return Estimate{}, err
	}
	subjects, err := e.subjects(ctx, r, list)
	if err != nil {
		return Estimate{}, err
	}
	out := Estimate{Currency: "USD", PriceList: list, Items: []Item{}}
	for _, s := range subjects {
		item, err := e.item(ctx, r, s, list)
		if err != nil {
			return Estimate{}, err
		}
		out.Items = append(out.Items, item)
		if out.PerMonth, err = out.PerMonth.plus(item.PerMonth); err != nil {
			return Estimate{}, err
		}
	}
	return out, nil
}

func (r Request) validate() error {
	given := 0
	for _, is := range []bool{!absent(r.TaskDefinition), r.Compose != "", !absent(r.TerraformPlan)} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return fault.New(fault.Invalid, "say what to estimate: exactly one of taskDefinition, compose and terraformPlan")
	case r.DurationSeconds < 0 || r.DurationSeconds > maxDuration:
		return fault.At("durationSeconds", "must be from 0 to %d (366 days)", maxDuration)
	case r.RunsPerDay < 0 || r.RunsPerDay > maxRuns/31:
		return fault.At("runsPerDay", "must be from 0 to %d", maxRuns/31)
	case r.RunsPerMonth < 0 || r.RunsPerMonth > maxRuns:
		return fault.At("runsPerMonth", "must be from 0 to %d", maxRuns)
	case r.RunsPerDay > 0 && r.RunsPerMonth > 0:
		return fault.At("runsPerMonth", "give it or runsPerDay, not both")
	case r.Count < 0 || r.Count > maxReplicas:
		return fault.At("count", "must be from 0 to %d", maxReplicas)
	case r.Architecture != "" && r.Architecture != "X86_64" && r.Architecture != "ARM64":
		return fault.At("cpuArchitecture", "must be X86_64 or ARM64, not %q", r.Architecture)
	}
	return nil
}

func absent(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// subjects reads what r brings.
func (e *Estimator) subjects(ctx context.Context, r Request, list billing.PriceList) ([]Subject, error) {
	base := billing.Shape{Arch: r.Architecture, Spot: r.Spot, Storage: task.DefaultEphemeralGiB}
	if base.Arch == "" {
		base.Arch = "X86_64"
	}
	switch {
	case r.Compose != "":
		all, err := Compose(r.Compose, r.Variables, base, list)
		return all, within("compose", err)
	case !absent(r.TerraformPlan):
		base.Arch = r.Architecture
		all, err := Terraform(r.TerraformPlan, base)
		return all, within("terraformPlan", err)
	}
	d, err := e.definition(ctx, r.Realm, bytes.TrimSpace(r.TaskDefinition))
	if err != nil {
		return nil, within("taskDefinition", err)
	}
	s, err := subjectOf(d)
	if err != nil {
		return nil, within("taskDefinition", err)
	}
	if s.Shape.Spot = r.Spot; r.Architecture != "" {
		s.Shape.Arch = r.Architecture
	}
	if s.Count = max(r.Count, 1); r.Spot {
		s.Spot = s.Count
	}
	return []Subject{s}, nil
}

func (e *Estimator) definition(ctx context.Context, in task.Realm, raw json.RawMessage) (task.Definition, error) {
	if raw[0] == '{' {
		return task.ParseDefinition(raw)
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil || name == "" {
		return task.Definition{}, fault.New(fault.Invalid, "it is neither the name of a definition nor a definition")
	}
	return e.Definitions.Definition(ctx, in, name)
}

// within puts field before the path of the input at fault.
func within(field string, err error) error {
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Invalid {
		return err
	}
	inner := *e
	inner.Field = strings.TrimSuffix(field+"."+e.Field, ".")
	return &inner
}

// item estimates s.
func (e *Estimator) item(ctx context.Context, r Request, s Subject, list billing.PriceList) (Item, error) {
	runs, err := e.Runs.Runs(ctx, history.Query{Account: r.Realm.Account, Family: s.Family, Limit: mostRuns})
	if err != nil {
		return Item{}, err
	}
	m := monthOf(r, s)
	times, pull, rest := spread(runs, s.Shape.Size(), time.Duration(r.DurationSeconds)*time.Second, 0)
	it := Item{
		Name: s.Name, Address: s.Address, Kind: KindTask, Count: s.Count, Spot: s.Spot, Shape: s.Shape,
		Notes: append([]string{}, s.Notes...), Pull: pull, Duration: rest, Month: m.String(),
	}
	if s.Service && m.hours {
		it.Kind = KindService
		it.Duration = Basis{Source: Given, Why: "a service runs all the time"}
		it.Pull = Basis{Source: Assumed, Why: "in a month of a service, pulls do not count"}
	}
	for i, v := range variants(s.Shape) {
		o, err := option(v, list, times, m, it.Kind == KindService, s.Count)
		if fault.KindOf(err) == fault.NotFound && i > 0 {
			o.Unavailable = fault.Message(err)
		} else if err != nil {
			return Item{}, err
		}
		it.Options = append(it.Options, o)
	}
	it.PerMonth, err = mixed(s, list, times, m)
	return it, err
}

// option returns what count tasks of shape v cost on its terms.
func option(v billing.Shape, list billing.PriceList, times Spread, m month, service bool, count int) (Option, error) {
	o := Option{CapacityProvider: task.OnDemand, Architecture: v.Arch}
	if v.Spot {
		o.CapacityProvider = task.Spot
	}
	var err error
	if o.PerHour, err = over(v, list, time.Hour); err != nil {
		return o, err
	}
	costs, err := costsOf(v, list, times)
	if err != nil {
		return o, err
	}
	if !service {
		o.PerRun = &costs
	}
	o.PerMonth, err = m.of(v, list, costs, count)
	return o, err
}

func costsOf(v billing.Shape, list billing.PriceList, times Spread) (c Costs, err error) {
	if c.Low, err = Price(v, list, times.Low); err != nil {
		return c, err
	}
	if c.Expected, err = Price(v, list, times.Expected); err != nil {
		return c, err
	}
	c.High, err = Price(v, list, times.High)
	return c, err
}

// mixed returns what a month of s costs with its share on Spot.
func mixed(s Subject, list billing.PriceList, times Spread, m month) (Range, error) {
	var sum Range
	for _, share := range []struct {
		spot  bool
		count int
	}{{false, s.Count - s.Spot}, {true, s.Spot}} {
		if share.count == 0 {
			continue
		}
		v := s.Shape
		v.Spot = share.spot
		costs, err := costsOf(v, list, times)
		if err != nil {
			return Range{}, err
		}
		r, err := m.of(v, list, costs, share.count)
		if err != nil {
			return Range{}, err
		}
		if sum, err = sum.plus(r); err != nil {
			return Range{}, err
		}
	}
	return sum, nil
}

// Expect returns what a task that was just submitted is expected to cost.
func (e *Estimator) Expect(ctx context.Context, t task.Task) (history.Quote, error) {
	list, err := e.Prices.PriceList(ctx, "", e.Now())
	if err != nil {
		return history.Quote{}, err
	}
	family, _, err := task.ParseDefinitionRef(t.DefinitionARN)
	if err != nil {
		return history.Quote{}, err
	}
	runs, err := e.Runs.Runs(ctx, history.Query{Account: t.Realm().Account, Family: family, Limit: mostRuns})
	if err != nil {
		return history.Quote{}, err
	}
	times, _, rest := spread(runs, t.Size(), 0, time.Duration(t.Timeout)*time.Second)
	costs, err := costsOf(billing.ShapeOf(t), list, times)
	if err != nil {
		return history.Quote{}, err
	}
	sum := costs.totals()
	return history.Quote{
		Task: t.ID, At: t.CreatedAt, Low: sum.Low, Expected: sum.Expected, High: sum.High,
		Basis: rest.Source, Runs: rest.Runs, PriceList: list.ID, ExpectedSeconds: costs.Expected.BilledSeconds,
	}, nil
}
