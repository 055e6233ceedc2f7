package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/billing"
	"berth/fault"
)

// usageFlags say what of usage to show.
type usageFlags struct {
	resolution time.Duration // 0: as fits the task
	from, to   string
	groupBy    []string
	family     string
}

func (a *app) usageCommand() *cobra.Command {
	var q usageFlags
	c := &cobra.Command{
		Use:   "usage [TASK]",
		Short: "Show what a task used, second by second, or what all tasks used and wasted",
		Long: "Show what a task used: second by second, or by minute or hour if it ran long or --resolution\n" +
			"says so. Without a task, add up what tasks reserved, used and wasted, in groups.",
		Example:           "  berth usage --group-by family --from 7d\n  berth usage --group-by tag:team,day --from 30d",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeTasks,
		RunE: func(c *cobra.Command, args []string) error {
			r := c.Flags().Lookup("resolution")
			switch {
			case r.Changed && (q.resolution < time.Second || q.resolution%time.Second != 0):
				return fault.New(fault.Invalid, "--resolution %s: it is a whole number of seconds, at least 1s", q.resolution)
			case len(args) == 0 && r.Changed:
				return fault.New(fault.Invalid, "--resolution is for the usage of one task: name it")
			case len(args) == 0:
				return a.usageGroups(c.Context(), q)
			case len(q.groupBy) > 0 || q.family != "":
				return fault.New(fault.Invalid, "--group-by and --family are for the usage of all tasks: leave out the task")
			}
			return a.usageOf(c.Context(), args[0], q)
		},
	}
	f := c.Flags()
	f.DurationVar(&q.resolution, "resolution", 0, "`time` between two rows, as in 1s, 60s or 1h (default: by the length of the task)")
	f.StringVar(&q.from, "from", "", "only from this `time` on: RFC 3339, a day, or how long ago, as in 10m or 7d")
	f.StringVar(&q.to, "to", "", "only up to this `time`")
	f.StringSliceVar(&q.groupBy, "group-by", nil, "up to three of task, family, definition, day and tag:`KEY`")
	f.StringVar(&q.family, "family", "", "only tasks of this family")
	return c
}

func (a *app) usage(ctx context.Context, id string) error {
	return a.usageOf(ctx, id, usageFlags{resolution: time.Second})
}

// usageOf shows what one task used.
func (a *app) usageOf(ctx context.Context, id string, f usageFlags) error {
	q := billing.UsageQuery{Resolution: f.resolution}
	var err error
	if q.From, q.To, err = a.times(f.from, f.to); err != nil {
		return err
	}
	if q.Resolution == 0 {
		if q.Resolution, err = a.fittingResolution(ctx, id, q); err != nil {
			return err
		}
	}
	u, err := a.client().Usage(ctx, id, q)
	if err != nil {
		return err
	}
	return a.print(u, func(w io.Writer) { printUsage(w, u) })
}

// fittingResolution gives what q asks for at most some 3,600 rows, if hours do.
func (a *app) fittingResolution(ctx context.Context, id string, q billing.UsageQuery) (time.Duration, error) {
	t, err := a.client().Task(ctx, id)
	if fault.KindOf(err) == fault.NotFound { // It was forgotten, and may have usage yet.
		return time.Minute, nil
	}
	if err != nil {
		return 0, err
	}
	from, to := t.PullStartedAt, t.StoppedAt
	if to.IsZero() {
		to = a.now()
	}
	if q.From.After(from) {
		from = q.From
	}
	if !q.To.IsZero() && q.To.Before(to) {
		to = q.To
	}
	switch d := to.Sub(from); {
	case t.PullStartedAt.IsZero() || d <= time.Hour:
		return time.Second, nil
	case d <= 48*time.Hour:
		return time.Minute, nil
	}
	return time.Hour, nil
}

// times reads --from and --to.
func (a *app) times(from, to string) (first, last time.Time, err error) {
	if first, err = a.timeOf("--from", from); err != nil {
		return first, last, err
	}
	last, err = a.timeOf("--to", to)
	return first, last, err
}

// timeOf reads a time, a day in UTC, or how long ago it was.
func (a *app) timeOf(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := parseLifetime(text); err == nil {
		return a.now().Add(-ago), nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "%s %q is not a time, as in 2026-11-23T09:00:00Z, 2026-11-23, 10m or 7d", flag, text)
}

