package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/billing"
	"berth/billing/waste"
	"berth/billing/whatif"
	"berth/fault"
	"berth/task"
)

func (a *app) wasteCommand() *cobra.Command {
	var period period
	var by, filters []string
	var tag string
	var limit int
	c := &cobra.Command{
		Use:   "waste",
		Short: "Say which part of the costs was for nothing",
		Long: "Say which part of the costs was for nothing: attempts that failed, time in which images were\n" +
			"pulled, what was rounded up to a second or to the minimum, and what was reserved and not\n" +
			"used. Each amount is in one column only, a failed attempt wholly in FAILED, so that they add\n" +
			"up to WASTE, and WASTE and USED to COST.",
		Example: "  berth costs waste --last 7d\n  berth costs waste --by tag:team --filter user=ann --last 30d",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			costs, err := costQuery(by, filters, tag, billing.Total)
			if err != nil {
				return err
			}
			if costs.Granularity != billing.Total {
				return fault.New(fault.Invalid, "--by day: waste is told of a whole time; say which with --from and --to")
			}
			if limit < 1 {
				return fault.New(fault.Invalid, "--limit %d: it is at least 1", limit)
			}
			q := waste.Query{GroupBy: costs.GroupBy, Filters: costs.Filters, Limit: limit}
			if q.From, q.To, err = period.times(a.now()); err != nil {
				return err
			}
			r, err := a.client().Waste(c.Context(), q)
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { printWaste(w, r) })
		},
	}
	f := c.Flags()
	period.flags(f)
	f.StringSliceVar(&by, "by", []string{billing.ByFamily}, "`what` to group by: task, family, definition, group, user, account, region, tag:KEY")
	f.StringArrayVar(&filters, "filter", nil, "`WHAT=VALUE`: only what has it, as in family=web,db; can be repeated")
	f.StringVar(&tag, "tag", "", "only tasks with the tag `KEY` or KEY=VALUE")
	f.IntVar(&limit, "limit", 50, "how many groups")
	complete(c, "by", "task", "family", "definition", "group", "user", "account", "region", "tag:")
	return c
}

func printWaste(w io.Writer, r waste.Report) {
	fmt.Fprintf(w, "%s to %s UTC, US dollars\n\n", minute(r.From), minute(r.To))
	if len(r.Groups) == 0 {
		fmt.Fprintln(w, "Nothing was charged.")
		return
	}
	var head []string
	for _, by := range r.GroupBy {
		head = append(head, strings.ToUpper(by))
	}
	rows := [][]string{append(head, "COST", "USED", "WASTE", "SHARE", "IDLE", "FAILED", "MINIMUM", "PULL", "ROUNDING", "TASKS", "FAILED TASKS")}
	row := func(keys []string, g waste.Group) []string {
		return append(keys, "$"+g.Cost.String(), "$"+g.Productive.String(), "$"+g.Waste.String(), g.WastePercent+" %",
			"$"+g.Idle.Amount.String(), "$"+g.Failed.Amount.String(), "$"+g.Minimum.Amount.String(), "$"+g.Pull.Amount.String(), "$"+g.Rounding.Amount.String(),
			strconv.FormatInt(g.Tasks, 10), strconv.FormatInt(g.FailedTasks, 10))
	}
	for _, g := range r.Groups {
		var keys []string
		for _, k := range g.Keys {
			keys = append(keys, dash(k))
		}
		rows = append(rows, row(keys, g))
	}
	if r.LeftOut > 0 {
		rows = append(rows, []string{fmt.Sprintf("and %d more", r.LeftOut)})
	}
	total := make([]string, len(r.GroupBy))
	if len(total) > 0 {
		total[0] = "Total"
	}
	table(w, append(rows, row(total, r.Total))...)

	t := r.Total
	fmt.Fprintf(w, "\nCharged seconds of tasks: %s pulling, %s of failed attempts, %s up to the minimum, %s up to a second.\n",
		t.Pull.Seconds, t.Failed.Seconds, t.Minimum.Seconds, t.Rounding.Seconds)
	rows = [][]string{{"RESERVED AND NOT USED", "RESERVED", "IDLE", "OF IT", "AMOUNT"}}
	for _, i := range t.Idle.BySKU {
		rows = append(rows, []string{string(i.SKU), places(i.Reserved) + " " + i.Unit, places(i.Idle), ofWhole(i.Idle, i.Reserved), "$" + i.Amount.String()})
	}
	if len(rows) > 1 {
		fmt.Fprintln(w)
		table(w, rows...)
	}
	if t.Unmeasured > 0 {
		fmt.Fprintf(w, "\nOf USED, $%s are from before it was measured how much tasks use.\n", t.Unmeasured)
	}
}

