// Command berth-init is the init process of containers that ask for one
// (initProcessEnabled): PID 1, which starts the container's program, passes
// signals on to it, reaps the processes that others leave behind, and ends as
// the program ended.
//
// It is also what gives containers their secrets: variables that may be in no spec, and
// that it takes from a file. A container that has secrets and asked for no init process
// is to have none: its program takes the place of berth-init.
//
//	berth-init [-env FILE] [-exec] -- PROGRAM [ARG]...
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// What a shell says of a program that cannot be started.
const (
	cannotExecute = 126
	notFound      = 127
)

// cannotBegin is the exit code of runc's own init, where the kernel will not begin a
// program that is there.
const cannotBegin = 255

func main() {
	flags := flag.NewFlagSet("berth-init", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	env := flags.String("env", "", "")
	replace := flags.Bool("exec", false, "")
	if err := flags.Parse(os.Args[1:]); err != nil || flags.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: berth-init [-env FILE] [-exec] -- PROGRAM [ARG]...")
		os.Exit(cannotExecute)
	}
	if *env != "" {
		if err := setEnv(*env); err != nil {
			fmt.Fprintln(os.Stderr, "berth-init:", err)
			os.Exit(cannotExecute)
		}
	}
	if *replace {
		os.Exit(become(flags.Args()))
	}
	os.Exit(run(flags.Args()))
}

// become makes this process the program. It returns only if that cannot be.
func become(args []string) int {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return refuse(err)
	}
	err = syscall.Exec(path, args, os.Environ())
	fmt.Fprintf(os.Stderr, "exec %s: %v\n", path, err)
	return cannotBegin
}

// run returns the exit code of the program, 128 + n if signal n ended it.
func run(args []string) int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)

	path, err := exec.LookPath(args[0])
	if err != nil {
		return refuse(err)
	}
	child, err := os.StartProcess(path, args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return refuse(err)
	}
	for s := range signals {
		switch s {
		case syscall.SIGCHLD:
			if code, ended := reap(child.Pid); ended {
				return code
			}
		case syscall.SIGURG: // The Go runtime sends it to itself.
		default:
			// It may have ended; then there is a SIGCHLD on its way.
			_ = syscall.Kill(child.Pid, s.(syscall.Signal))
		}
	}
	return cannotExecute // not reached: signals is never closed
}

// reap takes leave of all children that have ended. It reports whether the main
// one is among them, and how that ended.
func reap(main int) (code int, ended bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil || pid == 0:
			return code, ended
		case pid == main && status.Signaled():
			code, ended = 128+int(status.Signal()), true
		case pid == main:
			code, ended = status.ExitStatus(), true
		}
	}
}

func refuse(err error) int {
	fmt.Fprintln(os.Stderr, "berth-init:", err)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		return notFound
	}
	return cannotExecute
}
