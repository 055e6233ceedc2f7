package prices

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/fault"
)

// Book keeps lists and changes for ever. What a method wrote is durable when it
// returns.
type Book interface {
	// PriceLists returns all lists, in the order in which they were put.
	PriceLists(ctx context.Context) ([]List, error)

	// PriceChanges returns all changes, by N.
	PriceChanges(ctx context.Context) ([]Change, error)

	// PutPriceList stores a list. Storing it again does nothing; another one of the
	// same ID is fault.Conflict, and the first stays.
	PutPriceList(ctx context.Context, l List) error

	// ChangePrices stores a change and returns it with its N, one more than the
	// last. Its list must have been put, or it is fault.NotFound; it must not begin
	// before At, unless it begins at the zero time and is the first.
	ChangePrices(ctx context.Context, c Change) (Change, error)
}

// Config is what Open needs. All fields are required.
type Config struct {
	Book   Book
	Region string // of the server; its prices are used until somebody decides otherwise
	Log    *zap.Logger
	Now    func() time.Time
}

// lead is how far ahead a change begins that shall hold at once, before it is cut to
// a whole second: nobody has been charged for that time yet.
const lead = 2 * time.Second

// Catalogue answers what things cost, and takes new prices. Whoever asks sees a
// change as soon as it was made. It is the only writer of its Book. Its methods are
// safe for concurrent use.
type Catalogue struct {
	Config
	mu   sync.Mutex // held while something is changed
	view atomic.Pointer[view]
}

var _ billing.Prices = (*Catalogue)(nil)

// view is everything as it stands. It is replaced, never changed.
type view struct {
	stored  []List
	lists   []List // and the examples, which come first
	byID    map[string]List
	changes []Change
	line    []Segment
}

func newView(stored []List, changes []Change) *view {
	v := &view{stored: stored, byID: make(map[string]List), changes: changes}
	for _, l := range stored {
		v.byID[l.ID] = l
	}
	for _, l := range Examples() {
		if _, ok := v.byID[l.ID]; !ok { // One that is stored stays as it was then.
			v.lists, v.byID[l.ID] = append(v.lists, l), l
		}
	}
	v.lists = append(v.lists, stored...)
	v.line = timeline(v.byID, changes)
	return v
}

func (v *view) isStored(id string) bool {
	return slices.ContainsFunc(v.stored, func(l List) bool { return l.ID == id })
}

