package task

import "time"

// Instant is one moment read from two clocks. Wall is what people call the
// time; it can be stepped by NTP or by hand. Boot is CLOCK_BOOTTIME: it counts
// from the start of the host, through suspend, and nobody can step it.
type Instant struct {
	Wall   time.Time     `json:"wall"`
	Boot   time.Duration `json:"boot"`
	BootID string        `json:"bootId"` // /proc/sys/kernel/random/boot_id: which boot Boot counts from
}

// SameBoot reports whether i and j were read in the same life of the host.
func (i Instant) SameBoot(j Instant) bool { return i.BootID == j.BootID }

// Project returns the wall time of now on the time line that starts at i: i's
// wall clock plus the boot time that has passed. Within one life of the host
// the result never jumps, whatever is done to the wall clock, and so neither
// does a bill. After a reboot there is only the wall clock to go by.
func (i Instant) Project(now Instant) time.Time {
	if !i.SameBoot(now) {
		return now.Wall
	}
	return i.Wall.Add(now.Boot - i.Boot)
}
