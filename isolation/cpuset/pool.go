package cpuset

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"sync"

	"berth/task"
)

// whole is how many CPU units one CPU has.
const whole = 1024

// Pool knows which task has which CPUs. It is a copy of what the tasks' records say, which
// have to say it before it takes effect. It is safe for concurrent use.
type Pool struct {
	cores [][]int // CPUs of this host, those of one core together
	all   Set

	mu     sync.Mutex
	own    map[task.ID]Set // CPUs that a task has to itself
	shared map[task.ID]int // CPU units of a task that has none
}

// NewPool returns the pool of a server. Servers on one host begin at different CPUs: they
// know nothing of one another.
func NewPool(host []CPU, instance string) *Pool {
	host = slices.Clone(host)
	slices.SortFunc(host, func(a, b CPU) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Core, b.Core), cmp.Compare(a.Number, b.Number))
	})
	p := &Pool{own: make(map[task.ID]Set), shared: make(map[task.ID]int)}
	for i, c := range host {
		if i == 0 || c.Package != host[i-1].Package || c.Core != host[i-1].Core {
			p.cores = append(p.cores, nil)
		}
		last := &p.cores[len(p.cores)-1]
		*last = append(*last, c.Number)
		p.all = append(p.all, c.Number)
	}
	p.all = setOf(p.all)
	h := fnv.New32a()
	h.Write([]byte(instance))
	if n := len(p.cores); n > 0 {
		at := int(h.Sum32() % uint32(n))
		p.cores = slices.Concat(p.cores[at:], p.cores[:at])
	}
	return p
}

// All returns every CPU of the host that tasks may run on.
func (p *Pool) All() Set { return slices.Clone(p.all) }

// Reserve takes up a task of so many CPU units and returns the CPUs that are its own until
// Release. There are none if it does not reserve whole CPUs, or if what would be left for
// others is less than what they reserve. Doing it again returns the same.
func (p *Pool) Reserve(id task.ID, units int) Set {
	p.mu.Lock()
	defer p.mu.Unlock()
	if own, known := p.own[id]; known {
		return slices.Clone(own)
	}
	if _, known := p.shared[id]; known {
		return nil
	}
	n, free := units/whole, p.free()
	if n == 0 || units%whole != 0 || (len(free)-n)*whole < p.promised() {
		p.shared[id] = units
		return nil
	}
	p.own[id] = p.pick(free, n)
	return slices.Clone(p.own[id])
}

// Hold notes that a task has these CPUs to itself, as its record says, or none.
func (p *Pool) Hold(id task.ID, units int, own Set) {
	p.mu.Lock()
	defer p.mu.Unlock()
	here := func(cpu int) bool { return slices.Contains(p.all, cpu) }
	if len(own) == 0 || slices.ContainsFunc(own, func(cpu int) bool { return !here(cpu) }) {
		p.shared[id] = units
		return
	}
	p.own[id] = setOf(own)
}

// Release takes back what a task has. Doing it again does nothing.
func (p *Pool) Release(id task.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.own, id)
	delete(p.shared, id)
}

// Sets returns the CPUs that each task may run on now. Those that have none of their own
// share what is left. If that is less than they reserve, for a server that gives away more
// than the host has, they share all.
func (p *Pool) Sets() map[task.ID]Set {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := p.free()
	if len(rest)*whole < p.promised() {
		rest = p.all
	}
	sets := maps.Clone(p.own)
	for id := range p.shared {
		sets[id] = rest
	}
	return sets
}

// free returns the CPUs that no task has to itself.
func (p *Pool) free() Set {
	rest := slices.Clone(p.all)
	for _, own := range p.own {
		rest = slices.DeleteFunc(rest, func(cpu int) bool { return slices.Contains(own, cpu) })
	}
	return rest
}

// promised returns the CPU units of all tasks that share.
func (p *Pool) promised() int {
	sum := 0
	for _, units := range p.shared {
		sum += units
	}
	return sum
}

// pick chooses n of the CPUs that are free: whole cores first, since threads of one core
// slow each other down, then of cores that are taken in part, then the rest.
func (p *Pool) pick(free Set, n int) Set {
	var entire, parts []int
	for _, core := range p.cores {
		var left []int
		for _, cpu := range core {
			if slices.Contains(free, cpu) {
				left = append(left, cpu)
			}
		}
		switch {
		case len(left) < len(core):
			parts = append(left, parts...)
		case len(core) <= n-len(entire):
			entire = append(entire, left...)
		default:
			parts = append(parts, left...)
		}
	}
	return setOf(slices.Concat(entire, parts)[:n])
}
