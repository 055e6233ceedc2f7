//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"berth/isolation/containerd"
	"berth/task"
)

// BenchmarkExec measures how long a command takes that does nothing, from the start of the
// client to its end, in one container: by berth exec, ctr task exec and runc exec, in turn.
func BenchmarkExec(b *testing.B) {
	s := start(b)
	id := s.guest("").id()
	libexec := filepath.Join(filepath.Dir(berth), "libexec")
	run := filepath.Join("/run/berth", containerd.Instance(s.dir))
	container := task.RuntimeID(task.ID(id), "main")
	contenders := []struct {
		name string
		args []string
	}{
		{"berth", []string{berth, "exec", id, "--", "/program", "exit", "0"}},
		{"ctr", []string{filepath.Join(libexec, "ctr"), "-a", filepath.Join(run, "containerd.sock"), "-n", containerd.Namespace, "task", "exec", "--exec-id", "", container, "/program", "exit", "0"}},
		{"runc", []string{filepath.Join(libexec, "runc"), "--root", filepath.Join(run, "runc", containerd.Namespace), "exec", container, "/program", "exit", "0"}},
	}
	const rounds = 40
	took := make(map[string][]time.Duration)
	for n := range rounds {
		for _, c := range contenders {
			args := slices.Clone(c.args)
			if i := slices.Index(args, ""); i >= 0 {
				args[i] = fmt.Sprint("bench-", n)
			}
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Env = append(os.Environ(), "BERTH_ENDPOINT=http://"+s.addr)
			began := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%s: %v\n%s", c.name, err, out)
			}
			took[c.name] = append(took[c.name], time.Since(began))
		}
	}
	for _, c := range contenders {
		all := took[c.name]
		slices.Sort(all)
		b.ReportMetric(float64(all[rounds/2].Microseconds())/1000, c.name+"-ms")
		b.Logf("%s: median %s (%s to %s)", c.name, all[rounds/2].Round(100*time.Microsecond), all[0].Round(100*time.Microsecond), all[rounds-1].Round(100*time.Microsecond))
	}
}
