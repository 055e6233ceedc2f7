package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"berth/billing"
	"berth/fault"
	"berth/server/api"
	"berth/store"
	"berth/task"
)

func (a *app) ledgerCommand() *cobra.Command {
	c := &cobra.Command{Use: "ledger", Short: "Read the books, prove them, and close months"}
	c.AddCommand(a.ledgerVerifyCommand(), a.ledgerEntriesCommand(), a.ledgerProofCommand(), a.ledgerConsistencyCommand(), a.ledgerCheckpointCommand(),
		a.ledgerKeyCommand(), a.ledgerPeriodsCommand(), a.ledgerCloseCommand(), a.ledgerReverseCommand())
	return c
}

func (a *app) ledgerVerifyCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Work the whole ledger out again and name the first row that is wrong",
		Long: "Work the whole ledger out again and compare it with what is written: hashes, postings,\n" +
			"intervals, rates, the Merkle tree and every signature. It exits with 1 and names the first\n" +
			"row that is wrong. With --state-dir it reads the database of a server that does not run,\n" +
			"and changes nothing.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var audit billing.Audit
			var err error
			if dir != "" {
				audit, err = store.VerifyLedgerIn(c.Context(), filepath.Join(dir, "berth.db"), nil)
			} else {
				audit, err = a.client().VerifyLedger(c.Context())
			}
			if err != nil {
				return err
			}
			if err := a.print(audit, func(w io.Writer) { printAudit(w, audit) }); err != nil || audit.OK {
				return err
			}
			return fault.New(fault.Conflict, "the ledger is not sound: %s, row %s: %s", audit.Bad.Table, clean(audit.Bad.Row), clean(audit.Bad.Why))
		},
	}
	c.Flags().StringVar(&dir, "state-dir", "", "state `directory` of a server that does not run")
	return c
}

func printAudit(w io.Writer, a billing.Audit) {
	rows := [][]string{{"TABLE", "ROWS CHECKED"}}
	for _, r := range a.Rows {
		rows = append(rows, []string{r.Table, strconv.FormatInt(r.Rows, 10)})
	}
	table(w, rows...)
	if a.OK {
		fmt.Fprintf(w, "\nThe ledger is sound. Entries: %d. Root: %s\n", a.Entries, dash(a.Root))
	}
}

func (a *app) ledgerEntriesCommand() *cobra.Command {
	var id, sku, kind, from, to string
	var limit int
	c := &cobra.Command{
		Use: "entries", Aliases: []string{"ls"}, Short: "Show the ledger, in its order", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f := billing.EntryFilter{Task: task.ID(lastPart(id)), SKU: billing.SKU(sku), Kind: billing.Kind(kind)}
			for _, t := range []struct {
				flag, text string
				into       *time.Time
			}{{"from", from, &f.From}, {"to", to, &f.To}} {
				if t.text == "" {
					continue
				}
				at, err := parseTime(t.text, a.now())
				if err != nil {
					return fault.New(fault.Invalid, "--%s %q: it is a time like 2026-10-01T00:00:00Z, a day like 2026-10-01, or how long ago, as in 24h", t.flag, t.text)
				}
				*t.into = at
			}
			all := []api.LedgerEntry{}
			for e, err := range a.client().LedgerEntries(c.Context(), f) {
				if err != nil {
					return err
				}
				if all = append(all, e); len(all) == limit {
					break
				}
			}
			return a.print(all, func(w io.Writer) { printEntries(w, all) })
		},
	}
	f := c.Flags()
	f.StringVar(&id, "task", "", "only of this `TASK`")
	f.StringVar(&sku, "sku", "", "only of this `SKU`, as in Fargate-GB-Hours")
	f.StringVar(&kind, "kind", "", "only of this `kind`: METER, SECOND_ROUNDUP, MINIMUM_TOPUP, CORRECTION or REVERSAL")
	f.StringVar(&from, "from", "", "only what is booked at this `time` or later")
	f.StringVar(&to, "to", "", "only what is booked before this `time`")
	f.IntVar(&limit, "limit", 0, "at most this `many`; 0 for all")
	complete(c, "kind", "METER", "SECOND_ROUNDUP", "MINIMUM_TOPUP", "CORRECTION", "REVERSAL")
	return c
}

// parseTime reads a time, a day in UTC, or how long ago.
func parseTime(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339Nano, text)
}

