package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/billing/rightsize"
	"berth/task"
)

func (a *app) rightsizeCommand() *cobra.Command {
	var r rightsize.Request
	var days, cpuRoom, memoryRoom int
	c := &cobra.Command{
		Use:   "rightsize [FAMILY[:REVISION]]",
		Short: "Find the cheapest size that tasks need, by what their runs used",
		Long: "Find the cheapest size of Fargate that tasks need, by what their runs used minute by minute:\n" +
			"those of one family in detail, or of every family that has run, what saves most first. No\n" +
			"size is suggested that has less memory than was seen, and where runs were throttled, or killed\n" +
			"for want of memory, none that has as little of that.",
		Example:           "  berth rightsize\n  berth rightsize nightly --lookback 90 --memory-headroom 10",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeDefinitions,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				r.TaskDefinition = args[0]
			}
			r.LookbackDays, r.CPUHeadroomPercent, r.MemoryHeadroomPercent = &days, &cpuRoom, &memoryRoom
			advice, err := a.client().Rightsize(c.Context(), r)
			if err != nil {
				return err
			}
			return a.print(advice, func(w io.Writer) { printAdvice(w, advice, len(args) > 0) })
		},
	}
	f := c.Flags()
	f.IntVar(&days, "lookback", 14, "how many `days` to look back, up to 400")
	f.StringVar(&r.CPUPercentile, "cpu-percentile", "99.5", "how many `percent` of the minutes must have enough CPU: 90, 95, 99, 99.5 or 100")
	f.IntVar(&cpuRoom, "cpu-headroom", 20, "how many `percent` of the CPU are to stay free")
	f.IntVar(&memoryRoom, "memory-headroom", 20, "how many `percent` of the memory are to stay free")
	f.Int64Var(&r.RunsPerDay, "runs-per-day", 0, "how often it runs in a day (default: as often as it did)")
	f.StringVar(&r.Region, "region", "", "whose prices (default: the server's)")
	complete(c, "cpu-percentile", "90", "95", "99", "99.5", "100")
	c.AddCommand(a.tuneCommand())
	return c
}

func printAdvice(w io.Writer, a rightsize.Advice, detail bool) {
	if len(a.Recommendations) == 0 {
		fmt.Fprintf(w, "Nothing has run since %s.\n", a.From.Format(time.DateOnly))
		return
	}
	if detail {
		for i, r := range a.Recommendations {
			if i > 0 {
				fmt.Fprintln(w)
			}
			printRecommendation(w, r)
		}
	} else {
		rows := [][]string{{"TASKS", "RUNS", "SIZE", "CPU", "PEAK", "THROTTLED", "KILLED", "FINDING", "SUGGESTED", "SAVES A MONTH", "", "CONFIDENCE"}}
		for _, r := range a.Recommendations {
			rows = append(rows, []string{
				r.TaskDefinition + termsOf(r), fmt.Sprint(r.Runs), size(r.Shape.Size()), fmt.Sprint(r.Evidence.CPU), mebi(r.Evidence.PeakMiB),
				fmt.Sprintf("%d%%", r.Evidence.ThrottledPercent), fmt.Sprint(r.Evidence.OOMKills), findings[r.Finding], suggested(r),
				signed(r), fmt.Sprintf("%d%%", r.SavingPercent), strings.ToLower(r.Confidence),
			})
		}
		table(w, rows...)
		fmt.Fprintf(w, "\nAll that save together: %s a month. CPU is in CPU units, of which a vCPU has 1024: those that\n%s %% of the minutes stayed within.\n",
			cents(a.PerMonth), a.Request.CPUPercentile)
	}
	fmt.Fprintf(w, "\n%s to %s, prices: %s. It is taken that runs take as long at any size.\n", a.From.Format(time.DateOnly), a.To.Format(time.DateOnly), a.PriceList)
}

var findings = map[rightsize.Finding]string{
	rightsize.Optimized: "right", rightsize.Overprovisioned: "too large", rightsize.Underprovisioned: "too small", rightsize.Insufficient: "too few runs",
}

// termsOf says on which terms runs were that are not the usual ones.
func termsOf(r rightsize.Recommendation) string {
	terms := ""
	if r.Shape.Arch != "X86_64" {
		terms += " " + r.Shape.Arch
	}
	if r.Shape.Spot {
		terms += " Spot"
	}
	return terms
}

func suggested(r rightsize.Recommendation) string {
	if r.Suggested == nil {
		return "-"
	}
	return size(r.Suggested.Size())
}

// signed writes what a recommendation saves in a month, or costs.
func signed(r rightsize.Recommendation) string {
	if r.SavingPerMonth < 0 {
		return "-" + cents(-r.SavingPerMonth)
	}
	return cents(r.SavingPerMonth)
}

func printRecommendation(w io.Writer, r rightsize.Recommendation) {
	e := r.Evidence
	rows := [][]string{
		{"Tasks", fmt.Sprintf("%s%s: %s, %d failed, %s to %s", r.TaskDefinition, termsOf(r), count(r.Runs, "run"), r.Failed, r.From.Format(time.DateOnly), r.To.Format(time.DateOnly))},
		{"Size", size(r.Shape.Size())},
		{"Finding", findings[r.Finding]},
		{"Suggested", suggested(r)},
		{"Saves", fmt.Sprintf("%s a month of %d runs, %d %%", signed(r), r.RunsPerMonth, r.SavingPercent)},
		{"Confidence", strings.ToLower(r.Confidence)},
		{"CPU", fmt.Sprintf("%d units at most in half of %d minutes, %d in 95 %%, %d in the busiest", e.CPUP50, e.Minutes, e.CPUP95, e.CPUMax)},
		{"Memory", fmt.Sprintf("%s at the peak, usually %s; %s could not be taken away", mebi(e.PeakMiB), mebi(e.UsualPeakMiB), mebi(e.WorkingSetMiB))},
		{"Limits", fmt.Sprintf("%d %% of the periods throttled, %d processes killed for want of memory", e.ThrottledPercent, e.OOMKills)},
	}
	for _, why := range r.Needs.Why {
		rows = append(rows, []string{"Needs", why})
	}
	for _, why := range r.Because {
		rows = append(rows, []string{"Note", why})
	}
	table(w, rows...)
	fmt.Fprintln(w)
	rows = [][]string{{"SIZE", "A RUN", "A MONTH", "ENOUGH"}}
	for _, o := range r.Options {
		s := task.Size{CPU: o.CPU, Memory: o.Memory}
		enough, mark := "no", ""
		if o.Enough {
			enough = "yes"
		}
		switch {
		case r.Suggested != nil && s == r.Suggested.Size() && s == r.Shape.Size():
			mark = "  now, and suggested"
		case r.Suggested != nil && s == r.Suggested.Size():
			mark = "  suggested"
		case s == r.Shape.Size():
			mark = "  now"
		}
		rows = append(rows, []string{size(s), "$" + o.PerRun.String(), cents(o.PerMonth), enough + mark})
	}
	table(w, rows...)
}
