//go:build e2e

package containerd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/isolation/containerd"
	"berth/task"
)

// tells returns secrets that are known.
func tells(env ...string) isolation.Secrets {
	return func(context.Context) ([]string, error) { return env, nil }
}

const confidential = "correct horse battery staple"

// Ensure a container learns its secrets and is otherwise as one that has none, whoever
// it runs as, with an init process and without.
func TestSecrets(t *testing.T) {
	b, _ := newBox(t, small)
	b.want(b.inspect(isolation.Container{Name: "none"}), "devices", "[/dev/fd /dev/full /dev/mqueue /dev/null /dev/ptmx /dev/pts /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero]")
	if _, err := os.Stat(filepath.Join(shared.run, "secrets", string(b.id))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a place for secrets of a task that has none: %v", err)
	}
	for name, c := range map[string]isolation.Container{
		"root":   {Env: []string{"OURS=1"}},
		"app":    {User: "app", Env: []string{"OURS=1"}},
		"init":   {Init: true, Env: []string{"OURS=1"}},
		"sealed": {ReadonlyRootFilesystem: true, User: "app", DropCapabilities: []string{"ALL"}, Ulimits: []isolation.Ulimit{{Name: "nofile", Soft: 100, Hard: 200}}},
	} {
		c.Name = name + "-plain"
		plain := b.inspect(c)
		c.Name, c.Secrets = name+"-secret", tells("BOTH="+confidential, "OURS=secret", "LINES=a\nb=c", "EMPTY=")
		told := b.inspect(c)
		if !c.Init { // whose number tells how many threads it has
			b.want(told, "pid", plain["pid"])
		}
		for _, same := range []string{"args", "uid", "gid", "groups", "cwd", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "SigIgn", "open", "nofile", "writable", "oomScore"} {
			b.want(told, same, plain[same])
		}
		env, _ := told["env"].([]any)
		before, _ := plain["env"].([]any)
		for _, want := range []any{"BOTH=" + confidential, "OURS=secret", "LINES=a\nb=c", "EMPTY=", "FROM=image"} {
			if !slices.Contains(env, want) {
				t.Errorf("%s does not know %q: %q", name, want, env)
			}
		}
		for _, kv := range before {
			key, _, _ := strings.Cut(kv.(string), "=")
			if n := count(env, key); n != 1 {
				t.Errorf("%s has %d variables %s: %q", name, n, key, env)
			}
		}
		file := secretsFile(t, b, c.Name)
		st, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		want := b.outside(0)
		if c.User == "app" {
			want = b.outside(1000)
		}
		var sys unix.Stat_t
		if err := unix.Stat(file, &sys); err != nil || st.Mode().Perm() != 0o400 || sys.Uid != want {
			t.Errorf("the file of %s is %v of %d, %v", name, st.Mode(), sys.Uid, err)
		}
	}
	var system unix.Statfs_t
	dir := filepath.Join(shared.run, "secrets", string(b.id))
	if err := unix.Statfs(dir, &system); err != nil || system.Type != unix.RAMFS_MAGIC {
		t.Errorf("secrets lie on %#x, %v; want a ramfs", system.Type, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("everybody can look at secrets: %v, %v", st.Mode(), err)
	}
	b.nowhere(confidential)
	if err := b.rt.Remove(t.Context(), b.id); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("secrets are left: %v", err)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || bytes.Contains(mounts, []byte(dir)) {
		t.Errorf("their file system is left: %v", err)
	}
}

func count(env []any, key string) (n int) {
	for _, kv := range env {
		if strings.HasPrefix(kv.(string), key+"=") {
			n++
		}
	}
	return n
}

func secretsFile(t *testing.T, b *box, name string) string {
	t.Helper()
	st, err := b.rt.Start(t.Context(), b.id, name)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(shared.run, "secrets", string(b.id), st.RuntimeID)
}

// nowhere looks for a text in everything that containerd, its shims, runc and we wrote
// down, but for the logs of containers, which say what they like.
func (b *box) nowhere(text string) {
	b.Helper()
	files := 0
	for _, top := range []string{shared.state, shared.run} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if path == shared.config.LogsDir || path == filepath.Join(shared.run, "secrets") || path == filepath.Join(shared.state, "storage") {
				return fs.SkipDir
			}
			if err != nil || !d.Type().IsRegular() {
				return nil // What comes and goes is not what stays.
			}
			content, err := os.ReadFile(path)
			if files++; err == nil && bytes.Contains(content, []byte(text)) {
				b.Errorf("%s has the secret", path)
			}
			return nil
		})
		if err != nil {
			b.Error(err)
		}
	}
	if files < 20 {
		b.Errorf("only %d files were looked at", files)
	}
	c, err := shared.dial()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	all, err := c.ContainerService().List(namespaces.WithNamespace(b.Context(), containerd.Namespace), fmt.Sprintf(`labels."berth/task"==%s`, b.id))
	if err != nil || len(all) == 0 {
		b.Fatalf("%d containers, %v", len(all), err)
	}
	for _, found := range all {
		if bytes.Contains(found.Spec.GetValue(), []byte(text)) {
			b.Errorf("the spec of %s has the secret", found.ID)
		}
	}
}

// Ensure commands in a container know its secrets, and so does its next run, also when
// the server that asked for them is gone.
func TestSecretsOfCommandsAndRuns(t *testing.T) { secretsOfCommandsAndRuns(t, task.Runc) }

func TestGVisorSecretsOfCommandsAndRuns(t *testing.T) {
	needGVisor(t)
	secretsOfCommandsAndRuns(t, task.GVisor)
}

