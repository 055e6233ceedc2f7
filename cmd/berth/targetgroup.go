package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/balancer"
	"berth/fault"
	"berth/server/api"
	"berth/task"
)

func (a *app) targetGroupCommand() *cobra.Command {
	c := &cobra.Command{Use: "target-group", Aliases: []string{"target-groups", "tg"}, Short: "Share what comes to a port of this host among tasks"}
	list := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the target groups", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := a.client().TargetGroups(c.Context())
			if err != nil {
				return err
			}
			return a.print(all, func(w io.Writer) { listTargetGroups(w, all) })
		},
	}
	describe := &cobra.Command{
		Use: "describe GROUP", Short: "Show a target group and how its targets are", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			g, err := a.client().TargetGroup(c.Context(), args[0])
			if err != nil {
				return err
			}
			targets, err := a.client().Targets(c.Context(), args[0])
			if err != nil {
				return err
			}
			both := struct {
				balancer.TargetGroup
				Targets []balancer.Target `json:"targets"`
			}{g, targets}
			return a.print(both, func(w io.Writer) { describeTargetGroup(w, g, targets, a.now()) })
		},
	}
	remove := &cobra.Command{
		Use: "rm GROUP...", Aliases: []string{"remove"}, Short: "Remove target groups that no task names", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, ref := range args {
				if err := a.client().RemoveTargetGroup(c.Context(), ref); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.AddCommand(a.targetGroupPutCommand(), list, describe, remove)
	return c
}

func (a *app) targetGroupPutCommand() *cobra.Command {
	var r api.TargetGroupRequest
	var h api.TargetCheckRequest
	var interval, timeout, delay time.Duration
	c := &cobra.Command{
		Use:   "put NAME",
		Short: "Make a target group, or change it",
		Long: "Make a target group, or change it; its targets stay. Tasks become its targets by being run\n" +
			"with --target-group, or by a service. Healthy ones are asked in turn.",
		Example: "  berth target-group put web --listen-port 8000 --path /health --interval 5s\n" +
			"  berth run -f web.json --count 2 --target-group web:app:8080\n" +
			"  curl http://127.0.0.1:8000/",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, d := range []struct {
				flag  string
				value time.Duration
			}{{"interval", interval}, {"timeout", timeout}, {"deregistration-delay", delay}} {
				if d.value%time.Second != 0 || d.value < 0 {
					return fault.New(fault.Invalid, "--%s %s: it is a whole number of seconds", d.flag, d.value)
				}
			}
			h.Interval, h.Timeout = task.Seconds(interval/time.Second), task.Seconds(timeout/time.Second)
			if h != (api.TargetCheckRequest{}) {
				r.HealthCheck = &h
			}
			if c.Flags().Changed("deregistration-delay") {
				seconds := task.Seconds(delay / time.Second)
				r.DeregistrationDelay = &seconds
			}
			g, err := a.client().PutTargetGroup(c.Context(), args[0], r)
			if err != nil {
				return err
			}
			return a.print(g, func(w io.Writer) { fmt.Fprintln(w, clean(g.ARN)) })
		},
	}
	f := c.Flags()
	f.StringVar(&r.Protocol, "protocol", "", "HTTP, which shares out requests, or TCP, which shares out connections (default HTTP)")
	f.IntVar(&r.ListenPort, "listen-port", 0, "`port` of the host that leads to the targets")
	f.StringVar(&h.Protocol, "check-protocol", "", "HTTP or TCP (default: as --protocol)")
	f.StringVar(&h.Path, "path", "", "`path` that health checks ask for (default /)")
	f.StringVar(&h.Matcher, "matcher", "", "`codes` of HTTP that pass, as in 200,301-302 (default 200-399)")
	f.DurationVar(&interval, "interval", 0, "between two health checks of a target (default 30s)")
	f.DurationVar(&timeout, "timeout", 0, "of a health check (default 5s)")
	f.IntVar(&h.Healthy, "healthy-threshold", 0, "checks in a row that an unhealthy target has to pass (default 5)")
	f.IntVar(&h.Unhealthy, "unhealthy-threshold", 0, "checks in a row that a healthy target has to fail (default 2)")
	f.DurationVar(&delay, "deregistration-delay", 300*time.Second, "how long what a target was sent may take when its task ends")
	complete(c, "protocol", "HTTP", "TCP")
	complete(c, "check-protocol", "HTTP", "TCP")
	return c
}

// parseTargets reads GROUP:CONTAINER:PORT, where the group may be an ARN.
func parseTargets(all []string) ([]task.LoadBalancer, error) {
	var found []task.LoadBalancer
	for _, text := range all {
		rest, port, ok := cutLast(text, ":")
		group, container, ok2 := cutLast(rest, ":")
		n, err := strconv.Atoi(port)
		if !ok || !ok2 || err != nil || group == "" || container == "" {
			return nil, fault.New(fault.Invalid, "--target-group %q: write GROUP:CONTAINER:PORT, as in web:app:8080", text)
		}
		found = append(found, task.LoadBalancer{TargetGroupARN: group, ContainerName: container, ContainerPort: n})
	}
	return found, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func listTargetGroups(w io.Writer, all []balancer.TargetGroup) {
	rows := [][]string{{"NAME", "PROTOCOL", "LISTENS AT", "CHECK", "DELAY"}}
	for _, g := range all {
		rows = append(rows, []string{g.Name, string(g.Protocol), listensAt(g), checkLine(g.HealthCheck), fmt.Sprintf("%ds", g.DeregistrationDelay)})
	}
	table(w, rows...)
}

func listensAt(g balancer.TargetGroup) string {
	if g.ListenPort == 0 {
		return "-"
	}
	return strconv.Itoa(g.ListenPort)
}

func checkLine(h balancer.Check) string {
	what := "connects"
	if h.Protocol == balancer.HTTP {
		what = h.Path + " is " + h.Matcher
	}
	return fmt.Sprintf("%s every %ds", what, h.Interval)
}

func describeTargetGroup(w io.Writer, g balancer.TargetGroup, targets []balancer.Target, now time.Time) {
	table(w, []string{"Name", g.Name}, []string{"ARN", g.ARN}, []string{"Protocol", string(g.Protocol)}, []string{"Listens at", listensAt(g)},
		[]string{"Check", checkLine(g.HealthCheck)}, []string{"Delay", fmt.Sprintf("%ds", g.DeregistrationDelay)})
	fmt.Fprintln(w)
	rows := [][]string{{"TASK", "CONTAINER", "ADDRESS", "STATE", "FOR", "OPEN", "SERVED", "WHY"}}
	for _, t := range targets {
		id, _ := task.ParseID(t.TaskARN)
		rows = append(rows, []string{
			string(id), t.Container, fmt.Sprintf("%s:%d", t.IP, t.Port), string(t.State), now.Sub(t.Since).Round(time.Second).String(),
			strconv.Itoa(t.Open), strconv.FormatUint(t.Served, 10), dash(t.Description),
		})
	}
	table(w, rows...)
}
