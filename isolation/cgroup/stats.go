package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/task"
)

// Stats reads the counters of one container's cgroup in a task's, and those of the
// interface eth0 in the network namespace at netns. Unlike a Gauge it opens the files
// each time, for it is asked for when somebody looks. If there is no such cgroup the
// error is fault.NotFound. It does not say when it was read.
func (t *Tree) Stats(id, container, netns string) (task.ContainerStats, error) {
	r := &reader{tree: t, path: []string{id, container}}
	s := task.ContainerStats{HostCPUs: runtime.NumCPU()}
	if t.layout.unified {
		r.unified(&s)
	} else {
		r.split(&s)
	}
	if r.err == nil {
		r.host(&s)
	}
	if r.err == nil {
		s.Network, r.err = netStats(netns)
	}
	if gone(r.err) {
		return s, fault.Wrap(fault.NotFound, r.err, "container %s has no counters", container)
	}
	if r.err != nil {
		return s, fmt.Errorf("read counters of container %s: %w", container, r.err)
	}
	return s, nil
}

// reader reads the files of one cgroup until one cannot be read.
type reader struct {
	tree *Tree
	path []string // of the cgroup, below the parent's
	err  error
}

// need returns what a file says that every cgroup of a container has.
func (r *reader) need(controller, file string) []byte {
	if r.err != nil {
		return nil
	}
	var text []byte
	text, r.err = os.ReadFile(filepath.Join(r.tree.dir(controller, r.path...), file))
	return text
}

// may returns what a file says that not every kernel has.
func (r *reader) may(controller, file string) []byte {
	if r.err != nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(r.tree.dir(controller, r.path...), file))
	if !gone(err) {
		r.err = err
	}
	return text
}

func (r *reader) split(s *task.ContainerStats) {
	s.CPUNanos = number(r.need("cpuacct", "cpuacct.usage"))
	s.UserNanos = number(r.may("cpuacct", "cpuacct.usage_user"))
	s.SystemNanos = number(r.may("cpuacct", "cpuacct.usage_sys"))
	for _, n := range bytes.Fields(r.may("cpuacct", "cpuacct.usage_percpu")) {
		s.PerCPU = append(s.PerCPU, number(n))
	}
	s.PerCPU = s.PerCPU[:min(len(s.PerCPU), s.HostCPUs)] // The kernel tells of CPUs that could be there, too.
	stat := r.need("cpu", "cpu.stat")
	s.Periods, s.ThrottledPeriods, s.ThrottledNanos = field(stat, "nr_periods"), field(stat, "nr_throttled"), field(stat, "throttled_time")

	s.MemoryBytes = number(r.need("memory", "memory.usage_in_bytes"))
	s.MemoryPeakBytes = number(r.may("memory", "memory.max_usage_in_bytes"))
	s.MemoryLimitBytes = r.limit("memory", "memory.limit_in_bytes")
	s.MemoryFailures = number(r.may("memory", "memory.failcnt"))
	s.Memory = fields(r.need("memory", "memory.stat"))

	s.PIDs, s.PIDsLimit = number(r.need("pids", "pids.current")), r.limit("pids", "pids.max")
	disks := newDisks()
	disks.blkio(r.may("blkio", "blkio.throttle.io_service_bytes_recursive"), func(d *task.DiskStats) (read, written *uint64) {
		return &d.ReadBytes, &d.WriteBytes
	})
	disks.blkio(r.may("blkio", "blkio.throttle.io_serviced_recursive"), func(d *task.DiskStats) (read, written *uint64) {
		return &d.ReadOps, &d.WriteOps
	})
	s.Disks = disks.all
}

func (r *reader) unified(s *task.ContainerStats) {
	stat := r.need("cpu", "cpu.stat")
	s.CPUNanos, s.UserNanos, s.SystemNanos = 1000*field(stat, "usage_usec"), 1000*field(stat, "user_usec"), 1000*field(stat, "system_usec")
	s.Periods, s.ThrottledPeriods, s.ThrottledNanos = field(stat, "nr_periods"), field(stat, "nr_throttled"), 1000*field(stat, "throttled_usec")

	s.MemoryBytes = number(r.need("memory", "memory.current"))
	s.MemoryPeakBytes = number(r.may("memory", "memory.peak"))
	s.MemoryLimitBytes = r.limit("memory", "memory.max")
	s.MemoryFailures = field(r.may("memory", "memory.events"), "max")
	s.Memory = fields(r.need("memory", "memory.stat"))

	s.PIDs, s.PIDsLimit = number(r.need("pids", "pids.current")), r.limit("pids", "pids.max")
	disks := newDisks()
	disks.ioStat(r.may("io", "io.stat"))
	s.Disks = disks.all
}

