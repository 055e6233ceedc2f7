package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the program.
func TestMain(m *testing.M) {
	if os.Getenv("DEMO") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func start(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "DEMO=1")
	return cmd
}

func TestCommands(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	}))
	defer server.Close()
	web := strings.TrimPrefix(server.URL, "http://")
	file := filepath.Join(t.TempDir(), "file")
	for _, test := range []struct {
		args string
		code int
		want string // of both streams
	}{
		{"", 0, "spin [-for D] [-threads N]"},
		{"dance", 1, `demo: no command "dance"`},
		{"exit 7", 7, "demo: exits with 7"},
		{"exit", 1, "demo: usage: demo exit CODE"},
		{"exit -1", 1, "demo: usage: demo exit CODE"},
		{"sleep 1ms", 0, "demo: sleeps 1ms"},
		{"sleep long", 1, "demo: usage: demo sleep D"},
		{"hello -for 10ms", 0, "second 1: nothing wrong"},
		{"hello -far 1s", 1, "demo: usage: demo hello [-for D]"},
		{"hog 3", 0, "demo: has 3 MiB"},
		{"work 2ms", 0, "demo: used 2ms of CPU"},
		{"work", 1, "demo: usage: demo work D"},
		{"fork 2", 0, "demo: started 2 processes"},
		{"lines 3 -bytes 5", 0, "0 xx\n1 xx\n2 xx\n"},
		{"lines 2 -rate 100", 0, "1 x"},
		{"trap TRAP", 1, `demo: no signal "TRAP"`},
		{"env", 0, "DEMO=1\n"},
		{"id", 0, "NoNewPrivs:"},
		{"mounts", 0, " / "},
		{"write " + file + " 2", 0, ""},
		{"ls " + filepath.Dir(file), 0, file + "\n"},
		{"ask", 1, "demo: usage: demo ask"},
		{"ask -X PUT -d {} http://" + web + "/$DEMO", 0, "200 PUT /1 {}\n"},
		{"ask https://" + web, 1, "http alone"},
		{"cat /proc/self/comm", 0, "exe\n"},
		{"cat " + file + ".not", 1, "no such file"},
	} {
		t.Run(test.args, func(t *testing.T) {
			cmd := start(t, strings.Fields(test.args)...)
			out, _ := cmd.CombinedOutput() // the error says no more than the code
			if code := cmd.ProcessState.ExitCode(); code != test.code || !bytes.Contains(out, []byte(test.want)) {
				t.Errorf("code %d, want %d; said %q, want %q", code, test.code, out, test.want)
			}
		})
	}
	if s, err := os.Stat(file); err != nil || s.Size() != 2<<20 {
		t.Errorf("written: %v, %v", s, err)
	}
}

// Ensure a trapped signal ends the program well and an ignored one does not end it.
func TestSignals(t *testing.T) {
	for _, command := range []string{"trap", "ignore"} {
		cmd := start(t, command, "SIGTERM")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(out)
		said.Scan() // now it listens
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		said.Scan()
		if !strings.HasPrefix(said.Text(), "demo: got terminated") {
			t.Errorf("%s said %q", command, said.Text())
		}
		if command == "ignore" {
			cmd.Process.Kill()
		}
		cmd.Wait()
		if lived := !cmd.ProcessState.Success(); lived != (command == "ignore") {
			t.Errorf("%s: %v", command, cmd.ProcessState)
		}
	}
}

// Ensure lines come no faster than asked, and spin knows what it used.
func TestPace(t *testing.T) {
	begun := time.Now()
	if err := start(t, "lines", "51", "-rate", "250").Run(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("51 lines at 250 a second came in %v", took)
	}
	out, err := start(t, "spin", "-for", "100ms").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(" s of CPU in 0.")) {
		t.Errorf("spin: %q, %v", out, err)
	}
}

func TestLimits(t *testing.T) {
	for name, test := range map[string]struct {
		files       map[string]string
		cpu, memory string
	}{
		"version 2":           {map[string]string{"cpu.max": "25000 100000\n", "memory.max": "536870912\n"}, "0.25 vCPU", "512 MiB"},
		"version 2, no limit": {map[string]string{"cpu.max": "max 100000\n", "memory.max": "max\n"}, "all CPU of its task", "all"},
		"version 1": {map[string]string{"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n",
			"memory/memory.limit_in_bytes": "1073741824\n"}, "4 vCPU", "1024 MiB"},
		"version 1, no limit": {map[string]string{"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
			"memory/memory.limit_in_bytes": "9223372036854771712\n"}, "all CPU of its task", "all"},
		"nothing": {nil, "all CPU of its task", "all"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range test.files {
				path := filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if cpu, memory := cpuLimit(root), memoryLimit(root); cpu != test.cpu || memory != test.memory {
				t.Errorf("%s, %s; want %s, %s", cpu, memory, test.cpu, test.memory)
			}
		})
	}
}
