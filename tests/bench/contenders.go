package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"berth/client"
	"berth/server/api"
	"berth/task"
)

// bench holds one Berth server, its containerd for ctr, and a bundle for runc,
// all with the same demo program.
type bench struct {
	dir     string // state directory of the server; the bundle lies beside it
	libexec string
	berthd  string
	client  *client.Client
	socket  string
	last    atomic.Int64
}

// image is what all contenders run.
const image = "berth/demo:latest"

func open(ctx context.Context, bin string) (*bench, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, libexec: filepath.Join(bin, "libexec"), berthd: filepath.Join(bin, "berth")}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	// Room for eight at once whatever the host has: what is compared is the work
	// of launching, and every contender runs without a queue.
	up := exec.CommandContext(ctx, b.berthd, "up", "--state-dir", filepath.Join(dir, "state"), "--listen", addr, "--no-sample")
	up.Env = append(os.Environ(), "BERTH_VCPU=16", "BERTH_MEMORY=16384",
		"PATH="+b.libexec+":"+os.Getenv("PATH")) // ctr's tasks get the same shim and runc as Berth's
	if out, err := up.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("berth up: %w\n%s", err, out), b.close())
	}
	b.client = client.New("http://" + addr)
	if err := errors.Join(b.findContainerd(ctx), b.makeBundle(ctx)); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// close takes the server down and removes what the bench made.
func (b *bench) close() error {
	out, err := exec.Command(b.berthd, "down", "--state-dir", filepath.Join(b.dir, "state"), "--purge").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("berth down: %w\n%s", err, out)
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// berth runs the demo command as a task and waits until it has stopped.
func (b *bench) berth(ctx context.Context, command ...string) (string, error) {
	c, err := json.Marshal(command)
	if err != nil {
		return "", err
	}
	ts, err := b.client.Run(ctx, api.RunRequest{
		TaskDefinition: json.RawMessage(`{"family":"bench","cpu":"1024","memory":"2048","networkMode":"awsvpc",
			"containerDefinitions":[{"name":"main","image":"` + image + `","command":` + string(c) + `}]}`),
	})
	if err != nil {
		return "", err
	}
	var last task.Task
	for t, err := range b.client.Watch(ctx, string(ts[0].ID)) {
		if err != nil {
			return "", err
		}
		last = t
	}
	if code := last.Containers[0].ExitCode; code == nil || *code != 0 {
		return "", fmt.Errorf("task %s: %s", last.ID, last.StoppedReason)
	}
	if command[0] != "stamp" {
		return "", nil // The others print to a pipe, which costs them nothing to read.
	}
	var out strings.Builder
	for l, err := range b.client.Logs(ctx, string(last.ID), client.LogQuery{}) {
		if err != nil {
			return "", err
		}
		out.WriteString(l.Text + "\n")
	}
	return out.String(), nil
}

// runc runs the demo command from the bundle.
func (b *bench) runc(ctx context.Context, command ...string) (string, error) {
	id := b.name("runc")
	dir := filepath.Join(b.dir, id)
	if err := b.writeConfig(dir, command); err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	return output(exec.CommandContext(ctx, filepath.Join(b.libexec, "runc"), "--root", filepath.Join(b.dir, "runc"), "run", "--bundle", dir, id))
}

// ctr runs the demo command through the server's own containerd.
func (b *bench) ctr(ctx context.Context, command ...string) (string, error) {
	args := append([]string{"-a", b.socket, "-n", "bench", "run", "--rm", "docker.io/" + image, b.name("ctr"), "/demo"}, command...)
	return output(exec.CommandContext(ctx, filepath.Join(b.libexec, "ctr"), args...))
}

func (b *bench) name(kind string) string { return fmt.Sprintf("%s-%d", kind, b.last.Add(1)) }

func output(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[:2], " "), err, stderr.String())
	}
	return string(out), nil
}
