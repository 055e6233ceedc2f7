package main_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/logs"
	"berth/task"
)

const id = task.ID("0192f0c1d2e3740a8b9c0d1e2f304152")

// TestMain lets the test be a reader that can be killed: with LOG_ROOT it
// follows a log and prints each entry's cursor and message.
func TestMain(m *testing.M) {
	root := os.Getenv("LOG_ROOT")
	if root == "" {
		os.Exit(m.Run())
	}
	q := logs.Query{Follow: true, After: logs.Cursor(os.Getenv("LOG_AFTER")), Ended: func() bool { return true }}
	for e, err := range logs.Dir(root).Read(context.Background(), id, q) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(e.Cursor, e.Message)
	}
}

// build makes the binary as it is shipped.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "berth-log")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// logger is a running berth-log, started the way a shim does.
type logger struct {
	*exec.Cmd
	stdout, stderr *os.File // the container's ends
}

func start(t *testing.T, bin, dir string, args ...string) *logger {
	t.Helper()
	l := &logger{Cmd: exec.Command(bin, append([]string{"-dir", dir}, args...)...)}
	var reads [2]*os.File
	for i, w := range []**os.File{&l.stdout, &l.stderr} {
		var err error
		if reads[i], *w, err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
	}
	ready, say, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	l.ExtraFiles = []*os.File{reads[0], reads[1], say}
	l.Env = []string{"CONTAINER_ID=x", "CONTAINER_NAMESPACE=berth"}
	l.Stderr = os.Stderr
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l.ProcessState == nil {
			l.Process.Kill()
			l.Wait()
		}
	})
	for _, f := range l.ExtraFiles {
		f.Close()
	}
	if n, err := ready.Read(make([]byte, 1)); n != 1 {
		t.Fatalf("it is not ready: %v", err)
	}
	return l
}

// end closes the container's ends and waits.
func (l *logger) end(t *testing.T) {
	t.Helper()
	l.stdout.Close()
	l.stderr.Close()
	if err := l.Wait(); err != nil {
		t.Fatalf("berth-log: %v", err)
	}
}

// A container writes 10,000 lines a second for two seconds. The logger gets
// SIGTERM in the middle, the reader SIGKILL again and again. Every line arrives
// once.
func TestNothingLostOrDoubled(t *testing.T) {
	bin := build(t)
	root := logs.Dir(t.TempDir())
	l := start(t, bin, root.Container(id, "app"), "-max-size", "200000", "-max-files", "1000")

	const lines = 20000
	wrote := make(chan error, 1)
	go func() {
		defer l.stdout.Close()
		defer l.stderr.Close()
		begin := time.Now()
		for i := range lines {
			if _, err := fmt.Fprintf(l.stdout, "%d\n", i); err != nil {
				wrote <- fmt.Errorf("line %d: %w", i, err)
				return
			}
			if i == lines/2 {
				if err := l.Process.Signal(syscall.SIGTERM); err != nil {
					wrote <- err
					return
				}
			}
			time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / 10000)))
		}
		wrote <- nil
	}()

	next, killed := 0, 0
	var after string
	for next < lines {
		reader := exec.Command(os.Args[0])
		reader.Env = append(os.Environ(), "LOG_ROOT="+string(root), "LOG_AFTER="+after)
		out, err := reader.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := reader.Start(); err != nil {
			t.Fatal(err)
		}
		from := next
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				break // Half a line is not received: it comes again.
			}
			cursor, message, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if message != fmt.Sprint(next) {
				reader.Process.Kill()
				t.Fatalf("after %q: got %q, want %d", after, message, next)
			}
			after, next = cursor, next+1
			if next-from == 1500 {
				reader.Process.Kill()
				killed++
				break
			}
		}
		reader.Wait()
		if next == from {
			t.Fatalf("the reader ended at line %d of %d", next, lines)
		}
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(); err != nil {
		t.Fatal(err)
	}
	if killed < 10 {
		t.Errorf("the reader was killed only %d times", killed)
	}
	if _, err := os.Stat(filepath.Join(root.Container(id, "app"), "end")); err != nil {
		t.Error(err)
	}
}

// What a container leaves in its pipes when it dies is read to the end.
func TestReadsToTheEnd(t *testing.T) {
	bin := build(t)
	root := logs.Dir(t.TempDir())
	l := start(t, bin, root.Container(id, "app"))
	for i := range 500 {
		fmt.Fprintf(l.stdout, "out %d\n", i)
		fmt.Fprintf(l.stderr, "err %d\n", i)
	}
	io.WriteString(l.stdout, "no newline \xff")
	l.end(t)
	var out, err, partial []string
	for e, failed := range root.Read(t.Context(), id, logs.Query{}) {
		switch {
		case failed != nil:
			t.Fatal(failed)
		case e.Partial:
			partial = append(partial, e.Message)
		case e.Stream == logs.Stdout:
			out = append(out, e.Message)
		default:
			err = append(err, e.Message)
		}
		if age := time.Since(e.Time); age < 0 || age > time.Minute {
			t.Fatalf("an entry is %v old", age)
		}
	}
	if len(out) != 500 || out[499] != "out 499" || len(err) != 500 || err[499] != "err 499" {
		t.Errorf("%d lines of stdout, %d of stderr", len(out), len(err))
	}
	if len(partial) != 1 || partial[0] != "no newline \xff" {
		t.Errorf("partial: %q", partial)
	}
}

