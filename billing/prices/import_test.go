package prices

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/fault"
)

// product is one product of an offer, from which the tests write files in the shapes
// of AWS. What it says is made up.
type product struct {
	sku, region, location, usage, effective, begin, end, unit, currency, price string
}

func fargate(sku, region, usage, price string) product {
	unit := "hours"
	if strings.HasSuffix(usage, "EphemeralStorage-GB-Hours") {
		unit = "GB-Hours"
	}
	return product{sku, region, "AWS Region", usage, "2026-07-01T00:00:00Z", "0", "Inf", unit, "USD", price}
}

// twoRegions is an offer of two regions, and of what is not Fargate's.
func twoRegions() []product {
	return []product{
		fargate("AAAA", "us-east-1", "USE1-Fargate-vCPU-Hours:perCPU", "0.0404800000"),
		fargate("AAAB", "us-east-1", "USE1-Fargate-GB-Hours", "0.0044450000"),
		fargate("AAAC", "us-east-1", "USE1-Fargate-ARM-vCPU-Hours:perCPU", "0.0323800000"),
		fargate("AAAD", "us-east-1", "USE1-Fargate-ARM-GB-Hours", "0.0035600000"),
		fargate("AAAE", "us-east-1", "USE1-Fargate-EphemeralStorage-GB-Hours", "0.0001110000"),
		fargate("AAAF", "us-east-1", "USE1-Fargate-Windows-vCPU-Hours:perCPU", "0.0465520000"),
		fargate("AAAG", "us-east-1", "USE1-Fargate-Windows-GB-Hours", "0.0051117500"),
		fargate("AAAH", "us-east-1", "USE1-Fargate-Windows-OS-Hours:perCPU", "0.0460000000"),
		fargate("AAAI", "us-east-1", "USE1-ECS-EC2-vCPU-Hours", "0.0000000000"),
		fargate("AAAJ", "us-east-1", "USE1-ECS-Anywhere-Instance-hours-WithFree", "0.0102500000"),
		fargate("BBBA", "eu-west-1", "EU-Fargate-vCPU-Hours:perCPU", "0.0404900001"),
		fargate("BBBB", "eu-west-1", "EU-Fargate-GB-Hours", "0.0044460000"),
		{"CCCA", "us-west-2-lax-1", "AWS Local Zone", "LAX1-Fargate-vCPU-Hours:perCPU", "2026-07-01T00:00:00Z", "0", "Inf", "hours", "USD", "0.05"},
	}
}

type m = map[string]any

func attributes(p product) m {
	a := m{
		"servicecode": "AmazonECS", "location": "somewhere", "locationType": p.location, "usagetype": p.usage, "operation": "",
		"tenancy": "Shared", "servicename": "Amazon Elastic Container Service",
	}
	if p.region != "" {
		a["regionCode"] = p.region
	}
	return a
}

