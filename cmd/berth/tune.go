package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/billing"
	"berth/billing/tuning"
	"berth/fault"
	"berth/task"
)

// tuneFlags say what to try, or which tuning is meant.
type tuneFlags struct {
	sizes, env  []string
	maxCost     billing.Money // 0: not given
	maxDuration time.Duration
	balance     float64
	request     tuning.Request
	detach      bool

	follow, cancel, resume, remove string // a tuning that there is
	list                           bool
}

func (a *app) tuneCommand() *cobra.Command {
	var q tuneFlags
	c := &cobra.Command{
		Use:   "tune DEFINITION [-- COMMAND [ARG...]]",
		Short: "Run a definition at several sizes and say which is cheapest and fastest",
		Long: "Run a definition some times at each of several sizes, under the real limits, and say what\n" +
			"each size took, cost and failed at: the cheapest, the fastest and the best balance. What\n" +
			"follows -- replaces the command of the first essential container.\n\n" +
			"The server makes the runs, one at a time unless --parallelism says otherwise, sizes in\n" +
			"turns. They cost what tasks cost, and together no more than --max-cost. Ctrl-C leaves a\n" +
			"tuning going on; --follow comes back to it, --cancel ends it, and --resume lets one go on\n" +
			"that ended early.",
		Example: "  berth rightsize tune job --sizes 256:512,512:1024,1024:2048 --runs 5 --max-cost 0.05\n" +
			"  berth rightsize tune --resume 0199a1b2c3d47e5f8a9b0c1d2e3f4a5b --max-cost 0.10",
		RunE: func(c *cobra.Command, args []string) error {
			for flag, n := range map[string]int{"runs": q.request.Runs, "parallelism": q.request.Parallelism} {
				if c.Flags().Changed(flag) && n == 0 {
					return fault.New(fault.Invalid, "--%s: must be at least 1", flag) // The server takes 0 as left out.
				}
			}
			if err := q.check(c.Flags()); err != nil {
				return err
			}
			if !c.Flags().Changed("balance") {
				return a.tune(c.Context(), q, nil, args, c.ArgsLenAtDash())
			}
			return a.tune(c.Context(), q, &q.balance, args, c.ArgsLenAtDash())
		},
		ValidArgsFunction: a.completeDefinitions,
	}
	f := c.Flags()
	f.StringSliceVar(&q.sizes, "sizes", nil, "`CPU:MEMORY` pairs with commas between them (default: half, once, twice and four times the definition's CPU)")
	f.IntVar(&q.request.Runs, "runs", 0, "how many runs at each size, 1 to 100 (default 5)")
	f.Var(dollars{&q.maxCost}, "max-cost", "US `dollars` that all runs together may cost (default: twice the estimate)")
	f.DurationVar(&q.maxDuration, "max-duration", 0, "stop a run that goes on for longer, and count it as a failure (default 15m)")
	f.IntVar(&q.request.Parallelism, "parallelism", 0, "how many runs side by side, which disturb each other (default 1)")
	f.Float64Var(&q.balance, "balance", 0.5, "weight of the cost in the best balance, from 0 to 1; the rest is that of the duration")
	f.BoolVar(&q.request.WarmUp, "warm-up", false, "make one run more, before all others, that does not count")
	f.StringArrayVarP(&q.env, "env", "e", nil, "set `KEY=VALUE` in every container; KEY alone takes the value from here")
	f.BoolVar(&q.detach, "detach", false, "print the ID of the tuning and leave it")
	f.StringVar(&q.follow, "follow", "", "show how the tuning with this `ID` goes on")
	f.StringVar(&q.cancel, "cancel", "", "end the tuning with this `ID`; what it has found stays")
	f.StringVar(&q.resume, "resume", "", "let the tuning with this `ID` go on, with another --max-cost if that is given")
	f.StringVar(&q.remove, "remove", "", "forget the tuning with this `ID`, which has ended")
	f.BoolVar(&q.list, "list", false, "list the tunings that there are")
	return c
}

// check refuses a time that would be taken as left out, and what JSON does not have.
func (q *tuneFlags) check(f *pflag.FlagSet) error {
	if f.Changed("max-duration") && q.maxDuration == 0 {
		return fault.New(fault.Invalid, "--max-duration must be more than 0")
	}
	if !(q.balance >= 0 && q.balance <= 1) {
		return fault.New(fault.Invalid, "--balance %v: it is from 0 to 1", q.balance)
	}
	return nil
}

