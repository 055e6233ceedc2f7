package prices

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
)

// List is what things cost from some day on. It is never changed once it is stored.
type List struct {
	ID            string    `json:"id"`
	Name          string    `json:"name" doc:"Lists of one name follow one another; those of a region of AWS bear its name"`
	Region        string    `json:"region,omitempty" doc:"Of AWS"`
	Currency      string    `json:"currency" enum:"USD"`
	EffectiveFrom time.Time `json:"effectiveFrom" doc:"From when these prices hold, as their source says; when the server charges by them is in its timeline"`
	Source        string    `json:"source"`
	Example       bool      `json:"example" doc:"It came with Berth. AWS changes its prices"`
	Version       string    `json:"version,omitempty" doc:"Of the file that was imported"`
	PublishedAt   time.Time `json:"publicationDate,omitzero" doc:"Of the file that was imported"`
	SHA256        string    `json:"sha256,omitempty" doc:"Of the file that was imported, in hex"`

	Rates   map[billing.SKU]billing.Rate `json:"rates" doc:"US dollars for a unit-hour, by the usage type of AWS without its region prefix"`
	Assumed map[billing.SKU]string       `json:"assumed,omitempty" doc:"Which rates are not in the source, and where they are from"`
	Plans   []Plan                       `json:"plans,omitempty" doc:"Discount plans that an operator can choose"`
}

// Plan is rates that stand in place of a list's: those of a Savings Plan. What it
// does not speak of costs what the list says; Spot is never in one.
type Plan struct {
	Name  string                       `json:"name"`
	Note  string                       `json:"note,omitempty"`
	Rates map[billing.SKU]billing.Rate `json:"rates"`
}

// Linux are the SKUs that every list has a rate for.
var Linux = []billing.SKU{
	billing.VCPU, billing.Memory, billing.ArmVCPU, billing.ArmMemory,
	billing.SpotVCPU, billing.SpotMemory, billing.SpotArmVCPU, billing.SpotArmMemory, billing.Storage,
}

// Windows are the SKUs of Windows, of which a list has all or none.
var Windows = []billing.SKU{billing.WindowsVCPU, billing.WindowsMemory, billing.WindowsOS}

// known are all SKUs of Fargate.
var known = slices.Concat(Linux, Windows)

// wholes are SKUs that have rates together or not at all: half of a price is a
// mistake in the file, not a gift.
var wholes = [][]billing.SKU{
	{billing.ArmVCPU, billing.ArmMemory}, {billing.SpotVCPU, billing.SpotMemory},
	{billing.SpotArmVCPU, billing.SpotArmMemory}, Windows,
}

const (
	// maxRate is 100 USD for a unit-hour, a thousand times what AWS takes. The
	// largest task may run for 40 years at it before money has too few digits.
	maxRate = billing.Rate(100 * 1e10)

	maxPlans = 32
	maxText  = 512 // bytes of a source or a note
)

var (
	nameForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	regionForm = regexp.MustCompile(`^[a-z]{2}(-[a-z]{2,12}){1,3}-[0-9]{1,2}$`)
)

