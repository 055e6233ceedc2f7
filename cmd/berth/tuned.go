package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"berth/billing/tuning"
	"berth/task"
)

// printTuning prints what a tuning has found.
func printTuning(w io.Writer, r tuning.Report) {
	status := string(r.Status)
	if r.Reason != "" {
		status += ": " + r.Reason
	}
	table(w,
		[]string{"Tuning", string(r.ID)},
		[]string{"Definition", lastPart(r.TaskDefinition)},
		[]string{"Status", status},
		[]string{"Runs", fmt.Sprintf("%d of %d", r.Made, r.Planned)},
		[]string{"Spent", fmt.Sprintf("$%s of $%s", r.Spent, r.MaxCost)},
	)
	fmt.Fprintln(w)
	rows := [][]string{{"SIZE", "RUNS", "FAILED", "DURATION", "MIN", "MAX", "BILLED", "COST", "MEAN", "THROTTLED", "PEAK MEMORY", "BEST"}}
	for _, s := range r.Results {
		row := []string{size(task.Size(s.Size)), strconv.Itoa(s.Runs), strconv.Itoa(s.Runs - s.Succeeded), "-", "-", "-", "-", "-", "-", "-", "-", ""}
		if s.Succeeded > 0 {
			copy(row[3:], []string{
				span(s.Run.Median), span(s.Run.Least), span(s.Run.Most), strconv.FormatInt(s.BilledSeconds, 10) + "s", "$" + s.MedianCost.String(), "$" + s.MeanCost.String(),
			})
		}
		if s.Runs > 0 {
			copy(row[9:], []string{fmt.Sprintf("%.1f%%", s.ThrottledPercent), byteCount(s.PeakMemoryBytes)})
		}
		row[11] = bestAs(r.Best, s.Size)
		rows = append(rows, row)
	}
	table(w, rows...)
	fmt.Fprintln(w, "DURATION is the median of the runs that succeeded, without the pull; BILLED has it, and is a minute at least.")
	printFailures(w, r.Results)
	printChart(w, r)
	if short := tooShort(r.Results); short > 0 {
		fmt.Fprintf(w, "\n%s shorter than the minute that is charged at least: there a larger size costs more and gains time only.\n", were(short))
	}
}

// bestAs says what a size is best at.
func bestAs(b tuning.Best, s tuning.Size) string {
	var as []string
	for _, is := range []struct {
		size *tuning.Size
		word string
	}{{b.Cheapest, "cheapest"}, {b.Balanced, "balanced"}, {b.Fastest, "fastest"}} {
		if is.size != nil && *is.size == s {
			as = append(as, is.word)
		}
	}
	return strings.Join(as, ", ")
}

func printFailures(w io.Writer, all []tuning.Result) {
	for _, s := range all {
		var what []string
		for _, kind := range slices.Sorted(maps.Keys(s.Failures)) {
			what = append(what, fmt.Sprintf("%d %s", s.Failures[kind], kind))
		}
		if s.LastFailure != "" {
			what = append(what, "last: "+s.LastFailure)
		}
		if s.Skipped != "" {
			what = append(what, "skipped: "+s.Skipped)
		}
		if len(what) > 0 {
			fmt.Fprintf(w, "At %s: %s\n", size(task.Size(s.Size)), clean(strings.Join(what, "; ")))
		}
	}
}

// printChart draws durations and costs as bars.
func printChart(w io.Writer, r tuning.Report) {
	if len(r.Chart) < 2 {
		return
	}
	var longest, dearest int64
	for _, p := range r.Chart {
		longest, dearest = max(longest, p.RunMillis), max(dearest, p.CostNanos)
	}
	bar := func(n, most int64) string {
		if most == 0 {
			return ""
		}
		return strings.Repeat("█", int(max(n*barWidth/most, 1)))
	}
	fmt.Fprintln(w)
	rows := [][]string{{"SIZE", "DURATION", "COST"}}
	for _, p := range r.Chart {
		rows = append(rows, []string{size(task.Size(p.Size)), bar(p.RunMillis, longest), bar(p.CostNanos, dearest)})
	}
	table(w, rows...)
}

// tooShort counts the runs that were charged for a minute because they were shorter.
func tooShort(all []tuning.Result) (n int) {
	for _, s := range all {
		n += s.Minimum
	}
	return n
}

func were(runs int) string {
	if runs == 1 {
		return "1 run was"
	}
	return fmt.Sprintf("%d runs were", runs)
}
