package prices

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/billing"
	"berth/strictjson"
)

// Notice is what whoever sees an example must know.
const Notice = "Examples are what AWS charged at their date. AWS changes its prices: import its current list, or set your own."

// examplesFile has prices of AWS by region, with source and date.
//
//go:embed examples.json
var examplesFile []byte

// example is a Draft of the file.
type example struct {
	Draft
	Inferred string `json:"inferred"` // why vcpu and memory are not in any source
}

// Examples returns the lists that come with Berth, by region. What the source of one
// does not say is in proportion to us-east-1, and marked as assumed. Callers must
// not change them.
var Examples = sync.OnceValue(func() []List {
	var file struct {
		Lists []example `json:"lists"`
	}
	if err := strictjson.Unmarshal(examplesFile, &file); err != nil {
		panic("prices: examples: " + err.Error()) // A test reads them all.
	}
	var all []List
	for _, e := range file.Lists {
		e.Name = e.Region
		l, err := e.list(first)
		if err == nil {
			err = l.check()
		}
		if err != nil {
			panic("prices: example of " + e.Region + ": " + err.Error())
		}
		l.ID = "aws-" + l.Region + "-" + l.EffectiveFrom.Format(time.DateOnly)
		l.Example = true
		if e.Inferred != "" {
			l.assume(billing.VCPU, l.Rates[billing.VCPU], e.Inferred)
			l.assume(billing.Memory, l.Rates[billing.Memory], e.Inferred)
		}
		if len(all) > 0 {
			l.likeFirst(all[0])
		}
		l.complete()
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b List) int { return strings.Compare(a.Region, b.Region) })
	return all
})

// likeFirst fills in what is missing as it is in model.
func (l *List) likeFirst(model List) {
	for _, k := range Linux {
		if _, ok := l.Rates[k]; ok {
			continue
		}
		rate, why := model.Rates[k], "not in the source; that of "+model.Region
		if like, ok := nearest[k]; ok {
			rate = share(l.Rates[like], int64(model.Rates[k]), int64(model.Rates[like]))
			why = "not in the source; in proportion to " + string(like) + " as in " + model.Region
		}
		l.assume(k, rate, why)
	}
}

// Example returns the example of a region.
func Example(region string) (List, bool) {
	for _, l := range Examples() {
		if l.Region == region {
			l.Rates, l.Assumed = maps.Clone(l.Rates), maps.Clone(l.Assumed)
			return l, true
		}
	}
	return List{}, false
}
