package task

import "time"

// ContainerStats is one reading of everything that a container has used since it
// began, in the detail that Docker's stats have. All numbers but those marked
// "now" and the limits only grow.
type ContainerStats struct {
	At time.Time // when it was read, by the wall clock

	CPUNanos         uint64   // CPU time, ns
	UserNanos        uint64   // of that, in the programs themselves
	SystemNanos      uint64   // of that, in the kernel on their behalf
	PerCPU           []uint64 // CPU time on each of the host's CPUs, ns; nil where the kernel does not tell (cgroup v2)
	Periods          uint64   // enforcement periods in which the container was runnable
	ThrottledPeriods uint64   // of those, the ones in which it was held back
	ThrottledNanos   uint64   // time spent held back by the CPU limit, ns
	HostCPUNanos     uint64   // time of all the host's CPUs since it started, idle or not, ns
	HostCPUs         int

	MemoryBytes      uint64            // now, including the page cache
	MemoryPeakBytes  uint64            // 0 where the kernel does not tell
	MemoryLimitBytes uint64            //
	MemoryFailures   uint64            // how often the limit was reached
	Memory           map[string]uint64 // what the memory is used for, in the words of the kernel's memory.stat

	PIDs      uint64 // now
	PIDsLimit uint64

	Disks   []DiskStats
	Network NetworkStats // of the task's interface, which its containers share
}

// DiskStats is what a container has read from and written to one device.
type DiskStats struct {
	Major, Minor          uint64
	ReadBytes, WriteBytes uint64
	ReadOps, WriteOps     uint64
}

// NetworkStats are the counters of a network interface.
type NetworkStats struct {
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

// ContainerLife is how far a container has come where it runs, which is known there
// before it is written down. Times are by the wall clock and zero if they have not come.
type ContainerLife struct {
	Made     time.Time
	Started  time.Time // the latest run of its main process
	Restarts int       // how many runs there were before
}