// An unusable directory is said before the container starts, not after.
func TestNotReady(t *testing.T) {
	bin := build(t)
	for _, args := range [][]string{nil, {"-dir", "/proc/none"}, {"-dir", "x", "-max-size", "0"}, {"-dir", "x", "y"}} {
		cmd := exec.Command(bin, args...)
		cmd.Dir = t.TempDir()
		if err := cmd.Run(); err == nil {
			t.Errorf("berth-log %q succeeded", args)
		}
	}
}

// Ensure every thread of a log writer gives way to tasks, and runs where its own does: its
// CPU time is in no task's limit.
func TestYields(t *testing.T) {
	var all, last unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for n := range 1024 {
		if all.IsSet(n) {
			cpu = n
		}
	}
	last.Set(cpu)
	l := start(t, build(t), t.TempDir(), "-cpus", strconv.Itoa(cpu))
	fmt.Fprintln(l.stdout, "something, so that all threads are there")
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", l.Process.Pid))
	if err != nil || len(stats) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	for _, s := range stats {
		text, err := os.ReadFile(s)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if nice := strings.Fields(rest)[16]; nice != "19" { // field 19 of proc_pid_stat(5)
			t.Errorf("a thread has niceness %s, want 19", nice)
		}
		thread, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		var on unix.CPUSet
		if err := unix.SchedGetaffinity(thread, &on); err == nil && on != last {
			t.Errorf("a thread may run on %d CPUs, want CPU %d alone", on.Count(), cpu)
		}
	}
}

// Ensure what runc prints when it cannot make a container is in no container's log, and
// that a container that prints the same loses nothing of it.
func TestRuntimesWords(t *testing.T) {
	bin := build(t)
	const says = "runc create failed: unable to start container process: error mounting \"/srv/state/volumes/v\" to rootfs at \"/x\"\n"
	for _, tt := range []struct {
		name           string
		act            func(l *logger)
		stderr, stdout string // messages
	}{
		{"runc", func(l *logger) { l.stderr.WriteString(says) }, "", ""},
		{"and more", func(l *logger) {
			l.stderr.WriteString(says)
			taken(t, l.stderr)
			l.stderr.WriteString("more\n")
		}, says + "more\n", ""},
		{"at once", func(l *logger) { l.stderr.WriteString("first\n" + says) }, "first\n" + says, ""},
		{"after something else", func(l *logger) {
			l.stderr.WriteString("first\n")
			taken(t, l.stderr)
			l.stderr.WriteString(says)
		}, "first\n" + says, ""},
		{"beside stdout", func(l *logger) {
			l.stderr.WriteString(says)
			taken(t, l.stderr)
			l.stdout.WriteString("out\n")
		}, says, "out\n"},
		{"after stdout", func(l *logger) {
			l.stdout.WriteString("out\n")
			taken(t, l.stdout)
			l.stderr.WriteString(says)
		}, says, "out\n"},
		{"on stdout", func(l *logger) { l.stdout.WriteString(says) }, "", says},
		{"by one that lives on", func(l *logger) {
			l.stderr.WriteString(says)
			time.Sleep(4 * time.Second)
		}, says, ""},
		{"others' words", func(l *logger) { l.stderr.WriteString("runc failed\n") }, "runc failed\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := logs.Dir(t.TempDir())
			l := start(t, bin, root.Container(id, "app"))
			tt.act(l)
			l.end(t)
			got := make(map[string]string) // by stream: between two there is no order
			for e, err := range root.Read(t.Context(), id, logs.Query{}) {
				if err != nil {
					t.Fatal(err)
				}
				got[e.Stream] += e.Message + "\n"
			}
			if got[logs.Stderr] != tt.stderr || got[logs.Stdout] != tt.stdout {
				t.Errorf("the log has %q, want %q on stderr and %q on stdout", got, tt.stderr, tt.stdout)
			}
		})
	}
}

// taken waits until the program has read all that was written to a pipe. What is in a pipe
// can be asked at either end of it (pipe(7), FIONREAD, which is TIOCINQ).
func taken(t *testing.T, pipe *os.File) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		left, err := unix.IoctlGetInt(int(pipe.Fd()), unix.TIOCINQ)
		switch {
		case err != nil:
			t.Fatal(err)
		case left == 0:
			return
		case time.Now().After(deadline):
			t.Fatalf("%d bytes are not read after 10 s", left)
		}
	}
}
