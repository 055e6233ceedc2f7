package containerd

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if _, found, err := load[startRecord](dir, startedFile); found || err != nil {
		t.Errorf("load of nothing: %v, %v", found, err)
	}
	for _, failure := range []string{"first", "second"} {
		if err := saveDurably(dir, startedFile, startRecord{Failure: failure}); err != nil {
			t.Fatal(err)
		}
		if got, found, err := load[startRecord](dir, startedFile); err != nil || !found || got.Failure != failure {
			t.Errorf("load = %+v, %v, %v; want %s", got, found, err, failure)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, exitFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := load[startRecord](dir, exitFile); err == nil {
		t.Error("half a record was read as a whole one")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("save left %v, %v", entries, err)
	}
}

func TestLocks(t *testing.T) {
	var l locks
	unlock, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("lock of a held task with an ended context: %v", err)
	}
	var n int
	var waiters sync.WaitGroup
	for range 50 {
		waiters.Go(func() {
			unlock, err := l.lock(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			n++ // the race detector looks on
			unlock()
		})
	}
	unlock()
	waiters.Wait()
	if n != 50 || len(l.held) != 0 {
		t.Errorf("%d of 50 had the lock; %d locks are left", n, len(l.held))
	}
}

func TestFreeSubnets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var taken []netip.Prefix
		for range rapid.IntRange(0, 40).Draw(t, "taken") {
			a := rapid.Uint32().Draw(t, "address")
			bits := rapid.IntRange(12, 32).Draw(t, "bits")
			taken = append(taken, netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64 | byte(a>>16)&63, byte(a >> 8), byte(a)}), bits).Masked())
		}
		got, err := freeSubnet(rapid.Uint32().Draw(t, "seed"), taken)
		if err != nil {
			return // All may be taken; the case below is sure.
		}
		if got != got.Masked() || got.Bits() != subnetBits || !pool.Overlaps(got) || pool.Bits() > got.Bits() {
			t.Fatalf("%s is no subnet of the pool", got)
		}
		if by, ok := overlap(got, taken); ok {
			t.Fatalf("%s overlaps %s", got, by)
		}
	})
	if got, err := freeSubnet(7, []netip.Prefix{pool}); err == nil {
		t.Errorf("%s was found where all is taken", got)
	}
	var all []netip.Prefix
	for range 100 {
		p, err := freeSubnet(123456789, all)
		if err != nil || slices.Contains(all, p) {
			t.Fatalf("subnet %d: %s, %v", len(all), p, err)
		}
		all = append(all, p)
	}
}

func TestLookUp(t *testing.T) {
	root, outside := t.TempDir(), filepath.Join(t.TempDir(), "shadow")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(outside, "spy:x:7:7::/:/bin/sh\n")
	if _, err := lookUp(root, "app"); err == nil {
		t.Error("a user was found in an image without users")
	}
	if u, err := lookUp(root, ""); err != nil || u.UID != 0 || u.GID != 0 {
		t.Errorf("nobody in particular is %+v, %v", u, err)
	}
	write(filepath.Join(root, "usr/etc/passwd"), "app:x:10:11::/:/bin/sh\n")
	write(filepath.Join(root, "etc/group"), "staff:x:12:app\n")
	// A link that begins with a slash leads to the image's root, not to ours.
	if err := os.Symlink("/usr/etc/passwd", filepath.Join(root, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if u, err := lookUp(root, "app"); err != nil || u.UID != 10 || u.GID != 11 || !slices.Equal(u.AdditionalGids, []uint32{11, 12}) {
		t.Errorf("app is %+v, %v", u, err)
	}
	if err := errors.Join(os.Remove(filepath.Join(root, "etc/passwd")), os.Symlink(outside, filepath.Join(root, "etc/passwd"))); err != nil {
		t.Fatal(err)
	}
	if u, err := lookUp(root, "spy"); err == nil {
		t.Errorf("a user of the host's was found in an image: %+v", u)
	}
}
