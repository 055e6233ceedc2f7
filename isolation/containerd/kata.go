package containerd

import (
	"github.com/containerd/containerd/v2/core/containers"

	"berth/fault"
)

// kataInfo names Kata's shim by its path. It makes one virtual machine for each
// container, which is why tasks of several are not run with it: they could not
// share a loopback.
func (r *Runtime) kataInfo() (containers.RuntimeInfo, error) {
	if r.KataShim == "" {
		return containers.RuntimeInfo{}, fault.New(fault.Unavailable, "Kata is not set up here")
	}
	return containers.RuntimeInfo{Name: r.KataShim}, nil
}
