package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/server/metadata"
	"berth/task"
)

// clock reads the host's two clocks.
type clock struct{ bootID string }

func newClock() (clock, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return clock{}, fmt.Errorf("read boot ID: %w", err)
	}
	return clock{strings.TrimSpace(string(id))}, nil
}

func (c clock) now() task.Instant {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		panic(fmt.Sprintf("CLOCK_BOOTTIME: %v", err)) // since Linux 2.6.39
	}
	return task.Instant{Wall: time.Now().UTC().Round(0), Boot: time.Duration(boot.Nano()), BootID: c.bootID}
}

// state returns how true the wall clock is, in the kernel's eyes.
func (c clock) state() metadata.Clock {
	var t unix.Timex
	status, err := unix.Adjtimex(&t)
	return metadata.Clock{
		Synchronized: err == nil && status != unix.TIME_ERROR,
		Bound:        time.Duration(t.Maxerror) * time.Microsecond,
		At:           time.Now(),
	}
}

// hostSize returns what this host has: vCPUs that this process may use, and
// memory.
func hostSize() (task.Size, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return task.Size{}, fmt.Errorf("read host's memory: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				break
			}
			return task.Size{CPU: runtime.NumCPU() * 1024, Memory: kib / 1024}, nil
		}
	}
	return task.Size{}, fault.New(fault.Internal, "/proc/meminfo has no MemTotal")
}

// capacity is what all tasks together may reserve.
func (c serverConfig) capacity(whole task.Size) task.Size {
	one := c.largest(whole)
	return task.Size{CPU: int(float64(one.CPU) * c.Overcommit), Memory: int(float64(one.Memory) * c.Overcommit)}
}

// largest is what one task can be at most: overcommitting does not make the
// host larger.
func (c serverConfig) largest(whole task.Size) task.Size {
	if c.CPU > 0 {
		whole.CPU = int(c.CPU)
	}
	if c.Memory > 0 {
		whole.Memory = int(c.Memory)
	}
	return whole
}
