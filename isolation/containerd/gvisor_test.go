//go:build e2e

package containerd_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"berth/isolation"
	"berth/isolation/containerd"
	"berth/isolation/isolationtest"
	"berth/task"
)

// gvisorStage is the stage with every task in gVisor.
type gvisorStage struct{ *stage }

// OneKernel implements isolationtest.OneKernel.
func (gvisorStage) OneKernel() {}

// Open implements isolationtest.Host.
func (s gvisorStage) Open() (isolation.Runtime, error) {
	rt, err := s.open()
	return in(task.GVisor, rt), err
}

// in is a Runtime with every task in one class.
func in(class task.RuntimeClass, rt isolation.Runtime) isolation.Runtime { return inClass{rt, class} }

type inClass struct {
	isolation.Runtime
	class task.RuntimeClass
}

func (r inClass) Provision(ctx context.Context, s isolation.Sandbox) (task.Network, error) {
	s.Runtime = r.class
	return r.Runtime.Provision(ctx, s)
}

// needGVisor skips a test where gVisor was not built, and says so.
func needGVisor(t *testing.T) {
	t.Helper()
	for _, program := range containerd.GVisor(shared.libexec) {
		if _, err := os.Stat(program); err != nil {
			t.Skipf("NOT TESTED: gVisor is not built here (%s is missing): make build GVISOR=1", filepath.Base(program))
		}
	}
}

func TestGVisorSuite(t *testing.T) {
	needGVisor(t)
	isolationtest.Suite(t, shared.image, func(*testing.T) isolationtest.Host { return gvisorStage{shared} })
}
