//go:build e2e

package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/isolation/disk"
)

const size = 64 << 20

// made is a disk of this test's own.
type made struct{ image, at string }

func newDisk(tb testing.TB, size int64) made {
	tb.Helper()
	dir := tb.TempDir()
	d := made{filepath.Join(dir, "image"), filepath.Join(dir, "at")}
	if err := os.Mkdir(d.at, 0o700); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := disk.Remove(d.image, d.at); err != nil {
			tb.Error(err)
		}
	})
	if err := disk.Make(tb.Context(), d.image, d.at, size); err != nil {
		tb.Fatal(err)
	}
	return d
}

// room returns how many bytes of the host's disk the image has.
func (d made) room(tb testing.TB) int64 {
	tb.Helper()
	var st unix.Stat_t
	if err := unix.Stat(d.image, &st); err != nil {
		tb.Fatal(err)
	}
	return st.Blocks * 512
}

// fill writes until there is no room, and returns how much that was.
func fill(tb testing.TB, path string) (written int64) {
	tb.Helper()
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for {
		n, err := f.Write(chunk)
		written += int64(n)
		if errors.Is(err, unix.ENOSPC) {
			return written
		}
		if err != nil {
			tb.Fatalf("after %d bytes: %v", written, err)
		}
	}
}

// Ensure a disk holds what it says and not a byte more, takes only the room that is
// used, and gives it back.
func TestFull(t *testing.T) {
	d := newDisk(t, size)
	if there, err := disk.Mounted(d.at); err != nil || !there {
		t.Fatalf("Mounted = %v, %v", there, err)
	}
	if got := d.room(t); got > 2<<20 {
		t.Errorf("an empty disk of %d bytes takes %d of the host's", size, got)
	}
	big := filepath.Join(d.at, "big")
	if got := fill(t, big); got < size*9/10 || got > size {
		t.Errorf("%d bytes went onto a disk of %d", got, size)
	}
	u, err := disk.Look(d.at)
	if err != nil {
		t.Fatal(err)
	}
	if u.Used < u.Size*95/100 || u.Size > size || u.Size < size*9/10 {
		t.Errorf("a full disk of %d says %+v", size, u)
	}
	unix.Sync()
	full := d.room(t)
	if err := os.Remove(big); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	if got := d.room(t); got > full/4 {
		t.Errorf("after everything was deleted the disk takes %d bytes of the host's, %d when it was full", got, full)
	}
	if u, err = disk.Look(d.at); err != nil || u.Used > 1<<20 {
		t.Errorf("an empty disk says %+v, %v", u, err)
	}
}

// Ensure a disk runs out of inodes before the host does.
func TestInodes(t *testing.T) {
	d := newDisk(t, size)
	for i := range 200_000 {
		err := unix.Mknod(filepath.Join(d.at, fmt.Sprint(i)), unix.S_IFREG|0o600, 0)
		if errors.Is(err, unix.ENOSPC) {
			if i < 1000 {
				t.Errorf("only %d files fit on a disk of %d bytes", i, size)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("inodes do not run out")
}

// Ensure a disk goes at once though much was written to it, and goes twice.
func TestRemove(t *testing.T) {
	d := newDisk(t, size)
	fill(t, filepath.Join(d.at, "big"))
	open, err := os.Open(filepath.Join(d.at, "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	disk.Abandon(d.at)
	disk.Abandon(d.at)
	if _, err := os.Create(filepath.Join(d.at, "late")); err == nil {
		t.Error("an abandoned disk takes new files")
	}
	for range 2 {
		if err := disk.Remove(d.image, d.at); err != nil { // also while somebody has a file open
			t.Fatal(err)
		}
	}
	if there, err := disk.Mounted(d.at); err != nil || there {
		t.Errorf("Mounted = %v, %v", there, err)
	}
	if _, err := os.Stat(d.image); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the image: %v", err)
	}
}

// Ensure what there is no room for is refused, and that trying leaves nothing.
func TestMakeRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := disk.Make(t.Context(), filepath.Join(dir, "image"), filepath.Join(dir, "at"), disk.Least-1); err == nil {
		t.Error("a disk can be smaller than the least")
	}
	trial := filepath.Join(dir, "trial")
	if err := os.MkdirAll(filepath.Join(trial, "at"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := disk.Make(t.Context(), filepath.Join(trial, "image"), filepath.Join(trial, "at"), size); err != nil {
		t.Fatal(err)
	}
	if err := disk.Try(t.Context(), trial); err != nil { // after one that died
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// BenchmarkMake is what a task's disk costs: 20 GiB, made and taken away.
func BenchmarkMake(b *testing.B) {
	dir := b.TempDir()
	image, at := filepath.Join(dir, "image"), b.TempDir()
	for b.Loop() {
		if err := disk.Make(b.Context(), image, at, 20<<30); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := os.WriteFile(filepath.Join(at, "file"), make([]byte, 1<<20), 0o600); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		disk.Abandon(at)
		if err := disk.Remove(image, at); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrite is how fast a disk takes what is written and synced.
func BenchmarkWrite(b *testing.B) {
	for _, where := range []string{"disk", "host"} {
		b.Run(where, func(b *testing.B) {
			dir := b.TempDir()
			if where == "disk" {
				dir = newDisk(b, 4<<30).at
			}
			chunk := make([]byte, 64<<20)
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				f, err := os.Create(filepath.Join(dir, "file"))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.Write(chunk); err != nil {
					b.Fatal(err)
				}
				if err := errors.Join(f.Sync(), f.Close()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
