package metadata

import (
	"context"
	"maps"
	"sync"
	"time"

	"berth/fault"
	"berth/task"
)

// The shapes below are those of the Docker Engine API, ContainerStats.

type statsAnswer struct {
	Read     time.Time                `json:"read"`
	PreRead  time.Time                `json:"preread"`
	PIDs     pidsAnswer               `json:"pids_stats"`
	Disks    disksAnswer              `json:"blkio_stats"`
	Procs    int                      `json:"num_procs"` // Windows only
	Storage  struct{}                 `json:"storage_stats"`
	CPU      cpuAnswer                `json:"cpu_stats"`
	PreCPU   cpuAnswer                `json:"precpu_stats"`
	Memory   memoryAnswer             `json:"memory_stats"`
	Name     string                   `json:"name"`
	ID       string                   `json:"id"`
	Networks map[string]trafficAnswer `json:"networks"`
	Rates    *ratesAnswer             `json:"network_rate_stats,omitempty"` // version 4 only
}

type pidsAnswer struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

type disksAnswer struct {
	Bytes   []diskEntry `json:"io_service_bytes_recursive"`
	Ops     []diskEntry `json:"io_serviced_recursive"`
	Queue   []diskEntry `json:"io_queue_recursive"`
	Time    []diskEntry `json:"io_service_time_recursive"`
	Wait    []diskEntry `json:"io_wait_time_recursive"`
	Merged  []diskEntry `json:"io_merged_recursive"`
	IOTime  []diskEntry `json:"io_time_recursive"`
	Sectors []diskEntry `json:"sectors_recursive"`
}

type diskEntry struct {
	Major uint64 `json:"major"`
	Minor uint64 `json:"minor"`
	Op    string `json:"op"`
	Value uint64 `json:"value"`
}

type cpuAnswer struct {
	Usage struct {
		Total  uint64   `json:"total_usage"`
		PerCPU []uint64 `json:"percpu_usage,omitempty"`
		Kernel uint64   `json:"usage_in_kernelmode"`
		User   uint64   `json:"usage_in_usermode"`
	} `json:"cpu_usage"`
	System    uint64 `json:"system_cpu_usage,omitempty"`
	Online    int    `json:"online_cpus,omitempty"`
	Throttled struct {
		Periods   uint64 `json:"periods"`
		Throttled uint64 `json:"throttled_periods"`
		Time      uint64 `json:"throttled_time"`
	} `json:"throttling_data"`
}

type memoryAnswer struct {
	Usage    uint64            `json:"usage,omitempty"`
	Peak     uint64            `json:"max_usage,omitempty"`
	Stats    map[string]uint64 `json:"stats,omitempty"`
	Failures uint64            `json:"failcnt,omitempty"`
	Limit    uint64            `json:"limit,omitempty"`
}