// Open reads the book. In one that is empty it begins with the example of the
// server's region, or with that of us-east-1 if there is none. When the server has
// another region than before, the prices follow it, unless somebody chose them.
func Open(ctx context.Context, config Config) (*Catalogue, error) {
	c := &Catalogue{Config: config}
	if err := c.reload(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	use := newest(c.view.Load().changes, last, func(ch Change) bool { return ch.Name != "" })
	if use.N > 0 && (use.Region == "" || use.Region == c.Region) {
		return c, nil
	}
	l, ok := c.view.Load().newest(c.Region, c.Now())
	if !ok {
		l, ok = Example(c.Region) // also if the clock is behind it
	}
	if !ok {
		l, _ = Example(fallback)
		c.Log.Warn("no prices are known for this region; import a list, or set your own", zap.String("region", c.Region), zap.String("priceList", l.ID))
	}
	change := Change{List: l.ID, Name: l.Name, Region: c.Region}
	if use.N > 0 {
		change.From = c.earliest()
	}
	if _, err := c.change(ctx, l, change); err != nil {
		return nil, err
	}
	return c, nil
}

// fallback is the region whose prices stand in for those of one that has none.
const fallback = "us-east-1"

func (c *Catalogue) reload(ctx context.Context) error {
	lists, err := c.Book.PriceLists(ctx)
	if err != nil {
		return err
	}
	changes, err := c.Book.PriceChanges(ctx)
	if err != nil {
		return err
	}
	c.view.Store(newView(lists, changes))
	return nil
}

// At returns what a unit-hour of k costs at a time, the list that says so as the
// ledger writes it, and when the next list begins; zero if none is known. A SKU that
// the list has no rate for, which can only be one of Windows, costs nothing.
func (c *Catalogue) At(k billing.SKU, when time.Time) (r billing.Rate, list string, until time.Time) {
	line := c.view.Load().line
	i := max(0, holding(line, when))
	if i+1 < len(line) {
		until = line[i+1].From
	}
	return line[i].rates[k], line[i].charged, until
}

// PriceList returns what holds at a time.
func (c *Catalogue) PriceList(when time.Time) billing.PriceList {
	v := c.view.Load()
	s := v.line[max(0, holding(v.line, when))]
	return v.byID[s.List].PriceList(s.Plan)
}

// List returns the price list that the ledger named, which has the rates of a plan if
// it was charged by one; false if it is not known.
func (c *Catalogue) List(charged string) (billing.PriceList, bool) {
	id, plan := SplitCharged(charged)
	l, ok := c.view.Load().byID[id]
	if !ok || !l.hasPlan(plan) {
		return billing.PriceList{}, false
	}
	return l.PriceList(plan), true
}

// Find returns the list of that ID, or the newest of that name.
func (c *Catalogue) Find(ref string) (List, error) {
	v := c.view.Load()
	if l, ok := v.byID[ref]; ok {
		return l, nil
	}
	if l, ok := v.newest(ref, last); ok {
		return l, nil
	}
	return List{}, noList(ref)
}

func noList(ref string) error {
	return fault.New(fault.NotFound, "no price list %q", short(ref))
}

// Newest returns the newest list of a name that begins by then.
func (c *Catalogue) Newest(name string, by time.Time) (List, bool) {
	return c.view.Load().newest(name, by)
}

// newest returns the newest list of a name that begins by then. An example gives way
// to any other.
func (v *view) newest(name string, by time.Time) (best List, ok bool) {
	for _, l := range v.lists {
		if l.Name != name || l.EffectiveFrom.After(by) {
			continue
		}
		if !ok || best.Example && !l.Example || best.Example == l.Example && !l.EffectiveFrom.Before(best.EffectiveFrom) {
			best, ok = l, true
		}
	}
	return best, ok
}

// Add stores a list, which charges nobody until it is active. Adding it again
// changes nothing.
func (c *Catalogue) Add(ctx context.Context, l List) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put(ctx, l)
}

// put stores l. mu is held.
func (c *Catalogue) put(ctx context.Context, l List) error {
	if err := c.Book.PutPriceList(ctx, l); err != nil {
		return c.doubt(ctx, err)
	}
	if v := c.view.Load(); !v.isStored(l.ID) {
		c.view.Store(newView(append(slices.Clip(v.stored), l), v.changes))
	}
	return nil
}

// doubt looks at the book again after a write that failed, perhaps after it took
// effect, and returns err.
func (c *Catalogue) doubt(ctx context.Context, err error) error {
	if again := c.reload(context.WithoutCancel(ctx)); again != nil {
		c.Log.Error("prices not read again", zap.Error(again))
	}
	return err
}

// AddDraft stores the list that d describes.
func (c *Catalogue) AddDraft(ctx context.Context, d Draft) (List, error) {
	l, err := d.List(c.Now())
	if err != nil {
		return l, err
	}
	return l, c.Add(ctx, l)
}

// Import stores the lists that a file has; see Import. Importing it again changes
// nothing.
func (c *Catalogue) Import(ctx context.Context, r io.Reader, o ImportOptions) (Imported, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return Imported{}, err
	}
	o.Now = c.Now()
	o.Base = func(region string) (List, bool) { return c.Newest(region, c.Now()) }
	out, err := Import(data, o)
	if err != nil {
		return out, err
	}
	for _, l := range out.Lists {
		if err := c.Add(ctx, l); err != nil {
			return Imported{}, err
		}
	}
	return out, nil
}

// Activate makes a list active among those of its name: from a time on, or from its
// own beginning or now, whichever is later, if from is zero. A time that has passed
// is fault.Invalid: somebody may have been charged for it.
func (c *Catalogue) Activate(ctx context.Context, id string, from time.Time) (Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.view.Load().byID[id]
	if !ok {
		return Change{}, noList(id)
	}
	from, err := c.begin(l, from)
	if err != nil {
		return Change{}, err
	}
	return c.change(ctx, l, Change{List: l.ID, From: from})
}

