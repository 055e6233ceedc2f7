//go:build clients

// Package clients tries the built binary with AWS's own clients, the command line and the SDKs,
// and with Terraform and Ansible, none of which knows that it does not talk to AWS. tests/clients/install gets
// them; one server answers all.
package clients

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	region  = "us-east-1"
	account = "123456789012"
	patient = 12 * time.Minute
)

var (
	berth    = at("BERTH_BIN", "../../bin/berth")
	programs = at("BERTH_CLIENTS", "../../bin/clients") // where install put the clients
	endpoint string

	// The admin's of the server, made by it for this run.
	accessKey, secretKey string
)

// at returns the absolute path in a variable, or the one given.
func at(name, otherwise string) string {
	path := os.Getenv(name)
	if path == "" {
		path = otherwise
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run starts the server that all tests use, and takes it down with all that is in it.
func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests run containers: run them as root")
		return 1
	}
	if endpoint = os.Getenv("BERTH_ENDPOINT"); endpoint != "" {
		accessKey, secretKey = account, "any" // an open server of the tester's own
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "berth-clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	server, err := start(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	down := exec.Command(berth, "down", "--state-dir", dir, "--purge")
	if out, err := down.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "berth down: %v\n%s", err, out)
		code = 1
	}
	server.Process.Kill()
	server.Wait()
	if code != 0 {
		if log, err := os.ReadFile(filepath.Join(dir, "stdio.log")); err == nil {
			fmt.Fprintf(os.Stderr, "the server's log:\n%s\n", log[max(0, len(log)-4000):])
		}
	}
	return code
}

func start(dir string) (*exec.Cmd, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	out, err := os.Create(filepath.Join(dir, "stdio.log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	// Tasks that wait for CPUs would make every client wait; what they do needs next to none.
	cmd := exec.Command(berth, "server", "--state-dir", dir, "--listen", addr,
		"--auth", "--account", account, "--vcpu", "16", "--memory", "16GiB", "--cpu-policy", "none")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("no server to test (make build): %w", err)
	}
	endpoint = "http://" + addr
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(endpoint + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return cmd, readKeys(filepath.Join(dir, "admin.credentials"))
			}
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			log, _ := os.ReadFile(filepath.Join(dir, "stdio.log"))
			return nil, fmt.Errorf("the server is not healthy: %v\n%s", err, log)
		}
	}
}

// readKeys reads the access key that a server with --auth makes for its first admin.
func readKeys(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), " = "); name {
		case "aws_access_key_id":
			accessKey = value
		case "aws_secret_access_key":
			secretKey = value
		}
	}
	if accessKey == "" || secretKey == "" {
		return fmt.Errorf("%s has no access key", file)
	}
	return nil
}

// client runs a program that is one client's test, and fails with all that it says.
func client(t *testing.T, name string, more []string, program string, args ...string) {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LANG=C.UTF-8",
		"NAME=" + name, "ENDPOINT=" + endpoint, "ACCOUNT=" + account, "WORK=" + t.TempDir(),
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region, "AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey,
		"AWS_EC2_METADATA_DISABLED=true",
	}, more...)
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	out, err := cmd.CombinedOutput()
	t.Logf("%s took %.0f s\n%s", name, time.Since(began).Seconds(), out)
	if err != nil {
		t.Error(err)
	}
}

// installed fails the test if a program is not where install puts it.
func installed(t *testing.T, path ...string) string {
	t.Helper()
	program := filepath.Join(append([]string{programs}, path...)...)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: run tests/clients/install %s", err, programs)
	}
	return program
}

// Ensure the AWS CLI leads the life of tasks and services, the newest and the one of Debian.
func TestAWSCLI(t *testing.T) {
	for name, program := range map[string]string{"cli": installed(t, "aws-cli", "aws"), "cli-debian": "/usr/bin/aws"} {
		t.Run(name, func(t *testing.T) {
			client(t, name, []string{"AWS=" + program, "PLUGIN=" + installed(t, "plugin", "session-manager-plugin")}, "cli/life.sh")
		})
	}
}

// Ensure boto3's paginators, waiters, error classes and tokens work.
func TestBoto3(t *testing.T) {
	client(t, "boto3", nil, installed(t, "python", "bin", "python"), "python/life.py")
}

// Ensure the AWS SDK for Go does.
func TestGo(t *testing.T) {
	client(t, "go", nil, installed(t, "gosdk"))
}

// Ensure the AWS SDK for JavaScript does. Its modules are found from where the program is.
func TestJavaScript(t *testing.T) {
	to := filepath.Join(installed(t, "js"), "life.mjs")
	src, err := os.ReadFile("js/life.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, src, 0o600); err != nil {
		t.Fatal(err)
	}
	client(t, "js", nil, "node", to)
}

// Ensure Terraform makes, changes and destroys, and finds nothing to do in between.
func TestTerraform(t *testing.T) {
	terraform := installed(t, "terraform", "terraform")
	client(t, "terraform", []string{"TERRAFORM=" + terraform, "PLUGINS=" + filepath.Dir(terraform), "PROVIDER=1"}, "terraform/life.sh")
}

// Ensure Ansible makes what is described, finds nothing to do in between, and takes it away.
func TestAnsible(t *testing.T) {
	installed(t, "ansible")
	client(t, "ansible", []string{"PROGRAMS=" + programs}, "ansible/life.sh")
}