// tune does what the flags say. balance is nil if it is not given.
func (a *app) tune(ctx context.Context, q tuneFlags, balance *float64, args []string, dash int) error {
	var command []string
	if dash >= 0 {
		args, command = args[:dash], args[dash:]
	}
	about := 0 // tunings that there are
	for _, is := range []bool{q.follow != "", q.cancel != "", q.resume != "", q.remove != "", q.list} {
		if is {
			about++
		}
	}
	if about > 1 || about+len(args) != 1 {
		return fault.New(fault.Invalid, "give the name of one task definition, or one of --follow, --cancel, --resume, --remove and --list")
	}
	var most *billing.Money
	if q.maxCost > 0 {
		most = &q.maxCost
	}
	var r tuning.Report
	var err error
	switch {
	case q.list:
		return a.listTunings(ctx)
	case q.remove != "":
		return a.client().RemoveTuning(ctx, q.remove)
	case q.cancel != "":
		r, err = a.client().CancelTuning(ctx, q.cancel)
	case q.resume != "":
		r, err = a.client().ResumeTuning(ctx, q.resume, most)
	case q.follow != "":
		r, err = a.client().Tuning(ctx, q.follow)
	default:
		request := q.request
		request.TaskDefinition, request.MaxCost, request.Balance = args[0], most, balance
		if err := a.tuneRequest(ctx, q, &request, command); err != nil {
			return err
		}
		if r, err = a.client().Tune(ctx, request); err == nil {
			a.announce(r)
		}
	}
	if err != nil {
		return err
	}
	if q.detach {
		return a.print(r, func(w io.Writer) { fmt.Fprintln(w, r.ID) })
	}
	if q.cancel != "" {
		return a.followTuning(ctx, r, tuning.Cancelled)
	}
	return a.followTuning(ctx, r, tuning.Completed)
}

// tuneRequest fills in what has to be read or asked for.
func (a *app) tuneRequest(ctx context.Context, q tuneFlags, r *tuning.Request, command []string) error {
	for _, s := range q.sizes {
		cpu, memory, ok := strings.Cut(s, ":")
		size, err := task.ParseSize(cpu, memory)
		if !ok || err != nil {
			why := "it is CPU:MEMORY, as in 512:1024"
			if ok {
				why = fault.Message(err)
			}
			return fault.New(fault.Invalid, "--sizes %s: %s", s, why)
		}
		r.Sizes = append(r.Sizes, tuning.Size{CPU: size.CPU, Memory: size.Memory})
	}
	if q.maxDuration < 0 || q.maxDuration%time.Second != 0 {
		return fault.New(fault.Invalid, "--max-duration %s: it is a whole number of seconds", q.maxDuration)
	}
	if r.MaxDurationSeconds = int64(q.maxDuration / time.Second); len(q.env) == 0 && len(command) == 0 {
		return nil
	}
	name, err := json.Marshal(r.TaskDefinition)
	if err != nil {
		return fmt.Errorf("encode name: %w", err)
	}
	containers, err := a.overrides(ctx, name, q.env, command)
	r.Overrides = &task.Overrides{Containers: containers}
	return err
}

// announce says what was decided for a tuning.
func (a *app) announce(r tuning.Report) {
	a.note("Tuning %s of %s: %s for $%s at most, and $%s more if runs have to be stopped", r.ID, lastPart(r.TaskDefinition), count(r.Planned, "run"), r.MaxCost, r.MayOverrun)
	for _, n := range r.Notes {
		a.note("Note: %s", clean(n))
	}
}

// Of a server that does not answer, those who follow a tuning ask again: it restarts.
const (
	askAgain   = time.Second
	restarting = 30 // times
)

