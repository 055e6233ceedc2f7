package prices

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
)

// Draft is a price list as people write it. Only vcpu and memory must be there.
// Prices are US dollars for an hour, as decimal numbers with at most ten decimals,
// or as strings of such.
type Draft struct {
	Name          string  `json:"name,omitempty" doc:"Lists of one name follow one another; own if left out"`
	Region        string  `json:"region,omitempty" doc:"The region of AWS whose prices these are, if any"`
	Currency      string  `json:"currency,omitempty" enum:"USD" doc:"USD if left out"`
	EffectiveFrom Day     `json:"effectiveFrom,omitempty" doc:"RFC 3339, or a day, which begins at midnight UTC; now if left out"`
	Source        string  `json:"source,omitempty" maxLength:"512" doc:"Where the prices are from"`
	VCPU          Price   `json:"vcpu" doc:"A vCPU of Linux on x86"`
	Memory        Price   `json:"memory" doc:"A GB (1024 MiB) of Linux on x86"`
	Storage       Price   `json:"storage,omitempty" doc:"A GB of storage above the first 20; free if left out"`
	Arm           *Pair   `json:"arm,omitempty" doc:"Linux on ARM; as on x86 if left out"`
	Spot          *Pair   `json:"spot,omitempty" doc:"FARGATE_SPOT on x86"`
	SpotArm       *Pair   `json:"spotArm,omitempty" doc:"FARGATE_SPOT on ARM"`
	SpotDiscount  Percent `json:"spotDiscount,omitempty" doc:"In place of spot and spotArm: how much less than on demand, as in 70%. Without either, Spot costs what it costs on demand"`
	Windows       *Triple `json:"windows,omitempty" doc:"Windows on x86"`

	Plans []DraftPlan `json:"plans,omitempty" doc:"Discount plans that an operator can choose"`
}

// Pair is the prices of a vCPU and of a GB of memory for an hour.
type Pair struct {
	VCPU   Price `json:"vcpu"`
	Memory Price `json:"memory"`
}

// Triple is the prices of a vCPU, of a GB of memory and, for each vCPU, of the
// operating system, for an hour.
type Triple struct {
	VCPU   Price `json:"vcpu"`
	Memory Price `json:"memory"`
	OS     Price `json:"os"`
}

// DraftPlan is a Plan as people write it: a discount on everything but Spot and
// storage, or prices.
type DraftPlan struct {
	Name     string  `json:"name"`
	Note     string  `json:"note,omitempty" maxLength:"512"`
	Discount Percent `json:"discount,omitempty"`
	VCPU     Price   `json:"vcpu,omitempty"`
	Memory   Price   `json:"memory,omitempty"`
	Arm      *Pair   `json:"arm,omitempty"`
}

// Price is a decimal number as it was written, which JSON may have as a number or
// as a string. It is never a float.
type Price string

// UnmarshalJSON takes a number or a string.
func (p *Price) UnmarshalJSON(text []byte) error { return numeral((*string)(p), text) }

// Percent is a number of hundredths as it was written, with or without a percent
// sign.
type Percent string

// UnmarshalJSON takes a number or a string.
func (p *Percent) UnmarshalJSON(text []byte) error { return numeral((*string)(p), text) }

// Day is a time as it was written: RFC 3339, or a date, which begins at midnight
// UTC.
type Day string

// numeral keeps a number or a string of JSON as it is written.
func numeral(out *string, text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, out)
	}
	var n json.Number
	if err := json.Unmarshal(text, &n); err != nil {
		return err
	}
	*out = n.String()
	return nil
}