// first and last are the times between which a list can begin.
var (
	first = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	last  = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Rate returns what a unit-hour of k costs on plan, which may be "". ok is false
// if the list has no rate for k, which can only be one of Windows.
func (l List) Rate(k billing.SKU, plan string) (r billing.Rate, ok bool) {
	for _, p := range l.Plans {
		if r, ok := p.Rates[k]; ok && p.Name == plan {
			return r, true
		}
	}
	r, ok = l.Rates[k]
	return r, ok
}

// RatesOn returns all rates on plan, which may be "".
func (l List) RatesOn(plan string) map[billing.SKU]billing.Rate {
	rates := maps.Clone(l.Rates)
	for k := range rates {
		rates[k], _ = l.Rate(k, plan)
	}
	return rates
}

// hasPlan reports whether l has that plan; every list has "".
func (l List) hasPlan(name string) bool {
	return name == "" || slices.ContainsFunc(l.Plans, func(p Plan) bool { return p.Name == name })
}

// PriceList returns l on plan as package billing knows price lists. Its ID is what
// the ledger's entries bear.
func (l List) PriceList(plan string) billing.PriceList {
	return billing.PriceList{
		ID: Charged(l.ID, plan), Region: l.Region, EffectiveFrom: l.EffectiveFrom, Source: l.Source, Rates: l.RatesOn(plan),
	}
}

// Charged returns the name under which the ledger writes that a list was charged
// by: its ID and, after a plus, the plan if there is one.
func Charged(list, plan string) string {
	if plan == "" {
		return list
	}
	return list + "+" + plan
}

// SplitCharged is the inverse of Charged.
func SplitCharged(charged string) (list, plan string) {
	list, plan, _ = strings.Cut(charged, "+")
	return list, plan
}

// complete fills in what the source does not say, and notes that it did: Linux on
// ARM costs what it costs on x86, Spot what it costs on demand, and storage nothing.
func (l *List) complete() {
	for _, k := range Linux {
		if _, ok := l.Rates[k]; ok {
			continue
		}
		if like, ok := nearest[k]; ok {
			l.assume(k, l.Rates[like], "not in the source; taken as "+string(like))
			continue
		}
		l.assume(k, 0, "not in the source; taken as free")
	}
}

// nearest says of which SKU one is a variant. Those come first in Linux.
var nearest = map[billing.SKU]billing.SKU{
	billing.ArmVCPU: billing.VCPU, billing.ArmMemory: billing.Memory,
	billing.SpotVCPU: billing.VCPU, billing.SpotMemory: billing.Memory,
	billing.SpotArmVCPU: billing.ArmVCPU, billing.SpotArmMemory: billing.ArmMemory,
}

func (l *List) assume(k billing.SKU, r billing.Rate, why string) {
	if l.Assumed == nil {
		l.Assumed = make(map[billing.SKU]string)
	}
	l.Rates[k], l.Assumed[k] = r, why
}

// check returns what is wrong with l, before it is completed.
func (l List) check() error {
	switch {
	case !nameForm.MatchString(l.Name):
		return fault.At("name", "%q is not a name: at most 63 lower-case letters, digits and hyphens", short(l.Name))
	case l.Region != "" && !regionForm.MatchString(l.Region):
		return fault.At("region", "%q is not a region, as in us-east-1", short(l.Region))
	case l.Currency != "USD":
		return fault.At("currency", "the prices are in %q, and Berth counts in USD", short(l.Currency))
	case l.EffectiveFrom.Before(first) || !l.EffectiveFrom.Before(last):
		return fault.At("effectiveFrom", "it is not between the years %d and %d", first.Year(), last.Year())
	case len(l.Source) > maxText:
		return fault.At("source", "it has more than %d bytes", maxText)
	case len(l.Plans) > maxPlans:
		return fault.At("plans", "there are more than %d", maxPlans)
	}
	if err := checkRates("rates", l.Rates); err != nil {
		return err
	}
	for _, k := range []billing.SKU{billing.VCPU, billing.Memory} {
		if _, ok := l.Rates[k]; !ok {
			return fault.At("rates", "there is no price for %s", k)
		}
	}
	for _, whole := range wholes {
		if k, other, half := halved(l.Rates, whole); half {
			return fault.At("rates", "there is a price for %s and none for %s", k, other)
		}
	}
	for i, p := range l.Plans {
		field := fmt.Sprintf("plans[%d]", i)
		switch {
		case !nameForm.MatchString(p.Name):
			return fault.At(field+".name", "%q is not a name: at most 63 lower-case letters, digits and hyphens", short(p.Name))
		case slices.ContainsFunc(l.Plans[:i], func(q Plan) bool { return q.Name == p.Name }):
			return fault.At(field+".name", "there are two plans %q", p.Name)
		case len(p.Note) > maxText:
			return fault.At(field+".note", "it has more than %d bytes", maxText)
		case len(p.Rates) == 0:
			return fault.At(field, "it has no prices")
		}
		if err := checkRates(field+".rates", p.Rates); err != nil {
			return err
		}
		for k := range p.Rates {
			if strings.HasPrefix(string(k), "Spot") {
				return fault.At(field+".rates", "no plan covers Spot, and this one has a price for %s", k)
			}
			if _, ok := l.Rates[k]; !ok && !slices.Contains(Linux, k) { // Those of Linux will be there.
				return fault.At(field+".rates", "it has a price for %s and the list has none", k)
			}
		}
	}
	return nil
}

func checkRates(field string, rates map[billing.SKU]billing.Rate) error {
	for _, k := range slices.Sorted(maps.Keys(rates)) {
		switch r := rates[k]; {
		case !slices.Contains(known, k):
			return fault.At(field, "%q is nothing that Fargate charges for", short(string(k)))
		case r < 0:
			return fault.At(field, "the price for %s is negative", k)
		case r > maxRate:
			return fault.At(field, "the price for %s is above %s USD an hour", k, maxRate)
		}
	}
	return nil
}

// halved reports whether rates has some of whole and not all: has and not hasNot.
func halved(rates map[billing.SKU]billing.Rate, whole []billing.SKU) (has, hasNot billing.SKU, half bool) {
	for _, k := range whole {
		if _, ok := rates[k]; ok {
			has = k
		} else {
			hasNot = k
		}
	}
	return has, hasNot, has != "" && hasNot != ""
}

// seal checks l, completes it and gives it an ID that follows from what it says, so
// that the same list cannot be stored twice under two IDs.
func (l List) seal() (List, error) {
	l.EffectiveFrom, l.PublishedAt = l.EffectiveFrom.UTC(), l.PublishedAt.UTC()
	if err := l.check(); err != nil {
		return List{}, err
	}
	l.Rates = maps.Clone(l.Rates)
	l.complete()
	l.ID = ""
	sum := sha256.Sum256(l.Body())
	l.ID = l.Name + "-" + l.EffectiveFrom.Format(time.DateOnly) + "-" + hex.EncodeToString(sum[:4])
	return l, nil
}

// Body returns everything that l says, the same for equal lists: JSON with the
// members of objects in order.
func (l List) Body() []byte {
	body, err := json.Marshal(l)
	if err != nil {
		panic("prices: encode list: " + err.Error()) // A list has nothing that JSON cannot say.
	}
	return body
}

// ParseBody is the inverse of Body. What Body cannot have written is an error.
func ParseBody(body []byte) (List, error) {
	var l List
	if err := json.Unmarshal(body, &l); err != nil {
		return l, fmt.Errorf("decode price list: %w", err)
	}
	if !bytes.Equal(l.Body(), body) {
		return l, fmt.Errorf("price list %s is not as it was written", l.ID)
	}
	return l, nil
}

// share returns r × num / den rounded half to even. den is positive.
func share(r billing.Rate, num, den int64) billing.Rate {
	n := new(big.Int).Mul(big.NewInt(int64(r)), big.NewInt(num))
	q, rem := n.QuoRem(n, big.NewInt(den), new(big.Int))
	if c := rem.Lsh(rem, 1).Cmp(big.NewInt(den)); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return billing.Rate(q.Int64())
}

// short makes text of strangers fit for a message.
func short(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
