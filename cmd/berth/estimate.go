package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/billing"
	"berth/billing/estimate"
	"berth/fault"
)

// estimateFlags say what to estimate, beside the file.
type estimateFlags struct {
	file      string
	region    string
	spot, arm bool
	duration  time.Duration
	perDay    int64
	perMonth  int64
	count     int
}

func (a *app) estimateCommand() *cobra.Command {
	var q estimateFlags
	c := &cobra.Command{
		Use:   "estimate {-f FILE | DEFINITION}",
		Short: "Say what a definition, a compose file or a Terraform plan will cost",
		Long: "Say what something will cost before it runs, on demand and on Spot, on x86 and on ARM: a file\n" +
			"with an ECS task definition, a compose file (.yaml, .yml), what \"terraform show -json\" prints\n" +
			"of a plan, or a registered definition. Where a definition has run before, how long its runs\n" +
			"and pulls took is measured; else say --duration.",
		Example: "  berth estimate -f task.json --duration 90s --runs-per-day 24\n  berth estimate -f compose.yaml --region eu-west-1\n  terraform show -json plan.out | berth estimate -f -",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.estimateRequest(q, args)
			if err != nil {
				return err
			}
			e, err := a.client().Estimate(c.Context(), r)
			if err != nil {
				return err
			}
			return a.print(e, func(w io.Writer) { printEstimate(w, e) })
		},
	}
	f := c.Flags()
	f.StringVarP(&q.file, "file", "f", "", "`file` with a task definition, a compose file or a Terraform plan as JSON; - is standard input")
	f.StringVar(&q.region, "region", "", "whose prices (default: the server's)")
	f.BoolVar(&q.spot, "spot", false, "on FARGATE_SPOT")
	f.BoolVar(&q.arm, "arm", false, "on ARM64")
	f.DurationVar(&q.duration, "duration", 0, "how long a run goes on after the pull (default: as measured)")
	f.Int64Var(&q.perDay, "runs-per-day", 0, "how often it runs in a day")
	f.Int64Var(&q.perMonth, "runs-per-month", 0, "how often it runs in a month")
	f.IntVar(&q.count, "count", 0, "how many tasks at a time (default 1)")
	return c
}

// planMax is more than Terraform prints of a plan of some ten thousand resources.
const planMax = 64 << 20

func (a *app) estimateRequest(q estimateFlags, args []string) (estimate.Request, error) {
	r := estimate.Request{
		Region: q.region, Spot: q.spot, DurationSeconds: int64(q.duration / time.Second),
		RunsPerDay: q.perDay, RunsPerMonth: q.perMonth, Count: q.count,
	}
	if q.arm {
		r.Architecture = "ARM64"
	}
	switch {
	case (q.file == "") == (len(args) == 0):
		return r, fault.New(fault.Invalid, "say what to estimate: -f FILE or the name of a definition")
	case q.duration < 0 || q.duration%time.Second != 0:
		return r, fault.New(fault.Invalid, "--duration %s: it is a whole number of seconds", q.duration)
	case len(args) == 1:
		name, err := json.Marshal(args[0])
		r.TaskDefinition = name
		return r, err
	}
	text, err := a.readInput(q.file, planMax)
	if err != nil {
		return r, err
	}
	var plan struct {
		Format string `json:"format_version"`
	}
	switch ext := strings.ToLower(filepath.Ext(q.file)); {
	case ext == ".yaml" || ext == ".yml" || len(text) > 0 && text[0] != '{' && ext != ".json":
		r.Compose, r.Variables = string(text), make(map[string]string)
		for _, name := range estimate.Variables(r.Compose) {
			if value, given := a.env(name); given {
				r.Variables[name] = value
			}
		}
	case json.Unmarshal(text, &plan) == nil && plan.Format != "":
		r.TerraformPlan, err = estimate.TrimPlan(text) // It can be large, and there are secrets in it.
	default:
		r.TaskDefinition = text
	}
	return r, err
}

