package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/client"
	"berth/fault"
	"berth/task"
)

func (a *app) psCommand() *cobra.Command {
	var all, quiet bool
	var q client.TaskQuery
	var status string
	var most int
	c := &cobra.Command{
		Use:     "ps",
		Aliases: []string{"ls"},
		Short:   "List tasks, newest first",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q.LastStatus = task.Status(strings.ToUpper(status))
			tasks := []task.Task{}
			for t, err := range a.client().Tasks(c.Context(), q) {
				if err != nil {
					return err
				}
				if !all && q.LastStatus == "" && t.LastStatus.Final() {
					continue
				}
				if tasks = append(tasks, t); len(tasks) == most {
					break
				}
			}
			if quiet {
				for _, t := range tasks {
					fmt.Fprintln(a.out, t.ID)
				}
				return nil
			}
			return a.print(tasks, func(w io.Writer) { a.listTasks(w, tasks) })
		},
	}
	f := c.Flags()
	f.BoolVarP(&all, "all", "a", false, "stopped tasks too")
	f.BoolVarP(&quiet, "quiet", "q", false, "only the IDs")
	f.StringVar(&status, "status", "", "only tasks in this `state`")
	f.StringVar(&q.Cluster, "cluster", "", "only tasks in this cluster")
	f.StringVar(&q.Family, "family", "", "only tasks of this family")
	f.StringVar(&q.Group, "group", "", "only tasks of this group")
	f.StringVar(&q.StartedBy, "started-by", "", "only tasks that this one started")
	f.StringVar(&q.Tag, "tag", "", "only tasks with this tag: `KEY or KEY=VALUE`")
	f.IntVar(&most, "limit", 0, "at most so many")
	names := make([]string, len(task.Statuses))
	for i, s := range task.Statuses {
		names[i] = string(s)
	}
	complete(c, "status", names...)
	return c
}

func (a *app) listTasks(w io.Writer, tasks []task.Task) {
	rows := [][]string{{"TASK", "DEFINITION", "STATUS", "CPU", "MEMORY", "AGE", "EXIT", "REASON"}}
	for _, t := range tasks {
		s := t.Size()
		rows = append(rows, []string{
			string(t.ID), lastPart(t.DefinitionARN), string(t.LastStatus), vcpu(s.CPU), mebi(s.Memory),
			span(a.now().Sub(t.CreatedAt)), exits(t), t.StoppedReason,
		})
	}
	table(w, rows...)
}

// exits lists the exit codes of a task's containers.
func exits(t task.Task) string {
	var codes []string
	for _, c := range t.Containers {
		if c.ExitCode != nil {
			codes = append(codes, strconv.Itoa(*c.ExitCode))
		}
	}
	return dash(strings.Join(codes, ","))
}

func (a *app) describeCommand() *cobra.Command {
	var isolation bool
	c := &cobra.Command{
		Use:               "describe TASK",
		Short:             "Show all about a task",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeTasks,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := a.client().Task(c.Context(), args[0])
			if err != nil {
				return err
			}
			if isolation {
				i, err := a.client().Isolation(c.Context(), args[0])
				if err != nil {
					return err
				}
				return a.print(i, func(w io.Writer) { describeIsolation(w, i) })
			}
			return a.print(t, func(w io.Writer) { describeTask(w, t, a.now()) })
		},
	}
	c.Flags().BoolVar(&isolation, "isolation", false, "show what keeps the task apart, as the host's kernel says it is")
	return c
}

