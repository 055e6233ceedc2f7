package estimate

import (
	"math/big"
	"time"

	"berth/billing"
	"berth/fault"
)

// Times is how long a run is charged for, by what for.
type Times struct {
	Pull time.Duration // of the images
	Rest time.Duration // containers starting, running and being removed
}

// Metered returns the time before it is rounded up.
func (t Times) Metered() time.Duration { return t.Pull + t.Rest }

// Cost is what one run of some Times costs, line by line. The parts of a line add
// up to its amount, and the lines to the total, exactly.
type Cost struct {
	PullSeconds    string        `json:"pullSeconds"`
	RunSeconds     string        `json:"runSeconds" doc:"From the end of the pull until the task is removed"`
	MeteredSeconds string        `json:"meteredSeconds" doc:"pullSeconds + runSeconds"`
	BilledSeconds  int64         `json:"billedSeconds" doc:"meteredSeconds rounded up to a whole second, at least a minute"`
	Lines          []Line        `json:"lines"`
	Total          billing.Money `json:"total"`
}

// Line is what one SKU costs in a Cost.
type Line struct {
	SKU         billing.SKU   `json:"sku"`
	Description string        `json:"description"`
	Resource    string        `json:"resource" example:"0.25 vCPU"`
	UnitPrice   billing.Rate  `json:"unitPrice" doc:"For one unit"`
	Quantity    string        `json:"quantity" doc:"Resource × billedSeconds / 3600, with 10 decimals"`
	Unit        string        `json:"unit"`
	Amount      billing.Money `json:"amount"`
	Parts       []Part        `json:"parts" doc:"What the amount is for"`
}

// Part is one reason to charge.
type Part struct {
	For     string        `json:"for" enum:"PULL,RUN,SECOND_ROUNDUP,MINIMUM_TOPUP"`
	Seconds string        `json:"seconds"`
	Amount  billing.Money `json:"amount"`
}

// What a Part is for.
const (
	ForPull    = "PULL"
	ForRun     = "RUN"
	ForSecond  = "SECOND_ROUNDUP"
	ForMinimum = "MINIMUM_TOPUP"
)

// Price returns what a run of s in those times costs by list. A list that has no
// price for something that s reserves is fault.NotFound.
func Price(s billing.Shape, list billing.PriceList, t Times) (Cost, error) {
	d := t.Metered()
	second := (d + time.Second - 1).Truncate(time.Second)
	ends := []struct {
		part string
		at   time.Duration
	}{{ForPull, t.Pull}, {ForRun, d}, {ForSecond, second}, {ForMinimum, billing.Billed(d)}}

	c := Cost{
		PullSeconds: billing.Seconds(t.Pull), RunSeconds: billing.Seconds(t.Rest), MeteredSeconds: billing.Seconds(d),
		BilledSeconds: int64(billing.Billed(d) / time.Second),
	}
	for _, r := range s.Reserved() {
		rate, err := rateOf(list, r.SKU)
		if err != nil {
			return Cost{}, err
		}
		l := Line{
			SKU: r.SKU, Description: r.SKU.Description(), Resource: r.SKU.Resource(r.Size), UnitPrice: rate,
			Quantity: billing.Quantity(r.SKU, r.Size, billing.Billed(d)), Unit: r.SKU.Unit(),
		}
		var from time.Duration
		for _, end := range ends { // Differences of running totals, as in the ledger.
			total := billing.ChargeFor(r.SKU, r.Size, rate, end.at)
			if end.at > from {
				l.Parts = append(l.Parts, Part{For: end.part, Seconds: billing.Seconds(end.at - from), Amount: total - l.Amount})
			}
			from, l.Amount = end.at, total
		}
		c.Lines, c.Total = append(c.Lines, l), c.Total+l.Amount
	}
	return c, nil
}

// Total is the Total of Price alone.
func Total(s billing.Shape, list billing.PriceList, metered time.Duration) (billing.Money, error) {
	return over(s, list, billing.Billed(metered))
}

// over returns what s costs in exactly that time.
func over(s billing.Shape, list billing.PriceList, d time.Duration) (billing.Money, error) {
	var total billing.Money
	for _, r := range s.Reserved() {
		rate, err := rateOf(list, r.SKU)
		if err != nil {
			return 0, err
		}
		total += billing.ChargeFor(r.SKU, r.Size, rate, d)
	}
	return total, nil
}

func rateOf(list billing.PriceList, k billing.SKU) (billing.Rate, error) {
	rate, ok := list.Rates[k]
	if !ok {
		return 0, fault.New(fault.NotFound, "price list %s has no price for %s", list.ID, k)
	}
	return rate, nil
}

// Scale returns m × n / d, rounded half to even. n must not be negative, d must be
// positive, and what does not fit is fault.Invalid.
func Scale(m billing.Money, n, d int64) (billing.Money, error) {
	num := new(big.Int).Mul(big.NewInt(int64(m)), big.NewInt(n))
	den := big.NewInt(d)
	quo, rem := new(big.Int).DivMod(num, den, new(big.Int)) // rem ≥ 0
	if c := rem.Lsh(rem, 1).Cmp(den); c > 0 || c == 0 && quo.Bit(0) == 1 {
		quo.Add(quo, big.NewInt(1))
	}
	if !quo.IsInt64() {
		return 0, errTooMuch()
	}
	return billing.Money(quo.Int64()), nil
}

// Range is an amount as it may turn out.
type Range struct {
	Low      billing.Money `json:"low"`
	Expected billing.Money `json:"expected"`
	High     billing.Money `json:"high"`
}

// each returns what f makes of each amount of r.
func (r Range) each(f func(billing.Money) (billing.Money, error)) (Range, error) {
	var out Range
	var err error
	for _, p := range []struct {
		from billing.Money
		to   *billing.Money
	}{{r.Low, &out.Low}, {r.Expected, &out.Expected}, {r.High, &out.High}} {
		if *p.to, err = f(p.from); err != nil {
			return Range{}, err
		}
	}
	return out, nil
}

// plus returns r + o, which must not be negative. What does not fit is
// fault.Invalid.
func (r Range) plus(o Range) (Range, error) {
	sum := Range{r.Low + o.Low, r.Expected + o.Expected, r.High + o.High}
	if sum.Low < 0 || sum.Expected < 0 || sum.High < 0 {
		return Range{}, errTooMuch()
	}
	return sum, nil
}

func errTooMuch() error { return fault.New(fault.Invalid, "the sum is beyond 9.2 billion USD") }
