package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/examples"
	"berth/fault"
	"berth/server/api"
	"berth/task"
)

func (a *app) upCommand() *cobra.Command {
	var config serverConfig
	var noSample bool
	var patience time.Duration
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a server in the background and run a sample task",
		Long: "Start a server in the background, wait until tasks can run, then run a sample task and\n" +
			"show its log, its usage and its bill. If a server of this state directory runs already,\n" +
			"only the sample is run. The flags are those of the server.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if err := a.up(ctx, &config, serverArgs(c.Flags()), patience); err != nil {
				return err
			}
			if !noSample {
				if err := a.sample(ctx); err != nil {
					return err
				}
			}
			a.next(config.StateDir)
			return nil
		},
	}
	config.flags(c.Flags())
	c.Flags().BoolVar(&noSample, "no-sample", false, "do not run the sample task")
	c.Flags().DurationVar(&patience, "wait", 2*time.Minute, "how long the server may take to become ready")
	return c
}

// serverArgs returns the flags that were given, for the server to get them too.
func serverArgs(flags *pflag.FlagSet) []string {
	var of serverConfig
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	of.flags(known)
	var args []string
	flags.Visit(func(f *pflag.Flag) {
		if known.Lookup(f.Name) == nil {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				args = append(args, "--"+f.Name+"="+v)
			}
			return
		}
		args = append(args, "--"+f.Name+"="+f.Value.String())
	})
	return args
}

// up makes sure that a server of this state directory runs and is ready.
func (a *app) up(ctx context.Context, config *serverConfig, args []string, patience time.Duration) error {
	if err := config.check(); err != nil {
		return err
	}
	if b, ok := findBackground(config.StateDir); ok {
		a.endpoint = b.endpoint
		a.ownServer(config.StateDir, b.pinned)
		a.note("A server is already running (process %d) at %s.", b.pid, b.endpoint)
		return a.ready(ctx, b, nil, config.StateDir, patience)
	}
	a.endpoint = config.endpoint()
	args = append(args, "--state-dir="+config.StateDir) // absolute, as the server starts elsewhere; the last one counts
	if config.Libexec != "" {
		args = append(args, "--libexec="+config.Libexec)
	}
	for flag, file := range map[string]string{"tls-cert": config.Door.TLSCert, "tls-key": config.Door.TLSKey, "acme-ca-file": config.Door.ACMERoots} {
		if file != "" {
			args = append(args, "--"+flag+"="+file)
		}
	}
	if config.TaskCredentials != "" {
		args = append(args, "--task-credentials="+config.TaskCredentials)
	}
	b, died, err := startBackground(config.StateDir, config.Listen, a.endpoint, config.Door.pinned(config.StateDir), args, os.Environ())
	if err != nil {
		return err
	}
	a.ownServer(config.StateDir, b.pinned)
	a.note("Started the server (process %d); it writes to %s.", b.pid, filepath.Join(config.StateDir, logFile))
	return a.ready(ctx, b, died, config.StateDir, patience)
}

// ready waits until tasks can run on b.
func (a *app) ready(ctx context.Context, b background, died <-chan error, dir string, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began, dots := a.now(), 0
	var reasons []string
	for {
		asking, answered := context.WithTimeout(ctx, 2*time.Second) // a server that starts takes connections, and answers later
		h, err := a.client().Health(asking)
		answered()
		if err == nil && h.Status == "ok" {
			if dots > 0 {
				fmt.Fprintln(a.err)
			}
			a.note("Tasks can run, after %s.", span(a.now().Sub(began)))
			return nil
		}
		if err == nil {
			reasons = h.Reasons
		}
		if dots++; dots == 5 {
			fmt.Fprint(a.err, "Waiting until tasks can run ")
		}
		if dots > 5 && dots%5 == 0 {
			fmt.Fprint(a.err, ".")
		}
		select {
		case <-died:
		default:
			if b.alive() {
				if nap(ctx, 100*time.Millisecond) == nil {
					continue
				}
				return a.diagnose(dir, dots, fmt.Sprintf("the server is not ready after %s", span(a.now().Sub(began))), reasons)
			}
		}
		return a.diagnose(dir, dots, "the server ended before it was ready", reasons)
	}
}

// diagnose says why a server is not ready, as far as its log knows.
func (a *app) diagnose(dir string, dots int, what string, reasons []string) error {
	if dots >= 5 {
		fmt.Fprintln(a.err)
	}
	path := filepath.Join(dir, logFile)
	a.note("The last lines of %s:\n", path)
	for line := range strings.SplitSeq(lastLines(path, 15), "\n") {
		a.note("    %s", cleanLine(line))
	}
	a.note("")
	if len(reasons) > 0 {
		what += ": " + strings.Join(reasons, "; ")
	}
	return fault.New(fault.Unavailable, "%s; \"berth doctor\" checks the host", what)
}

// sample runs the sample task and shows all that there is to know about it.
func (a *app) sample(ctx context.Context) error {
	definition, err := examples.Files.ReadFile("hello.json")
	if err != nil {
		return fmt.Errorf("read sample: %w", err)
	}
	a.title("A sample task: examples/hello.json")
	tasks, err := a.client().Run(ctx, api.RunRequest{TaskDefinition: definition, StartedBy: "berth-up"})
	if err != nil {
		return err
	}
	_, code, err := a.follow(ctx, tasks)
	if err != nil {
		return err
	}
	t, err := a.client().Task(ctx, string(tasks[0].ID))
	if err != nil {
		return err
	}
	a.title("How it went")
	describeTask(a.out, t, a.now())
	a.title("What it used, every second")
	if err := a.usage(ctx, string(t.ID)); err != nil {
		return err
	}
	a.title("What it costs")
	if err := a.bill(ctx, string(t.ID)); err != nil {
		return err
	}
	if code != 0 {
		return fault.New(fault.Internal, "the sample task ended with exit code %d", code)
	}
	return nil
}

