package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"go.uber.org/zap"

	"berth/fault"
	"os/exec"
	"time"
)

func config(t *testing.T) Config {
	t.Helper()
	dir := t.TempDir()
	run, err := os.MkdirTemp("", "b") // A test's own directory has too long a name for a socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	return Config{Libexec: dir, StateDir: filepath.Join(dir, `a "state"`), RunDir: run, Log: zap.NewNop()}
}

func TestOneServerPerStateDirectory(t *testing.T) {
	c := config(t)
	first, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(c); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second server: %v, want a conflict", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Open(c)
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestRunDirectoryMustBeShort(t *testing.T) {
	c := config(t)
	c.RunDir = "/run/" + strings.Repeat("x", 90)
	if _, err := Open(c); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Open = %v, want a refusal", err)
	}
}

func TestConfigurationStaysInOurDirectories(t *testing.T) {
	c := config(t)
	d, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	text, err := os.ReadFile(d.configFile())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := toml.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if got["root"] != filepath.Join(c.StateDir, "containerd") {
		t.Errorf("root = %v", got["root"])
	}
	var look func(path string, v any)
	look = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, v := range v {
				look(path+"."+k, v)
			}
		case string:
			if filepath.IsAbs(v) && !strings.HasPrefix(v, c.StateDir+"/") && !strings.HasPrefix(v, c.RunDir+"/") {
				t.Errorf("%s is %s", path, v)
			}
		}
	}
	look("", got)
}

// standIn makes this test's own program wait instead, whatever its arguments are.
const standIn = "BERTH_TEST_STAND_IN"

func init() {
	if os.Getenv(standIn) != "" {
		time.Sleep(time.Minute)
		os.Exit(0)
	}
}

// Ensure a containerd whose PID file was never written is found, and no other
// program.
func TestContainerdWithoutPIDFile(t *testing.T) {
	d, err := Open(config(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	begin := func(args ...string) *exec.Cmd {
		c := exec.Command("/proc/self/exe")
		c.Args, c.Env = args, append(os.Environ(), standIn+"=1")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Process.Kill(); c.Wait() })
		return c
	}
	begin(d.program(), "--config", d.configFile()+".other")
	begin("/elsewhere/containerd", "--config", d.configFile())
	if p, err := d.adopt(); p != nil || err != nil {
		t.Fatalf("another program is taken over: %+v, %v", p, err)
	}
	ours := begin(d.program(), "--config", d.configFile())
	if err := os.WriteFile(d.pidFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and then it has a PID file
		p, err := d.adopt()
		if err != nil || p == nil || p.pid != ours.Process.Pid || !p.adopted {
			t.Fatalf("%+v, %v; want process %d", p, err, ours.Process.Pid)
		}
		p.close()
	}
}

func TestPIDUsedAgainIsNotOurs(t *testing.T) {
	d, err := Open(config(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if p, err := d.adopt(); p != nil || err != nil {
		t.Errorf("without a PID file: %v, %v", p, err)
	}
	if err := d.writePIDFile(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	p, err := d.adopt()
	if err != nil || p == nil || p.pid != os.Getpid() {
		t.Fatalf("a process that runs: %v, %v", p, err)
	}
	p.close()
	text, err := os.ReadFile(d.pidFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{strings.Replace(string(text), `"StartTime":"`, `"StartTime":"9`, 1), strings.Replace(string(text), `"BootID":"`, `"BootID":"x`, 1), "{"} {
		if err := os.WriteFile(d.pidFile(), []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := d.adopt(); p != nil || err != nil {
			t.Errorf("%s: %v, %v; want that it is not taken over", other, p, err)
		}
	}
}