// decimalForm is the form of a price. There is no sign: a negative price is
// refused by its form.
var decimalForm = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,30})?$`)

// ParseRate reads a price in dollars. It keeps every digit: a price that needs
// more than ten decimals is refused, and so is a negative one.
func ParseRate(text string) (billing.Rate, error) {
	if strings.HasPrefix(text, "-") {
		return 0, fault.New(fault.Invalid, "%q is negative", short(text))
	}
	if !decimalForm.MatchString(text) {
		return 0, fault.New(fault.Invalid, "%q is not a price: a decimal number, as in 0.04048", short(text))
	}
	if whole, fraction, ok := strings.Cut(text, "."); ok && len(fraction) > 10 {
		fraction = strings.TrimRight(fraction, "0")
		text = strings.TrimSuffix(whole+"."+fraction, ".")
	}
	var r billing.Rate
	if err := r.UnmarshalText([]byte(text)); err != nil {
		return 0, fault.New(fault.Invalid, "%q has more than ten decimals", short(text))
	}
	return r, nil
}

// hundred is 100 % in hundredths of a per cent.
const hundred = 10_000

var percentForm = regexp.MustCompile(`^([0-9]{1,3})(?:\.([0-9]{1,2}))? ?%?$`)

// hundredths returns p in hundredths of a per cent, from 0 to hundred.
func (p Percent) hundredths() (int64, error) {
	m := percentForm.FindStringSubmatch(string(p))
	if m == nil {
		return 0, fault.New(fault.Invalid, "%q is not a discount, as in 70%%", short(string(p)))
	}
	n, err := strconv.ParseInt(m[1]+(m[2] + "00")[:2], 10, 64)
	if err != nil || n > hundred {
		return 0, fault.New(fault.Invalid, "%q is more than 100%%", short(string(p)))
	}
	return n, nil
}

// Time returns the moment at which d begins; zero if there is no d.
func (d Day) Time() (time.Time, error) {
	if d == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, string(d)); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "%q is not a time, as in 2027-01-01 or 2027-01-01T00:00:00Z", short(string(d)))
}

// List returns the price list that d describes. now stands for a beginning that is
// left out.
func (d Draft) List(now time.Time) (List, error) {
	l, err := d.list(now)
	if err != nil {
		return List{}, err
	}
	return l.seal()
}

func (d Draft) list(now time.Time) (List, error) {
	l := List{Name: d.Name, Region: d.Region, Currency: d.Currency, Source: d.Source, Rates: make(map[billing.SKU]billing.Rate)}
	if l.Name == "" {
		l.Name = "own"
	}
	if l.Currency == "" {
		l.Currency = "USD"
	}
	if l.Source == "" {
		l.Source = "own prices"
	}
	from, err := d.EffectiveFrom.Time()
	if err != nil {
		return l, at("effectiveFrom", err)
	}
	if from.IsZero() {
		from = now.UTC().Truncate(time.Second)
	}
	l.EffectiveFrom = from
	r := reader{rates: l.Rates}
	r.must("vcpu", billing.VCPU, d.VCPU)
	r.must("memory", billing.Memory, d.Memory)
	r.may("storage", billing.Storage, d.Storage)
	r.pair("arm", d.Arm, billing.ArmVCPU, billing.ArmMemory)
	r.pair("spot", d.Spot, billing.SpotVCPU, billing.SpotMemory)
	r.pair("spotArm", d.SpotArm, billing.SpotArmVCPU, billing.SpotArmMemory)
	if w := d.Windows; w != nil {
		r.must("windows.vcpu", billing.WindowsVCPU, w.VCPU)
		r.must("windows.memory", billing.WindowsMemory, w.Memory)
		r.must("windows.os", billing.WindowsOS, w.OS)
	}
	if r.err != nil {
		return l, r.err
	}
	if d.SpotDiscount != "" {
		if d.Spot != nil || d.SpotArm != nil {
			return l, fault.At("spotDiscount", "it stands in place of spot and spotArm, and cannot be beside them")
		}
		off, err := d.SpotDiscount.hundredths()
		if err != nil {
			return l, at("spotDiscount", err)
		}
		for _, k := range []billing.SKU{billing.SpotVCPU, billing.SpotMemory, billing.SpotArmVCPU, billing.SpotArmMemory} {
			demand, _ := orNearest(l.Rates, nearest[k])
			l.Rates[k] = share(demand, hundred-off, hundred)
		}
	}
	for i, p := range d.Plans {
		plan, err := p.plan(fmt.Sprintf("plans[%d]", i), l.Rates)
		if err != nil {
			return l, err
		}
		l.Plans = append(l.Plans, plan)
	}
	return l, nil
}

func (d DraftPlan) plan(field string, rates map[billing.SKU]billing.Rate) (Plan, error) {
	p := Plan{Name: d.Name, Note: d.Note, Rates: make(map[billing.SKU]billing.Rate)}
	r := reader{rates: p.Rates}
	r.may(field+".vcpu", billing.VCPU, d.VCPU)
	r.may(field+".memory", billing.Memory, d.Memory)
	r.pair(field+".arm", d.Arm, billing.ArmVCPU, billing.ArmMemory)
	if r.err != nil || d.Discount == "" {
		return p, r.err
	}
	if len(p.Rates) > 0 {
		return p, fault.At(field+".discount", "it stands in place of prices, and cannot be beside them")
	}
	off, err := d.Discount.hundredths()
	if err != nil {
		return p, at(field+".discount", err)
	}
	for _, k := range []billing.SKU{billing.VCPU, billing.Memory, billing.ArmVCPU, billing.ArmMemory, billing.WindowsVCPU, billing.WindowsMemory} {
		if full, ok := orNearest(rates, k); ok {
			p.Rates[k] = share(full, hundred-off, hundred)
		}
	}
	return p, nil
}

// orNearest returns the rate of k, or of what k is a variant of.
func orNearest(rates map[billing.SKU]billing.Rate, k billing.SKU) (billing.Rate, bool) {
	if r, ok := rates[k]; ok {
		return r, true
	}
	r, ok := rates[nearest[k]]
	return r, ok
}

// reader reads prices into rates until one is wrong.
type reader struct {
	rates map[billing.SKU]billing.Rate
	err   error
}

func (r *reader) must(field string, k billing.SKU, p Price) {
	if p == "" && r.err == nil {
		r.err = fault.At(field, "it is missing")
	}
	r.may(field, k, p)
}

func (r *reader) may(field string, k billing.SKU, p Price) {
	if p == "" || r.err != nil {
		return
	}
	rate, err := ParseRate(string(p))
	if err != nil {
		r.err = at(field, err)
	}
	r.rates[k] = rate
}

func (r *reader) pair(field string, p *Pair, vcpu, memory billing.SKU) {
	if p != nil {
		r.must(field+".vcpu", vcpu, p.VCPU)
		r.must(field+".memory", memory, p.Memory)
	}
}

// at says in which field of the input err is.
func at(field string, err error) error {
	if inner := fault.FieldOf(err); inner != "" && field != "" {
		field += "." + inner
	} else if field == "" {
		field = inner
	}
	return fault.At(field, "%s", fault.Message(err))
}
