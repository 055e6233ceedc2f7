package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/fault"
	"berth/money"
	"berth/server/api"
	"berth/task"
)

// codeBerth is the exit code of "berth run" when Berth, not the container,
// failed. It is Docker's code for that.
const codeBerth = 125

// wish is what the flags of "berth run" say.
type wish struct {
	file      string
	follow    bool
	dryRun    bool
	count     int
	env       []string
	cpu       string
	memory    string
	timeout   time.Duration
	tags      []string
	cluster   string
	group     string
	startedBy string
	token     string
	container string
	groups    []string
	targets   []string
	publish   bool
	spot      bool
	runtime   string
	maxCost   money.Amount
	asserts   asserts
}

func (a *app) runCommand() *cobra.Command {
	var w wish
	c := &cobra.Command{
		Use:   "run {-f FILE | DEFINITION} [-- COMMAND [ARG...]]",
		Short: "Run a task definition",
		Long: "Run a task definition: a file with the JSON of an ECS task definition, or the name of a\n" +
			"registered one (family, family:revision or ARN). What follows -- replaces the command of\n" +
			"the first essential container.\n\n" +
			"Without --follow the IDs of the tasks are printed and that is all. With it, the logs are\n" +
			"printed until the tasks stop, and the exit code is that of the first essential container\n" +
			"that failed; 125 means that Berth itself failed. Ctrl-C asks the tasks to stop; a second\n" +
			"one leaves them to it.\n\n" +
			"--assert-cost and --assert-peak-memory follow the tasks too. Once they have ended, what was\n" +
			"asked for is compared with the ledger's bill and with the most memory that the kernel\n" +
			"counted, page cache included. More than that is exit code 122, unless a container failed:\n" +
			"then its code counts. What is not known is 125.",
		Example: "  berth run -f task.json --follow\n  berth run web:3 --count 2 --env MODE=test --cpu 512 --memory 1GB\n  berth run -f job.json --assert-cost 0.002 --assert-peak-memory 300MiB",
		RunE: func(c *cobra.Command, args []string) error {
			if err := w.asserts.check(c.Flags(), &w); err != nil {
				return failure{err, codeBerth}
			}
			if err := a.run(c.Context(), w, args, c.ArgsLenAtDash()); err != nil {
				if _, done := err.(exit); done {
					return err
				}
				return failure{err, codeBerth}
			}
			return nil
		},
		ValidArgsFunction: a.completeDefinitions,
	}
	f := c.Flags()
	f.StringVarP(&w.file, "file", "f", "", "`file` with a task definition; - is standard input")
	f.BoolVar(&w.follow, "follow", false, "print logs until the tasks stop, and exit as they do")
	f.BoolVar(&w.dryRun, "dry-run", false, "check everything, say what would run, whether it would start now and what it would cost, and do nothing")
	w.asserts.flags(f)
	f.IntVar(&w.count, "count", 1, "how many tasks, 1 to 10")
	f.StringArrayVarP(&w.env, "env", "e", nil, "set `KEY=VALUE` in every container; KEY alone takes the value from here")
	f.StringVar(&w.cpu, "cpu", "", "override the task's CPU: `units`, or as in \".5 vCPU\"")
	f.StringVar(&w.memory, "memory", "", "override the task's memory: `MiB`, or as in \"1 GB\"")
	f.DurationVar(&w.timeout, "timeout", 0, "stop the task this long after it started running")
	f.Var(dollars{&w.maxCost}, "max-cost", "stop the tasks before they cost more than so many US `dollars` together")
	f.StringArrayVar(&w.tags, "tag", nil, "`KEY=VALUE` to put on the tasks")
	f.StringVar(&w.cluster, "cluster", "", "cluster of the tasks (default \"default\")")
	f.StringVar(&w.group, "group", "", "group of the tasks (default family:NAME)")
	f.StringVar(&w.startedBy, "started-by", "", "who started the tasks")
	f.StringSliceVar(&w.targets, "target-group", nil, "`GROUP:CONTAINER:PORT`: the tasks are targets of that group; can be repeated")
	f.StringSliceVar(&w.groups, "security-group", nil, "security `group` of the tasks, by name or ID; can be repeated")
	f.BoolVar(&w.publish, "publish", false, "let this host pass the tasks' portMappings on, on ports that \"berth describe\" shows")
	f.BoolVar(&w.spot, "spot", false, "run on FARGATE_SPOT: for less, and it can be interrupted")
	f.StringVar(&w.runtime, "runtime", "", "what stands between the tasks and the host's kernel: runc, gvisor or kata (default: what the server says)")
	complete(c, "runtime", "runc", "gvisor", "kata")
	f.StringVar(&w.token, "token", "", "idempotency `key`: the same key with the same request returns the same tasks")
	return c
}

