package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/task"
)

// The files that a Gauge reads. A file that this kernel does not have counts as
// empty.
const (
	cpuUsage = iota // version 1 only; in 2 it is part of cpuStat
	cpuStat
	memoryCurrent
	memoryPeak
	memoryStat
	memoryEvents
	pidsCurrent
	ioBytes
	ioOps // version 1 only; in 2 it is part of ioBytes
	netDevice
	count
)

// source is the controller that a file belongs to, and its name.
type source struct{ controller, file string }

var sources1 = [count]source{
	cpuUsage:      {"cpuacct", "cpuacct.usage"},
	cpuStat:       {"cpu", "cpu.stat"},
	memoryCurrent: {"memory", "memory.usage_in_bytes"},
	memoryPeak:    {"memory", "memory.max_usage_in_bytes"},
	memoryStat:    {"memory", "memory.stat"},
	memoryEvents:  {"memory", "memory.oom_control"},
	pidsCurrent:   {"pids", "pids.current"},
	ioBytes:       {"blkio", "blkio.throttle.io_service_bytes_recursive"},
	ioOps:         {"blkio", "blkio.throttle.io_serviced_recursive"},
}

var sources2 = [count]source{
	cpuStat:       {"cpu", "cpu.stat"},
	memoryCurrent: {"memory", "memory.current"},
	memoryPeak:    {"memory", "memory.peak"}, // Linux 5.19
	memoryStat:    {"memory", "memory.stat"},
	memoryEvents:  {"memory", "memory.events"},
	pidsCurrent:   {"pids", "pids.current"},
	ioBytes:       {"io", "io.stat"},
}

// dearEvery is how many readings share one look at memory.stat, for which the
// kernel first gathers what all CPUs have counted.
const dearEvery = 10

// rareEvery is how many readings share one look at processes, operations and the peak
// of memory. A file of each of many tasks is in no cache when it is read, and takes two
// microseconds instead of a half.
const rareEvery = 4

// killsEvery is the same for OOM kills in the containers of version 1, whose counts go
// with them.
const killsEvery = 2

// Gauge reads the counters of one task. It keeps the kernel's files open and
// reads them into one buffer, so that a reading allocates nothing. It is safe
// for concurrent use.
type Gauge struct {
	tree *Tree
	id   string

	mu       sync.Mutex
	closed   bool
	fds      [count]int // -1: not open
	buf      []byte
	readings int
	cold     uint64 // bytes of inactive page cache, as of the last dear reading
	peak     uint64 // the highest memory seen, for kernels that do not keep it
	children children

	// As of the last time they were read.
	kills, childKills, pids, readOps, writeOps uint64
}

// Gauge opens the counters of a task. netns is the path of its network
// namespace, or "" if its traffic is not to be counted; a Gauge keeps the
// namespace alive until it is closed. If there is no such task, the error is
// fault.NotFound.
func (t *Tree) Gauge(id, netns string) (*Gauge, error) {
	g := &Gauge{tree: t, id: id, buf: make([]byte, 8<<10)}
	for i := range g.fds {
		g.fds[i] = -1
	}
	if err := g.open(netns); err != nil {
		g.Close()
		if gone(err) {
			return nil, fault.Wrap(fault.NotFound, err, "task %s is not provisioned", id)
		}
		return nil, fmt.Errorf("open counters of task %s: %w", id, err)
	}
	return g, nil
}

func (g *Gauge) open(netns string) error {
	sources := &sources1
	if g.tree.layout.unified {
		sources = &sources2
	}
	if _, err := os.Stat(g.tree.dir("memory", g.id)); err != nil {
		return err
	}
	for i, s := range sources {
		if s.file == "" {
			continue
		}
		fd, err := openFile(filepath.Join(g.tree.dir(s.controller, g.id), s.file))
		if err != nil && !gone(err) {
			return err
		}
		g.fds[i] = fd
	}
	if !g.tree.layout.unified {
		if err := g.children.open(g.tree.dir("memory", g.id)); err != nil {
			return err
		}
	}
	if netns == "" {
		return nil
	}
	fd, err := openNetDev(netns)
	g.fds[netDevice] = fd
	return err
}

