package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"berth/isolation/containerd"
	"berth/isolation/containerd/daemon"

	"go.uber.org/zap"
)

// findContainerd finds the server's containerd and gives ctr the image there, in
// a namespace of its own.
func (b *bench) findContainerd(ctx context.Context) error {
	state := filepath.Join(b.dir, "state")
	b.socket = (&daemon.Daemon{Config: daemon.Config{
		StateDir: state, RunDir: filepath.Join("/run/berth", containerd.Instance(state)), Log: zap.NewNop(),
	}}).Address()
	ctr, tar := filepath.Join(b.libexec, "ctr"), filepath.Join(b.dir, "demo.tar")
	for _, args := range [][]string{
		{"-a", b.socket, "-n", containerd.Namespace, "images", "export", tar, "docker.io/" + image},
		{"-a", b.socket, "-n", "bench", "images", "import", tar},
	} {
		if out, err := exec.CommandContext(ctx, ctr, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ctr %v: %w\n%s", args[3:5], err, out)
		}
	}
	return nil
}

// makeBundle makes the root file system that runc runs the demo program in.
func (b *bench) makeBundle(ctx context.Context) error {
	root := filepath.Join(b.dir, "rootfs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("make root: %w", err)
	}
	program, err := os.ReadFile(filepath.Join(b.libexec, "demo"))
	if err != nil {
		return fmt.Errorf("read demo: %w", err)
	}
	if err := os.WriteFile(filepath.Join(root, "demo"), program, 0o755); err != nil {
		return fmt.Errorf("write demo: %w", err)
	}
	spec := exec.CommandContext(ctx, filepath.Join(b.libexec, "runc"), "spec", "--bundle", b.dir)
	if out, err := spec.CombinedOutput(); err != nil {
		return fmt.Errorf("runc spec: %w\n%s", err, out)
	}
	return nil
}

// writeConfig writes a bundle's configuration: runc's own default, without a
// terminal, with the command.
func (b *bench) writeConfig(dir string, command []string) error {
	data, err := os.ReadFile(filepath.Join(b.dir, "config.json"))
	if err != nil {
		return fmt.Errorf("read spec: %w", err)
	}
	var spec map[string]any
	if err := json.Unmarshal(data, &spec); err != nil {
		return fmt.Errorf("decode spec: %w", err)
	}
	process := spec["process"].(map[string]any)
	process["terminal"], process["args"] = false, append([]string{"/demo"}, command...)
	spec["root"] = map[string]any{"path": filepath.Join(b.dir, "rootfs"), "readonly": true}
	if data, err = json.Marshal(spec); err != nil {
		return fmt.Errorf("encode spec: %w", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
}