func (a *app) run(ctx context.Context, w wish, args []string, dash int) error {
	request, err := a.request(ctx, w, args, dash)
	if err != nil {
		return err
	}
	if w.dryRun {
		p, err := a.client().Preview(ctx, request)
		if err != nil {
			return err
		}
		if err := a.print(p, func(out io.Writer) { printPreview(out, p) }); err != nil {
			return err
		}
		return refused(p)
	}
	tasks, err := a.client().Run(ctx, request)
	if err != nil {
		return err
	}
	if !w.follow {
		return a.print(tasks, func(out io.Writer) {
			for _, t := range tasks {
				fmt.Fprintln(out, t.ID)
			}
		})
	}
	ended, code, err := a.follow(ctx, tasks)
	if err == nil && ended != nil {
		code, err = a.assert(ctx, w.asserts, ended, code)
	}
	if err != nil || code == 0 {
		return err
	}
	return exit(code)
}

// request makes the request of what the flags say.
func (a *app) request(ctx context.Context, w wish, args []string, dash int) (r api.RunRequest, err error) {
	var command []string
	if dash >= 0 {
		args, command = args[:dash], args[dash:]
	}
	switch {
	case w.file == "" && len(args) != 1, w.file != "" && len(args) != 0:
		return r, fault.New(fault.Invalid, "say what to run: either -f FILE or the name of one task definition")
	case w.timeout%time.Second != 0 || w.timeout < 0:
		return r, fault.New(fault.Invalid, "--timeout %s: it is a whole number of seconds", w.timeout)
	}
	r = api.RunRequest{
		Count: &w.count, Cluster: w.cluster, Group: w.group, StartedBy: w.startedBy,
		TimeoutSeconds: task.Seconds(w.timeout / time.Second), ClientToken: w.token, Runtime: w.runtime,
	}
	if w.maxCost > 0 {
		r.MaxCost = &w.maxCost
	}
	if w.spot {
		r.CapacityProviderStrategy = []task.CapacityProvider{{Name: task.Spot, Weight: 1}}
	}
	if len(w.groups) > 0 || w.publish {
		r.NetworkConfiguration = &task.NetworkConfiguration{AWSVPC: task.AWSVPC{SecurityGroups: w.groups}}
		if w.publish {
			r.NetworkConfiguration.AWSVPC.AssignPublicIP = "ENABLED"
		}
	}
	if r.Tags, err = parseTags(w.tags); err != nil {
		return r, err
	}
	if r.LoadBalancers, err = parseTargets(w.targets); err != nil {
		return r, err
	}
	if w.file != "" {
		if r.TaskDefinition, err = a.readDefinition(w.file); err != nil {
			return r, err
		}
	} else if r.TaskDefinition, err = json.Marshal(args[0]); err != nil {
		return r, fmt.Errorf("encode name: %w", err)
	}
	if w.cpu == "" && w.memory == "" && len(w.env) == 0 && len(command) == 0 {
		return r, nil
	}
	r.Overrides = &task.Overrides{CPU: w.cpu, Memory: w.memory}
	if len(w.env) > 0 || len(command) > 0 {
		r.Overrides.Containers, err = a.overrides(ctx, r.TaskDefinition, w.env, command)
	}
	return r, err
}

