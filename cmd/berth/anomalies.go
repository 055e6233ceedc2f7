package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"berth/billing/anomaly"
	"berth/fault"
	"berth/notice"
	"berth/server/api"
	"berth/store"
)

func (a *app) anomaliesCommand() *cobra.Command {
	var period period
	c := &cobra.Command{
		Use: "anomalies", Short: "Show hours in which something cost much more than usual", Args: cobra.NoArgs,
		Long: "Show hours in which a SKU of a family cost much more than at that hour of the week, the\n" +
			"latest first. The server looks at each hour ten minutes after its end; how much is much,\n" +
			"its flags --anomaly-impact, --anomaly-percent and --anomaly-score say.",
		Example: "  berth costs anomalies --last 7d",
		RunE: func(c *cobra.Command, _ []string) error {
			from, to, err := period.times(a.now())
			if err != nil {
				return err
			}
			list, err := a.client().Anomalies(c.Context(), from, to)
			if err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) { printAnomalies(w, list) })
		},
	}
	period.flags(c.Flags())
	return c
}

func printAnomalies(w io.Writer, list api.AnomalyList) {
	rows := [][]string{{"HOUR", "FAMILY", "SKU", "COST", "EXPECTED", "MORE", "", "SCORE", "WHY"}}
	for _, a := range list.Anomalies {
		percent := ""
		if a.Percent != nil {
			percent = fmt.Sprintf("+%d%%", *a.Percent)
		}
		rows = append(rows, []string{
			minute(a.From), dash(clean(a.Family)), string(a.SKU), "$" + a.Actual.Short(), "$" + a.Expected.Short(), "$" + a.Impact.Short(), percent,
			strconv.FormatFloat(a.Score, 'f', 1, 64), a.Cause.Words(),
		})
	}
	table(w, rows...)
}

// anomalyConfig is what can be set about the watch over costs.
type anomalyConfig struct {
	Rules   anomaly.Rules
	Webhook string
}

func (c *anomalyConfig) flags(f *pflag.FlagSet) {
	c.Rules = anomaly.Defaults
	f.Var(dollars{&c.Rules.Impact}, "anomaly-impact", "how much more than usual something must cost in an hour to be told of")
	f.IntVar(&c.Rules.Percent, "anomaly-percent", c.Rules.Percent, "and how much more in `percent` of what is usual")
	f.Float64Var(&c.Rules.Score, "anomaly-score", c.Rules.Score, "and how unusual that must be, in spreads of the same hour of other weeks")
	f.StringVar(&c.Webhook, "anomaly-webhook", "", "`URL` that is told of it, too")
}

func (c *anomalyConfig) check() error {
	if err := c.Rules.Check(); err != nil {
		return fault.New(fault.Invalid, "--anomaly-%s: %s", fault.FieldOf(err), fault.Message(err))
	}
	if c.Webhook != "" {
		if err := notice.CheckWebhook("webhook", c.Webhook); err != nil {
			return fault.New(fault.Invalid, "--anomaly-webhook: %s", fault.Message(err))
		}
	}
	return nil
}

func newWatch(c anomalyConfig, st *store.Store, log *zap.Logger) *anomaly.Watch {
	return anomaly.NewWatch(anomaly.Config{Book: st, Rules: c.Rules, Webhook: c.Webhook, Log: log, Now: time.Now})
}