func (a *app) title(text string) {
	w := bufio.NewWriter(a.out)
	defer w.Flush()
	fmt.Fprintf(w, "\n%s\n%s\n", text, strings.Repeat("─", len([]rune(text))))
}

// next says what can be done now.
func (a *app) next(dir string) {
	at := ""
	if a.endpoint != "http://"+defaultListen {
		at = "BERTH_ENDPOINT=" + a.endpoint + " "
	}
	a.title("Berth is up")
	fmt.Fprintf(a.out, "The API is at %s%s (OpenAPI: %s%s/openapi.json).\n\nNext:\n", a.endpoint, api.Base, a.endpoint, api.Base)
	table(a.out,
		[]string{"  " + at + invoked() + " run -f FILE --follow", "run a task definition of yours"},
		[]string{"  " + at + invoked() + " ps --all", "see what runs and what ran"},
		[]string{"  " + invoked() + " down --state-dir " + dir, "stop everything"})
}

// invoked is how this program was called: it need not be in the PATH.
func invoked() string {
	if name := os.Args[0]; filepath.Base(name) == "berth" {
		return name
	}
	return "berth"
}

func (a *app) downCommand() *cobra.Command {
	var config serverConfig
	var purge bool
	var patience time.Duration
	c := &cobra.Command{
		Use:   "down",
		Short: "Stop all tasks and the server that up started, and leave nothing behind",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			dir, err := stateDir(config.StateDir)
			if err != nil {
				return err
			}
			return a.down(ctx, dir, libexec(config.Libexec), purge, patience)
		},
	}
	config.stateFlag(c.Flags())
	config.libexecFlag(c.Flags())
	c.Flags().BoolVar(&purge, "purge", false, "delete the state directory too: tasks, logs, images and the ledger")
	c.Flags().DurationVar(&patience, "wait", 150*time.Second, "how long tasks may take to stop; a stopTimeout is at most two minutes")
	return c
}

// sweepPatience is how long the removal of what tasks left may take.
const sweepPatience = 2 * time.Minute

// downReason is why tasks stop when everything stops.
const downReason = "Berth is shutting down"

func (a *app) down(ctx context.Context, dir, programs string, purge bool, patience time.Duration) error {
	if b, ok := findBackground(dir); ok {
		a.endpoint = b.endpoint
		a.ownServer(dir, b.pinned)
		if err := a.stopAll(ctx, patience); err != nil {
			a.note("Not all tasks stopped (%s); what is left of them is removed below.", clean(explain(err)))
		}
		killed, err := b.end(ctx, 20*time.Second)
		if err != nil {
			return err
		}
		if killed {
			a.note("The server (process %d) did not end by itself and was killed.", b.pid)
		} else {
			a.note("The server (process %d) ended.", b.pid)
		}
	} else {
		a.note("No server of %s runs.", dir)
	}
	if err := os.Remove(filepath.Join(dir, pidFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove pid file: %w", err)
	}
	sweeping, swept := context.WithTimeout(ctx, sweepPatience)
	defer swept()
	removed, err := sweep(sweeping, dir, programs)
	for _, what := range removed {
		a.note("Removed %s.", clean(what))
	}
	if err != nil {
		return fmt.Errorf("remove what tasks left: %w", err)
	}
	return a.leave(dir, purge)
}

// leave says what is left, or deletes it.
func (a *app) leave(dir string, purge bool) error {
	_, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		a.note("Nothing is left.")
		return nil
	case err != nil:
		return fmt.Errorf("look at state directory: %w", err)
	case !purge:
		a.note("%s is kept, with tasks, logs, images and the ledger; --purge deletes it.", dir)
		return nil
	}
	if !ownStateDir(dir) {
		return fault.New(fault.Conflict, "%s does not look like a state directory of Berth; delete it by hand if it is one", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("delete state directory: %w", err)
	}
	a.note("Deleted %s.", dir)
	return nil
}

// ownStateDir reports whether a server was ever started on dir, or it is empty.
// It keeps a slip of the hand from deleting somebody's home.
func ownStateDir(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err == nil
	}
	_, err = os.Stat(filepath.Join(dir, "berth.db"))
	return err == nil && strings.Count(dir, "/") > 1
}

// stopAll asks every task once to stop, and waits until all have stopped. What one says
// keeps it from none of the others.
func (a *app) stopAll(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var failed []error
	var stopping []task.ID
	met := make(map[task.ID]bool) // A task that stops is met again in the states that it comes to.
	for _, status := range task.Statuses {
		if status.Final() {
			continue
		}
		for t, err := range a.client().Tasks(ctx, clientTasks(status)) {
			if err != nil {
				failed = append(failed, err)
				break
			}
			if met[t.ID] {
				continue
			}
			met[t.ID] = true
			if _, err := a.client().Stop(ctx, string(t.ID), downReason); err != nil {
				failed = append(failed, err)
				continue
			}
			stopping = append(stopping, t.ID)
		}
	}
	if len(stopping) > 0 {
		a.note("Stopping %s.", count(len(stopping), "task"))
	}
	for _, id := range stopping {
		for _, err := range a.client().Watch(ctx, string(id)) {
			if err != nil {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}