func secretsOfCommandsAndRuns(t *testing.T, class task.RuntimeClass) {
	box := small
	box.Runtime, box.Containers = class, 2
	b, _ := newBox(t, box)
	b.run(isolation.Container{Name: "long", User: "app", Command: []string{"sleep", "1h"}, Secrets: tells("A=known", "B="+confidential)})
	b.run(isolation.Container{Name: "short", Command: []string{"knows", "A", "known"}, Secrets: tells("A=known", "B="+confidential)})
	if e := b.wait("short"); e.Code != 0 {
		t.Errorf("the first run ended with %d", e.Code)
	}
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	b.rt = rt
	if _, err := b.rt.Restart(t.Context(), b.id, "short", 1); err != nil {
		t.Fatal(err)
	}
	if e := b.wait("short"); e.Code != 0 {
		t.Errorf("the second run ended with %d", e.Code)
	}
	for program, want := range map[string]int{"/probe": 0, "/nothere": 127} {
		code, err := b.rt.Exec(t.Context(), b.id, "long", isolation.Command{Name: "x", Args: []string{program, "knows", "A", "known"}})
		if err != nil || code != want {
			t.Errorf("command %s ended with %d, %v; want %d", program, code, err, want)
		}
	}
	b.nowhere(confidential)
}

// Ensure a program that cannot be run is refused in the words that runc has for it, or
// ends as it would under runc.
func TestSecretsWithoutProgram(t *testing.T) {
	b, _ := newBox(t, small)
	ends := func(name string, c isolation.Container) string {
		c.Task, c.Image, c.Name = b.id, shared.image, name
		err := b.rt.Create(t.Context(), c)
		if err == nil {
			_, err = b.rt.Start(t.Context(), b.id, name)
		}
		if err != nil {
			return fmt.Sprintf("%s: %s", fault.KindOf(err), fault.Message(err))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		exit, err := b.rt.Wait(ctx, b.id, name)
		return fmt.Sprint(exit.Code, err)
	}
	entry := func(program ...string) isolation.Container { return isolation.Container{EntryPoint: program} }
	user := entry("/secret-tool")
	user.User = "app"
	search := entry("probe", "exit", "7")
	search.Env = []string{"PATH=/nowhere:/"}
	for name, c := range map[string]isolation.Container{
		"missing": entry("nothere"), "missing-path": entry("/not/there"), "directory": entry("/etc"), "not-executable": entry("/etc/group"),
		"relative": entry("./nothere"), "below-a-file": entry("/etc/group/x"), "found": search, "no-path": {EntryPoint: []string{"probe"}, Env: []string{"PATH="}},
		"not-for-app": user, "empty-name": entry(""), "works": entry("/probe", "exit", "3"),
	} {
		plain := ends(name, c)
		c.Secrets = tells("A=" + confidential)
		if got := ends(name+"-secret", c); got != plain {
			t.Errorf("%s: %s\nwithout secrets: %s", name, got, plain)
		}
	}

	// What is mounted is not in the image: berth-init says what runc's init would.
	volume := at("/v", "v")
	if code := b.does("maker", volume, "put", "/v/script", "echo hello"); code != 0 {
		t.Fatal(code)
	}
	script := filepath.Join(shared.state, "storage", string(b.id), "disk", "volumes", "v", "script")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"script": "255 <nil>", "nothere": "127 <nil>"} {
		volume.EntryPoint, volume.Secrets = []string{"/v/" + name}, tells("A=b")
		if got := ends(name+"-in-volume", volume); got != want {
			t.Errorf("%s in a volume: %s, want %s", name, got, want)
		}
	}
	volume.EntryPoint, volume.Secrets = []string{"/v/script"}, nil
	if got := ends("script-plain", volume); got != "255 <nil>" {
		t.Errorf("a script of no interpreter ends under runc with %s: berth-init is to do the same", got)
	}
}

// Ensure secrets are asked for when a container is made and never again, and that an
// error of theirs leaves nothing behind.
func TestSecretsAreAskedForOnce(t *testing.T) {
	b, _ := newBox(t, small)
	asked := 0
	c := isolation.Container{Task: b.id, Image: shared.image, Name: "main", Command: []string{"sleep", "1h"}}
	failing := func(err error) isolation.Secrets {
		return func(context.Context) ([]string, error) { asked++; return nil, err }
	}
	for _, kind := range []fault.Kind{fault.Unavailable, fault.NotFound, fault.Invalid} {
		c.Secrets = failing(fault.New(kind, "ResourceInitializationError: no"))
		if err := b.rt.Create(t.Context(), c); fault.KindOf(err) != kind || fault.Message(err) != "ResourceInitializationError: no" {
			t.Errorf("%s became %v", kind, err)
		}
	}
	for _, odd := range []string{"A", "=b", "A=\x00", "A=" + strings.Repeat("x", 6<<20)} {
		c.Secrets = tells(odd)
		if err := b.rt.Create(t.Context(), c); fault.KindOf(err) != fault.Invalid {
			t.Errorf("variable %.10q: %v", odd, err)
		}
	}
	c.Secrets = tells("A=" + confidential)
	if err := b.rt.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	rt, err := shared.open() // the server started again
	if err != nil {
		t.Fatal(err)
	}
	b.rt, asked, c.Secrets = rt, 0, failing(errors.New("the source is gone"))
	if err := b.rt.Create(t.Context(), c); err != nil || asked != 0 {
		t.Errorf("made again: %v, asked %d times", err, asked)
	}
	if _, err := b.rt.Start(t.Context(), b.id, "main"); err != nil {
		t.Fatal(err)
	}
	pid, err := shared.process(b.id, "main")
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && bytes.Contains(env, []byte("A="+confidential+"\x00")) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the program does not know its secret: %q, %v", env, err)
		}
	}
}
