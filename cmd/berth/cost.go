package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/billing"
	"berth/billing/estimate"
	"berth/fault"
	"berth/server/api"
)

func (a *app) billCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "bill TASK",
		Short:             "Show what a task costs, line by line",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeTasks,
		RunE:              func(c *cobra.Command, args []string) error { return a.bill(c.Context(), args[0]) },
	}
}

func (a *app) bill(ctx context.Context, id string) error {
	b, err := a.closedBill(ctx, id)
	if err != nil {
		return err
	}
	was, err := a.client().Accuracy(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound { // A task of before, or without prices, has no estimate.
		return err
	}
	return a.print(b, func(w io.Writer) {
		printBill(w, b)
		if err == nil && b.Status == billing.StatusFinal {
			printAccuracy(w, was)
		}
	})
}

// printAccuracy compares what a task was expected to cost with what it cost.
func printAccuracy(w io.Writer, a api.Accuracy) {
	basis := "nothing was known of its length"
	switch a.Estimate.Basis {
	case estimate.Measured:
		basis = "as " + count(a.Estimate.Runs, "run") + " before it"
	case estimate.Given:
		basis = "by its timeout"
	}
	difference := "exactly that"
	switch d := a.Actual - a.Estimate.Expected; {
	case d > 0:
		difference = "$" + d.String() + " more"
	case d < 0:
		difference = "$" + (-d).String() + " less"
	}
	fmt.Fprintf(w, "\nExpected were $%s (%s); it cost %s.\n", a.Estimate.Expected, basis, difference)
}

// printBill prints the bill with all of its arithmetic, so that a person can
// ledgerPatience is how long the ledger may take to close the charge of a task
// that has stopped. It is a matter of milliseconds.
const ledgerPatience = 5 * time.Second

// closedBill returns a task's bill, of a task that has stopped once the ledger
// has closed it.
func (a *app) closedBill(ctx context.Context, id string) (billing.Bill, error) {
	for deadline := a.now().Add(ledgerPatience); ; {
		b, err := a.client().Bill(ctx, id)
		if err != nil || b.Status == billing.StatusFinal || a.now().After(deadline) {
			return b, err
		}
		t, err := a.client().Task(ctx, id)
		if err != nil || !t.LastStatus.Final() {
			return b, err
		}
		if err := nap(ctx, 50*time.Millisecond); err != nil {
			return b, err
		}
	}
}

// redo it.
func printBill(w io.Writer, b billing.Bill) {
	if len(b.Lines) == 0 {
		fmt.Fprintf(w, "Nothing is charged: the charge begins with the pull of the images.\n\nTotal $%s\n", b.Total)
		return
	}
	state := "final"
	if b.Status == billing.StatusOpen {
		state = "so far; the task goes on"
	}
	table(w,
		[]string{"Bill", lastPart(b.TaskARN) + " (" + state + ")"},
		[]string{"Charged from", b.From.UTC().Format(time.RFC3339Nano), "the pull of the images began"},
		[]string{"to", b.To.UTC().Format(time.RFC3339Nano), endOf(b)},
		[]string{"Metered", b.MeteredSeconds + " s", "the time between them"},
		[]string{"Billed", strconv.FormatInt(b.BilledSeconds, 10) + " s",
			"rounded up to a whole second, at least " + strconv.FormatInt(b.MinimumSeconds, 10) + " s"},
		[]string{"Prices", b.PriceList.ID, "US dollars"})

	several := slices.ContainsFunc(b.Lines, func(l billing.Line) bool { return l.PriceList != b.Lines[0].PriceList })
	rows := [][]string{{"CHARGE", "RESOURCE", "", "SECONDS", "", "UNIT PRICE", "", "", "AMOUNT"}}
	if several {
		rows[0] = append(rows[0], "PRICES")
	}
	for _, l := range b.Lines {
		row := []string{
			string(l.SKU), l.Resource, "×", l.Seconds, "×", "$" + l.UnitPrice.String() + " per " + strings.TrimSuffix(l.Unit, "s"), "/ 3600", "=", "$" + l.Amount.String(),
		}
		if several {
			row = append(row, clean(l.PriceList))
		}
		rows = append(rows, row)
	}
	rows = append(rows, []string{"Total", "", "", "", "", "", "", "", "$" + b.Total.String()})
	fmt.Fprintln(w)
	table(w, rows...)

	rows = [][]string{{"LEDGER ENTRY", "CHARGE", "FROM", "SECONDS", "AMOUNT"}}
	for _, e := range b.Entries {
		rows = append(rows, []string{entryName(e.Kind), string(e.SKU), e.From.UTC().Format("15:04:05.000"),
			strconv.FormatFloat(e.To.Sub(e.From).Seconds(), 'f', 9, 64), "$" + e.Amount.String()})
	}
	fmt.Fprintln(w)
	table(w, rows...)
}

func endOf(b billing.Bill) string {
	if b.Status == billing.StatusOpen {
		return "now"
	}
	return "the task had stopped"
}

// entryName says in words why an entry was made.
func entryName(k billing.Kind) string {
	names := map[billing.Kind]string{
		billing.Metered:       "metered",
		billing.SecondRoundUp: "rounded up to a second",
		billing.MinimumTopUp:  "up to the minimum",
		billing.Correction:    "correction",
		billing.Reversal:      "taken back",
	}
	if name, ok := names[k]; ok {
		return name
	}
	return string(k)
}
