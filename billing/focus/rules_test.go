package focus_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/focus"
)

// spec is what FOCUS says of a column: whether a file has it, whether it may be
// null, of which type it is and what it may say (FOCUS specification, Cost and
// Usage, "Content constraints" of each column).
type spec struct {
	name    string
	level   string // M: mandatory; C: as what we support wants it; R: recommended
	null    bool
	kind    string // string, decimal, time, json, unit, currency
	allowed string // values, divided by |
	only    string // the only version that has it
}

var specs = []spec{
	{"AvailabilityZone", "R", true, "string", "", ""},
	{"BilledCost", "M", false, "decimal", "", ""},
	{"BillingAccountId", "M", false, "string", "", ""},
	{"BillingAccountName", "M", true, "string", "", ""},
	{"BillingCurrency", "M", false, "currency", "", ""},
	{"BillingPeriodEnd", "M", false, "time", "", ""},
	{"BillingPeriodStart", "M", false, "time", "", ""},
	{"ChargeCategory", "M", false, "string", "Usage|Purchase|Tax|Credit|Adjustment", ""},
	{"ChargeClass", "M", true, "string", "Correction", ""},
	{"ChargeDescription", "M", true, "string", "", ""},
	{"ChargeFrequency", "R", false, "string", "One-Time|Recurring|Usage-Based", ""},
	{"ChargePeriodEnd", "M", false, "time", "", ""},
	{"ChargePeriodStart", "M", false, "time", "", ""},
	{"CommitmentDiscountCategory", "C", true, "string", "Spend|Usage", ""},
	{"CommitmentDiscountId", "C", true, "string", "", ""},
	{"CommitmentDiscountName", "C", true, "string", "", ""},
	{"CommitmentDiscountQuantity", "C", true, "decimal", "", ""},
	{"CommitmentDiscountStatus", "C", true, "string", "Used|Unused", ""},
	{"CommitmentDiscountType", "C", true, "string", "", ""},
	{"CommitmentDiscountUnit", "C", true, "unit", "", ""},
	{"ConsumedQuantity", "C", true, "decimal", "", ""},
	{"ConsumedUnit", "C", true, "unit", "", ""},
	{"ContractedCost", "M", false, "decimal", "", ""},
	{"ContractedUnitPrice", "C", true, "decimal", "", ""},
	{"EffectiveCost", "M", false, "decimal", "", ""},
	{"HostProviderName", "M", false, "string", "", "1.4"},
	{"InvoiceId", "R", true, "string", "", ""},
	{"InvoiceIssuerName", "M", false, "string", "", ""},
	{"ListCost", "M", false, "decimal", "", ""},
	{"ListUnitPrice", "C", true, "decimal", "", ""},
	{"PricingCategory", "C", true, "string", "Standard|Dynamic|Committed|Other", ""},
	{"PricingCurrency", "R", false, "currency", "", ""},
	{"PricingCurrencyContractedUnitPrice", "R", true, "decimal", "", ""},
	{"PricingCurrencyEffectiveCost", "R", false, "decimal", "", ""},
	{"PricingCurrencyListUnitPrice", "R", true, "decimal", "", ""},
	{"PricingQuantity", "M", true, "decimal", "", ""},
	{"PricingUnit", "M", true, "unit", "", ""},
	{"ProviderName", "M", false, "string", "", "1.2"},
	{"PublisherName", "M", false, "string", "", "1.2"},
	{"RegionId", "C", true, "string", "", ""},
	{"RegionName", "C", true, "string", "", ""},
	{"ResourceId", "C", true, "string", "", ""},
	{"ResourceName", "C", true, "string", "", ""},
	{"ResourceType", "C", true, "string", "", ""},
	{"ServiceCategory", "M", false, "string", "AI and Machine Learning|Analytics|Business Applications|Compute|Databases|Developer Tools|Multicloud|" +
		"Identity|Integration|Internet of Things|Management and Governance|Media|Migration|Mobile|Networking|Security|Storage|Web|Other", ""},
	{"ServiceName", "M", false, "string", "", ""},
	{"ServiceProviderName", "M", false, "string", "", "1.4"},
	{"ServiceSubcategory", "R", false, "string", "Containers|End User Computing|Quantum Compute|Serverless Compute|Virtual Machines|Other (Compute)", ""},
	{"SkuId", "C", true, "string", "", ""},
	{"SkuMeter", "C", true, "string", "", ""},
	{"SkuPriceDetails", "C", true, "json", "", ""},
	{"SkuPriceId", "C", true, "string", "", ""},
	{"SubAccountId", "C", true, "string", "", ""},
	{"SubAccountName", "C", true, "string", "", ""},
	{"Tags", "C", true, "json", "", ""},
}