func printEstimate(w io.Writer, e estimate.Estimate) {
	for i, it := range e.Items {
		if i > 0 {
			fmt.Fprintln(w)
		}
		printItem(w, it)
	}
	if len(e.Items) > 1 {
		fmt.Fprintf(w, "\nAll together, in a month: %s\n", rangeOf(e.PerMonth))
	}
	fmt.Fprintf(w, "\nPrices: %s. %s\n", e.PriceList.ID, e.PriceList.Source)
}

func printItem(w io.Writer, it estimate.Item) {
	head := [][]string{{"What", it.Name + " (" + strings.ToLower(it.Kind) + ")"}}
	if it.Address != "" {
		head = append(head, []string{"Where", it.Address})
	}
	head = append(head, []string{"Size", it.Shape.Size().String()}, []string{"Tasks", tasksOf(it)})
	for _, n := range it.Notes {
		head = append(head, []string{"Note", n})
	}
	table(w, append(head, []string{"Pull", it.Pull.Why}, []string{"Duration", it.Duration.Why}, []string{"A month", it.Month})...)
	fmt.Fprintln(w)
	rows := [][]string{{"TERMS", "PER HOUR", "PER RUN: LOW", "EXPECTED", "HIGH", "PER MONTH: LOW", "EXPECTED", "HIGH"}}
	for _, o := range it.Options {
		terms := o.CapacityProvider + ", " + o.Architecture
		if o.Unavailable != "" {
			rows = append(rows, []string{terms, "-", "-", "-", "-", "-", "-", "-"})
			continue
		}
		run := []string{"-", "-", "-"}
		if o.PerRun != nil {
			run = []string{"$" + o.PerRun.Low.Total.String(), "$" + o.PerRun.Expected.Total.String(), "$" + o.PerRun.High.Total.String()}
		}
		rows = append(rows, append(append([]string{terms, "$" + o.PerHour.String()}, run...),
			cents(o.PerMonth.Low), cents(o.PerMonth.Expected), cents(o.PerMonth.High)))
	}
	table(w, rows...)
	if len(it.Options) == 0 || it.Options[0].PerRun == nil {
		return
	}
	fmt.Fprintln(w)
	printCost(w, it.Options[0].PerRun.Expected)
}

func tasksOf(it estimate.Item) string {
	if it.Spot > 0 {
		return fmt.Sprintf("%d, of them %d on FARGATE_SPOT", it.Count, it.Spot)
	}
	return strconv.Itoa(it.Count)
}

// parts say in words what a part of a charge is for.
var parts = map[string]string{
	estimate.ForPull: "pull of the images", estimate.ForRun: "run",
	estimate.ForSecond: "rounded up to a second", estimate.ForMinimum: "up to the minimum",
}

// printCost prints the expected run with its arithmetic.
func printCost(w io.Writer, c estimate.Cost) {
	rows := [][]string{{"EXPECTED RUN", "RESOURCE", "SECONDS", "AMOUNT"}}
	for _, l := range c.Lines {
		for _, p := range l.Parts {
			rows = append(rows, []string{parts[p.For], l.Resource, p.Seconds, "$" + p.Amount.String()})
		}
	}
	rows = append(rows, []string{"Total", "", strconv.FormatInt(c.BilledSeconds, 10), "$" + c.Total.String()})
	table(w, rows...)
}

func rangeOf(r estimate.Range) string {
	if r.Low == r.High {
		return cents(r.Expected)
	}
	return cents(r.Expected) + " (" + cents(r.Low) + " to " + cents(r.High) + ")"
}

// cents writes an amount as people read a month's, to the cent or, below that, in full.
func cents(m billing.Money) string {
	const cent = 10_000_000
	if m > 0 && m < cent {
		return "$" + m.String()
	}
	whole := (int64(m) + cent/2) / cent
	return fmt.Sprintf("$%d.%02d", whole/100, whole%100)
}
