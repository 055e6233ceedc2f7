package task

import (
	"slices"

	"berth/fault"
)

// RuntimeClass says what stands between a task and the host's kernel.
type RuntimeClass string

// The runtime classes. None of them changes what a task may use: the limits are
// those of its cgroup in each.
const (
	Runc   RuntimeClass = "runc"   // namespaces and a filter of system calls; the kernel is the host's
	GVisor RuntimeClass = "gvisor" // a kernel of its own in user space: gVisor's runsc
	Kata   RuntimeClass = "kata"   // a kernel of its own in a virtual machine: Kata Containers
)

// RuntimeClasses are all of them.
var RuntimeClasses = []RuntimeClass{Runc, GVisor, Kata}

// ParseRuntimeClass returns the class of that name, which stands in a field of
// that name. The empty name is the empty class: what the server does by default.
func ParseRuntimeClass(field, name string) (RuntimeClass, error) {
	if c := RuntimeClass(name); c == "" || slices.Contains(RuntimeClasses, c) {
		return c, nil
	}
	return "", fault.At(field, "there is no runtime %q; it can be runc, gvisor or kata", name)
}

// Runtimes is what a server offers. The zero value is runc alone.
type Runtimes struct {
	Default RuntimeClass   // of runs that do not say; empty: runc
	Here    []RuntimeClass // set up on this host beside runc
}

// Choose returns the class in which a run that asks for want is run here.
func (r Runtimes) Choose(want RuntimeClass, containers int) (RuntimeClass, error) {
	if want == "" {
		want = r.Default
	}
	if want == "" {
		want = Runc
	}
	if !r.Has(want) {
		return "", fault.At("runtime", "%s", notSetUp[want])
	}
	if want == Kata && containers > 1 {
		return "", fault.At("runtime", "kata runs tasks of one container, and this one has %d; gvisor runs any", containers)
	}
	return want, nil
}

// Has reports whether a class is there.
func (r Runtimes) Has(c RuntimeClass) bool { return c == Runc || slices.Contains(r.Here, c) }

// notSetUp says what to do about a class that is not there.
var notSetUp = map[RuntimeClass]string{
	GVisor: "gVisor is not set up here: make up GVISOR=1",
	Kata:   "Kata is not set up here: it needs containerd-shim-kata-v2 in PATH (or --kata-shim) and /dev/kvm",
}