// file is a FOCUS file that was read back.
type file struct {
	version string
	header  []string
	rows    []map[string]string
}

func read(t testing.TB, version focus.Version, text string) file {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	f := file{version: string(version), header: all[0]}
	for _, line := range all[1:] {
		row := make(map[string]string)
		for i, v := range line {
			row[f.header[i]] = v
		}
		f.rows = append(f.rows, row)
	}
	return f
}

// forms are the formats of values (FOCUS specification, attributes NumericFormat,
// DateTimeFormat, UnitFormat, CurrencyFormat and StringHandling). Decimals are
// stricter here: without a point, loaders take a column for one of integers.
var forms = map[string]*regexp.Regexp{
	"string":   regexp.MustCompile(`^[\x20-\x7e]+$`),
	"decimal":  regexp.MustCompile(`^-?[0-9]+\.[0-9]+$`),
	"time":     regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`),
	"currency": regexp.MustCompile(`^(USD|EUR|GBP|JPY|CNY)$`), // of ISO 4217, those of price lists
	"unit":     regexp.MustCompile(`^(\d+ )?[A-Za-z][A-Za-z0-9]*(-(Hours|Days|Months|Seconds))?(/(Hour|Day|Month|Second))?$`),
	"json":     regexp.MustCompile(`^[\x20-\x7e]+$`),
}

// a rule is a MUST of FOCUS that can be seen in a file. It returns what breaks it.
type rule struct {
	name  string
	check func(f file) string
}

// eachRow makes a rule of what must be true of each row.
func eachRow(check func(r map[string]string) string) func(file) string {
	return func(f file) string {
		for i, r := range f.rows {
			if wrong := check(r); wrong != "" {
				return fmt.Sprintf("row %d: %s", i+1, wrong)
			}
		}
		return ""
	}
}

// one makes a rule of what has exactly one of something else.
func one(of, what string) func(file) string {
	return func(f file) string {
		seen := make(map[string]string)
		for _, r := range f.rows {
			if had, ok := seen[r[of]]; ok && had != r[what] && r[of] != "" {
				return fmt.Sprintf("%s %s has the %s %q and %q", of, r[of], what, had, r[what])
			}
			seen[r[of]] = r[what]
		}
		return ""
	}
}

func together(a, b string) func(file) string {
	return eachRow(func(r map[string]string) string {
		if (r[a] == "") != (r[b] == "") {
			return fmt.Sprintf("%s is %q and %s is %q", a, r[a], b, r[b])
		}
		return ""
	})
}

// given makes a rule of what must not be null for usage, unless it is a correction.
func given(name string) func(file) string {
	return eachRow(func(r map[string]string) string {
		if r["ChargeCategory"] == "Usage" && r["ChargeClass"] != "Correction" && r[name] == "" {
			return name + " is null"
		}
		return ""
	})
}

func product(result, price, quantity string) func(file) string {
	return eachRow(func(r map[string]string) string {
		p, q, want := float(r[price]), float(r[quantity]), float(r[result])
		if p < 0 {
			return price + " is negative"
		}
		if p*q != want {
			return fmt.Sprintf("%s is %s and %s × %s is %v", result, r[result], r[price], r[quantity], p*q)
		}
		return ""
	})
}

func float(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return -1e99
	}
	return f
}

func at(s string) time.Time {
	t, _ := time.Parse(time.RFC3339, s)
	return t
}

// rules are ours of the specification's: each names what it is about.
func rules() []rule {
	rs := []rule{
		{"columns have the names of FOCUS or begin with x_, which come last", func(f file) string {
			custom := false
			for _, name := range f.header {
				known := slices.ContainsFunc(specs, func(s spec) bool { return s.name == name && (s.only == "" || s.only == f.version) })
				switch x := strings.HasPrefix(name, "x_"); {
				case !x && !known:
					return name + " is no column of FOCUS"
				case custom && !x:
					return name + " comes after columns of our own"
				case len(name) > 50:
					return name + " has more than 50 characters"
				default:
					custom = x
				}
			}
			return ""
		}},
		{"a column is there once", func(f file) string {
			names := slices.Sorted(slices.Values(f.header))
			if len(slices.Compact(slices.Clone(names))) != len(names) {
				return "a column is there twice"
			}
			return ""
		}},
		{"ListCost = ListUnitPrice × PricingQuantity", product("ListCost", "ListUnitPrice", "PricingQuantity")},
		{"ContractedCost = ContractedUnitPrice × PricingQuantity", product("ContractedCost", "ContractedUnitPrice", "PricingQuantity")},
		{"ContractedCost = ListCost where nothing was negotiated", eachRow(func(r map[string]string) string {
			if r["ListCost"] != r["ContractedCost"] {
				return r["ListCost"] + " and " + r["ContractedCost"]
			}
			return ""
		})},
		{"ConsumedQuantity has its unit", together("ConsumedQuantity", "ConsumedUnit")},
		{"PricingQuantity has its unit", together("PricingQuantity", "PricingUnit")},
		{"a region has a name", together("RegionId", "RegionName")},
		{"a resource has a type", together("ResourceId", "ResourceType")},
		{"a sub account has a name", together("SubAccountId", "SubAccountName")},
		{"a SKU has a meter", together("SkuId", "SkuMeter")},
		{"a SKU price has a SKU", together("SkuId", "SkuPriceId")},
		{"a SKU price has one SKU", one("SkuPriceId", "SkuId")},
		{"a SKU price has one list unit price", one("SkuPriceId", "ListUnitPrice")},
		{"a SKU price has one set of details", one("SkuPriceId", "SkuPriceDetails")},
		{"a SKU has one meter", one("SkuId", "SkuMeter")},
		{"a service has one category", one("ServiceName", "ServiceCategory")},
		{"a subcategory has one category", one("ServiceSubcategory", "ServiceCategory")},
		{"a region has one name", one("RegionId", "RegionName")},
		{"a resource has one account", one("ResourceId", "SubAccountId")},
		{"a unit is that of what is priced", one("SkuId", "PricingUnit")},
		{"what is consumed is in the unit of what is priced, if that is so of one", one("SkuId", "ConsumedUnit")},
		{"the billing period is a month and its end excluded", eachRow(func(r map[string]string) string {
			from, to := at(r["BillingPeriodStart"]), at(r["BillingPeriodEnd"])
			if from.Day() != 1 || !from.AddDate(0, 1, 0).Equal(to) {
				return r["BillingPeriodStart"] + " to " + r["BillingPeriodEnd"]
			}
			return ""
		})},
		{"the charge period begins before it ends", eachRow(func(r map[string]string) string {
			if !at(r["ChargePeriodStart"]).Before(at(r["ChargePeriodEnd"])) {
				return r["ChargePeriodStart"] + " to " + r["ChargePeriodEnd"]
			}
			return ""
		})},
		{"what is of an earlier billing period is a Correction, and nothing else is", eachRow(func(r map[string]string) string {
			if (r["ChargeClass"] == "Correction") != at(r["ChargePeriodStart"]).Before(at(r["BillingPeriodStart"])) {
				return fmt.Sprintf("of %s, billed in %s, is %q", r["ChargePeriodStart"], r["BillingPeriodStart"], r["ChargeClass"])
			}
			return ""
		})},
		{"Spot is priced dynamically", eachRow(func(r map[string]string) string {
			if (r["PricingCategory"] == "Dynamic") != strings.HasPrefix(r["x_UsageType"], "Spot") {
				return r["x_UsageType"] + " is " + r["PricingCategory"]
			}
			return ""
		})},
		{"a commitment discount says all of itself, and of what it covers and nothing else", eachRow(func(r map[string]string) string {
			for _, of := range []string{"Category", "Name", "Quantity", "Status", "Type", "Unit"} {
				if (r["CommitmentDiscountId"] == "") != (r["CommitmentDiscount"+of] == "") {
					return fmt.Sprintf("it is %q and its %s is %q", r["CommitmentDiscountId"], of, r["CommitmentDiscount"+of])
				}
			}
			if (r["PricingCategory"] == "Committed") != (r["CommitmentDiscountId"] != "") {
				return fmt.Sprintf("by %q it is %s", r["CommitmentDiscountId"], r["PricingCategory"])
			}
			if r["CommitmentDiscountId"] != "" && r["CommitmentDiscountQuantity"] != r["EffectiveCost"] {
				return fmt.Sprintf("of the commitment %s are used and the cost is %s", r["CommitmentDiscountQuantity"], r["EffectiveCost"])
			}
			return ""
		})},
		{"null is nothing, and not a word", eachRow(func(r map[string]string) string {
			for name, v := range r {
				if strings.EqualFold(v, "null") {
					return name + " is " + v
				}
			}
			return ""
		})},
		{"own keys of SkuPriceDetails begin with x_", eachRow(func(r map[string]string) string {
			var details map[string]any
			json.Unmarshal([]byte(r["SkuPriceDetails"]), &details)
			for key := range details {
				if !strings.HasPrefix(key, "x_") && !slices.Contains([]string{"CoreCount", "MemorySize", "DiskSpace", "OperatingSystem"}, key) {
					return key
				}
			}
			return ""
		})},
	}
	for _, name := range []string{"ConsumedQuantity", "PricingQuantity", "PricingUnit", "ListUnitPrice", "ContractedUnitPrice", "PricingCategory", "SkuId", "SkuPriceId"} {
		rs = append(rs, rule{name + " is not null for usage", given(name)})
	}
	for _, s := range specs {
		rs = append(rs, s.rules()...)
	}
	return rs
}

func (s spec) rules() []rule {
	has := func(f file) bool { return slices.Contains(f.header, s.name) }
	rs := []rule{
		{s.name + " is there", func(f file) string {
			if wanted := s.level != "R" && (s.only == "" || s.only == f.version); wanted && !has(f) {
				return "it is not"
			}
			return ""
		}},
		{s.name + " is " + s.kind, eachRow(func(r map[string]string) string {
			if v := r[s.name]; v != "" && !forms[s.kind].MatchString(v) {
				return strconv.Quote(v)
			}
			return ""
		})},
	}
	if !s.null {
		rs = append(rs, rule{s.name + " is not null", func(f file) string {
			for i, r := range f.rows {
				if has(f) && r[s.name] == "" {
					return fmt.Sprintf("it is in row %d", i+1)
				}
			}
			return ""
		}})
	}
	if s.allowed != "" {
		rs = append(rs, rule{s.name + " is one of its values", eachRow(func(r map[string]string) string {
			if v := r[s.name]; v != "" && !slices.Contains(strings.Split(s.allowed, "|"), v) {
				return v
			}
			return ""
		})})
	}
	if s.kind == "json" {
		rs = append(rs, rule{s.name + " is one flat object", eachRow(func(r map[string]string) string {
			var object map[string]any
			if err := json.Unmarshal([]byte(r[s.name]), &object); r[s.name] != "" && err != nil {
				return err.Error()
			}
			for key, v := range object {
				switch v.(type) {
				case map[string]any, []any:
					return key + " is not flat"
				}
			}
			return ""
		})})
	}
	return rs
}

// broken returns the rules that f breaks.
func broken(f file) []string {
	var all []string
	for _, r := range rules() {
		if wrong := r.check(f); wrong != "" {
			all = append(all, r.name+": "+wrong)
		}
	}
	return all
}

// Ensure that files of random histories keep every rule, and that what they bill
// is what the ledger says.
func TestRules(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		charges := history(r)
		var want int64
		for _, c := range charges {
			want += int64(c.Amount)
		}
		for _, v := range []focus.Version{focus.V12, focus.V14} {
			f := read(t, v, write(t, v, charges))
			for _, wrong := range broken(f) {
				r.Errorf("FOCUS %s: %s", v, wrong)
			}
			var sum int64
			for _, row := range f.rows {
				sum += nanos(t, row["BilledCost"])
				if row["BilledCost"] != row["x_ExactCost"] {
					r.Errorf("billed %s and exactly %s", row["BilledCost"], row["x_ExactCost"])
				}
			}
			if sum != want {
				r.Errorf("FOCUS %s bills %d nano-dollars and the ledger %d", v, sum, want)
			}
		}
	})
}

// nanos reads an amount of dollars.
func nanos(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.Replace(s, ".", "", 1), 10, 64)
	if err != nil || len(s)-strings.IndexByte(s, '.') != 10 {
		t.Fatalf("%q is not an amount with nine decimals", s)
	}
	return n
}

// Ensure that each kind of rule sees a file that breaks it.
func TestRulesSee(t *testing.T) {
	good := func() file {
		f := read(t, focus.V12, write(t, focus.V12, sample()))
		if wrong := broken(f); len(wrong) > 0 {
			t.Fatal(wrong)
		}
		return f
	}
	set := func(name, value string) func(*file) { return func(f *file) { f.rows[0][name] = value } }
	for _, c := range []struct {
		rule  string
		spoil func(*file)
	}{
		{"BilledCost is there", func(f *file) {
			f.header = slices.DeleteFunc(f.header, func(n string) bool { return n == "BilledCost" })
		}},
		{"BilledCost is not null", set("BilledCost", "")},
		{"BilledCost is decimal", set("BilledCost", "1")},
		{"BilledCost is decimal", set("BilledCost", "1e-7")},
		{"BillingCurrency is currency", set("BillingCurrency", "usd")},
		{"ChargeCategory is one of its values", set("ChargeCategory", "usage")},
		{"ChargePeriodStart is time", set("ChargePeriodStart", "2026-10-30T00:00:00+00:00")},
		{"PricingUnit is unit", set("PricingUnit", "GiB Hours")},
		{"RegionName is string", set("RegionName", "São Paulo")},
		{"Tags is one flat object", set("Tags", `{"a":{"b":1}}`)},
		{"columns have the names", func(f *file) { f.header = append(f.header, "Cost") }},
		{"columns have the names", func(f *file) { f.header = append(f.header, "HostProviderName") }},
		{"a column is there once", func(f *file) { f.header = append(f.header, "x_Group") }},
		{"ListCost = ", set("ListCost", "0.0001687")},
		{"ContractedCost = ContractedUnitPrice", set("ContractedUnitPrice", "0.5")},
		{"ConsumedQuantity has its unit", set("ConsumedUnit", "")},
		{"ConsumedQuantity is not null for usage", set("ConsumedQuantity", "")},
		{"a SKU price has one SKU", set("SkuId", "task-other")},
		{"a SKU price has one list unit price", set("ListUnitPrice", "0.04")},
		{"the billing period is a month", set("BillingPeriodEnd", "2026-10-31T00:00:00Z")},
		{"the charge period begins", set("ChargePeriodEnd", "2026-10-30T00:00:00Z")},
		{"what is of an earlier billing period", set("ChargeClass", "Correction")},
		{"Spot is priced", set("PricingCategory", "Dynamic")},
		{"a commitment discount says", set("CommitmentDiscountId", "some")},
		{"a commitment discount says", set("PricingCategory", "Committed")},
		{"null is nothing", set("x_StartedBy", "NULL")},
		{"own keys of SkuPriceDetails", set("SkuPriceDetails", `{"Cores":1}`)},
	} {
		f := good()
		c.spoil(&f)
		if !slices.ContainsFunc(broken(f), func(s string) bool { return strings.HasPrefix(s, c.rule) }) {
			t.Errorf("the rule %q does not see what breaks it: %q", c.rule, broken(f))
		}
	}
}

// sample is two tasks of one size that ran for two hours.
func sample() []billing.Charge {
	f := &billing.Facts{Account: "000000000000", Region: "us-east-1", Cluster: "default", Definition: "web:1", Group: "family:web", StartedBy: "me"}
	var all []billing.Charge
	for i := range 2 {
		for _, e := range charged(sampleTask(i), 2*time.Hour, 0) {
			all = append(all, charge(e, f))
		}
	}
	return all
}
