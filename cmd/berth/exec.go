package main

import (
	"context"
	"errors"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"berth/client"
	"berth/fault"
	"berth/server/api"
)

// Exit codes of exec when there is none of a command, those of docker exec.
const (
	execFailed    = 125
	notExecutable = 126
)

func (a *app) execCommand() *cobra.Command {
	var cmd client.Command
	var interactive bool
	c := &cobra.Command{
		Use:   "exec TASK [-c CONTAINER] -- COMMAND [ARG...]",
		Short: "Run a command in a container of a task",
		Long: "Run a command in a container that runs, as root of the task, with the container's\n" +
			"environment and within its limits, and exit with its exit code; with 126 if it cannot be\n" +
			"executed, with 125 if the session failed. -it is for typing: a terminal, which is yours while the command\n" +
			"runs. -i alone passes standard input on, byte for byte, and its end.",
		Example:           "  berth exec -it TASK -- sh\n  berth exec TASK -c web -- cat /etc/hosts\n  tar c . | berth exec -i TASK -- tar x -C /data",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeTasks,
		RunE: func(c *cobra.Command, args []string) error {
			cmd.Args, cmd.Stdout, cmd.Stderr = args[1:], a.out, a.err
			if interactive {
				cmd.Stdin = a.in
			}
			code, err := a.exec(c.Context(), args[0], cmd)
			if err != nil {
				code = execFailed
				if fault.KindOf(err) == fault.Invalid {
					code = notExecutable
				}
				return failure{err, code}
			}
			if code != 0 {
				return exit(code)
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVarP(&interactive, "interactive", "i", false, "pass standard input on")
	f.BoolVarP(&cmd.Terminal, "tty", "t", false, "with a terminal")
	f.StringVarP(&cmd.Container, "container", "c", "", "in this container; may be left out if the task has only one")
	return c
}

// exec runs cmd. If it has a terminal, so has to have who types, and that is raw meanwhile.
func (a *app) exec(ctx context.Context, id string, cmd client.Command) (int, error) {
	if !cmd.Terminal || cmd.Stdin == nil {
		return a.client().Exec(ctx, id, cmd)
	}
	in, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return 0, fault.New(fault.Invalid, "-t needs a terminal to type at; leave it out to pass on what is piped in")
	}
	fd := int(in.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "the terminal cannot be made raw")
	}
	sizes, stop := windows(ctx, fd)
	defer stop()
	cmd.Size, cmd.Resize = window(fd), sizes
	code, err := a.client().Exec(ctx, id, cmd)
	return code, errors.Join(err, term.Restore(fd, before))
}

// window is the size of a terminal, zero if that is not known.
func window(fd int) api.Window {
	columns, rows, err := term.GetSize(fd)
	if err != nil {
		return api.Window{}
	}
	return api.Window{Columns: uint16(columns), Rows: uint16(rows)}
}

// windows tells the size of a terminal after each change, until stop is called.
func windows(ctx context.Context, fd int) (sizes <-chan api.Window, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	changed, out, done := make(chan os.Signal, 1), make(chan api.Window), make(chan struct{})
	signal.Notify(changed, unix.SIGWINCH)
	go func() {
		defer close(done)
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			select {
			case out <- window(fd):
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, func() { signal.Stop(changed); cancel(); <-done }
}
