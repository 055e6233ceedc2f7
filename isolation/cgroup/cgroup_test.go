package cgroup

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/task"
)

const splitMounts = `24 29 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
36 29 0:30 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
37 36 0:31 / /sys/fs/cgroup/systemd rw,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
38 36 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
39 36 0:33 / /sys/fs/cgroup/memory rw,relatime shared:16 - cgroup cgroup rw,memory
40 36 0:34 / /sys/fs/cgroup/pids rw,relatime shared:17 - cgroup cgroup rw,pids
41 36 0:35 / /sys/fs/cgroup/blkio rw,relatime shared:18 - cgroup cgroup rw,blkio
42 36 0:36 / /sys/fs/cgroup/freezer rw,relatime shared:19 - cgroup cgroup rw,freezer
`

func TestLayouts(t *testing.T) {
	hybrid := splitMounts + "43 36 0:37 / /sys/fs/cgroup/unified rw,relatime shared:12 - cgroup2 cgroup2 rw\n"
	for _, tt := range []struct {
		name, mounts, want string
		hierarchies        int
		failure            string
	}{
		{"v1", splitMounts, "cgroup v1", 6, ""},
		{"hybrid", hybrid, "cgroup v1 (hybrid)", 7, ""},
		{"no memory", strings.ReplaceAll(splitMounts, "rw,memory", "rw,cpuset"), "", 0, `"memory"`},
		{"nothing", "", "", 0, `"cpu"`},
	} {
		l, err := splitLayout(strings.NewReader(tt.mounts))
		if tt.failure != "" {
			if err == nil || !strings.Contains(err.Error(), tt.failure) {
				t.Errorf("%s: error %v, want one about %s", tt.name, err, tt.failure)
			}
			continue
		}
		if err != nil || l.String() != tt.want || len(l.mounts) != tt.hierarchies {
			t.Errorf("%s: %v with %d hierarchies, %v; want %s with %d", tt.name, l, len(l.mounts), err, tt.want, tt.hierarchies)
		}
		if got := l.by["cpuacct"]; got != "/sys/fs/cgroup/cpu,cpuacct" {
			t.Errorf("%s: cpuacct is at %q", tt.name, got)
		}
	}
	if l, err := unifiedLayout("/sys/fs/cgroup", "cpuset cpu io memory hugetlb pids\n"); err != nil || l.String() != "cgroup v2" {
		t.Errorf("v2: %v, %v", l, err)
	}
	if _, err := unifiedLayout("/sys/fs/cgroup", "hugetlb\n"); err == nil {
		t.Error("v2 without controllers was accepted")
	}
}

func TestQuota(t *testing.T) {
	for cpu, want := range map[int]time.Duration{
		256: 25 * time.Millisecond, 1024: 100 * time.Millisecond, 32768: 3200 * time.Millisecond, 1: time.Millisecond,
	} {
		if got := quota(cpu); got != want {
			t.Errorf("quota(%d) = %v, want %v", cpu, got, want)
		}
	}
}

func TestParentMustBeBelowTheRoot(t *testing.T) {
	for _, parent := range []string{"", "/", "berth", "/.."} {
		if _, err := Open(parent); err == nil {
			t.Errorf("Open(%q) was accepted", parent)
		}
	}
}

func TestParsers(t *testing.T) {
	stat := []byte("nr_periods 63\nnr_throttled 59\nthrottled_time 4712345678\nusage_usec_x 1\nusage_usec 77")
	for name, want := range map[string]uint64{
		"nr_periods": 63, "nr_throttled": 59, "throttled_time": 4712345678, "usage_usec": 77, "nr": 0, "absent": 0,
	} {
		if got := field(stat, name); got != want {
			t.Errorf("field %s = %d, want %d", name, got, want)
		}
	}
	if r, w := blkio([]byte("8:0 Read 4096\n8:0 Write 512\n8:0 Sync 1\n7:1 Read 4\n7:1 Write 8\nTotal 4620\n")); r != 4100 || w != 520 {
		t.Errorf("blkio = %d, %d", r, w)
	}
	got := ioStat([]byte("8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n7:0 \n7:1 rbytes=4 wbytes=8 rios=1 wios=1 dbytes=0 dios=0\n"))
	if want := (traffic{4100, 520, 3, 2}); got != want {
		t.Errorf("ioStat = %+v, want %+v", got, want)
	}
	if rx, tx := netDev([]byte(netDevText)); rx != 1296+7 || tx != 726+8 {
		t.Errorf("netDev = %d, %d", rx, tx)
	}
	if got, want := interfaceStats([]byte(netDevText), "eth0"), (task.NetworkStats{RxBytes: 1296, RxPackets: 16, TxBytes: 726, TxPackets: 9}); got != want {
		t.Errorf("interfaceStats = %+v, want %+v", got, want)
	}
	split, unified := newDisks(), newDisks()
	split.blkio([]byte("8:0 Read 4096\n8:0 Write 512\n8:0 Sync 1\n7:1 Read 4\nTotal 4620\n"), func(d *task.DiskStats) (read, written *uint64) {
		return &d.ReadBytes, &d.WriteBytes
	})
	unified.ioStat([]byte("8:0 rbytes=4096 wbytes=512 rios=0 wios=0\n7:0 \n7:1 rbytes=4 wbytes=0 rios=0 wios=0\n"))
	want := []task.DiskStats{{Major: 8, ReadBytes: 4096, WriteBytes: 512}, {Major: 7, Minor: 1, ReadBytes: 4}}
	if !slices.Equal(split.all, want) || !slices.Equal(unified.all, slices.Insert(want, 1, task.DiskStats{Major: 7})) {
		t.Errorf("disks: %+v and %+v", split.all, unified.all)
	}
	for name, parse := range parsers {
		if n := testing.AllocsPerRun(100, func() { parse(stat) }); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

const netDevText = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     840      10    0    0    0     0          0         0      840      10    0    0    0     0       0          0
  eth0:    1296      16    0    0    0     0          0         0      726       9    0    0    0     0       0          0
  eth1:       7      16    0    0    0     0          0         0        8       9    0    0    0     0       0          0
`

var parsers = map[string]func([]byte){
	"field":  func(b []byte) { field(b, "absent") },
	"blkio":  func(b []byte) { blkio(b) },
	"ioStat": func(b []byte) { ioStat(b) },
	"netDev": func(b []byte) { netDev(b) },
}

// FuzzParsers looks for text that a parser cannot get to the end of.
func FuzzParsers(f *testing.F) {
	for _, seed := range []string{netDevText, "8:0 Read 1\n", "8:0 rbytes=1", "a 1", "\n\n", ":", "= ="} {
		f.Add([]byte(seed))
	}
	names := slices.Sorted(maps.Keys(parsers))
	f.Fuzz(func(_ *testing.T, text []byte) {
		for _, name := range names {
			parsers[name](text)
		}
	})
}
