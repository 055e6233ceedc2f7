package prices

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Status says what a list is good for now.
type Status string

const (
	Holding Status = "HOLDS"   // it is charged by now
	Planned Status = "PLANNED" // it will be charged by
	Active  Status = "ACTIVE"  // it would be charged by if its name were in use
	Stored  Status = "STORED"  // nobody has made it active
	Shipped Status = "EXAMPLE" // it came with Berth and was never used
	Past    Status = "PAST"    // it was charged by, or would have been, and another has come
)

// Described is a list and its status.
type Described struct {
	List
	Status Status `json:"status" enum:"HOLDS,PLANNED,ACTIVE,STORED,EXAMPLE,PAST" doc:"HOLDS: tasks are charged by it now; PLANNED: they will be; ACTIVE: they would be if its name were in use; PAST: another has come in its place; STORED: nobody has made it active; EXAMPLE: it came with Berth"`
}

// Overview is all lists, and which of them holds when.
type Overview struct {
	Lists    []Described `json:"priceLists"`
	Timeline []Segment   `json:"timeline" doc:"Which list holds when; each until the next begins"`
	Notice   string      `json:"notice" doc:"What to know of the examples"`
}

// Overview returns the lists by name, the newest first, and the timeline.
func (c *Catalogue) Overview() Overview {
	v, now := c.view.Load(), c.Now()
	out := Overview{Lists: []Described{}, Timeline: v.line, Notice: Notice}
	for _, l := range v.lists {
		out.Lists = append(out.Lists, Described{l, v.status(l, now)})
	}
	slices.SortStableFunc(out.Lists, func(a, b Described) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), b.EffectiveFrom.Compare(a.EffectiveFrom))
	})
	return out
}

// Describe returns the list of that ID, or the newest of that name.
func (c *Catalogue) Describe(ref string) (Described, error) {
	l, err := c.Find(ref)
	if err != nil {
		return Described{}, err
	}
	return Described{l, c.view.Load().status(l, c.Now())}, nil
}

func (v *view) status(l List, now time.Time) Status {
	i := holding(v.line, now)
	if i >= 0 && v.line[i].List == l.ID {
		return Holding
	}
	if slices.ContainsFunc(v.line[i+1:], func(s Segment) bool { return s.List == l.ID }) {
		return Planned
	}
	mine := func(c Change) bool { return c.List != "" && v.byID[c.List].Name == l.Name }
	switch active := newest(v.changes, now, mine); {
	case active.N > 0 && active.List == l.ID:
		return Active
	case slices.ContainsFunc(v.changes, func(c Change) bool { return c.List == l.ID && c.From.After(now) }):
		return Planned
	case slices.ContainsFunc(v.changes, func(c Change) bool { return c.List == l.ID }):
		return Past
	case l.Example && !v.isStored(l.ID):
		return Shipped
	}
	return Stored
}