// Read returns the counters now: the first time all of them, and then some as they were at
// most three readings ago (PIDs, ReadOps, WriteOps and MemoryPeakBytes, which is never below
// MemoryBytes; OOMKills one), or nine (the page cache in the working set). If the task's
// cgroup was removed or the Gauge closed, the error is fault.NotFound.
func (g *Gauge) Read() (task.Counters, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return task.Counters{}, fault.New(fault.NotFound, "task %s was removed", g.id)
	}
	c, err := g.read()
	if gone(err) {
		return task.Counters{}, fault.Wrap(fault.NotFound, err, "task %s was removed", g.id)
	}
	if err != nil {
		return task.Counters{}, fmt.Errorf("read counters of task %s: %w", g.id, err)
	}
	return c, nil
}

func (g *Gauge) read() (task.Counters, error) {
	var c task.Counters
	var err error
	text := func(file int) (b []byte) {
		if err == nil {
			b, err = g.text(g.fds[file])
		}
		return b
	}
	rare, dear := g.readings%rareEvery == 0, g.readings%dearEvery == 0
	unified := g.tree.layout.unified

	stat := text(cpuStat)
	c.Periods, c.ThrottledPeriods = field(stat, "nr_periods"), field(stat, "nr_throttled")
	if unified {
		c.CPUNanos, c.ThrottledNanos = 1000*field(stat, "usage_usec"), 1000*field(stat, "throttled_usec")
	} else {
		// Whole microseconds, as version 2 counts: what is below is noise, and would be kept
		// every second.
		c.ThrottledNanos = field(stat, "throttled_time") / 1000 * 1000
		c.CPUNanos = number(text(cpuUsage))
	}

	c.MemoryBytes = number(text(memoryCurrent))
	g.peak = max(g.peak, c.MemoryBytes)
	if rare {
		g.peak = max(g.peak, number(text(memoryPeak)))
	}
	c.MemoryPeakBytes = g.peak
	if dear {
		stat, inactive := text(memoryStat), "total_inactive_file"
		if unified {
			inactive = "inactive_file"
		}
		g.cold = field(stat, inactive)
	}
	c.WorkingSetBytes = c.MemoryBytes - min(c.MemoryBytes, g.cold)
	if unified || dear { // In version 1 there is nobody in a task's own cgroup, but in its children.
		g.kills = field(text(memoryEvents), "oom_kill")
	}
	if !unified && err == nil && g.readings%killsEvery == 0 {
		g.childKills, err = g.children.oomKills(g)
	}
	c.OOMKills = g.kills + g.childKills
	if rare {
		g.pids = number(text(pidsCurrent))
	}
	c.PIDs = g.pids
	if unified {
		io := ioStat(text(ioBytes))
		c.ReadBytes, c.WriteBytes, c.ReadOps, c.WriteOps = io.rbytes, io.wbytes, io.rios, io.wios
	} else {
		c.ReadBytes, c.WriteBytes = blkio(text(ioBytes))
		if rare {
			g.readOps, g.writeOps = blkio(text(ioOps))
		}
		c.ReadOps, c.WriteOps = g.readOps, g.writeOps
	}
	c.RxBytes, c.TxBytes = netDev(text(netDevice))
	g.readings++
	return c, err
}

// text reads a file from its beginning. The result is valid until the next call.
func (g *Gauge) text(fd int) ([]byte, error) {
	if fd < 0 {
		return nil, nil
	}
	for {
		n, err := unix.Pread(fd, g.buf, 0)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n < len(g.buf):
			return g.buf[:n], nil
		default: // A host with very many devices.
			g.buf = make([]byte, 2*len(g.buf))
		}
	}
}

// Close releases what the Gauge holds. It may be called twice.
func (g *Gauge) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	errs := []error{g.children.close()}
	for _, fd := range g.fds {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// openFile returns a descriptor, or -1 and an error. It bypasses package os,
// whose files would be offered to the network poller first.
func openFile(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}
