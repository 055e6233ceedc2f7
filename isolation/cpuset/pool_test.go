package cpuset

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"berth/task"
)

func TestSetString(t *testing.T) {
	for want, s := range map[string]Set{"": nil, "0": {0}, "0-1": {0, 1}, "0-3,8": {0, 1, 2, 3, 8}, "1,3,5-6": {1, 3, 5, 6}} {
		if got := s.String(); got != want {
			t.Errorf("%v is %q, want %q", []int(s), got, want)
		}
	}
}

func TestHost(t *testing.T) {
	host, err := Host()
	if err != nil || len(host) == 0 {
		t.Fatalf("CPUs of this host: %v, %v", host, err)
	}
	if all := NewPool(host, "one").All(); len(all) != len(host) {
		t.Errorf("%d CPUs in the pool, %d on the host", len(all), len(host))
	}
}

// threads returns a host with so many cores of so many threads, numbered as Linux does:
// first the first thread of each core, then the second.
func threads(cores, each int) []CPU {
	var host []CPU
	for n := range cores * each {
		host = append(host, CPU{Number: n, Core: n % cores})
	}
	return host
}

// Ensure threads of one core go to one task where that can be.
func TestWholeCores(t *testing.T) {
	p := NewPool(threads(4, 2), "")
	core := func(cpu int) int { return cpu % 4 }
	two := p.Reserve("two", 2048)
	if len(two) != 2 || core(two[0]) != core(two[1]) {
		t.Fatalf("two CPUs: %v, want one core", two)
	}
	one := p.Reserve("one", 1024)
	half := p.Reserve("other", 1024)
	if len(one) != 1 || len(half) != 1 || core(one[0]) != core(half[0]) {
		t.Errorf("one CPU and one more: %v and %v, want one core in two", one, half)
	}
	if four := p.Reserve("four", 4096); len(four) != 4 || core(four[0]) == core(one[0]) {
		t.Errorf("four CPUs: %v", four)
	}
	if more := p.Reserve("more", 1024); more != nil {
		t.Errorf("a ninth CPU: %v", more)
	}
}

// Ensure whoever reserves whole CPUs has them to itself as long as no more is given away
// than the host has, that the others have as many as they reserve, and that a server that
// starts again knows who has which.
func TestPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		host := threads(rapid.IntRange(1, 8).Draw(t, "cores"), rapid.IntRange(1, 2).Draw(t, "threads"))
		capacity := len(host) * whole
		generous := rapid.Bool().Draw(t, "generous") // gives away more than there is
		p := NewPool(host, rapid.String().Draw(t, "instance"))
		units, own := make(map[task.ID]int), make(map[task.ID]Set)
		reserved := func() (sum int) {
			for _, u := range units {
				sum += u
			}
			return sum
		}
		for i := range rapid.IntRange(1, 60).Draw(t, "acts") {
			switch rapid.IntRange(0, 4).Draw(t, "act") {
			case 0:
				for id := range units {
					p.Release(id)
					p.Release(id)
					delete(units, id)
					delete(own, id)
					break
				}
			case 1:
				p = NewPool(host, "")
				for id, u := range units {
					p.Hold(id, u, own[id])
				}
			default:
				id, u := task.ID(fmt.Sprint("task", i)), rapid.SampledFrom([]int{256, 512, 1024, 2048, 4096}).Draw(t, "units")
				if !generous && reserved()+u > capacity {
					continue
				}
				got := p.Reserve(id, u)
				if again := p.Reserve(id, u); !slices.Equal(got, again) {
					t.Fatalf("asked again, %s got %v, not %v", id, again, got)
				}
				want := 0
				if u%whole == 0 {
					want = u / whole
				}
				if !generous && len(got) != want {
					t.Fatalf("%s of %d units got %v to itself", id, u, got)
				}
				units[id], own[id] = u, got
			}
			taken := make(map[int]task.ID)
			for id, set := range own {
				for _, cpu := range set {
					if other, twice := taken[cpu]; twice {
						t.Fatalf("%s and %s both have CPU %d to themselves", id, other, cpu)
					}
					taken[cpu] = id
				}
			}
			sets, shared := p.Sets(), 0
			if len(sets) != len(units) {
				t.Fatalf("%d tasks have CPUs, there are %d", len(sets), len(units))
			}
			for id, u := range units {
				if len(own[id]) == 0 {
					shared += u
				}
			}
			for id, u := range units {
				if len(own[id]) > 0 {
					if !slices.Equal(sets[id], own[id]) {
						t.Fatalf("%s may run on %v, and has %v", id, sets[id], own[id])
					}
					continue
				}
				if !generous && len(sets[id])*whole < shared {
					t.Fatalf("%d units share the CPUs %v", shared, sets[id])
				}
				if len(sets[id]) == 0 {
					t.Fatalf("%s of %d units may run nowhere", id, u)
				}
				for _, cpu := range sets[id] {
					if other, is := taken[cpu]; is && !generous {
						t.Fatalf("%s may run on CPU %d, which %s has to itself", id, cpu, other)
					}
				}
			}
		}
	})
}

// Ensure CPUs that the host does not have any more are nobody's.
func TestHoldOfOtherHost(t *testing.T) {
	p := NewPool(threads(2, 1), "")
	p.Hold("old", 1024, Set{7})
	if got := p.Sets()["old"]; got.String() != "0-1" {
		t.Errorf("a task that had CPU 7 may run on %v", got)
	}
}