func term(p product) m {
	id := p.sku + ".JRTCKXETXF"
	return m{"offerTermCode": "JRTCKXETXF", "sku": p.sku, "effectiveDate": p.effective, "termAttributes": m{}, "priceDimensions": m{
		id + ".6YS6EN2CT7": m{"rateCode": id + ".6YS6EN2CT7", "unit": p.unit, "beginRange": p.begin, "endRange": p.end, "description": "made up",
			"appliesTo": []any{}, "pricePerUnit": m{p.currency: p.price}},
	}}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// asJSON writes products as an offer file.
func asJSON(ps []product) string {
	products, terms := m{}, m{}
	for _, p := range ps {
		products[p.sku] = m{"sku": p.sku, "productFamily": "Compute", "attributes": attributes(p)}
		terms[p.sku] = m{p.sku + ".JRTCKXETXF": term(p)}
	}
	return text(m{"formatVersion": "v1.0", "disclaimer": "made up", "offerCode": "AmazonECS", "version": "20260911000000",
		"publicationDate": "2026-09-11T00:00:00Z", "products": products, "terms": m{"OnDemand": terms}, "attributesList": m{}})
}

// asQuery writes products as GetProducts answers them.
func asQuery(ps []product) string {
	list := []any{}
	for _, p := range ps {
		list = append(list, text(m{
			"product": m{"sku": p.sku, "productFamily": "Compute", "attributes": attributes(p)}, "serviceCode": "AmazonECS",
			"terms": m{"OnDemand": m{p.sku + ".JRTCKXETXF": term(p)}}, "version": "20260911000000", "publicationDate": "2026-09-11T00:00:00Z",
		}))
	}
	return text(m{"FormatVersion": "aws_v1", "PriceList": list})
}

// asCSV writes products as an offer file of CSV.
func asCSV(ps []product) string {
	var out strings.Builder
	w := csv.NewWriter(&out)
	for _, line := range [][]string{
		{"FormatVersion", "v1.0"}, {"Disclaimer", "made up, all of it"}, {"Publication Date", "2026-09-11T00:00:00Z"}, {"Version", "20260911000000"}, {"OfferCode", "AmazonECS"},
		{"SKU", "OfferTermCode", "RateCode", "TermType", "PriceDescription", "EffectiveDate", "StartingRange", "EndingRange", "Unit", "PricePerUnit", "Currency", "Product Family", "serviceCode", "Location", "Location Type", "usageType", "operation", "Region Code", "serviceName"},
	} {
		w.Write(line)
	}
	for _, p := range ps {
		w.Write([]string{p.sku, "JRTCKXETXF", p.sku + ".JRTCKXETXF.6YS6EN2CT7", "OnDemand", "made up", strings.TrimSuffix(p.effective, "T00:00:00Z"), p.begin, p.end, p.unit, p.price, p.currency,
			"Compute", "AmazonECS", "somewhere", p.location, p.usage, "", p.region, "Amazon Elastic Container Service"})
	}
	w.Flush()
	return out.String()
}

var forms = map[string]func([]product) string{"JSON": asJSON, "CSV": asCSV, "query": asQuery}

// Ensure an offer is imported exactly, whatever its form: each rate to the last
// digit, each region a list of its own, and what was left out with the reason.
func TestImportOffer(t *testing.T) {
	var ids []string
	for form, write := range forms {
		out, err := Import([]byte(write(twoRegions())), ImportOptions{Now: noon})
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		if len(out.Lists) != 2 {
			t.Fatalf("%s: %d lists", form, len(out.Lists))
		}
		eu, us := out.Lists[0], out.Lists[1]
		for k, want := range map[billing.SKU]billing.Rate{
			billing.VCPU: 404_800_000, billing.Memory: 44_450_000, billing.ArmVCPU: 323_800_000, billing.ArmMemory: 35_600_000, billing.Storage: 1_110_000,
			billing.WindowsVCPU: 465_520_000, billing.WindowsMemory: 51_117_500, billing.WindowsOS: 460_000_000, billing.SpotVCPU: 404_800_000, billing.SpotArmMemory: 35_600_000,
		} {
			if us.Rates[k] != want {
				t.Errorf("%s: %s costs %s, want %s", form, k, us.Rates[k], want)
			}
		}
		if eu.Region != "eu-west-1" || eu.Rates[billing.VCPU] != 404_900_001 || eu.Assumed[billing.Storage] == "" || eu.Assumed[billing.VCPU] != "" {
			t.Errorf("%s: %+v", form, eu)
		}
		if us.Version != "20260911000000" || us.PublishedAt.Format(time.DateOnly) != "2026-09-11" || us.EffectiveFrom.Format(time.DateOnly) != "2026-07-01" || len(us.SHA256) != 64 || us.Example {
			t.Errorf("%s: %+v", form, us)
		}
		us.SHA256 = ""
		us, _ = us.seal()
		ids = append(ids, us.ID)
		want := []string{"USE1-ECS-Anywhere-Instance-hours-WithFree", "USE1-ECS-EC2-vCPU-Hours", "LAX1-Fargate-vCPU-Hours:perCPU in us-west-2-lax-1"}
		for i, s := range out.Skipped {
			if i >= len(want) || s.What != want[i] || s.Why == "" || s.Times != 1 {
				t.Errorf("%s: skipped %+v, want %s", form, out.Skipped, want)
				break
			}
		}
	}
	if len(slices.Compact(ids)) != 1 {
		t.Errorf("the three forms say different things: %s", ids)
	}
}

// Ensure one region can be taken out of a file of all, and be given a name.
func TestImportRegion(t *testing.T) {
	for form, write := range forms {
		out, err := Import([]byte(write(twoRegions())), ImportOptions{Region: "eu-west-1", Name: "ireland", Now: noon})
		if err != nil || len(out.Lists) != 1 || out.Lists[0].Name != "ireland" || out.Lists[0].Region != "eu-west-1" {
			t.Errorf("%s: %+v, %v", form, out, err)
		}
		if i := slices.IndexFunc(out.Skipped, func(s Skipped) bool { return s.What == "us-east-1" }); i < 0 || out.Skipped[i].Times != 8 {
			t.Errorf("%s: skipped %+v", form, out.Skipped)
		}
		if _, err := Import([]byte(write(twoRegions())), ImportOptions{Region: "ap-east-1"}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "ap-east-1") {
			t.Errorf("%s: a region that is not there: %v", form, err)
		}
		old := twoRegions()[:2]
		for i := range old {
			old[i].region = ""
		}
		if _, err := Import([]byte(write(old)), ImportOptions{}); fault.FieldOf(err) != "region" {
			t.Errorf("%s: no region at all: %v", form, err)
		}
		out, err = Import([]byte(write(old)), ImportOptions{Region: "us-east-1"})
		if err != nil || out.Lists[0].Region != "us-east-1" {
			t.Errorf("%s: %+v, %v", form, out, err)
		}
	}
	if _, err := Import([]byte(asJSON(twoRegions())), ImportOptions{Name: "both"}); fault.FieldOf(err) != "name" {
		t.Errorf("one name for two lists: %v", err)
	}
}

// Ensure a list holds from when the last of its prices does.
func TestImportDates(t *testing.T) {
	for _, late := range []int{0, 1, 4} {
		ps := twoRegions()[:5]
		ps[late].effective = "2026-08-15T00:00:00Z"
		for form, write := range forms {
			out, err := Import([]byte(write(ps)), ImportOptions{Now: noon})
			if err != nil || out.Lists[0].EffectiveFrom.Format(time.DateOnly) != "2026-08-15" {
				t.Errorf("%s: %+v, %v", form, out.Lists, err)
			}
		}
	}
}

// Ensure usage types are matched whole.
func TestUsageTypes(t *testing.T) {
	for usage, want := range map[string]billing.SKU{
		"Fargate-GB-Hours": billing.Memory, "USE1-Fargate-GB-Hours": billing.Memory, "EU-Fargate-GB-Hours": billing.Memory,
		"APS10-Fargate-GB-Hours": billing.Memory, "UGW1-Fargate-ARM-GB-Hours": billing.ArmMemory, "USE1-SpotUsage-Fargate-GB-Hours": billing.SpotMemory,
		"SpotUsage-Fargate-GB-Hours": billing.SpotMemory,
		"USE1-X-Fargate-GB-Hours":    "", "USE1-USE1-Fargate-GB-Hours": "", "xFargate-GB-Hours": "", "USE1-Fargate-GB-Hours:perCPU": "",
		"USE1-Fargate-vCPU-Hours": "", "use1-Fargate-GB-Hours": "", "": "", "USE1-": "", "USE1-Fargate-gb-hours": "", "USE1-EKS-Fargate-GB-Hours": "",
	} {
		if got, ok := skuOf(usage); ok != (want != "") || ok && got != want {
			t.Errorf("%q is %q, %t", usage, got, ok)
		}
	}
}

// Ensure whatever is wrong with a price of Fargate refuses the file, in each form.
func TestImportRefused(t *testing.T) {
	good := twoRegions()[:5]
	for name, c := range map[string]struct {
		break_ func(ps []product) []product
		says   string
	}{
		"negative":             {func(ps []product) []product { ps[1].price = "-0.0044450000"; return ps }, "negative"},
		"not a number":         {func(ps []product) []product { ps[1].price = "cheap"; return ps }, "not a price"},
		"an exponent":          {func(ps []product) []product { ps[1].price = "4.445E-3"; return ps }, "not a price"},
		"no price":             {func(ps []product) []product { ps[1].price = ""; return ps }, "not a price"},
		"eleven decimals":      {func(ps []product) []product { ps[1].price = "0.00444500001"; return ps }, "ten decimals"},
		"absurd":               {func(ps []product) []product { ps[1].price = "1000"; return ps }, "above"},
		"yuan":                 {func(ps []product) []product { ps[1].currency = "CNY"; return ps }, "CNY"},
		"per month":            {func(ps []product) []product { ps[1].unit = "GB-Mo"; return ps }, "GB-Mo"},
		"vCPU hours of memory": {func(ps []product) []product { ps[1].unit = "vCPU-Hours"; return ps }, "vCPU-Hours"},
		"a tier only":          {func(ps []product) []product { ps[1].begin = "100"; return ps }, "range"},
		"a first tier":         {func(ps []product) []product { ps[1].end = "100"; return ps }, "range"},
		"no date":              {func(ps []product) []product { ps[1].effective = ""; return ps }, "date"},
		"an odd date":          {func(ps []product) []product { ps[1].effective = "July"; return ps }, "date"},
		"from the past": {func(ps []product) []product {
			ps[0].effective = "1970-01-01T00:00:00Z"
			ps[1].effective = ps[0].effective
			return ps[:2]
		}, "years"},
		"no memory":             {func(ps []product) []product { return ps[:1] }, "no price for " + string(billing.Memory)},
		"no vCPU":               {func(ps []product) []product { return ps[1:2] }, "no price for " + string(billing.VCPU)},
		"half of ARM":           {func(ps []product) []product { return ps[:3] }, "none for " + string(billing.ArmMemory)},
		"a third of Windows":    {func(ps []product) []product { return append(ps, twoRegions()[7]) }, "none for"},
		"a region that is none": {func(ps []product) []product { ps[0].region = "../../etc"; return ps[:1] }, "region"},
		"twice":                 {func(ps []product) []product { p := ps[1]; p.sku = "ZZZZ"; return append(ps, p) }, "two prices"},
		"twice, with one prefix": {func(ps []product) []product {
			p := ps[1]
			p.sku, p.usage = "ZZZZ", "Fargate-GB-Hours"
			return append(ps, p)
		}, "two prices"},
	} {
		for form, write := range forms {
			out, err := Import([]byte(write(c.break_(slices.Clone(good)))), ImportOptions{Now: noon})
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, %s: %+v, %v, want a refusal that says %q", name, form, out.Lists, err, c.says)
			}
			if len(out.Lists) > 0 {
				t.Errorf("%s, %s: refused, and %d lists", name, form, len(out.Lists))
			}
		}
	}
	file := asJSON(good)
	for name, c := range map[string]struct{ from, to, says string }{
		"another service":          {`"offerCode":"AmazonECS"`, `"offerCode":"AmazonEKS"`, "AmazonEKS"},
		"a member twice":           {`"offerCode":"AmazonECS"`, `"offerCode":"AmazonECS","offerCode":"AmazonECS"`, "twice"},
		"a product twice":          {`"products":{`, `"products":{"AAAB":{},`, "twice"},
		"a key of another product": {`"AAAB":{"attributes"`, `"AAAX":{"attributes"`, "AAAX"},
		"a term of another":        {`"sku":"AAAB","termAttributes"`, `"sku":"AAAA","termAttributes"`, "not one of product"},
		"no terms":                 {`"OnDemand"`, `"Reserved"`, "no price on demand"},
		"two terms":                {`"AAAB":{"AAAB.JRTCKXETXF":`, `"AAAB":{"x":` + text(term(good[1])) + `,"AAAB.JRTCKXETXF":`, "two prices"},
		"two tiers":                {`"priceDimensions":{"AAAB`, `"priceDimensions":{"x":{"beginRange":"0","endRange":"Inf","unit":"hours","pricePerUnit":{"USD":"1"}},"AAAB`, "two prices"},
		"two currencies":           {`"USD":"0.0044450000"`, `"USD":"0.0044450000","CNY":"0.03"`, "2 currencies"},
		"a number for a price":     {`"USD":"0.0044450000"`, `"USD":0.004445`, "not a price"},
		"cut off":                  {`}]`, ``, ""},
		"more after the end":       {`"version"`, `"version`, ""},
		"an odd publication date":  {`"2026-09-11T00:00:00Z"`, `"soon"`, "publicationDate"},
		"neither form":             {`"products"`, `"goods"`, "none of the forms"},
	} {
		broken := strings.Replace(file, c.from, c.to, 1)
		if name == "cut off" {
			broken = file[:len(file)-10]
		}
		if broken == file {
			t.Fatalf("%s: nothing was broken", name)
		}
		if out, err := Import([]byte(broken), ImportOptions{Now: noon}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", name, out.Lists, err)
		}
	}
	table := asCSV(good)
	for name, c := range map[string]struct{ from, to, says string }{
		"another service":    {"OfferCode,AmazonECS", "OfferCode,AmazonEKS", "AmazonEKS"},
		"no column of units": {",Unit,", ",Untie,", "no column unit"},
		"two columns":        {",Unit,PricePerUnit,", ",Unit,Unit,PricePerUnit,", "two columns"},
		"a field too many":   {"AAAB,JRTCKXETXF", "AAAB,JRTCKXETXF,more", "20 fields"},
		"a loose quote":      {"AAAB,JRTCKXETXF", `AAAB,"JRT"CKXETXF`, "not CSV"},
	} {
		broken := strings.Replace(table, c.from, c.to, 1)
		if broken == table {
			t.Fatalf("%s: nothing was broken", name)
		}
		if out, err := Import([]byte(broken), ImportOptions{Now: noon}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("CSV, %s: %+v, %v", name, out.Lists, err)
		}
	}
	if _, err := Import([]byte(`{"FormatVersion":"aws_v1","PriceList":[],"NextToken":"more"}`), ImportOptions{}); fault.FieldOf(err) != "NextToken" {
		t.Errorf("one page of several: %v", err)
	}
}

