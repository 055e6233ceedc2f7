package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/billing/budget"
	"berth/fault"
	"berth/money"
	"berth/server/api"
)

func (a *app) budgetCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "budget", Aliases: []string{"budgets"}, Short: "Keep what tasks cost within limits",
		Long: "Keep what tasks cost within limits. A budget tells, refuses new tasks or stops running ones\n" +
			"when what the tasks in its scope cost in a day or a month comes to its limit. Money is\n" +
			"held for each task before it starts and while it runs, so that a limit is not passed by\n" +
			"what has begun already.",
	}
	list := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the budgets, and how they stand", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := a.client().Budgets(c.Context())
			if err != nil {
				return err
			}
			return a.print(all, func(w io.Writer) { listBudgets(w, all) })
		},
	}
	show := &cobra.Command{
		Use: "show NAME", Short: "Show a budget, and how it stands", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeBudgets,
		RunE: func(c *cobra.Command, args []string) error {
			b, err := a.client().Budget(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(b, func(w io.Writer) { showBudget(w, b) })
		},
	}
	remove := &cobra.Command{
		Use: "rm NAME...", Aliases: []string{"remove"}, Short: "Forget budgets", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeBudgets,
		RunE: func(c *cobra.Command, args []string) error {
			for _, name := range args {
				if err := a.client().RemoveBudget(c.Context(), name); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.AddCommand(a.budgetSetCommand(), list, show, remove)
	return c
}

func (a *app) completeBudgets(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := a.client().Budgets(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, b := range all {
		names = append(names, b.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) budgetSetCommand() *cobra.Command {
	var limit money.Amount
	var r api.BudgetRequest
	var period, action string
	var scope []string
	var notify, forecast []int
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a budget, or change it",
		Long: "Make a budget, or change it. It is about the tasks in its scope, which is every task, or\n" +
			"those that --for says: account, region, family, definition, group, user or tag:KEY; of several,\n" +
			"a task must have all. Days and months begin at midnight UTC.\n\n" +
			"What is not said of a budget that is there stays as it is. All that was told counts anew.\n\n" +
			"At the limit a budget tells (notify), or also refuses new tasks (deny), or also stops running\n" +
			"ones (stop): they get their stop signal and have 30 seconds.",
		Example: "  berth budget set everything --limit 50 --per month --then deny\n" +
			"  berth budget set ann --limit 2 --per day --for user=ann --then stop --notify-at 50,80,100\n" +
			"  berth budget set web --limit 10 --for family=web,api --for tag:stage=test --webhook http://127.0.0.1:9000/berth",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeBudgets,
		RunE: func(c *cobra.Command, args []string) error {
			periods := map[string]budget.Period{"day": budget.Daily, "daily": budget.Daily, "month": budget.Monthly, "monthly": budget.Monthly}
			var ok bool
			if r.Period, ok = periods[strings.ToLower(period)]; !ok {
				return fault.New(fault.Invalid, "--per %q: it is day or month", period)
			}
			r.Limit, r.Action = limit, budget.Action(strings.ToUpper(action))
			q, err := costQuery(nil, scope, "", "total")
			if err != nil {
				return fault.New(fault.Invalid, "--for: %s", strings.TrimPrefix(fault.Message(err), "--filter "))
			}
			r.Scope = q.Filters
			for _, p := range notify {
				r.Notify = append(r.Notify, budget.Threshold{Type: budget.Actual, Percent: p})
			}
			for _, p := range forecast {
				r.Notify = append(r.Notify, budget.Threshold{Type: budget.Forecasted, Percent: p})
			}
			old, err := a.client().Budget(c.Context(), args[0])
			switch {
			case err == nil:
				keepUnsaid(&r, old.Budget, c.Flags().Changed)
			case fault.KindOf(err) != fault.NotFound:
				return err
			case limit == 0:
				return fault.New(fault.Invalid, "there is no budget %s yet: say its --limit", args[0])
			}
			b, err := a.client().PutBudget(c.Context(), args[0], r)
			if err != nil {
				return err
			}
			return a.print(b, func(w io.Writer) {
				showBudget(w, b)
				if b.Reached && b.Action != budget.Notify {
					fmt.Fprintf(w, "\nThe limit is reached already: %s.\n", doing[b.Action])
				}
			})
		},
	}
	f := c.Flags()
	f.Var(dollars{&limit}, "limit", "US `dollars` in each period; a new budget needs it")
	f.StringVar(&period, "per", "month", "`period`: day or month")
	f.StringVar(&action, "then", "notify", "`what` happens at the limit: notify, deny or stop")
	f.StringArrayVar(&scope, "for", nil, "`WHAT=VALUE`: only tasks that have it, as in family=web,db; can be repeated")
	f.IntSliceVar(&notify, "notify-at", nil, "`percent` of the limit that is spent at which it is told (default 100)")
	f.IntSliceVar(&forecast, "forecast-at", nil, "`percent` of the limit at which it is told if the forecast comes to it")
	f.StringVar(&r.Webhook, "webhook", "", "`URL` that is told by POST, with a CloudEvent")
	complete(c, "per", "day", "month")
	complete(c, "then", "notify", "deny", "stop")
	return c
}

// keepUnsaid takes from a budget what flags do not say otherwise.
func keepUnsaid(r *api.BudgetRequest, old budget.Budget, said func(flag string) bool) {
	if !said("limit") {
		r.Limit = old.Limit
	}
	if !said("per") {
		r.Period = old.Period
	}
	if !said("then") {
		r.Action = old.Action
	}
	if !said("for") {
		r.Scope = old.Scope
	}
	if !said("webhook") {
		r.Webhook = old.Webhook
	}
	for _, t := range old.Notify {
		if t.Type == budget.Actual && !said("notify-at") || t.Type == budget.Forecasted && !said("forecast-at") {
			r.Notify = append(r.Notify, t)
		}
	}
}

// doing says what a budget does that has reached its limit.
var doing = map[budget.Action]string{
	budget.Notify: "it is told",
	budget.Deny:   "new tasks are refused",
	budget.Stop:   "new tasks are refused and running ones are stopped",
}

func listBudgets(w io.Writer, all []budget.Status) {
	rows := [][]string{{"NAME", "FOR", "PER", "LIMIT", "SPENT", "", "HELD", "LEFT", "FORECAST", "AT THE LIMIT"}}
	for _, b := range all {
		rows = append(rows, []string{
			b.Name, scopeOf(b), periodOf(b), "$" + b.Limit.Short(), "$" + b.Spent.Short(), strconv.Itoa(b.Percent) + "%", "$" + b.Held.Short(),
			"$" + b.Left.Short(), "$" + b.Forecast.Short(), strings.ToLower(string(b.Action)),
		})
	}
	table(w, rows...)
}

func showBudget(w io.Writer, b budget.Status) {
	table(w, [][]string{
		{"Budget", b.Name},
		{"For", scopeOf(b)},
		{"Limit", "$" + b.Limit.Short() + " a " + periodOf(b)},
		{"Period", b.Period.Noun(budget.DayOf(b.From)) + " (UTC)"},
		{"Spent", fmt.Sprintf("$%s, %d%%", b.Spent.Short(), b.Percent)},
		{"Held", "$" + b.Held.Short() + " for what runs"},
		{"Left", "$" + b.Left.Short()},
		{"Forecast", "$" + b.Forecast.Short() + " if it goes on as in the last 24 hours"},
		{"At the limit", doing[b.Action]},
		{"Told at", thresholds(b.Notify)},
		{"Webhook", dash(b.Webhook)},
	}...)
}

func periodOf(b budget.Status) string {
	if b.Period == budget.Daily {
		return "day"
	}
	return "month"
}

// scopeOf writes a scope as --for reads it.
func scopeOf(b budget.Status) string {
	var all []string
	for _, by := range slices.Sorted(maps.Keys(b.Scope)) {
		if len(b.Scope[by]) == 0 {
			all = append(all, by)
		} else {
			all = append(all, by+"="+strings.Join(b.Scope[by], ","))
		}
	}
	if len(all) == 0 {
		return "every task"
	}
	return strings.Join(all, " ")
}

func thresholds(all []budget.Threshold) string {
	var texts []string
	for _, t := range all {
		text := strconv.Itoa(t.Percent) + "%"
		if t.Type == budget.Forecasted {
			text += " forecast"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}