// overrides says for every container what is different in it.
func (a *app) overrides(ctx context.Context, definition json.RawMessage, env, command []string) ([]task.ContainerOverride, error) {
	vars, err := a.parseEnv(env)
	if err != nil {
		return nil, err
	}
	var d task.Definition
	var name string
	if json.Unmarshal(definition, &name) == nil {
		if d, err = a.client().Definition(ctx, name); err != nil {
			return nil, err
		}
	} else if err := json.Unmarshal(definition, &d); err != nil {
		return nil, fault.New(fault.Invalid, "the task definition is not one: %v", err)
	}
	var all []task.ContainerOverride
	for _, c := range d.ContainerDefinitions {
		o := task.ContainerOverride{Name: c.Name, Environment: vars}
		if command != nil && (c.Essential == nil || *c.Essential) {
			o.Command, command = command, nil
		}
		if o.Command != nil || o.Environment != nil {
			all = append(all, o)
		}
	}
	return all, nil
}

// parseEnv reads KEY=VALUE, or KEY, which takes the value from our environment.
func (a *app) parseEnv(env []string) ([]task.KeyValuePair, error) {
	var all []task.KeyValuePair
	for _, e := range env {
		key, value, given := strings.Cut(e, "=")
		if !given {
			value, given = a.env(key)
		}
		if key == "" || !given {
			return nil, fault.New(fault.Invalid, "--env %s: it is KEY=VALUE, or the name of a variable that is set here", e)
		}
		all = append(all, task.KeyValuePair{Name: key, Value: value})
	}
	return all, nil
}

func parseTags(tags []string) ([]task.Tag, error) {
	var all []task.Tag
	for _, t := range tags {
		key, value, ok := strings.Cut(t, "=")
		if !ok || key == "" {
			return nil, fault.New(fault.Invalid, "--tag %s: it is KEY=VALUE", t)
		}
		all = append(all, task.Tag{Key: key, Value: value})
	}
	return all, nil
}

// fileMax is more than a task definition may have, and as much as the server takes.
const fileMax = 1 << 20

// openInput opens a file that a command is given, or standard input for -.
func (a *app) openInput(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.in), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%v", err)
	}
	return f, nil
}

// readInput reads a file of at most so many bytes that describes something, or standard
// input for -.
func (a *app) readInput(path string, most int64) ([]byte, error) {
	from, err := a.openInput(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	data, err := io.ReadAll(io.LimitReader(from, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", path, err)
	case int64(len(data)) > most:
		return nil, fault.New(fault.Invalid, "%s is larger than a server takes", path)
	}
	return bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff"))), nil // some editors begin a file with a byte order mark
}

// readDefinition reads a file and makes sure that it is JSON at all, so that a
// wrong file is found here and not far away.
func (a *app) readDefinition(path string) (json.RawMessage, error) {
	data, err := a.readInput(path, fileMax)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, fault.New(fault.Invalid, "%s is not a JSON object: %v%s", path, err, position(data, err))
	}
	if inner, ok := object["taskDefinition"]; ok && len(object) <= 2 { // as "aws ecs describe-task-definition" prints it
		return inner, nil
	}
	return data, nil
}

// position says where in data a syntax error is.
func position(data []byte, err error) string {
	syntax, ok := err.(*json.SyntaxError)
	if !ok {
		return ""
	}
	before := data[:min(int(syntax.Offset), len(data))]
	return fmt.Sprintf(" (line %d, column %d)", bytes.Count(before, []byte("\n"))+1, len(before)-bytes.LastIndexByte(before, '\n')-1)
}

// count writes a number of things: 1 task, 2 tasks.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