// Ensure files that are made to hurt are refused, and soon.
func TestImportHostile(t *testing.T) {
	says := map[string]string{"deep": "nested", "deep objects": "nested", "many values": "values", "many lines": "lines"}
	for name, data := range map[string]string{
		"nothing": "", "spaces": "   ", "null": "null", "an array": "[]", "a string": `"x"`, "HTML": "<html></html>", "binary": "\x00\x01\x02", "zip": "PK\x03\x04",
		"deep":         `{"products":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + "}",
		"deep objects": strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000),
		"many values":  `{"products":[` + strings.Repeat("1,", 2_000_000) + "1]}",
		"many strings": `{"PriceList":[` + strings.Repeat(`"{}",`, 500_000) + `"{}"]}`,
		"many lines":   strings.Repeat("a,b\n", 200_000),
		"long line":    strings.Repeat("a,", 1_000_000),
	} {
		begun := time.Now()
		if out, err := Import([]byte(data), ImportOptions{Now: noon}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), says[name]) {
			t.Errorf("%s: %d lists, %v", name, len(out.Lists), err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
	if _, err := Import(make([]byte, MaxFile+1), ImportOptions{}); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("too large: %v", err)
	}
	var many []product
	for i := range 1000 {
		many = append(many, fargate(fmt.Sprint("S", i), "us-east-1", fmt.Sprint("USE1-Other-", i, strings.Repeat("x", 1000)), "1"))
	}
	out, err := Import([]byte(asJSON(append(many, twoRegions()[:2]...))), ImportOptions{Now: noon})
	if err != nil || len(out.Skipped) != maxSkipped+1 || out.Skipped[maxSkipped].Times != 800 || len(text(out.Skipped)) > 50_000 {
		t.Errorf("%v, %d skipped", err, len(out.Skipped))
	}
}

func feed(region string, prices map[string]string) string {
	list := []any{}
	for _, unit := range slices.Sorted(maps.Keys(prices)) {
		list = append(list, m{"unit": unit, "price": m{"USD": prices[unit]}, "attributes": m{"aws:region": region, "aws:other": "x"}})
	}
	list = append(list, m{"unit": "vCPU-Hours", "price": m{"USD": "9"}, "attributes": m{"aws:region": "mars-north-1"}})
	return text(m{"manifest": m{}, "prices": list})
}

// Ensure Spot prices come to stand beside the newest prices on demand of the region.
func TestImportSpot(t *testing.T) {
	four := map[string]string{"vCPU-Hours": "0.0128887100", "GB-Hours": "0.0014152700", "ARM-vCPU-Hours": "0.0103096900", "ARM-GB-Hours": "0.0011334900"}
	with := ImportOptions{Region: "eu-central-1", Now: noon, Base: Example}
	out, err := Import([]byte(feed("eu-central-1", four)), with)
	if err != nil {
		t.Fatal(err)
	}
	l, base := out.Lists[0], must(Example("eu-central-1"))
	if l.Rates[billing.SpotVCPU] != 128_887_100 || l.Rates[billing.SpotArmMemory] != 11_334_900 || l.Rates[billing.VCPU] != base.Rates[billing.VCPU] {
		t.Errorf("%+v", l)
	}
	if l.Assumed[billing.SpotVCPU] != "" || l.Assumed[billing.Storage] == "" || base.Assumed[billing.SpotVCPU] == "" {
		t.Errorf("assumed %v", l.Assumed)
	}
	if l.EffectiveFrom.Format(time.DateTime) != "2026-11-28 00:00:00" || len(out.Skipped) != 1 {
		t.Errorf("%s, skipped %+v", l.EffectiveFrom, out.Skipped)
	}
	delete(four, "GB-Hours")
	if _, err := Import([]byte(feed("eu-central-1", four)), with); err == nil || !strings.Contains(err.Error(), "none for") {
		t.Errorf("half: %v", err)
	}
	for _, o := range []ImportOptions{{Now: noon, Base: Example}, {Region: "eu-central-1"}, {Region: "xx-north-1", Base: Example}} {
		if out, err := Import([]byte(feed("eu-central-1", four)), o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %+v, %v", o, out.Lists, err)
		}
	}
	twice := strings.Replace(feed("eu-central-1", four), `"prices":[`, `"prices":[`+text(m{"unit": "vcpu-hours", "price": m{"USD": "1"}, "attributes": m{"aws:region": "eu-central-1"}})+",", 1)
	if _, err := Import([]byte(twice), with); err == nil || !strings.Contains(err.Error(), "two prices") {
		t.Errorf("twice: %v", err)
	}
}

func savings(region string, rates ...m) string {
	product := func(sku, family, option, years string) m {
		return m{"sku": sku, "productFamily": family, "serviceCode": "ComputeSavingsPlans", "usageType": "x", "operation": "",
			"attributes": m{"purchaseOption": option, "purchaseTerm": years, "granularity": "hourly", "instanceType": "", "location": "Any"}}
	}
	term := func(sku, description string, years int) m {
		return m{"sku": sku, "description": description, "effectiveDate": "2026-09-25T00:00:00Z", "leaseContractLength": m{"duration": years, "unit": "year"}, "rates": rates}
	}
	return text(m{"version": "20260925", "publicationDate": "2026-09-25T00:00:00Z", "regionCode": region,
		"products": []any{product("P1", "ComputeSavingsPlans", "No Upfront", "1yr"), product("P3", "ComputeSavingsPlans", "All Upfront", "3yr"), product("E1", "EC2InstanceSavingsPlans", "No Upfront", "1yr")},
		"terms":    m{"savingsPlan": []any{term("P1", "1 year", 1), term("P3", "3 years", 3), term("E1", "EC2", 1)}}})
}

func saving(service, usage, unit, price, currency string) m {
	return m{"discountedSku": "D", "discountedUsageType": usage, "discountedOperation": "", "discountedServiceCode": service, "rateCode": "P.D", "unit": unit,
		"discountedRate": m{"price": price, "currency": currency}}
}

// Ensure Savings Plans become plans of a list.
func TestImportSavings(t *testing.T) {
	vcpu, gb := saving("AmazonECS", "USE1-Fargate-vCPU-Hours:perCPU", "Hrs", "0.0323840000", "USD"), saving("AmazonECS", "USE1-Fargate-GB-Hours", "Hrs", "0.003556", "USD")
	others := []m{saving("AmazonEKS", "USE1-Fargate-vCPU-Hours:perCPU", "Hrs", "0.01", "USD"), saving("AWSLambda", "USE1-Lambda-GB-Second", "Seconds", "0.00001", "USD")}
	o := ImportOptions{Now: noon, Base: Example}
	out, err := Import([]byte(savings("us-east-1", append(others, vcpu, gb, vcpu)...)), o)
	if err != nil {
		t.Fatal(err)
	}
	l := out.Lists[0]
	if len(l.Plans) != 2 || l.Plans[0].Name != "compute-1y-no-upfront" || l.Plans[1].Name != "compute-3y-all-upfront" || l.Version != "20260925" {
		t.Errorf("%+v", l.Plans)
	}
	if r, _ := l.Rate(billing.VCPU, "compute-3y-all-upfront"); r != 323_840_000 {
		t.Errorf("a vCPU costs %s", r)
	}
	if r, _ := l.Rate(billing.ArmVCPU, "compute-3y-all-upfront"); r != l.Rates[billing.ArmVCPU] {
		t.Errorf("a vCPU of ARM, of which the plan does not speak, costs %s", r)
	}
	if len(out.Skipped) != 4 {
		t.Errorf("skipped %+v", out.Skipped)
	}
	for name, bad := range map[string]m{
		"negative": saving("AmazonECS", "USE1-Fargate-GB-Hours", "Hrs", "-1", "USD"), "euro": saving("AmazonECS", "USE1-Fargate-GB-Hours", "Hrs", "1", "EUR"),
		"unit": saving("AmazonECS", "USE1-Fargate-GB-Hours", "Quantity", "1", "USD"), "two prices": saving("AmazonECS", "USE1-Fargate-vCPU-Hours:perCPU", "Hrs", "1", "USD"),
		"Spot": saving("AmazonECS", "USE1-SpotUsage-Fargate-GB-Hours", "Hrs", "0.001", "USD"),
	} {
		if out, err := Import([]byte(savings("us-east-1", vcpu, bad)), o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %+v, %v", name, out.Lists, err)
		}
	}
	o.Region = "eu-west-1"
	if _, err := Import([]byte(savings("us-east-1", vcpu)), o); fault.FieldOf(err) != "regionCode" {
		t.Errorf("the file of another region: %v", err)
	}
}

func must(l List, ok bool) List {
	if !ok {
		panic("no such list")
	}
	return l
}

// Ensure that for any rates the three forms give the same lists, and these the rates
// that went in.
func TestImportRapid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rates := make(map[billing.SKU]billing.Rate)
		var ps []product
		for i, k := range slices.Concat(Linux[:4], Linux[8:], Windows) {
			rates[k] = billing.Rate(rapid.Int64Range(0, int64(maxRate)).Draw(t, string(k)))
			ps = append(ps, fargate(fmt.Sprint("SKU", i), "us-east-1", "USE1-"+string(k), rates[k].String()))
		}
		for form, write := range forms {
			out, err := Import([]byte(write(ps)), ImportOptions{Now: noon})
			if err != nil || len(out.Lists) != 1 {
				t.Fatalf("%s: %v", form, err)
			}
			for k, want := range rates {
				if got := out.Lists[0].Rates[k]; got != want {
					t.Fatalf("%s: %s costs %s, want %s", form, k, got, want)
				}
			}
		}
	})
}

// FuzzImport checks that no file whatever makes the importer panic or accept a list
// that does not hold what every list holds.
func FuzzImport(f *testing.F) {
	for _, write := range forms {
		f.Add([]byte(write(twoRegions())), "")
		f.Add([]byte(write(twoRegions()[:2])), "us-east-1")
	}
	f.Add([]byte(feed("eu-west-1", map[string]string{"vCPU-Hours": "0.01", "GB-Hours": "0.001"})), "eu-west-1")
	f.Add([]byte(savings("us-east-1", saving("AmazonECS", "USE1-Fargate-GB-Hours", "Hrs", "0.003", "USD"))), "")
	f.Add([]byte(`{"vcpu": 0.02, "memory": "0.002", "spotDiscount": "70%", "plans": [{"name": "x", "discount": "1%"}]}`), "eu-west-1")
	f.Fuzz(func(t *testing.T, data []byte, region string) {
		out, err := Import(data, ImportOptions{Region: region, Now: noon, Base: Example})
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, l := range out.Lists {
			if err := l.check(); err != nil {
				t.Fatalf("%s: %v", l.Body(), err)
			}
			for _, k := range Linux {
				if _, ok := l.Rates[k]; !ok {
					t.Fatalf("%s: nothing for %s", l.Body(), k)
				}
			}
			if back, err := ParseBody(l.Body()); err != nil || back.ID != l.ID {
				t.Fatalf("%s: %v", l.Body(), err)
			}
			if again, err := l.seal(); err != nil || again.ID != l.ID {
				t.Fatalf("%s became %s, %v", l.ID, again.ID, err)
			}
		}
	})
}
