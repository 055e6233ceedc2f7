//go:build e2e

package e2e

import (
	"fmt"
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
)

// These tests run programs of others inside tasks.

// importProgram builds a package of a module of the tests' own and gives it to the server
// as an image that runs it.
func (s *server) importProgram(module, tag string) {
	s.t.Helper()
	dir := s.t.TempDir()
	root := filepath.Join(dir, "root")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(root, "program"), ".")
	build.Dir, build.Env = module, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("build %s: %v\n%s", module, err, out)
	}
	layers := filepath.Join(dir, "layer.tar")
	if out, err := exec.Command("tar", "-C", root, "-cf", layers, "program").CombinedOutput(); err != nil {
		s.t.Fatalf("tar: %v\n%s", err, out)
	}
	layer, err := tarball.LayerFromFile(layers)
	if err != nil {
		s.t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		s.t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		s.t.Fatal(err)
	}
	file.OS, file.Architecture, file.Config = "linux", runtime.GOARCH, v1.Config{Entrypoint: []string{"/program"}}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		s.t.Fatal(err)
	}
	ref, err := name.NewTag(tag)
	if err != nil {
		s.t.Fatal(err)
	}
	archive := filepath.Join(dir, "image.tar")
	if err := tarball.WriteToFile(archive, ref, img); err != nil {
		s.t.Fatal(err)
	}
	give := exec.Command(berth, "image", "import", archive, "--tag", tag)
	give.Env = append(os.Environ(), "BERTH_ENDPOINT=http://"+s.addr)
	if out, err := give.CombinedOutput(); err != nil {
		s.t.Fatalf("berth image import: %v\n%s", err, out)
	}
}

// Ensure OpenTelemetry's receiver of ECS container metrics, as a container of a task,
// decodes what the endpoint says into values that are true.
func TestOpenTelemetry(t *testing.T) {
	s := start(t)
	s.importProgram("../otel", "test/otel:1")
	task := s.submit(`{"family":"otel","requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":"512","memory":"1024",
		"containerDefinitions":[
			{"name":"collector","image":"test/otel:1","memory":256},
			{"name":"busy","image":"berth/demo:latest","cpu":128,"command":["spin","-for","1h"]}]}`)
	s.until(task.id(), "RUNNING", time.Minute)
	// least and most of the last value that came.
	type bounds struct{ least, most float64 }
	want := map[string]bounds{
		"container.cpu.onlines busy":                 {1, 1024},
		"container.cpu.usage.total busy":             {1e8, 1e12},
		"container.cpu.usage.vcpu busy":              {0.1, 0.6},
		"container.cpu.reserved busy":                {128, 128},
		"container.memory.usage busy":                {64 << 10, 512 << 20},
		"container.memory.usage.max busy":            {64 << 10, 512 << 20},
		"container.memory.usage.limit collector":     {256 << 20, 256 << 20},
		"container.memory.reserved collector":        {256, 256},
		"container.network.io.usage.rx_bytes busy":   {100, 1e9},
		"container.network.io.usage.tx_packets busy": {1, 1e9},
		"container.network.rate.rx collector":        {1, 1e9},
		"container.storage.read_bytes busy":          {0, 1e9},
		"ecs.task.cpu.reserved task":                 {512, 512},
		"ecs.task.cpu.usage.vcpu task":               {0.1, 0.7},
		"ecs.task.ephemeral_storage.reserved task":   {20 << 10, 20 << 10},
		"ecs.task.memory.reserved task":              {1024, 1024},
	}
	s.eventually(30*time.Second, "every metric comes, with a value that is true", func() error {
		got := make(map[string]float64)
		for _, line := range s.told(task.id(), "collector") {
			var name, who string
			var value float64
			if _, err := fmt.Sscan(line, &name, &who, &value); err == nil {
				got[name+" "+who] = value
			}
		}
		var wrong []string
		for metric, b := range want {
			if v, ok := got[metric]; !ok || v < b.least || v > b.most {
				wrong = append(wrong, fmt.Sprintf("%s = %v (%v), want %v to %v", metric, v, ok, b.least, b.most))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("of %d metrics: %s", len(got), strings.Join(wrong, "; "))
		}
		return nil
	})
}

// Ensure the AWS SDK for Go, with nothing configured, finds the credentials of its task's
// role and its region: those of a file, or of the server's own STS.
func TestAWSSDK(t *testing.T) {
	const role = "arn:aws:iam::000000000000:role/r"
	definition := strings.Replace(strings.Replace(definition("sdk", "256", "512", ""), "berth/demo:latest", "test/sdk:1", 1),
		`"networkMode"`, `"taskRoleArn":"`+role+`","networkMode"`, 1)
	file := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(file, []byte(`{"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"secret","Token":"token"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		flags []string
		says  string
	}{
		{[]string{"--region", "eu-west-1", "--task-credentials", file}, "CredentialsEndpointProvider AKIDEXAMPLE secret token true eu-west-1"},
		{nil, "CredentialsEndpointProvider ASIA"},
	} {
		s := start(t, tt.flags...)
		s.importProgram("../sdk", "test/sdk:1")
		if got := s.answers(definition); len(got) != 1 || !strings.Contains(got[0], tt.says) {
			t.Errorf("with %q it says %q, want %q", tt.flags, got, tt.says)
		}
	}
}
