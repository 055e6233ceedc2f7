package estimate

import (
	"fmt"
	"strings"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// Subject is something that costs: a definition that is run now and then, or a
// service of some tasks that run all the time.
type Subject struct {
	Name    string        // of the service, or the family
	Address string        // where it stands in the file; empty for a definition
	Family  string        // whose runs are looked at
	Shape   billing.Shape // of one task, on the terms of the first of them
	Service bool          // runs all the time
	Count   int           // tasks at a time
	Spot    int           // of those, the ones on FARGATE_SPOT
	Notes   []string      // what was decided in reading it
}

// subjectOf returns d as a Subject.
func subjectOf(d task.Definition) (Subject, error) {
	size, err := task.ParseSize(d.CPU, d.Memory)
	if err != nil {
		return Subject{}, err
	}
	s := Subject{
		Name: d.Family, Family: d.Family, Count: 1,
		Shape: billing.Shape{CPU: size.CPU, Memory: size.Memory, Storage: task.DefaultEphemeralGiB, Arch: "X86_64"},
	}
	if d.EphemeralStorage != nil {
		s.Shape.Storage = d.EphemeralStorage.SizeInGiB
	}
	if p := d.RuntimePlatform; p != nil {
		if strings.HasPrefix(p.OperatingSystemFamily, "WINDOWS") {
			return Subject{}, fault.At("runtimePlatform.operatingSystemFamily", "there are no prices for Windows here yet")
		}
		if p.CPUArchitecture != "" {
			s.Shape.Arch = p.CPUArchitecture
		}
	}
	return s, nil
}

// fit returns the cheapest size that has at least that many CPU units and MiB, by
// list and on the terms of s, and a note if it is not exactly that. What no size
// has is fault.Invalid.
func fit(s billing.Shape, cpu, memory int, list billing.PriceList) (billing.Shape, string, error) {
	best, found := s, false
	var least billing.Money
	for _, size := range task.Sizes() {
		if size.CPU < cpu || size.Memory < memory {
			continue
		}
		v := s
		v.CPU, v.Memory = size.CPU, size.Memory
		hour, err := over(v, list, always)
		if err != nil {
			return s, "", err
		}
		if !found || hour < least {
			best, least, found = v, hour, true
		}
	}
	if !found {
		return s, "", fault.New(fault.Invalid, "Fargate has no size with %s: the largest is %s", wanted(cpu, memory), largest())
	}
	note := ""
	if best.CPU != cpu || best.Memory != memory {
		note = fmt.Sprintf("%s is no size of Fargate's: rounded up to %s, the cheapest that holds it", wanted(cpu, memory), best.Size())
	}
	return best, note, nil
}

func wanted(cpu, memory int) string { return task.Size{CPU: cpu, Memory: memory}.String() }

func largest() task.Size {
	all := task.Sizes()
	return all[len(all)-1]
}
