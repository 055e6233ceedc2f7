package billingtest

import (
	"fmt"
	"slices"
	"time"

	"berth/billing"
)

// List is a price list of a Catalog: some per cent of the built-in one, from a
// time on.
type List struct {
	From    time.Time
	Percent int64
	N       int // how many lists there were before it
}

// ID names l.
func (l List) ID() string { return fmt.Sprintf("list-%d-%d%%", l.N, l.Percent) }

// Catalog is Prices that grow. The zero value has a list of 100 % that held
// always.
type Catalog struct{ lists []List }

var _ billing.Prices = (*Catalog)(nil)

// Add adds a list of so many per cent.
func (c *Catalog) Add(from time.Time, percent int64) {
	c.lists = append(c.Lists(), List{From: from, Percent: percent, N: len(c.Lists())})
}

// Lists returns all lists, in the order in which they were added.
func (c *Catalog) Lists() []List {
	if len(c.lists) == 0 {
		return []List{{Percent: 100}}
	}
	return slices.Clone(c.lists)
}

// At is billing.Prices.
func (c *Catalog) At(k billing.SKU, when time.Time) (rate billing.Rate, list string, until time.Time) {
	var holds List
	for _, l := range c.Lists() {
		switch {
		case l.From.After(when) && (until.IsZero() || l.From.Before(until)):
			until = l.From
		case !l.From.After(when) && !l.From.Before(holds.From):
			holds = l
		}
	}
	return billing.BuiltIn().Rates[k] * billing.Rate(holds.Percent) / 100, holds.ID(), until
}

// Holding returns the list that holds at a time.
func (c *Catalog) Holding(when time.Time) List {
	_, id, _ := c.At(billing.VCPU, when)
	all := c.Lists()
	return all[slices.IndexFunc(all, func(l List) bool { return l.ID() == id })]
}
