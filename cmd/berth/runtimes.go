package main

import (
	"os"
	"os/exec"

	"github.com/spf13/pflag"

	"berth/fault"
	"berth/isolation/containerd"
	"berth/task"
)

func (c *serverConfig) kataFlag(f *pflag.FlagSet) {
	f.StringVar(&c.KataShim, "kata-shim", "", "`path` of Kata Containers' shim (default: containerd-shim-kata-v2 in PATH)")
}

// runtimes says which runtime classes are set up, and refuses a default that is not.
func (c *serverConfig) runtimes(programs string) (task.Runtimes, error) {
	name, err := task.ParseRuntimeClass("--runtime", c.Runtime)
	if err != nil {
		return task.Runtimes{}, err
	}
	r := task.Runtimes{Default: name}
	if missing(containerd.GVisor(programs)...) == "" {
		r.Here = append(r.Here, task.GVisor)
	}
	shim, err := c.kataShim()
	if err != nil {
		return r, err
	}
	if shim != "" && missing(kvm) == "" {
		r.Here = append(r.Here, task.Kata)
	}
	if _, err := r.Choose("", 1); err != nil {
		return r, fault.Wrap(fault.Invalid, err, "--runtime %s: %s", name, fault.Message(err))
	}
	return r, nil
}

// kvm is what a virtual machine needs of the host.
const kvm = "/dev/kvm"

// kataShim returns the path of Kata's shim; "" if there is none.
func (c *serverConfig) kataShim() (string, error) {
	if c.KataShim == "" {
		path, err := exec.LookPath("containerd-shim-kata-v2")
		if err != nil {
			return "", nil
		}
		return path, nil
	}
	path, err := exec.LookPath(c.KataShim)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "--kata-shim %s is no program of this host", c.KataShim)
	}
	return path, nil
}

// missing returns the first of the files that is not there.
func missing(files ...string) string {
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return f
		}
	}
	return ""
}
