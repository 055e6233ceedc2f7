package main

import (
	"cmp"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/billing"
	"berth/client"
	"berth/fault"
)

func (a *app) costsCommand() *cobra.Command {
	var period period
	var by, filters []string
	var granularity, tag string
	c := &cobra.Command{
		Use:   "costs",
		Short: "Sum up what tasks cost",
		Long: "Sum up what tasks cost, by family unless --by says otherwise: task, family, definition,\n" +
			"group, user, account, sku, region, day or tag:KEY; several with commas between them.",
		Example: "  berth costs --by family --last 7d\n  berth costs --by day,tag:team --filter user=ann --last 30d",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q, err := costQuery(by, filters, tag, granularity)
			if err != nil {
				return err
			}
			if q.From, q.To, err = period.times(a.now()); err != nil {
				return err
			}
			r, err := a.client().Costs(c.Context(), q)
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { printCosts(w, r) })
		},
	}
	f := c.Flags()
	period.flags(f)
	f.StringSliceVar(&by, "by", []string{billing.ByFamily}, "`what` to group by")
	f.StringVar(&granularity, "granularity", "total", "`step` of time: total, hourly, daily or monthly, UTC")
	f.StringArrayVar(&filters, "filter", nil, "`WHAT=VALUE`: only what has it, as in family=web,db; can be repeated")
	f.StringVar(&tag, "tag", "", "only tasks with the tag `KEY` or KEY=VALUE")
	complete(c, "by", "task", "family", "definition", "group", "user", "account", "sku", "region", "day", "tag:")
	complete(c, "granularity", "total", "hourly", "daily", "monthly")
	c.AddCommand(a.wasteCommand(), a.whatIfCommand(), a.anomaliesCommand(), a.costsExportCommand(), a.chargebackCommand(), a.reconcileCommand())
	return c
}

// costQuery reads the flags.
func costQuery(by, filters []string, tag, granularity string) (billing.CostQuery, error) {
	q := billing.CostQuery{Granularity: strings.ToUpper(granularity), Filters: make(map[string][]string)}
	for _, b := range by {
		if b == "day" && (q.Granularity == billing.Total || q.Granularity == billing.Daily) {
			q.Granularity = billing.Daily
			continue
		}
		q.GroupBy = append(q.GroupBy, b)
	}
	if tag != "" {
		filters = append(filters, billing.TagKey+tag)
	}
	for _, f := range filters {
		what, values, given := strings.Cut(f, "=")
		switch {
		case given:
			q.Filters[what] = append(q.Filters[what], strings.Split(values, ",")...)
		case strings.HasPrefix(what, billing.TagKey):
			q.Filters[what] = nil
		default:
			return q, fault.New(fault.Invalid, "--filter %q: it is WHAT=VALUE", f)
		}
	}
	return q, nil
}

// period is a range of time in flags.
type period struct {
	last, from, to string
}

func (p *period) flags(f *pflag.FlagSet) {
	f.StringVar(&p.last, "last", "", "the `time` up to now, as in 24h, 7d or 4w (default: this month)")
	f.StringVar(&p.from, "from", "", "the `time` at which it begins, as in 2026-10-01 or 2026-10-01T12:00:00Z")
	f.StringVar(&p.to, "to", "", "the `time` at which it ends, not included (default: now)")
}

// times returns the range; zero times are for the server to say.
func (p *period) times(now time.Time) (from, to time.Time, err error) {
	if p.last != "" {
		if p.from != "" || p.to != "" {
			return from, to, fault.New(fault.Invalid, "--last does not go with --from and --to")
		}
		d, err := parseSpan(p.last)
		if err != nil {
			return from, to, err
		}
		return now.Add(-d), now, nil
	}
	if from, err = parseMoment("from", p.from); err != nil {
		return from, to, err
	}
	to, err = parseMoment("to", p.to)
	return from, to, err
}

func parseMoment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02"} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "--%s %q is not a time like 2026-10-01 or 2026-10-01T12:00:00Z", flag, text)
}

