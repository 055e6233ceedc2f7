//go:build e2e

package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/logs"
)

// On a full disk the container is never held up, what fits is kept whole, and
// the log says truly how much is missing. It needs root to mount a small tmpfs.
func TestDiskFull(t *testing.T) {
	bin := build(t)
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mount a small tmpfs (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(mount, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 900<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	root := logs.Dir(mount)
	l := start(t, bin, root.Container(id, "app"), "-max-size", "40000", "-max-files", "100")

	const lines = 50000
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		for i := range lines {
			fmt.Fprintf(l.stdout, "%d\n", i)
		}
	}()
	select {
	case <-wrote:
	case <-time.After(30 * time.Second):
		t.Fatal("the container is held up by a full disk")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// What is in the pipe may still find the disk full, so give it a mark of its own.
	fmt.Fprintf(l.stdout, "%d\n", lines)
	l.end(t)

	lost := regexp.MustCompile(`^(\d+) log entries were lost here: .*no space left on device$`)
	next, notes := 0, 0
	for e, err := range root.Read(t.Context(), id, logs.Query{}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Stream == logs.Note:
			m := lost.FindStringSubmatch(e.Message)
			if m == nil {
				t.Fatalf("note %q", e.Message)
			}
			n, _ := strconv.Atoi(m[1])
			next += n
			notes++
		case e.Message != fmt.Sprint(next):
			t.Fatalf("got line %.80q, want %d", e.Message, next)
		default:
			next++
		}
	}
	if next != lines+1 || notes == 0 {
		t.Errorf("%d of %d lines accounted for, %d notes", next, lines+1, notes)
	}
}

// A logger is cheap enough to have one per container.
func TestFootprint(t *testing.T) {
	bin := build(t)
	begin := time.Now()
	l := start(t, bin, logs.Dir(t.TempDir()).Container(id, "app"))
	took := time.Since(begin)
	for range 100000 {
		fmt.Fprintln(l.stdout, strings.Repeat("x", 99))
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	kb, _ := strconv.Atoi(string(m[1]))
	out, _ := exec.Command("wc", "-c", bin).Output()
	t.Logf("ready after %v, at most %d KiB resident, binary %s", took, kb, strings.Fields(string(out))[0])
	if kb > 16<<10 {
		t.Errorf("%d KiB resident", kb)
	}
	l.end(t)
}
