package prices

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/strictjson"
)

// ImportOptions say what to take from a file. Zero values take all and know nothing.
type ImportOptions struct {
	Region string    // take this region only; needed where the file does not say
	Name   string    // of the list, in place of its region's; only with Region
	Now    time.Time // when the file was got; stands for a date that it does not have

	// Base returns the newest list of a region. The Spot feed and Savings Plans are
	// prices of some things only: the others come from there.
	Base func(region string) (List, bool)
}

// Imported is what came of a file.
type Imported struct {
	Lists   []List    `json:"priceLists"`
	Skipped []Skipped `json:"skipped" doc:"What of the file was not taken"`
}

// Skipped is something in a file that was not taken, and why.
type Skipped struct {
	What  string `json:"what"`
	Why   string `json:"why"`
	Times int    `json:"times"`
}

// Import reads the price lists in a file. It knows these forms by their content:
//
//   - offer files of AmazonECS, JSON and CSV, of one region or of all: a list for
//     each region
//   - what GetProducts of the AWS Price List query API returns
//   - the feed of Spot prices that the Fargate pricing page reads, for one region
//   - the offer file of Compute Savings Plans of a region
//   - Berth's own form, Draft
//
// A usage type must be exactly one of Fargate's after an optional prefix of the
// region. What is not Fargate's is skipped and reported; what is Fargate's and wrong
// (a price that is negative, missing, in tiers, there twice, in another unit or
// currency) refuses the whole file, with fault.Invalid. Prices are decimal text from
// end to end.
func Import(data []byte, o ImportOptions) (Imported, error) {
	out, err := importFile(data, o)
	if err != nil {
		return Imported{}, err
	}
	return out, nil
}

func importFile(data []byte, o ImportOptions) (Imported, error) {
	if len(data) > MaxFile {
		return Imported{}, fault.New(fault.TooLarge, "the file has more than %d bytes", MaxFile)
	}
	if o.Name != "" && o.Region == "" {
		return Imported{}, fault.At("name", "it names the list of one region; say which")
	}
	if o.Region != "" && !regionForm.MatchString(o.Region) {
		return Imported{}, fault.At("region", "%q is not a region, as in us-east-1", short(o.Region))
	}
	sum := sha256.Sum256(data)
	f := file{ImportOptions: o, sha: hex.EncodeToString(sum[:]), skip: new(skipped)}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // as Windows marks UTF-8
	lists, err := f.lists(data)
	if err != nil {
		return Imported{}, err
	}
	if len(lists) == 0 {
		return Imported{}, fault.New(fault.Invalid, "there are no prices of Fargate in it%s", forRegion(o.Region))
	}
	for i := range lists {
		if lists[i], err = lists[i].seal(); err != nil {
			return Imported{}, at(lists[i].Region, err)
		}
	}
	return Imported{Lists: lists, Skipped: f.skip.report()}, nil
}

func forRegion(region string) string {
	if region == "" {
		return ""
	}
	return " for " + region
}

// file is a file that is being imported.
type file struct {
	ImportOptions
	sha  string
	skip *skipped
}

// lists finds out what form data has and reads it.
func (f file) lists(data []byte) ([]List, error) {
	if head := bytes.TrimLeft(data, " \t\r\n"); len(head) == 0 || head[0] != '{' {
		o, err := csvOf(data, f.skip)
		if err != nil {
			return nil, err
		}
		return f.fromOffer(o)
	}
	t := newTree()
	v, err := t.parse(data)
	if err != nil {
		return nil, err
	}
	o, _ := v.(object)
	_, query := o["PriceList"]
	_, feed := o["prices"]
	_, products := o["products"]
	_, plans := o.object("terms")["savingsPlan"]
	_, own := o["vcpu"]
	switch {
	case plans:
		return f.fromSavings(o)
	case products:
		offer, err := offerOf(o, f.skip)
		if err != nil {
			return nil, err
		}
		return f.fromOffer(offer)
	case query:
		offer, err := queryOf(t, o, f.skip)
		if err != nil {
			return nil, err
		}
		return f.fromOffer(offer)
	case feed:
		return f.fromFeed(o)
	case own:
		return f.fromDraft(data)
	}
	return nil, fault.New(fault.Invalid, "it is none of the forms that are known: offer files of %s (JSON, CSV), GetProducts, Fargate's Spot prices, Savings Plans, Berth's own", offerCode)
}

