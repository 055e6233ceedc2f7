package task

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"berth/fault"
)

// Size is what a task reserves and may not exceed.
type Size struct {
	CPU    int // CPU units; 1024 are one vCPU
	Memory int // MiB
}

// String returns the size as people say it: 0.25 vCPU, 512 MiB.
func (s Size) String() string {
	return strconv.FormatFloat(float64(s.CPU)/1024, 'f', -1, 64) + " vCPU, " + strconv.Itoa(s.Memory) + " MiB"
}

// memories lists the memory sizes, in MiB, that go with each number of CPU units
// (ECS developer guide, "Task CPU and memory"; 32 vCPU in its edition of 2026).
var memories = map[int][]int{
	256:   {512, 1024, 2048},
	512:   steps(1024, 4096, 1024),
	1024:  steps(2048, 8192, 1024),
	2048:  steps(4096, 16384, 1024),
	4096:  steps(8192, 30720, 1024),
	8192:  steps(16384, 61440, 4096),
	16384: steps(32768, 122880, 8192),
	32768: {61440, 122880, 249856},
}

func steps(first, last, by int) []int {
	var s []int
	for v := first; v <= last; v += by {
		s = append(s, v)
	}
	return s
}

// Sizes returns every size that Fargate has, smallest first.
func Sizes() []Size {
	var all []Size
	for cpu, mems := range memories {
		for _, m := range mems {
			all = append(all, Size{cpu, m})
		}
	}
	slices.SortFunc(all, func(a, b Size) int {
		if a.CPU != b.CPU {
			return a.CPU - b.CPU
		}
		return a.Memory - b.Memory
	})
	return all
}

// ParseSize reads a size as the ECS API spells it: CPU units or vCPU, MiB or GB,
// in any case, with or without a blank, with fractions of vCPU and GB. The pair
// must be one that Fargate has.
func ParseSize(cpu, memory string) (Size, error) {
	if cpu == "" {
		return Size{}, fault.At("cpu", "Fargate requires that 'cpu' be defined at the task level.")
	}
	if memory == "" {
		return Size{}, fault.At("memory", "Fargate requires that 'memory' be defined at the task level.")
	}
	c, ok := parseAmount(cpu, "vcpu")
	if !ok {
		return Size{}, fault.At("cpu", "Invalid 'cpu' setting for task.")
	}
	m, ok := parseAmount(memory, "gb")
	if !ok {
		return Size{}, fault.At("memory", "Invalid 'memory' setting for task.")
	}
	if !slices.Contains(memories[c], m) {
		return Size{}, fault.At("memory", "No Fargate configuration exists for given values: %d CPU, %d memory. "+
			"See the Amazon ECS documentation for the valid values.", c, m)
	}
	return Size{CPU: c, Memory: m}, nil
}

var amount = regexp.MustCompile(`^([0-9]{1,9}|[0-9]{0,6}\.[0-9]{1,6}) ?([a-z]*)$`)

// parseAmount reads an integer, or a decimal number of a unit of 1024.
func parseAmount(s, unit string) (int, bool) {
	m := amount.FindStringSubmatch(strings.ToLower(strings.TrimSpace(s)))
	if m == nil || m[2] != "" && m[2] != unit {
		return 0, false
	}
	whole, fraction, fractional := strings.Cut(m[1], ".")
	if m[2] == "" {
		n, err := strconv.Atoi(m[1])
		return n, err == nil && !fractional
	}
	millionths, err := strconv.Atoi(whole + (fraction + "000000")[:6]) // so that no float is needed
	if err != nil || millionths*1024%1_000_000 != 0 {
		return 0, false
	}
	return millionths * 1024 / 1_000_000, true
}
