package billing

import (
	"strconv"
	"time"

	"berth/task"
)

// Shape is what a task reserves and on which terms: all that its price per hour
// depends on. Shapes are comparable.
type Shape struct {
	CPU     int    `json:"cpu" doc:"CPU units; 1024 are one vCPU"`
	Memory  int    `json:"memory" doc:"MiB"`
	Storage int    `json:"ephemeralStorageGiB" doc:"Of which 20 are included in the price"`
	Arch    string `json:"cpuArchitecture" enum:"X86_64,ARM64"`
	Spot    bool   `json:"spot" doc:"On FARGATE_SPOT"`
}

// ShapeOf returns the shape of t.
func ShapeOf(t task.Task) Shape {
	size := t.Size()
	return Shape{
		CPU: size.CPU, Memory: size.Memory, Storage: int(t.Storage() >> 30), Arch: t.Arch, Spot: t.Interruptible(),
	}
}

// Size returns the vCPU and memory of s.
func (s Shape) Size() task.Size { return task.Size{CPU: s.CPU, Memory: s.Memory} }

// Reserved returns what a task of shape s is charged for, always in the same
// order.
func (s Shape) Reserved() []Reservation {
	t := task.Task{CPU: strconv.Itoa(s.CPU), Memory: strconv.Itoa(s.Memory), Arch: s.Arch}
	if s.Storage > 0 {
		t.Ephemeral = &task.EphemeralStorage{SizeInGiB: s.Storage}
	}
	if s.Spot {
		t.CapacityProvider = task.Spot
	}
	return Reserved(t)
}

// ChargeFor returns what size of k costs at r over d, which must not be negative:
// size × r × hours, rounded half to even to a nano-dollar. It panics beyond 9.2
// billion USD.
func ChargeFor(k SKU, size int64, r Rate, d time.Duration) Money { return charge(k, size, r, d) }

// Quantity returns size × d in unit-hours of k with ten decimals, as AWS bills
// do.
func Quantity(k SKU, size int64, d time.Duration) string { return quantity(k, size, d) }

// Billed returns the time that a task that ran for d is charged for: whole
// seconds, a minute at least (AWS Fargate pricing page).
func Billed(d time.Duration) time.Duration { return billed(d) }

// Seconds writes d in seconds, exactly: 60, 61.000000001.
func Seconds(d time.Duration) string { return seconds(d) }