func (f file) fromDraft(data []byte) ([]List, error) {
	var d Draft
	if err := strictjson.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	if f.Region != "" {
		d.Region = f.Region
	}
	if f.Name != "" {
		d.Name = f.Name
	}
	l, err := d.list(f.Now)
	l.SHA256 = f.sha
	return []List{l}, err
}

// prefixForm is the prefix of a region in a usage type: USE1-, EU-, UGW1-, APS10-.
var prefixForm = regexp.MustCompile(`^[A-Z]{2,4}[0-9]{0,2}-`)

// skuOf returns what a usage type stands for: after an optional prefix of a region
// it must be the whole name. A suffix is not enough, because
// SpotUsage-Fargate-GB-Hours ends like Fargate-GB-Hours.
func skuOf(usageType string) (billing.SKU, bool) {
	k := billing.SKU(usageType[len(prefixForm.FindString(usageType)):])
	return k, slices.Contains(known, k)
}

// wanted reports whether r is a price of Fargate in a region, and notes it if not.
func (r row) wanted(skip *skipped) bool {
	if _, ok := skuOf(r.usageType); !ok {
		skip.add(r.usageType, "it is not a charge of Fargate")
		return false
	}
	if r.location != "" && r.location != "AWS Region" {
		skip.add(r.usageType+" in "+short(r.region), "it is not in a region but in a place of the kind "+short(r.location))
		return false
	}
	return true
}

// fromOffer makes a list of each region.
func (f file) fromOffer(o offer) ([]List, error) {
	byRegion := make(map[string]*List)
	published, err := f.published(o.published)
	if err != nil {
		return nil, err
	}
	for _, r := range o.rows {
		region := r.region
		if region == "" { // files before 2021
			region = f.Region
		}
		if region == "" {
			return nil, fault.At("region", "the file does not say of which region its prices are; say it")
		}
		if !regionForm.MatchString(region) {
			return nil, fault.At(short(r.sku), "%q is not a region", short(region))
		}
		if f.Region != "" && region != f.Region {
			f.skip.add(region, "it is another region")
			continue
		}
		l := byRegion[region]
		if l == nil {
			l = &List{
				Name: region, Region: region, Currency: "USD", Version: short(o.version), PublishedAt: published, SHA256: f.sha,
				Source: "AWS Price List, " + offerCode + ", " + region, Rates: make(map[billing.SKU]billing.Rate),
			}
			if f.Name != "" {
				l.Name = f.Name
			}
			byRegion[region] = l
		}
		if err := r.into(l); err != nil {
			return nil, fault.At(short(r.sku), "%s in %s: %s", short(r.usageType), short(region), fault.Message(err))
		}
	}
	var lists []List
	for _, region := range slices.Sorted(maps.Keys(byRegion)) {
		lists = append(lists, *byRegion[region])
	}
	return lists, nil
}

func (f file) published(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := Day(text).Time()
	if err != nil {
		return t, at("publicationDate", err)
	}
	return t, nil
}

// into adds the price to l.
func (r row) into(l *List) error {
	k, _ := skuOf(r.usageType)
	if _, twice := l.Rates[k]; twice {
		return fault.New(fault.Invalid, "there are two prices; is it in tiers, or twice in the file?")
	}
	if r.begin != "0" || r.end != "Inf" {
		return fault.New(fault.Invalid, "the price is for the range %q to %q only", short(r.begin), short(r.end))
	}
	if r.currency != "USD" {
		return fault.New(fault.Invalid, "the price is in %q, and Berth counts in USD", short(r.currency))
	}
	if !hourly(k, r.unit) {
		return fault.New(fault.Invalid, "the unit is %q, not an hour of one %s", short(r.unit), k.Unit())
	}
	rate, err := ParseRate(r.price)
	if err != nil {
		return err
	}
	from, err := Day(r.effective).Time()
	if err != nil || from.IsZero() {
		return fault.New(fault.Invalid, "the effective date %q is not one", short(r.effective))
	}
	if from.After(l.EffectiveFrom) {
		l.EffectiveFrom = from // The list holds as a whole.
	}
	l.Rates[k] = rate
	return nil
}

