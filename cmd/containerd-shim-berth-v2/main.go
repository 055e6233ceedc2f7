// Command containerd-shim-berth-v2 is what containerd calls when a task's shim
// is to begin and when it has ended. The shim itself, the process that looks
// after the task's containers, is containerd's own containerd-shim-runc-v2, as
// it is; this program only does what that one's start and delete do, with a
// hundredth of the code to load and without running runc where there is nothing
// for it to do. containerd makes both calls for every task.
//
// Everything else, and every case that is not the ordinary one, is left to
// containerd-shim-runc-v2, which must lie beside this program.
//
// The calls are described in containerd's docs and source: core/runtime/v2
// (README.md, binary.go) and api/runtime/bootstrap/v1.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// runc is containerd's shim, beside this program.
const runc = "containerd-shim-runc-v2"

// call is what containerd asks for on the command line. The working directory
// is the container's bundle.
type call struct {
	action    string
	namespace string
	id        string // of the container
	address   string // of containerd
	debug     bool
}

func parse(args []string) (call, error) {
	var c call
	flags := flag.NewFlagSet("containerd-shim-berth-v2", flag.ContinueOnError)
	flags.StringVar(&c.namespace, "namespace", "", "containerd's namespace")
	flags.StringVar(&c.id, "id", "", "container")
	flags.StringVar(&c.address, "address", "", "containerd's socket")
	flags.BoolVar(&c.debug, "debug", false, "say more")
	for _, name := range []string{"bundle", "publish-binary", "socket", "debug-socket"} {
		flags.String(name, "", "not used")
	}
	for _, name := range []string{"info", "v", "version"} {
		flags.Bool(name, false, "left to "+runc)
	}
	if err := flags.Parse(args); err != nil {
		return call{}, err
	}
	c.action = flags.Arg(0)
	return c, nil
}

func main() {
	c, err := parse(os.Args[1:])
	if err == nil {
		err = answer(c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "containerd-shim-berth-v2:", err)
		os.Exit(1)
	}
}

func answer(c call) error {
	shim, err := beside()
	if err != nil {
		return err
	}
	switch {
	case c.action == "start" && !c.debug: // A shim that says more has a second socket for that.
		return start(c, shim, os.Stdin, os.Stdout)
	case c.action == "delete":
		if gone, err := readGone(c); err == nil {
			_, err := os.Stdout.Write(gone.response())
			return err
		}
	}
	err = syscall.Exec(shim, append([]string{shim}, os.Args[1:]...), os.Environ())
	return fmt.Errorf("execute %s: %w", shim, err)
}

// beside returns the path of runc's shim: where containerd found this program,
// also when that is a link, since by that path the shim is known.
func beside() (string, error) {
	self := os.Args[0]
	if !filepath.IsAbs(self) {
		var err error
		if self, err = os.Executable(); err != nil {
			return "", fmt.Errorf("find this program: %w", err)
		}
	}
	return filepath.Join(filepath.Dir(self), runc), nil
}