func describeTask(w io.Writer, t task.Task, now time.Time) {
	rows := [][]string{
		{"Task", string(t.ID)},
		{"Definition", lastPart(t.DefinitionARN)},
		{"Status", statusLine(t)},
		{"Size", size(t.Size())},
		{"Group", t.Group},
	}
	if t.Health != task.Unknown {
		rows = append(rows, []string{"Health", t.Health})
	}
	optional := [][]string{
		{"Capacity", t.CapacityProvider}, {"Runtime", string(t.Runtime)}, {"Started by", t.StartedBy}, {"Stop code", t.StopCode}, {"Reason", t.StoppedReason}, {"Tags", tagLine(t.Tags)},
	}
	if t.Timeout > 0 {
		optional = append(optional, []string{"Timeout", span(time.Duration(t.Timeout) * time.Second)})
	}
	for _, at := range t.Attachments {
		for _, d := range at.Details {
			if d.Name == "privateIPv4Address" {
				optional = append(optional, []string{"Address", d.Value})
			}
		}
	}
	optional = append(optional, []string{"Ports", portLine(t)}, []string{"Groups", strings.Join(t.Groups(), ", ")})
	for _, row := range optional {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	table(w, rows...)

	rows = [][]string{{"CONTAINER", "IMAGE", "STATUS", "HEALTH", "RESTARTS", "ESSENTIAL", "EXIT", "REASON"}}
	for _, c := range t.Containers {
		code := "-"
		if c.ExitCode != nil {
			code = strconv.Itoa(*c.ExitCode)
		}
		rows = append(rows, []string{c.Name, c.Image, string(c.LastStatus), dash(known(c.Health)), strconv.Itoa(c.RestartCount), yes(c.Essential), code, c.Reason})
	}
	fmt.Fprintln(w)
	table(w, rows...)
	fmt.Fprintln(w)
	table(w, timeline(t, now)...)
}

// known is health, if anything is known of it.
func known(health string) string {
	if health == task.Unknown {
		return ""
	}
	return health
}

func statusLine(t task.Task) string {
	if t.LastStatus != task.Stopped && t.DesiredStatus == task.Stopped {
		return string(t.LastStatus) + ", asked to stop"
	}
	return string(t.LastStatus)
}

func tagLine(tags []task.Tag) string {
	var all []string
	for _, t := range tags {
		all = append(all, t.Key+"="+t.Value)
	}
	return strings.Join(all, ", ")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// portLine says which ports of the host lead to the task.
func portLine(t task.Task) string {
	var all []string
	for _, c := range t.Containers {
		for _, b := range c.NetworkBindings {
			if b.HostPort != 0 {
				all = append(all, fmt.Sprintf("%s:%d -> %s:%d/%s", b.BindIP, b.HostPort, c.Name, b.ContainerPort, b.Protocol))
			}
		}
	}
	return strings.Join(all, ", ")
}

// timeline shows when the task got where, and how long it took from there.
func timeline(t task.Task, now time.Time) [][]string {
	steps := []struct {
		name string
		at   time.Time
	}{
		{"created", t.CreatedAt},
		{"pull started, charge begins", t.PullStartedAt},
		{"pull stopped", t.PullStoppedAt},
		{"running", t.StartedAt},
		{"stopping", t.StoppingAt},
		{"processes ended", t.ExecutionStoppedAt},
		{"stopped, charge ends", t.StoppedAt},
	}
	rows := [][]string{{"TIMELINE (UTC)", "", "LASTED"}}
	for i, s := range steps {
		if s.at.IsZero() {
			continue
		}
		next, last := now, true
		for _, later := range steps[i+1:] {
			if !later.at.IsZero() {
				next, last = later.at, false
				break
			}
		}
		lasted := span(next.Sub(s.at))
		if last && t.LastStatus.Final() {
			lasted = ""
		}
		rows = append(rows, []string{moment(s.at), s.name, lasted})
	}
	return rows
}

func (a *app) logsCommand() *cobra.Command {
	var q client.LogQuery
	var tail int
	var stamps bool
	c := &cobra.Command{
		Use:               "logs TASK",
		Short:             "Show what a task's containers wrote",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeTasks,
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("tail") {
				q.Tail = &tail
			}
			t, err := a.client().Task(c.Context(), args[0])
			if err != nil {
				return err
			}
			for line, err := range a.client().Logs(c.Context(), args[0], q) {
				if err != nil {
					return err
				}
				if a.output == "json" {
					if err := a.printLineJSON(line); err != nil {
						return err
					}
					continue
				}
				p := prefix(t, line, len(t.Containers) > 1 && q.Container == "", false)
				if stamps {
					p = line.At.UTC().Format(time.RFC3339Nano) + " " + p
				}
				a.printLine(line, p)
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on until the task has stopped")
	f.StringVarP(&q.Container, "container", "c", "", "only this container")
	f.StringVar(&q.Stream, "stream", "", "only this stream: stdout or stderr")
	f.IntVarP(&tail, "tail", "n", 0, "only the last so many lines")
	f.StringVar(&q.Since, "since", "", "only from this `time` on: RFC 3339, or how long ago, as in 10m")
	f.StringVar(&q.Until, "until", "", "only until this `time`")
	f.BoolVarP(&stamps, "timestamps", "t", false, "show when each line was written")
	complete(c, "stream", "stdout", "stderr")
	return c
}

func (a *app) stopCommand() *cobra.Command {
	var reason string
	var waits bool
	c := &cobra.Command{
		Use:   "stop TASK...",
		Short: "Stop tasks",
		Long: "Stop tasks: their containers get their image's STOPSIGNAL, and after their stopTimeout SIGKILL.\n" +
			"All are asked, also if one of them cannot be stopped, before any is waited for.",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTasks,
		RunE: func(c *cobra.Command, args []string) error {
			stopped, failed := askEach(args, func(id string) (task.Task, error) { return a.client().Stop(c.Context(), id, reason) })
			if waits {
				asked := stopped
				stopped = nil
				for _, t := range asked {
					t, err := a.await(c.Context(), t)
					if err != nil {
						failed = append(failed, err)
						continue
					}
					stopped = append(stopped, t)
				}
			}
			return a.printIDs(stopped, failed)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, shown as the task's stoppedReason")
	c.Flags().BoolVar(&waits, "wait", false, "wait until they have stopped")
	return c
}

func (a *app) interruptCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "interrupt TASK...",
		Short: "Interrupt tasks on FARGATE_SPOT",
		Long: "Interrupt tasks on FARGATE_SPOT, as when their capacity is needed elsewhere: an event and\n" +
			"SIGTERM warn them, and SIGKILL ends what is left when the notice is over (--spot-notice of\n" +
			"the server).",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTasks,
		RunE: func(c *cobra.Command, args []string) error {
			return a.printIDs(askEach(args, func(id string) (task.Task, error) { return a.client().Interrupt(c.Context(), id) }))
		},
	}
}

// askEach asks the same of tasks, one after another, and returns those that took it and
// what the others said. None waits for the end of another.
func askEach(ids []string, ask func(id string) (task.Task, error)) (taken []task.Task, failed []error) {
	for _, id := range ids {
		t, err := ask(id)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		taken = append(taken, t)
	}
	return taken, failed
}

// printIDs prints the IDs of tasks, if there are any, and returns what failed with others.
func (a *app) printIDs(tasks []task.Task, failed []error) error {
	if len(tasks) > 0 {
		failed = append(failed, a.print(tasks, func(w io.Writer) {
			for _, t := range tasks {
				fmt.Fprintln(w, t.ID)
			}
		}))
	}
	return errors.Join(failed...)
}

// await waits until t has stopped.
func (a *app) await(ctx context.Context, t task.Task) (task.Task, error) {
	for now, err := range a.client().Watch(ctx, string(t.ID)) {
		if err != nil {
			return t, err
		}
		t = now
	}
	if !t.LastStatus.Final() {
		return t, fault.New(fault.Unavailable, "the server ended before task %s had stopped", t.ID)
	}
	return t, nil
}

func clientTasks(status task.Status) client.TaskQuery { return client.TaskQuery{LastStatus: status} }
