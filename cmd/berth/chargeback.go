package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"berth/billing"
	"berth/billing/focus"
)

func (a *app) chargebackCommand() *cobra.Command {
	var by string
	c := &cobra.Command{
		Use:   "chargeback MONTH",
		Short: "Show what each account, team or the like has to pay for a month",
		Long: "Show what each account has to pay for a month, as 2026-10, or each value of what --by\n" +
			"says. Once the period is closed it is the same for ever, and so is its digest.",
		Example: "  berth costs chargeback 2026-10 --by tag:team",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := a.client().Chargeback(c.Context(), args[0], by)
			if err != nil {
				return err
			}
			return a.print(b, func(w io.Writer) { printChargeback(w, b) })
		},
	}
	c.Flags().StringVar(&by, "by", billing.ByAccount, "`what` has to pay: account, family, definition, group, user, region, task or tag:KEY")
	complete(c, "by", "account", "family", "definition", "group", "user", "region", "tag:")
	return c
}

func printChargeback(w io.Writer, c billing.Chargeback) {
	state := "open: it can still grow"
	if c.Status == billing.PeriodClosed {
		state = fmt.Sprintf("closed on %s UTC, with %d entries in the ledger", minute(c.ClosedAt), c.LedgerSize)
	}
	fmt.Fprintf(w, "%s, %s, US dollars\n\n", clean(c.Period), state)
	rows := [][]string{{"FOR", "CHARGE", "QUANTITY", "UNIT", "AMOUNT"}}
	for _, s := range c.Statements {
		for _, l := range s.Lines {
			rows = append(rows, []string{dash(s.Key), string(l.SKU), l.Quantity, l.Unit, "$" + l.Amount.String()})
		}
		rows = append(rows, []string{dash(s.Key), "total", "", "", "$" + s.Amount.String()})
	}
	rows = append(rows, []string{"Total", "", "", "", "$" + c.Total.Amount.String()})
	table(w, rows...)
	fmt.Fprintf(w, "\nDigest %s\n", c.Digest)
}

func (a *app) reconcileCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reconcile FILE",
		Short: "Compare a FOCUS or AWS Cost and Usage Report CSV with the ledger, line by line",
		Long: "Compare a CSV file, FOCUS or a Cost and Usage Report, with what the ledger charges in the\n" +
			"same hours. Lines are matched by resource, usage type and hour; - is standard input. The\n" +
			"exit code is 1 if anything differs.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			from, err := a.openInput(args[0])
			if err != nil {
				return err
			}
			defer from.Close()
			r, err := a.client().Reconcile(c.Context(), io.NopCloser(from))
			if err != nil {
				return err
			}
			if err := a.print(r, func(w io.Writer) { printReconciliation(w, r) }); err != nil {
				return err
			}
			if r.Different+r.OnlyHere+r.OnlyThere > 0 {
				return exit(1)
			}
			return nil
		},
	}
}

func printReconciliation(w io.Writer, r focus.Reconciliation) {
	fmt.Fprintf(w, "%s, %s to %s UTC\n\n", r.Format, minute(r.From), minute(r.To))
	table(w,
		[]string{"The file charges", "$" + r.There},
		[]string{"The ledger charges", "$" + r.Here},
		[]string{"Equal", count(r.Equal, "line")},
		[]string{"Different", count(r.Different, "line")},
		[]string{"Only in the file", count(r.OnlyThere, "line")},
		[]string{"Only in the ledger", count(r.OnlyHere, "line")},
		[]string{"Not about tasks", count(r.Ignored, "line")})
	if len(r.Lines) == 0 {
		return
	}
	rows := [][]string{{"HOUR (UTC)", "RESOURCE", "CHARGE", "FILE", "LEDGER", "DIFFERENCE"}}
	for _, l := range r.Lines {
		rows = append(rows, []string{minute(l.Hour), lastPart(l.Resource), string(l.SKU), dash(l.There), dash(l.Here), l.By})
	}
	fmt.Fprintln(w)
	table(w, rows...)
}