type trafficAnswer struct {
	RxBytes   uint64 `json:"rx_bytes"`
	RxPackets uint64 `json:"rx_packets"`
	RxErrors  uint64 `json:"rx_errors"`
	RxDropped uint64 `json:"rx_dropped"`
	TxBytes   uint64 `json:"tx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxErrors  uint64 `json:"tx_errors"`
	TxDropped uint64 `json:"tx_dropped"`
}

type ratesAnswer struct {
	Rx float64 `json:"rx_bytes_per_sec"`
	Tx float64 `json:"tx_bytes_per_sec"`
}

// containerStats tells what the container that asks uses.
func (e *endpoint) containerStats(ctx context.Context, v version, a asker) (any, error) {
	answer, err := e.statsOf(ctx, v, a, a.container)
	if err == nil && answer == nil {
		err = fault.New(fault.NotFound, "unable to get container stats: container %s has no stats", a.container)
	}
	return answer, err
}

// taskStats tells what each container of the task that asks uses: null for those that
// do not run.
func (e *endpoint) taskStats(ctx context.Context, v version, a asker) (any, error) {
	all := make(map[string]*statsAnswer, len(a.task.Containers))
	for _, c := range a.task.Containers {
		answer, err := e.statsOf(ctx, v, a, c.Name)
		if err != nil {
			return nil, err
		}
		all[task.RuntimeID(a.task.ID, c.Name)] = answer
	}
	return all, nil
}

// statsOf tells what one container uses, nil if it does not run.
func (e *endpoint) statsOf(ctx context.Context, v version, a asker, container string) (*statsAnswer, error) {
	id := task.RuntimeID(a.task.ID, container)
	w, err := e.windows.look(id, func() (task.ContainerStats, error) { return e.Host.Stats(ctx, a.task.ID, container) }, func() (time.Time, error) {
		life, err := e.Host.Life(a.task.ID, container)
		if life.Restarts > 0 {
			return life.Started, err
		}
		return life.Made, err
	})
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	now, before := w.now, w.before
	answer := &statsAnswer{
		Read: now.At.UTC(), PreRead: before.At.UTC(), Name: container, ID: id,
		PIDs:  pidsAnswer{Current: now.PIDs, Limit: now.PIDsLimit},
		Disks: disksOf(now.Disks),
		CPU:   cpuOf(now), PreCPU: cpuOf(before),
		Memory: memoryAnswer{
			Usage: now.MemoryBytes, Peak: now.MemoryPeakBytes, Limit: now.MemoryLimitBytes, Failures: now.MemoryFailures, Stats: memoryOf(now.Memory),
		},
		Networks: map[string]trafficAnswer{"eth0": trafficAnswer(now.Network)},
	}
	if past := now.At.Sub(before.At).Seconds(); v == v4 && past > 0 {
		answer.Rates = &ratesAnswer{
			Rx: float64(now.Network.RxBytes-before.Network.RxBytes) / past,
			Tx: float64(now.Network.TxBytes-before.Network.TxBytes) / past,
		}
	}
	return answer, nil
}

func cpuOf(s task.ContainerStats) (c cpuAnswer) {
	c.Usage.Total, c.Usage.PerCPU, c.Usage.Kernel, c.Usage.User = s.CPUNanos, s.PerCPU, s.SystemNanos, s.UserNanos
	c.System, c.Online = s.HostCPUNanos, s.HostCPUs
	c.Throttled.Periods, c.Throttled.Throttled, c.Throttled.Time = s.Periods, s.ThrottledPeriods, s.ThrottledNanos
	return c
}

// disksOf leaves empty what kernels have not counted since Linux 5.0.
func disksOf(disks []task.DiskStats) disksAnswer {
	none := []diskEntry{}
	a := disksAnswer{Bytes: none, Ops: none, Queue: none, Time: none, Wait: none, Merged: none, IOTime: none, Sectors: none}
	entries := func(d task.DiskStats, read, written uint64) []diskEntry {
		return []diskEntry{
			{d.Major, d.Minor, "Read", read}, {d.Major, d.Minor, "Write", written}, {d.Major, d.Minor, "Total", read + written},
		}
	}
	for _, d := range disks {
		a.Bytes = append(a.Bytes, entries(d, d.ReadBytes, d.WriteBytes)...)
		a.Ops = append(a.Ops, entries(d, d.ReadOps, d.WriteOps)...)
	}
	return a
}

// memoryNames are names of cgroup version 1 for what version 2 calls otherwise. Agents
// that ran on Fargate know those.
var memoryNames = map[string]string{
	"cache": "file", "rss": "anon", "mapped_file": "file_mapped", "total_cache": "file", "total_rss": "anon",
	"total_inactive_file": "inactive_file", "total_active_file": "active_file",
}

func memoryOf(kernel map[string]uint64) map[string]uint64 {
	all := maps.Clone(kernel) // Others may be told of the same reading.
	for old, name := range memoryNames {
		if n, ok := kernel[name]; ok {
			if _, there := kernel[old]; !there {
				all[old] = n
			}
		}
	}
	return all
}

// shortest is the shortest time over which a rate is told, and idle how long a window
// is kept for somebody to ask again.
const (
	shortest = time.Second
	idle     = 10 * time.Minute
)

// windows remembers for each container the readings before and at the last question, so
// that whoever asks gets what happened since: a second at least, as Docker samples, and
// everything since the container was made for the first one.
type windows struct {
	mu *sync.Mutex
	by map[string]window
}

type window struct{ before, now task.ContainerStats }

func newWindows() windows { return windows{mu: new(sync.Mutex), by: make(map[string]window)} }

// look returns the window of a container that ends now, or less than a second ago.
func (ws windows) look(id string, read func() (task.ContainerStats, error), began func() (time.Time, error)) (window, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	s, err := read()
	if err != nil {
		delete(ws.by, id)
		return window{}, err
	}
	w, known := ws.by[id]
	switch since := s.At.Sub(w.now.At); {
	case !known || since < 0 || s.CPUNanos < w.now.CPUNanos: // Somebody set the clock, or the container started anew.
		start, err := began()
		if err != nil {
			return window{}, err
		}
		w = window{before: atStart(s, start), now: s}
	case since >= shortest:
		w = window{before: w.now, now: s}
	}
	ws.by[id] = w
	for other, w := range ws.by {
		if s.At.Sub(w.now.At) > idle {
			delete(ws.by, other)
		}
	}
	return w, nil
}

// atStart is what would have been read when the container was made: nothing, and of the
// host's time what has passed since.
func atStart(s task.ContainerStats, start time.Time) task.ContainerStats {
	if start.IsZero() || start.After(s.At) {
		start = s.At
	}
	passed := uint64(s.At.Sub(start)) * uint64(s.HostCPUs)
	return task.ContainerStats{At: start, HostCPUs: s.HostCPUs, HostCPUNanos: s.HostCPUNanos - min(s.HostCPUNanos, passed)}
}