// hourly reports whether a unit of AWS is what k is priced for. It writes hours,
// Hrs, GB-Hours and GB-hours.
func hourly(k billing.SKU, unit string) bool {
	switch unit = strings.ToLower(unit); unit {
	case "hours", "hour", "hrs":
		return true
	}
	return unit == strings.ToLower(k.Unit())
}

// feedUnits are the units of the feed of Spot prices, which say what is priced.
var feedUnits = map[string]billing.SKU{
	"vcpu-hours": billing.SpotVCPU, "gb-hours": billing.SpotMemory,
	"arm-vcpu-hours": billing.SpotArmVCPU, "arm-gb-hours": billing.SpotArmMemory,
}

// fromFeed makes a list of the newest one of a region and the Spot prices in the
// feed, which AWS does not document: prices[] with unit, price.USD and
// attributes."aws:region". It has no date.
func (f file) fromFeed(o object) ([]List, error) {
	spot := make(map[billing.SKU]billing.Rate)
	for i, v := range o.list("prices") {
		field := fmt.Sprintf("prices[%d]", i)
		p, ok := v.(object)
		if !ok {
			return nil, fault.At(field, "it is not an object")
		}
		region := p.object("attributes").text("aws:region")
		if f.Region == "" {
			return nil, fault.At("region", "the file has Spot prices of many regions; say which to take")
		}
		if region != f.Region {
			f.skip.add(short(region), "it is another region")
			continue
		}
		k, ok := feedUnits[strings.ToLower(p.text("unit"))]
		if !ok {
			f.skip.add(p.text("unit"), "it is not a charge of Fargate Spot")
			continue
		}
		if _, twice := spot[k]; twice {
			return nil, fault.At(field, "there are two prices for %s", k)
		}
		rate, err := ParseRate(p.object("price").text("USD"))
		if err != nil {
			return nil, at(field+".price.USD", err)
		}
		spot[k] = rate
	}
	if len(spot) == 0 {
		return nil, nil
	}
	l, err := f.base()
	if err != nil {
		return nil, err
	}
	for _, whole := range wholes {
		if has, hasNot, half := halved(spot, whole); half {
			return nil, fault.New(fault.Invalid, "there is a price for %s and none for %s", has, hasNot)
		}
	}
	for k, rate := range spot {
		l.Rates[k] = rate
		delete(l.Assumed, k)
	}
	l.Source = "on demand as in " + short(l.ID) + "; Spot as in the feed of the Fargate pricing page"
	return []List{l}, nil
}

// base returns the newest list of the region, to be changed, as of today.
func (f file) base() (List, error) {
	if f.Base != nil {
		if l, ok := f.Base(f.Region); ok {
			l.Rates, l.Assumed, l.Plans = maps.Clone(l.Rates), maps.Clone(l.Assumed), slices.Clone(l.Plans)
			l.EffectiveFrom, l.SHA256 = f.Now.UTC().Truncate(24*time.Hour), f.sha
			l.Version, l.PublishedAt = "", time.Time{}
			if f.Name != "" {
				l.Name = f.Name
			}
			return l, nil
		}
	}
	return List{}, fault.New(fault.Invalid, "these prices stand beside others, and there is no price list for %s yet; import one first", f.Region)
}

// maxSkipped is how many different things are reported as not taken.
const maxSkipped = 200

// skipped counts what was not taken.
type skipped struct {
	times map[[2]string]int
	more  int
}

func (s *skipped) add(what, why string) {
	if s.times == nil {
		s.times = make(map[[2]string]int)
	}
	key := [2]string{short(what), why}
	if _, ok := s.times[key]; !ok && len(s.times) >= maxSkipped {
		s.more++
		return
	}
	s.times[key]++
}

func (s *skipped) report() []Skipped {
	all := []Skipped{}
	for key, n := range s.times {
		all = append(all, Skipped{What: key[0], Why: key[1], Times: n})
	}
	slices.SortFunc(all, func(a, b Skipped) int { return strings.Compare(a.Why+a.What, b.Why+b.What) })
	if s.more > 0 {
		all = append(all, Skipped{What: "and others", Why: "there are too many to list", Times: s.more})
	}
	return all
}
