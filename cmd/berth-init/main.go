// Command berth-init is the init process of containers that ask for one
// (initProcessEnabled): PID 1, which starts the container's program, passes
// signals on to it, reaps the processes that others leave behind, and ends as
// the program ended.
//
//	berth-init -- PROGRAM [ARG]...
package main

import (
	"errors"
	"fmt"
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

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	os.Exit(run(args))
}

// run returns the exit code of the program, 128 + n if signal n ended it.
func run(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: berth-init -- PROGRAM [ARG]...")
		return cannotExecute
	}
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
