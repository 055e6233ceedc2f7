package prices

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"berth/billing"
)

// Change is something that somebody decided about prices: that a list is active, or
// that a name is in use, or both, from a time on. It is never changed. Of changes
// that begin at the same time, the later decision counts.
type Change struct {
	N      int64     `json:"n" doc:"Counts up"`
	At     time.Time `json:"at" doc:"When it was decided"`
	From   time.Time `json:"from" doc:"From when it holds"`
	List   string    `json:"priceList,omitempty" doc:"The list that becomes active, among those of its name"`
	Name   string    `json:"name,omitempty" doc:"The name that comes into use"`
	Plan   string    `json:"plan,omitempty" doc:"The discount plan that is used with the name"`
	Region string    `json:"region,omitempty" doc:"The server decided because its --region is this"`
}

// Segment is a time in which one list holds: from From until the next one begins.
type Segment struct {
	From time.Time `json:"from,omitzero" doc:"Absent: since ever"`
	List string    `json:"priceList"`
	Name string    `json:"name"`
	Plan string    `json:"plan,omitempty"`

	charged string // what the ledger writes
	rates   map[billing.SKU]billing.Rate
}

// timeline returns which list holds when, in order. lists has every list that a
// change names.
func timeline(lists map[string]List, changes []Change) []Segment {
	starts := make(map[time.Time]bool)
	for _, c := range changes {
		starts[c.From] = true
	}
	var line []Segment
	for _, from := range slices.SortedFunc(maps.Keys(starts), time.Time.Compare) {
		use := newest(changes, from, func(c Change) bool { return c.Name != "" })
		active := newest(changes, from, func(c Change) bool { return c.List != "" && lists[c.List].Name == use.Name })
		if use.N == 0 || active.N == 0 {
			continue
		}
		l := lists[active.List]
		s := Segment{From: from, List: l.ID, Name: l.Name}
		if l.hasPlan(use.Plan) { // A newer list may have the plan no more.
			s.Plan = use.Plan
		}
		if n := len(line); n > 0 && line[n-1].List == s.List && line[n-1].Plan == s.Plan {
			continue
		}
		s.charged, s.rates = Charged(l.ID, s.Plan), l.RatesOn(s.Plan)
		line = append(line, s)
	}
	return line
}

// newest returns the change among those that are wanted which begins last, but not
// after at; of several the one decided last. Its N is 0 if there is none.
func newest(changes []Change, at time.Time, wanted func(Change) bool) Change {
	var best Change
	for _, c := range changes {
		if wanted(c) && !c.From.After(at) && (best.N == 0 || cmp.Or(c.From.Compare(best.From), cmp.Compare(c.N, best.N)) > 0) {
			best = c
		}
	}
	return best
}

// holding returns where in line the segment is that holds at a time, -1 if none does.
func holding(line []Segment, at time.Time) int {
	i, found := slices.BinarySearchFunc(line, at, func(s Segment, at time.Time) int { return s.From.Compare(at) })
	if found {
		return i
	}
	return i - 1
}