// parseSpan reads what time.ParseDuration does, and whole days and weeks.
func parseSpan(text string) (time.Duration, error) {
	units := map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	if n := len(text) - 1; n > 0 && units[text[n]] > 0 {
		if count, err := strconv.Atoi(text[:n]); err == nil && count > 0 && count < 10_000 {
			return time.Duration(count) * units[text[n]], nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	return 0, fault.New(fault.Invalid, "--last %q is not a time like 24h, 7d or 4w", text)
}

// printCosts prints a table, in each step of time the dearest first.
func printCosts(w io.Writer, r billing.CostReport) {
	fmt.Fprintf(w, "%s to %s UTC, US dollars\n\n", minute(r.From), minute(r.To))
	if len(r.Groups) == 0 {
		fmt.Fprintln(w, "Nothing was charged.")
		return
	}
	steps := r.Granularity != billing.Total
	groups := slices.Clone(r.Groups)
	slices.SortStableFunc(groups, func(a, b billing.Group) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(b.Amount, a.Amount))
	})
	var head []string
	if steps {
		head = append(head, "FROM (UTC)")
	}
	for _, by := range r.GroupBy {
		head = append(head, strings.ToUpper(by))
	}
	rows := [][]string{append(head, "AMOUNT", "SHARE", "vCPU-HOURS", "USED", "GB-HOURS", "USED", "STORAGE GB-HOURS")}
	for _, g := range groups {
		var row []string
		if steps {
			row = append(row, minute(g.From))
		}
		for _, key := range g.Keys {
			row = append(row, dash(key))
		}
		rows = append(rows, append(row, costCells(g.Cost, r.Total)...))
	}
	total := make([]string, len(head))
	if len(total) > 0 {
		total[0] = "Total"
	}
	rows = append(rows, append(total, costCells(r.Total, r.Total)...))
	table(w, rows...)
}

func costCells(c, total billing.Cost) []string {
	share := "-"
	if total.Amount != 0 {
		share = fmt.Sprintf("%.1f %%", 100*float64(c.Amount)/float64(total.Amount))
	}
	return []string{"$" + c.Amount.String(), share, places(c.VCPUHours), ofWhole(c.UsedVCPUHours, c.VCPUHours),
		places(c.MemoryGBHours), ofWhole(c.UsedMemoryGBHours, c.MemoryGBHours), places(c.StorageGBHours)}
}

// places writes a decimal with four places.
func places(decimal string) string {
	n, ok := new(big.Rat).SetString(decimal)
	if !ok {
		return decimal
	}
	return n.FloatString(4)
}

// ofWhole writes what share one decimal is of another.
func ofWhole(part, whole string) string {
	p, ok1 := new(big.Rat).SetString(part)
	w, ok2 := new(big.Rat).SetString(whole)
	if !ok1 || !ok2 || w.Sign() == 0 {
		return "-"
	}
	share, _ := new(big.Rat).Quo(p, w).Float64()
	return fmt.Sprintf("%.1f %%", 100*share)
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

func (a *app) costsExportCommand() *cobra.Command {
	var period period
	var format, version, out string
	files := map[string]string{"focus-csv": client.FocusCSV, "focus-parquet": client.FocusParquet, "cur-csv": client.CURCSV}
	c := &cobra.Command{
		Use:   "export",
		Short: "Write what was charged as FOCUS or as AWS's Cost and Usage Report",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			file, ok := files[format]
			if !ok {
				return fault.New(fault.Invalid, "--format %q is not one of focus-csv, focus-parquet, cur-csv", format)
			}
			if format == "cur-csv" {
				version = ""
			}
			from, to, err := period.times(a.now())
			if err != nil {
				return err
			}
			if out == "" {
				if format == "focus-parquet" && terminal(a.out) {
					return fault.New(fault.Invalid, "Parquet is nothing for a terminal; say where to write it with --out")
				}
				return a.client().Export(c.Context(), file, version, from, to, a.out)
			}
			return writeWhole(out, func(w io.Writer) error {
				return a.client().Export(c.Context(), file, version, from, to, w)
			})
		},
	}
	f := c.Flags()
	period.flags(f)
	f.StringVar(&format, "format", "focus-csv", "`format`: focus-csv, focus-parquet or cur-csv")
	f.StringVar(&version, "version", "1.2", "`version` of FOCUS: 1.2 or 1.4")
	f.StringVar(&out, "out", "", "`file` to write; a half-written one is removed (default: standard output)")
	complete(c, "format", "focus-csv", "focus-parquet", "cur-csv")
	complete(c, "version", "1.2", "1.4")
	return c
}

// writeWhole writes a file with f, and leaves none if f fails.
func writeWhole(path string, f func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return fault.New(fault.Invalid, "%v", err)
	}
	err = f(file)
	if closing := file.Close(); err == nil && closing != nil {
		err = fmt.Errorf("write %s: %w", path, closing)
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}
