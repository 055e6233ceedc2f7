//go:build e2e

// Package escape runs, in real tasks of the built binary, a program that tries to get out
// of them or across to a neighbour in every way that it knows (./probe), and looks from
// outside what became of the host and of the neighbour meanwhile.
package escape

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"berth/client"
	"berth/isolation/containerd"
	"berth/task"
)

// image is what all tasks here run.
const image = "berth-test/escape:latest"

// victimPort is where the neighbour listens.
const victimPort = 7777

// stage is one server with a neighbour of whoever attacks.
type stage struct {
	testing.TB
	bin, dir, addr, probe string
	client                *client.Client
	instance              string // by which the server's things are named
}

// open starts a server with the image in it. It is taken down with everything in it when
// the test ends.
func open(t testing.TB) *stage {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests run containers: run them as root")
	}
	bin, err := filepath.Abs(env("BERTH_BIN", "../../bin/berth"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(env("BERTH_TEST_STATE", "/tmp"), "berth-escape-")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := &stage{TB: t, bin: bin, dir: dir, addr: l.Addr().String(), probe: filepath.Join(dir, "probe")}
	s.instance = containerd.Instance(filepath.Join(dir, "state"))
	s.client = client.New("http://" + s.addr)
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", s.probe, "./probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build probe: %v\n%s", err, out)
	}
	t.Cleanup(s.down)
	// Room for attacker and neighbour whatever the host has.
	up := exec.Command(bin, "up", "--state-dir", filepath.Join(dir, "state"), "--listen", s.addr, "--no-sample")
	up.Env = append(os.Environ(), "BERTH_VCPU=16", "BERTH_MEMORY=16384")
	if out, err := up.CombinedOutput(); err != nil {
		t.Fatalf("berth up: %v\n%s", err, out)
	}
	archive, err := makeImage(s.probe)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Import(t.Context(), image, bytes.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	return s
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func (s *stage) down() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.bin, "down", "--state-dir", filepath.Join(s.dir, "state"), "--purge").CombinedOutput()
	if err != nil {
		s.Errorf("berth down: %v\n%s", err, out)
	}
	os.RemoveAll(s.dir)
}

// makeImage returns an archive of an image with the probe in it, once as itself and once
// setuid root.
func makeImage(program string) ([]byte, error) {
	text, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, f := range []struct {
		name string
		mode int64
		text []byte
	}{
		{"probe", 0o755, text},
		{"setuid", 0o4755, text},
		{"etc/", 0o755, nil},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/:/probe\nnobody:x:65534:65534:nobody:/:/probe\n")},
		{"etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n")},
		{"tmp/", 0o1777, nil},
	} {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.text)), ModTime: time.Unix(0, 0)}
		if f.text == nil {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: []string{"/probe"}, WorkingDir: "/"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	tag, err := name.NewTag(image)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = tarball.Write(tag, img, &out)
	return out.Bytes(), err
}

// run starts a task of the probe. extra is JSON that its container has besides.
func (s *stage) run(sandbox, cpu, memory, extra string, command ...string) task.Task {
	s.Helper()
	ts, err := s.try(sandbox, cpu, memory, extra, false, command...)
	if err != nil {
		s.Fatal(err)
	}
	return ts
}

// try is run for those who expect a refusal. The request is written by hand: it may have
// a runtime, which a server need not know.
func (s *stage) try(sandbox, cpu, memory, extra string, dry bool, command ...string) (task.Task, error) {
	c, err := json.Marshal(command)
	if err != nil {
		return task.Task{}, err
	}
	request := fmt.Sprintf(`{"taskDefinition":{"family":"escape","cpu":%q,"memory":%q,"networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],
		"containerDefinitions":[{"name":"main","image":%q,"command":%s%s}]}`, cpu, memory, image, c, extra)
	if sandbox != "" {
		request += fmt.Sprintf(`,"runtime":%q`, sandbox)
	}
	url := "http://" + s.addr + "/api/v1/tasks"
	if dry {
		url += "?dryRun=true"
	}
	resp, err := http.Post(url, "application/json", strings.NewReader(request+"}"))
	if err != nil {
		return task.Task{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return task.Task{}, err
	}
	var out struct{ Tasks []task.Task }
	if err := json.Unmarshal(b, &out); err != nil || len(out.Tasks) != 1 {
		return task.Task{}, fmt.Errorf("%s: %s", resp.Status, b)
	}
	return out.Tasks[0], nil
}

// until waits until a task has the status and returns it.
func (s *stage) until(id task.ID, status task.Status) (last task.Task) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 4*time.Minute)
	defer cancel()
	for t, err := range s.client.Watch(ctx, string(id)) {
		if err != nil {
			s.Fatalf("task %s is %s, and not %s: %v", id, last.LastStatus, status, err)
		}
		if last = t; t.LastStatus == status {
			return last
		}
	}
	s.Fatalf("task %s is %s (%s), and not %s", id, last.LastStatus, last.StoppedReason, status)
	return last
}

// lines returns what a task said.
func (s *stage) lines(id task.ID) (all []string) {
	s.Helper()
	for l, err := range s.client.Logs(s.Context(), string(id), client.LogQuery{}) {
		if err != nil {
			s.Fatal(err)
		}
		all = append(all, l.Text)
	}
	return all
}

// neighbour is a task that minds its own business.
type neighbour struct {
	id      task.ID
	address string
	pid     int // of its process, on the host
}

func (s *stage) neighbour() neighbour {
	s.Helper()
	t := s.run("", "256", "512", "", "serve", fmt.Sprint(victimPort))
	t = s.until(t.ID, task.Running)
	n := neighbour{id: t.ID}
	for _, a := range t.Attachments {
		for _, d := range a.Details {
			if d.Name == "privateIPv4Address" {
				n.address = d.Value
			}
		}
	}
	n.pid = s.process(t.ID)
	if n.address == "" || n.pid == 0 {
		s.Fatalf("the neighbour has address %q and process %d", n.address, n.pid)
	}
	return n
}

// process finds the probe's process of a task on the host.
func (s *stage) process(id task.ID) int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		group, _ := os.ReadFile(d + "/cgroup")
		line, _ := os.ReadFile(d + "/cmdline")
		if bytes.Contains(group, []byte(id)) && bytes.HasPrefix(line, []byte("/probe\x00")) {
			var pid int
			if _, err := fmt.Sscanf(d, "/proc/%d", &pid); err == nil {
				return pid
			}
		}
	}
	return 0
}

// healthy measures how long the server takes to say that it is well.
func (s *stage) healthy() (time.Duration, error) {
	begun := time.Now()
	_, err := s.client.Health(s.Context())
	return time.Since(begun), err
}
