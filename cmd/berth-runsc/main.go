// Command berth-runsc stands between containerd's runc shim and gVisor's runsc, so
// that several containers of a task can share one gVisor sandbox and everything
// above it is as with runc.
//
// The shim learns of the end of a container by the end of a process, whose number
// the runtime gives it. In runsc that is the sandbox's process, which all
// containers in a sandbox share and which ends with the last of them. So this
// program gives every container a process of its own on the host, a monitor: it
// waits for the container inside the sandbox and ends as that did.
//
// Its command line is runc's. What it does not do itself, runsc, which must lie
// beside this program, does.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// sandboxFlags are how runsc runs here: a container's root file system is the one
// it was given, for it has to outlive a restart of its process.
var sandboxFlags = []string{"--overlay2=none"}

// call is one call of the runtime.
type call struct {
	runsc  string
	root   string   // of runsc's own state
	global []string // arguments before the command
	action string
	flags  []string // arguments between the command and the container's ID
	id     string
	rest   []string // arguments after the ID
}

// valued are the flags that have their value in the next argument.
var valued = []string{
	"root", "log", "log-format", "bundle", "pid-file", "console-socket", "process", "internal-pid-file", "format", "cwd", "user", "env",
}

// parse reads a command line as go-runc writes them.
func parse(args []string) (call, error) {
	var c call
	var i int
	take := func() (list []string) {
		for i < len(args) && strings.HasPrefix(args[i], "-") {
			list = append(list, args[i])
			name, i1 := strings.TrimLeft(args[i], "-"), i+1
			if slices.Contains(valued, name) && i1 < len(args) {
				list = append(list, args[i1])
				i1++
			}
			i = i1
		}
		return list
	}
	c.global = take()
	if i == len(args) {
		return c, errors.New("no command")
	}
	c.action = args[i]
	i++
	c.flags = take()
	if i < len(args) {
		c.id, c.rest = args[i], args[i+1:]
	}
	c.root, _ = value(c.global, "root")
	return c, nil
}

// value returns the value of a flag, and whether it is there.
func value(flags []string, name string) (string, bool) {
	for i, f := range flags {
		flag, v, joined := strings.Cut(strings.TrimLeft(f, "-"), "=")
		switch {
		case flag != name:
		case joined:
			return v, true
		case i+1 < len(flags):
			return flags[i+1], true
		}
	}
	return "", false
}

// without returns flags without those of the names.
func without(flags []string, names ...string) []string {
	var kept []string
	for i := 0; i < len(flags); i++ {
		name, _, joined := strings.Cut(strings.TrimLeft(flags[i], "-"), "=")
		if slices.Contains(names, name) {
			if !joined && slices.Contains(valued, name) {
				i++
			}
			continue
		}
		kept = append(kept, flags[i])
	}
	return kept
}

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "berth-runsc:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	if len(args) > 0 && args[0] == pauseAction {
		pause()
		return 0, nil
	}
	runsc, err := beside()
	if err != nil {
		return 0, err
	}
	if len(args) == 3 && args[0] == monitorAction {
		return monitor(runsc, args[1], args[2])
	}
	c, err := parse(args)
	if err != nil {
		return 0, err
	}
	c.runsc = runsc
	switch c.action {
	case "create":
		return c.create()
	case "start":
		return c.start()
	case "kill":
		return c.kill()
	case "delete":
		return c.delete()
	case "exec":
		if file, ok := value(c.flags, "pid-file"); ok { // by which isolation/containerd kills what is inside
			c.flags = append(c.flags, "--internal-pid-file", file+".inner")
		}
	}
	err = syscall.Exec(runsc, append([]string{runsc}, c.args(c.flags...)...), os.Environ())
	return 0, fmt.Errorf("execute %s: %w", runsc, err)
}

// args are runsc's arguments for the same call with other flags.
func (c call) args(flags ...string) []string {
	args := slices.Concat(c.global, sandboxFlags, []string{c.action}, flags)
	if c.id != "" {
		args = append(args, c.id)
	}
	return append(args, c.rest...)
}

// pass makes the call with other flags, and returns runsc's exit code.
func (c call) pass(flags ...string) (int, error) {
	p := exec.Command(c.runsc, c.args(flags...)...)
	p.Stdin, p.Stdout, p.Stderr = os.Stdin, os.Stdout, os.Stderr
	return exitCode(p.Run())
}

// delete removes a container. The shim asks for that when its monitor has ended, so
// whatever still runs of the container is not to. A sandbox that was killed is to runsc a
// living one that does not answer until whoever has become its parent hears of its end,
// which may be late, or never: then runsc says that it failed and has done all there is
// to do.
func (c call) delete() (int, error) {
	if _, err := c.tell(word{}); err != nil {
		return 0, err
	}
	var said bytes.Buffer
	p := exec.Command(c.runsc, c.args(append(without(c.flags, "force"), "--force")...)...)
	p.Stdin, p.Stdout, p.Stderr = os.Stdin, os.Stdout, &said
	code, err := exitCode(p.Run())
	if err == nil && code != 0 && !c.known() {
		return 0, nil
	}
	os.Stderr.Write(said.Bytes())
	return code, err
}

// known reports whether runsc has a record of the container. One whose writer was killed in
// the middle is none: runsc can do nothing with it, and whoever removes the task sweeps it.
func (c call) known() bool {
	records, err := filepath.Glob(filepath.Join(c.root, c.id+"_sandbox:*.state"))
	return err != nil || slices.ContainsFunc(records, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && json.Valid(text)
	})
}

// exitCode returns how a program ended that was run.
func exitCode(err error) (int, error) {
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return max(1, failed.ExitCode()), nil
	}
	return 0, err
}

// beside returns the path of runsc: where this program was found.
func beside() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return filepath.Join(filepath.Dir(self), "runsc"), nil
}