// followTuning shows how a tuning goes on until it has ended, and then what it has found.
// Ctrl-C leaves it going on. To end otherwise than wanted is a failure.
func (a *app) followTuning(ctx context.Context, r tuning.Report, wanted tuning.Status) error {
	ctx, release := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer release()
	p := trials{w: a.err, terminal: terminal(a.err)}
	for silent := 0; ; {
		if p.show(r); r.Status.Ended() {
			break
		}
		next, err := a.client().WaitTuning(ctx, string(r.ID), r.Version, 30*time.Second)
		switch {
		case ctx.Err() != nil:
			p.hide()
			a.note("The tuning goes on. \"berth rightsize tune --follow %s\" shows how, --cancel %s ends it.", r.ID, r.ID)
			return exit(130) // 128 + SIGINT
		case err == nil:
			r, silent = next, 0
		case fault.KindOf(err) != fault.Unavailable || silent == restarting:
			p.hide()
			return err
		default:
			silent++
			wait := time.NewTimer(askAgain)
			select {
			case <-wait.C:
			case <-ctx.Done():
				wait.Stop()
			}
		}
	}
	p.hide()
	if err := a.print(r, func(w io.Writer) { printTuning(w, r) }); err != nil {
		return err
	}
	if r.Status != wanted {
		return exit(1)
	}
	return nil
}

func (a *app) listTunings(ctx context.Context) error {
	var all []tuning.Tuning
	for token := ""; ; {
		page, err := a.client().Tunings(ctx, token)
		if err != nil {
			return err
		}
		all = append(all, page.Tunings...)
		if token = page.NextToken; token == "" {
			break
		}
	}
	return a.print(slices.Concat([]tuning.Tuning{}, all), func(w io.Writer) {
		rows := [][]string{{"TUNING", "DEFINITION", "STATUS", "SPENT", "MAX COST", "CREATED"}}
		for _, t := range all {
			rows = append(rows, []string{string(t.ID), lastPart(t.TaskDefinition), string(t.Status), "$" + t.Spent.String(), "$" + t.MaxCost.String(), moment(t.CreatedAt)})
		}
		table(w, rows...)
	})
}

// trials shows how far a tuning has come: a line for each run that has ended, and on a
// terminal a bar below.
type trials struct {
	w        io.Writer
	terminal bool
	drawn    bool
	told     map[string]bool // runs
}

func (p *trials) show(r tuning.Report) {
	p.hide()
	if p.told == nil {
		p.told = make(map[string]bool)
	}
	for _, run := range r.Log {
		key := fmt.Sprint(run.CPU, run.Memory, run.N, run.Attempt)
		if run.State == tuning.Ended && !p.told[key] {
			p.told[key] = true
			fmt.Fprintln(p.w, clean(ranAs(run)))
		}
	}
	if p.terminal && !r.Status.Ended() {
		full := 0
		if r.Planned > 0 {
			full = r.Made * barWidth / r.Planned
		}
		fmt.Fprintf(p.w, "[%s%s] %d of %d runs, $%s of $%s%s\n", strings.Repeat("█", full), strings.Repeat("░", barWidth-full),
			r.Made, r.Planned, r.Spent, r.MaxCost, goingOn(r))
		p.drawn = true
	}
}

func (p *trials) hide() {
	if p.drawn {
		fmt.Fprintf(p.w, up+"\r"+wipe, 1)
		p.drawn = false
	}
}

// goingOn says what of r goes on.
func goingOn(r tuning.Report) string {
	var sizes []string
	for _, run := range r.Log {
		if run.State != tuning.Ended {
			sizes = append(sizes, size(task.Size(run.Size)))
		}
	}
	if len(sizes) == 0 {
		return ""
	}
	return "; running at " + strings.Join(sizes, " and ")
}

// endedAs says in words how a run ended.
var endedAs = map[tuning.Outcome]string{
	tuning.Succeeded: "succeeded", tuning.OutOfMem: "ran out of memory", tuning.ExitCode: "failed", tuning.TimedOut: "timed out",
	tuning.NotStarted: "did not start", tuning.StoppedBy: "was stopped", tuning.Lost: "was lost", tuning.Discarded: "does not count",
}

// ranAs says in a line how a run ended.
func ranAs(r tuning.Run) string {
	name := "run " + strconv.Itoa(r.N)
	if r.N == 0 {
		name = "warm-up"
	}
	line := fmt.Sprintf("%s, %s %s", size(task.Size(r.Size)), name, endedAs[r.Outcome])
	if r.Task != "" {
		line += fmt.Sprintf(" after %s, $%s", span(r.RunNanos), r.Cost)
	}
	if r.Reason != "" {
		line += " (" + r.Reason + ")"
	}
	return line
}