// Use puts in use a list and its name, with a discount plan if plan is not "". ref is
// the ID of the list, or a name, which means its newest list that has begun by then.
// from is as in Activate.
func (c *Catalogue) Use(ctx context.Context, ref, plan string, from time.Time) (Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view.Load()
	l, ok := v.byID[ref]
	if !ok {
		by := from
		if by.IsZero() {
			by = c.earliest()
		}
		if l, ok = v.newest(ref, by); !ok {
			if later, known := v.newest(ref, last); known {
				return Change{}, fault.New(fault.Conflict, "the prices of %q begin at %s; use them from then on", short(ref), later.EffectiveFrom.Format(time.RFC3339))
			}
			return Change{}, noList(ref)
		}
	}
	if !l.hasPlan(plan) {
		return Change{}, fault.At("plan", "price list %s has no plan %q%s", l.ID, short(plan), l.planNames())
	}
	from, err := c.begin(l, from)
	if err != nil {
		return Change{}, err
	}
	return c.change(ctx, l, Change{List: l.ID, Name: l.Name, Plan: plan, From: from})
}

func (l List) planNames() string {
	if len(l.Plans) == 0 {
		return "; it has none"
	}
	var names []string
	for _, p := range l.Plans {
		names = append(names, p.Name)
	}
	return "; it has " + strings.Join(names, ", ")
}

// begin returns from when l may hold if somebody asks for from.
func (c *Catalogue) begin(l List, from time.Time) (time.Time, error) {
	now := c.earliest()
	switch {
	case from.IsZero():
		from = l.EffectiveFrom
	case from.Before(c.Now()):
		return from, fault.At("effectiveFrom", "prices of time that has passed cannot be changed; leave it out to begin now")
	case from.Before(l.EffectiveFrom):
		return from, fault.At("effectiveFrom", "price list %s begins at %s", l.ID, l.EffectiveFrom.Format(time.RFC3339))
	case !from.Before(last):
		return from, fault.At("effectiveFrom", "it is not before the year %d", last.Year())
	}
	if from.Before(now) {
		from = now
	}
	return from.UTC(), nil
}

// earliest returns when a change can begin: at a whole second that nobody has been
// charged for yet, and not before another that began at once, though the clock may
// have been set back since.
func (c *Catalogue) earliest() time.Time {
	from := c.Now().UTC().Add(lead).Truncate(time.Second)
	for _, ch := range c.view.Load().changes {
		if ch.From.After(from) && !ch.From.After(ch.At.Add(lead)) {
			from = ch.From
		}
	}
	return from
}

// change stores l, if it is an example that is not stored yet, and then ch, unless
// what it wants is so already. mu is held.
func (c *Catalogue) change(ctx context.Context, l List, ch Change) (Change, error) {
	if !c.view.Load().isStored(l.ID) {
		if err := c.put(ctx, l); err != nil {
			return Change{}, err
		}
	}
	v := c.view.Load()
	if same, ok := v.already(l, ch); ok {
		return same, nil
	}
	ch.At = c.Now().UTC()
	ch, err := c.Book.ChangePrices(ctx, ch)
	if err != nil {
		return Change{}, c.doubt(ctx, fmt.Errorf("change prices: %w", err))
	}
	c.view.Store(newView(v.stored, append(slices.Clip(v.changes), ch)))
	return ch, nil
}

// already returns the change that has brought about what ch wants, if one has.
func (v *view) already(l List, ch Change) (Change, bool) {
	active := newest(v.changes, ch.From, func(c Change) bool { return c.List != "" && v.byID[c.List].Name == l.Name })
	if active.List != l.ID || ch.Name == "" {
		return active, active.List == l.ID
	}
	use := newest(v.changes, ch.From, func(c Change) bool { return c.Name != "" })
	return use, use.Name == ch.Name && use.Plan == ch.Plan && use.Region == ch.Region
}