// limit returns a limit of the container or, if it has none of its own, its task's.
func (r *reader) limit(controller, file string) uint64 {
	own := r.need(controller, file)
	if n := number(own); r.err != nil || !bytes.HasPrefix(own, []byte("max")) && n < unlimited {
		return n
	}
	up := &reader{tree: r.tree, path: r.path[:1]}
	n := number(up.need(controller, file))
	r.err = up.err
	return n
}

// tick is USER_HZ, which is the same on all architectures that Go and containerd share.
const tick = 1e9 / 100

// host reads the time of all CPUs, as Docker does: without what a hypervisor took, and
// without the time of guests, which counts as that of programs already (proc(5), stat).
func (r *reader) host(s *task.ContainerStats) {
	const columns = 7 // user, nice, system, idle, iowait, irq, softirq
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		r.err = err
		return
	}
	line, _ := cutLine(text)
	words := bytes.Fields(line)
	for _, w := range words[1:min(len(words), 1+columns)] {
		s.HostCPUNanos += number(w) * tick
	}
}

// fields returns the numbers in text of the form that field reads, by their names.
func fields(text []byte) map[string]uint64 {
	all := make(map[string]uint64)
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		if name, rest, ok := cut(line, ' '); ok {
			all[string(name)] = number(rest)
		}
	}
	return all
}

// disks gathers what is known of each device.
type disks struct {
	all []task.DiskStats
	at  map[string]int // "major:minor" → index in all
}

func newDisks() *disks { return &disks{at: make(map[string]int)} }

func (d *disks) of(device []byte) *task.DiskStats {
	i, known := d.at[string(device)]
	if !known {
		major, minor, _ := cut(device, ':')
		i = len(d.all)
		d.at[string(device)] = i
		d.all = append(d.all, task.DiskStats{Major: number(major), Minor: number(minor)})
	}
	return &d.all[i]
}

// blkio reads what the function blkio sums.
func (d *disks) blkio(text []byte, into func(*task.DiskStats) (read, written *uint64)) {
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		words := bytes.Fields(line)
		if len(words) != 3 {
			continue // the total
		}
		read, written := into(d.of(words[0]))
		switch string(words[1]) {
		case "Read":
			*read = number(words[2])
		case "Write":
			*written = number(words[2])
		}
	}
}

// ioStat reads what the function ioStat sums.
func (d *disks) ioStat(text []byte) {
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		device, _, ok := cut(line, ' ')
		if !ok {
			continue
		}
		t, disk := ioStat(line), d.of(device)
		disk.ReadBytes, disk.WriteBytes, disk.ReadOps, disk.WriteOps = t.rbytes, t.wbytes, t.rios, t.wios
	}
}

// netStats reads the counters of eth0 in a network namespace.
func netStats(netns string) (task.NetworkStats, error) {
	fd, err := openNetDev(netns)
	if err != nil {
		return task.NetworkStats{}, err
	}
	f := os.NewFile(uintptr(fd), "net/dev")
	defer f.Close()
	buf := make([]byte, 16<<10)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return task.NetworkStats{}, fmt.Errorf("read interfaces in %s: %w", netns, err)
	}
	return interfaceStats(buf[:n], "eth0"), nil
}

// interfaceStats reads the line of one interface in /proc/net/dev; see netDev.
func interfaceStats(text []byte, link string) task.NetworkStats {
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		name, numbers, ok := cut(bytes.TrimLeft(line, " "), ':')
		if !ok || string(name) != link {
			continue
		}
		var n [12]uint64
		for i, w := range bytes.Fields(numbers) {
			if i < len(n) {
				n[i], _ = strconv.ParseUint(string(w), 10, 64)
			}
		}
		return task.NetworkStats{
			RxBytes: n[0], RxPackets: n[1], RxErrors: n[2], RxDropped: n[3],
			TxBytes: n[8], TxPackets: n[9], TxErrors: n[10], TxDropped: n[11],
		}
	}
	return task.NetworkStats{}
}