func printEntries(w io.Writer, all []api.LedgerEntry) {
	rows := [][]string{{"N", "ENTRY", "TASK", "CHARGE", "KIND", "BOOKED (UTC)", "SECONDS", "USED", "AMOUNT"}}
	for _, e := range all {
		rows = append(rows, []string{
			strconv.FormatInt(e.N, 10), e.ID, lastPart(e.TaskARN), string(e.SKU), entryName(e.Kind), e.Booked.UTC().Format("2006-01-02 15:04:05"),
			strconv.FormatFloat(e.To.Sub(e.From).Seconds(), 'f', 3, 64), share(e.Used, e.Units), "$" + e.Amount.String(),
		})
	}
	table(w, rows...)
}

// share says how much of units was used.
func share(used billing.UsedUnits, units int64) string {
	if !used.Known || units == 0 {
		return "-"
	}
	return percent(100 * float64(used.Units) / float64(units))
}

func (a *app) ledgerProofCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "proof ENTRY",
		Short: "Prove that an entry is in the ledger",
		Long: "Print, as JSON, the proof that an entry is in the ledger as the newest checkpoint has it.\n" +
			"Anybody can check it with berth-proof and the public key, which berth ledger key prints.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.client().LedgerProof(c.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s\n", p)
			return err
		},
	}
}

func (a *app) ledgerConsistencyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "consistency SIZE [SIZE]",
		Short: "Prove that the ledger has only grown between two checkpoints",
		Long: "Print, as JSON, the proof that the ledger has only grown from the checkpoint of the first size\n" +
			"to that of the second, or to the newest. berth-proof checks it.",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			var sizes [2]int64
			for i, text := range args {
				n, err := strconv.ParseInt(text, 10, 64)
				if err != nil || n < 1 {
					return fault.New(fault.Invalid, "%q is not the size of a checkpoint", text)
				}
				sizes[i] = n
			}
			p, err := a.client().LedgerConsistency(c.Context(), sizes[0], sizes[1])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s\n", p)
			return err
		},
	}
}

func (a *app) ledgerCheckpointCommand() *cobra.Command {
	var size int64
	c := &cobra.Command{
		Use: "checkpoint", Short: "Show what was signed of the ledger; keep it somewhere else", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out, err := a.client().LedgerCheckpoint(c.Context(), size)
			if err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) { fmt.Fprint(w, out.Checkpoint) })
		},
	}
	c.Flags().Int64Var(&size, "size", 0, "of so many `entries`; the newest if left out")
	return c
}

func (a *app) ledgerKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "key", Short: "Show the public key of the ledger, which checks proofs", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out, err := a.client().LedgerKey(c.Context())
			if err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) { fmt.Fprintln(w, out.Key) })
		},
	}
}

func (a *app) ledgerPeriodsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "periods", Short: "List the months of the ledger", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := a.client().Periods(c.Context())
			if err != nil {
				return err
			}
			return a.print(all, func(w io.Writer) {
				rows := [][]string{{"MONTH", "STATUS", "ENTRIES", "AMOUNT", "CLOSED (UTC)"}}
				for _, p := range all {
					closed := "-"
					if !p.ClosedAt.IsZero() {
						closed = p.ClosedAt.UTC().Format("2006-01-02 15:04:05")
					}
					rows = append(rows, []string{p.Name, p.Status, strconv.FormatInt(p.Entries, 10), "$" + p.Amount.String(), closed})
				}
				table(w, rows...)
			})
		},
	}
}

func (a *app) ledgerCloseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "close MONTH",
		Short: "Close a month that is over: it stays as it is",
		Long: "Close a month, as in 2026-10, that is over and of which all is posted. It cannot be opened\n" +
			"again; what corrects it is booked when it is made.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.client().ClosePeriod(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) {
				fmt.Fprintf(w, "%s is closed. Entries: %d. Amount: $%s\n", p.Name, p.Entries, p.Amount)
			})
		},
	}
}

func (a *app) ledgerReverseCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "reverse ENTRY", Short: "Take an entry back, whole and once", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if reason == "" {
				return fault.New(fault.Invalid, "say why, with --reason: bills show it")
			}
			e, err := a.client().ReverseEntry(c.Context(), args[0], reason)
			if err != nil {
				return err
			}
			return a.print(e, func(w io.Writer) { fmt.Fprintln(w, e.ID) })
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`why`; bills show it")
	return c
}
