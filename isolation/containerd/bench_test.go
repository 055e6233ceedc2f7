//go:build e2e

package containerd_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"berth/isolation"
	"berth/isolation/containerd"
	"berth/task"
)

// BenchmarkLaunch measures each step of a task whose program ends at once,
// interleaved with the same task with the host's user IDs and the same container run by
// ctr and by runc alone, and reports the median of each in milliseconds. Run it with
// -benchtime 50x.
func BenchmarkLaunch(b *testing.B) {
	own, err := shared.open()
	if err != nil {
		b.Fatal(err)
	}
	config := shared.config
	config.HostUsers = true
	hosts, err := shared.openWith(config)
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	took := make(map[string][]time.Duration)
	step := func(name string, do func() error) {
		begin := time.Now()
		if err := do(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		took[name] = append(took[name], time.Since(begin))
	}
	bundle := runcBundle(b)
	for b.Loop() {
		id := task.NewID()
		for _, with := range []struct {
			users string
			rt    isolation.Runtime
			id    task.ID
		}{{"", own, id}, {"host-users-", hosts, task.NewID()}} {
			begin := time.Now()
			step(with.users+"provision", func() error {
				_, err := with.rt.Provision(ctx, isolation.Sandbox{ID: with.id, Size: task.Size{CPU: 1024, Memory: 512}, Storage: 20 << 30, Containers: 1})
				return err
			})
			step(with.users+"create", func() error {
				return with.rt.Create(ctx, isolation.Container{Task: with.id, Name: "main", Image: shared.image})
			})
			step(with.users+"start", func() error { _, err := with.rt.Start(ctx, with.id, "main"); return err })
			step(with.users+"wait", func() error { _, err := with.rt.Wait(ctx, with.id, "main"); return err })
			step(with.users+"remove", func() error { return with.rt.Remove(ctx, with.id) })
			took[with.users+"whole"] = append(took[with.users+"whole"], time.Since(begin))
		}

		step("ctr", func() error {
			return output(exec.Command(filepath.Join(shared.libexec, "ctr"), "-a", shared.address, "-n", containerd.Namespace,
				"run", "--rm", "--snapshotter", shared.config.Snapshotter, "--runc-binary", filepath.Join(shared.libexec, "runc"),
				"--cgroup", shared.config.CgroupParent+"/ctr", "test/probe:latest", "ctr-"+string(id)))
		})
		step("runc", func() error {
			return output(exec.Command(filepath.Join(shared.libexec, "runc"), "--root", shared.run+"/bare-runc",
				"run", "--bundle", bundle, "bare-"+string(id)))
		})
	}
	for name, all := range took {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, name+"-ms")
	}
}

// output runs a command; its output is part of the error.
func output(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// runcBundle makes a bundle with the probe, as runc itself would have it.
func runcBundle(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	for _, script := range []string{
		"mkdir rootfs && cp -L " + filepath.Join(shared.libexec, "probe") + " rootfs/probe",
		filepath.Join(shared.libexec, "runc") + " spec",
		`sed -i 's/"terminal": true/"terminal": false/; s#"sh"#"/probe", "exit", "0"#' config.json`,
	} {
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Dir = dir
		if err := output(cmd); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}
