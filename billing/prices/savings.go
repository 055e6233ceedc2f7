package prices

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"berth/billing"
	"berth/fault"
)

// upfronts are the ways in which a Savings Plan is paid, as AWS names them, and as
// they end the names of our plans.
var upfronts = map[string]string{
	"No Upfront": "no-upfront", "Partial Upfront": "partial-upfront", "All Upfront": "all-upfront",
}

// fromSavings makes a list of the newest one of the region and the Savings Plans in
// an offer file (AWS Price List bulk API, "Reading Savings Plans price list files"):
// for each term of Compute Savings Plans one plan, as in compute-1y-no-upfront.
func (f file) fromSavings(o object) ([]List, error) {
	if f.Region == "" {
		f.Region = o.text("regionCode")
	}
	if own := o.text("regionCode"); own != "" && own != f.Region {
		return nil, fault.At("regionCode", "the file is of %s", short(own))
	}
	if !regionForm.MatchString(f.Region) {
		return nil, fault.At("region", "the file does not say of which region its prices are; say it")
	}
	names := make(map[string]string) // of plans, by AWS's SKU
	for i, v := range o.list("products") {
		p, _ := v.(object)
		attributes := p.object("attributes")
		if p.text("productFamily") != "ComputeSavingsPlans" {
			f.skip.add(p.text("productFamily"), "it is not a Compute Savings Plan")
			continue
		}
		end, ok := upfronts[attributes.text("purchaseOption")]
		years, isTerm := strings.CutSuffix(attributes.text("purchaseTerm"), "yr")
		if !ok || !isTerm || len(years) != 1 || p.text("sku") == "" {
			return nil, fault.At(fmt.Sprintf("products[%d]", i), "it is not a term of so many years, paid upfront or not")
		}
		names[p.text("sku")] = "compute-" + years + "y-" + end
	}
	published, err := f.published(o.text("publicationDate"))
	if err != nil {
		return nil, err
	}
	var plans []Plan
	for _, v := range o.object("terms").list("savingsPlan") {
		term, _ := v.(object)
		name, ok := names[term.text("sku")]
		if !ok {
			f.skip.add(term.text("description"), "it is not a Compute Savings Plan")
			continue
		}
		p, err := f.planOf(name, term)
		if err != nil {
			return nil, at(short(term.text("sku")), err)
		}
		p.Note = "AWS Compute Savings Plan, " + f.Region
		if slices.ContainsFunc(plans, func(q Plan) bool { return q.Name == name }) {
			return nil, fault.At(short(term.text("sku")), "there are two terms %s", name)
		}
		if len(p.Rates) > 0 {
			plans = append(plans, p)
		}
	}
	if len(plans) == 0 {
		return nil, nil
	}
	l, err := f.base()
	if err != nil {
		return nil, err
	}
	for _, p := range plans {
		for k := range p.Rates {
			if _, ok := l.Rates[k]; !ok {
				f.skip.add(string(k), "the list has no price for it outside of the plan")
				delete(p.Rates, k)
			}
		}
	}
	plans = slices.DeleteFunc(plans, func(p Plan) bool { return len(p.Rates) == 0 })
	slices.SortFunc(plans, func(a, b Plan) int { return strings.Compare(a.Name, b.Name) })
	l.Plans, l.Version, l.PublishedAt = plans, short(versionOf(o)), published
	l.Source = "on demand and Spot as in " + short(l.ID) + "; Savings Plans as in the offer"
	return []List{l}, nil
}

// versionOf returns the version of a file, which Savings Plans have as a number.
func versionOf(o object) string {
	if n, ok := o["version"].(json.Number); ok {
		return n.String()
	}
	return o.text("version")
}

// planOf reads the prices of Fargate's tasks in a term.
func (f file) planOf(name string, term object) (Plan, error) {
	p := Plan{Name: name, Rates: make(map[billing.SKU]billing.Rate)}
	for _, v := range term.list("rates") {
		r, _ := v.(object)
		usage := r.text("discountedUsageType")
		k, ok := skuOf(usage)
		if r.text("discountedServiceCode") != offerCode || !ok {
			f.skip.add(r.text("discountedServiceCode"), "it is not a charge of Fargate")
			continue
		}
		rate := r.object("discountedRate")
		if c := rate.text("currency"); c != "USD" {
			return p, fault.New(fault.Invalid, "%s: the price is in %q, and Berth counts in USD", short(usage), short(c))
		}
		if !hourly(k, r.text("unit")) {
			return p, fault.New(fault.Invalid, "%s: the unit is %q, not an hour", short(usage), short(r.text("unit")))
		}
		price, err := ParseRate(rate.text("price"))
		if err != nil {
			return p, fault.New(fault.Invalid, "%s: %s", short(usage), fault.Message(err))
		}
		if other, twice := p.Rates[k]; twice && other != price { // one for each operation
			return p, fault.New(fault.Invalid, "%s: there are two prices", short(usage))
		}
		p.Rates[k] = price
	}
	return p, nil
}