// whatIfFlags are terms on which to replay runs.
type whatIfFlags struct {
	days                int
	family, cpu, memory string
	arch, region        string
	spot, onDemand      bool
}

func (a *app) whatIfCommand() *cobra.Command {
	var q whatIfFlags
	c := &cobra.Command{
		Use:   "what-if",
		Short: "Say what recorded runs would have cost on other terms",
		Long: "Replay the runs of the last days at another size, on ARM or Spot, or in another region, and\n" +
			"compare what they would have cost with what they did. Every run is taken to last as long as\n" +
			"it did. What is not said stays as it was.",
		Example: "  berth costs what-if --cpu 512 --memory 1024\n  berth costs what-if --days 90 --arch ARM64 --spot --family web\n  berth costs what-if --region eu-west-1",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := q.request()
			if err != nil {
				return err
			}
			result, err := a.client().WhatIf(c.Context(), r)
			if err != nil {
				return err
			}
			return a.print(result, func(w io.Writer) { printWhatIf(w, result) })
		},
	}
	f := c.Flags()
	f.IntVar(&q.days, "days", 30, "runs that stopped in so many `days` before now, at most 400")
	f.StringVar(&q.family, "family", "", "only runs of this `family`")
	f.StringVar(&q.cpu, "cpu", "", "with so much CPU: `units`, or as in \".5 vCPU\"")
	f.StringVar(&q.memory, "memory", "", "with so much memory: `MiB`, or as in \"1 GB\"")
	f.StringVar(&q.arch, "arch", "", "on `X86_64` or ARM64")
	f.BoolVar(&q.spot, "spot", false, "on FARGATE_SPOT")
	f.BoolVar(&q.onDemand, "on-demand", false, "on FARGATE")
	f.StringVar(&q.region, "region", "", "at the prices of a `region` (default: those in use)")
	complete(c, "arch", "X86_64", "ARM64")
	return c
}

func (q whatIfFlags) request() (whatif.Request, error) {
	r := whatif.Request{Days: q.days, Family: q.family, Architecture: q.arch, Region: q.region}
	switch {
	case q.days < 1:
		return r, fault.New(fault.Invalid, "--days %d: it is at least 1", q.days)
	case q.spot && q.onDemand:
		return r, fault.New(fault.Invalid, "--spot does not go with --on-demand")
	case q.spot || q.onDemand:
		r.Spot = &q.spot
	}
	if q.cpu == "" && q.memory == "" {
		return r, nil
	}
	if q.cpu == "" || q.memory == "" {
		return r, fault.New(fault.Invalid, "--cpu and --memory go together: they are one size")
	}
	s, err := task.ParseSize(q.cpu, q.memory)
	r.CPU, r.Memory = s.CPU, s.Memory
	return r, err
}

func printWhatIf(w io.Writer, r whatif.Result) {
	fmt.Fprintf(w, "Runs that stopped from %s to %s UTC, US dollars\n\n", minute(r.From), minute(r.To))
	if r.Total.Runs == 0 && len(r.LeftOut) == 0 {
		fmt.Fprintln(w, "There are no such runs.")
		return
	}
	rows := [][]string{{"FAMILY", "RUNS", "ACTUAL", "WHAT IF", "DIFFERENCE", "", "TOO LITTLE MEMORY", "TOO LITTLE CPU"}}
	row := func(name string, c whatif.Compared) {
		rows = append(rows, []string{name, strconv.FormatInt(c.Runs, 10), "$" + c.Actual.String(), "$" + c.Hypothetical.String(), change(c.Difference), c.Percent + " %",
			strconv.FormatInt(c.OverMemory, 10), strconv.FormatInt(c.OverCPU, 10)})
	}
	for _, f := range r.Families {
		row(f.Family, f.Compared)
	}
	row("Total", r.Total)
	table(w, rows...)
	fmt.Fprintln(w)
	for _, l := range r.LeftOut {
		fmt.Fprintf(w, "Left out: %s of %s: %s.\n", count(int(l.Runs), "run"), clean(l.Family), clean(l.Reason))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "Note: %s.\n", n)
	}
}

// change writes an amount with its sign before the dollar.
func change(m billing.Money) string {
	switch {
	case m < 0:
		return "-$" + (-m).String()
	case m > 0:
		return "+$" + m.String()
	}
	return "$" + m.String()
}