func printUsage(w io.Writer, u billing.Usage) {
	if len(u.Samples) == 0 {
		fmt.Fprintln(w, "Nothing was measured: the task did not come to run, or its samples are no longer kept.")
		return
	}
	sampled := u.Series == "1s"
	form, memory := "15:04:05.000", []string{"MEMORY"}
	if !sampled {
		form, memory = "2006-01-02 15:04:05", []string{"MEMORY", "PEAK"}
	}
	rows := [][]string{append(append([]string{"TIME (UTC)", "vCPU", "CPU", "THROTTLED"}, memory...), "OF LIMIT", "PIDS", "READ/s", "WRITE/s", "RX/s", "TX/s")}
	for _, s := range u.Samples {
		memory := []string{byteCount(s.WorkingSetBytes)}
		if !sampled {
			memory = []string{byteCount(s.AverageWorkingSetBytes), byteCount(s.PeakWorkingSetBytes)}
		}
		row := []string{s.Time.UTC().Format(form), fmt.Sprintf("%.3f", s.CPU), percent(s.CPUPercent), percent(s.ThrottledPercent)}
		rows = append(rows, append(append(row, memory...), percent(s.MemoryPercent), strconv.FormatUint(s.PIDs, 10),
			rate(s.ReadBytesPerSecond), rate(s.WriteBytesPerSecond), rate(s.RxBytesPerSecond), rate(s.TxBytesPerSecond)))
	}
	table(w, rows...)
	s := u.Summary
	fmt.Fprintf(w, "\nUsed %.3f of %.3f reserved vCPU-seconds (%.1f %%) and %s of %s memory at most, in %s.\n",
		s.CPUSeconds, s.ReservedCPUSeconds, 100*s.CPUEfficiency,
		byteCount(s.MemoryPeakBytes), byteCount(s.MemoryReservedBytes), span(seconds(s.Seconds)))
	if s.ThrottledSeconds > 0 {
		fmt.Fprintf(w, "The CPU limit held it back for %s.\n", span(seconds(s.ThrottledSeconds)))
	}
	if s.OOMKills > 0 {
		fmt.Fprintf(w, "The kernel killed %s for memory.\n", count(int(s.OOMKills), "process"))
	}
}

// usageGroups shows what tasks reserved, used and wasted.
func (a *app) usageGroups(ctx context.Context, f usageFlags) error {
	q := billing.GroupQuery{By: f.groupBy, Family: f.family}
	var err error
	if q.From, q.To, err = a.times(f.from, f.to); err != nil {
		return err
	}
	groups := []billing.UsageGroup{}
	for g, err := range a.client().GroupUsage(ctx, q) {
		if err != nil {
			return err
		}
		groups = append(groups, g)
	}
	return a.print(groups, func(w io.Writer) { printUsageGroups(w, q.By, groups) })
}

func printUsageGroups(w io.Writer, by []string, groups []billing.UsageGroup) {
	if len(groups) == 0 {
		fmt.Fprintln(w, "No task has used anything in that time, or it is no longer kept.")
		return
	}
	var head []string
	for _, field := range by {
		head = append(head, strings.ToUpper(field))
	}
	rows := [][]string{append(head, "TASKS", "TIME", "vCPU-HOURS", "USED", "WASTED", "EFFICIENCY", "GiB-HOURS", "USED", "WASTED", "EFFICIENCY", "PEAK", "THROTTLED", "OOM KILLS")}
	for _, g := range groups {
		var row []string
		for _, field := range by {
			row = append(row, dash(g.Key[field]))
		}
		rows = append(rows, append(row, strconv.FormatInt(g.Tasks, 10), span(seconds(g.TaskSeconds)),
			hours(g.ReservedCPUSeconds), hours(g.CPUSeconds), hours(g.WastedCPUSeconds), percent(100*g.CPUEfficiency),
			hours(g.ReservedMemoryGiBSeconds), hours(g.MemoryGiBSeconds), hours(g.WastedMemoryGiBSeconds), percent(100*g.MemoryEfficiency),
			byteCount(g.PeakWorkingSetBytes), span(seconds(g.ThrottledSeconds)), strconv.FormatUint(g.OOMKills, 10)))
	}
	table(w, rows...)
}

// hours writes something × seconds as something × hours.
func hours(s float64) string { return strconv.FormatFloat(s/3600, 'f', 4, 64) }

func percent(p float64) string  { return fmt.Sprintf("%.1f %%", p) }
func rate(bytes float64) string { return byteCount(uint64(max(0, bytes))) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
