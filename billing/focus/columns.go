package focus

import (
	"fmt"
	"strings"
	"time"

	"berth/billing"
	"berth/billing/proof"
	"berth/fault"
	"berth/task"
)

// Version says which columns a file has.
type Version string

// The versions that are written.
const (
	V12 Version = "1.2"     // FOCUS 1.2, which AWS exports and importers expect
	V14 Version = "1.4"     // FOCUS 1.4, ratified 2026-06-04
	CUR Version = "cur-2.0" // the columns of AWS's Cost and Usage Report 2.0 that say something about tasks
)

// Options says how to write a file. Version and Provider are required.
type Options struct {
	Version  Version
	Provider string // who runs the tasks and bills for them

	// Checkpoint is that of the ledger under which all entries of the file are. It is
	// in each row as size and root, so that a reader can have any row proved later:
	// that the checkpoint has its entries, and that the ledger has only grown since.
	Checkpoint proof.Checkpoint

	// OnDemand knows what a price list, named as entries name it, says of what no plan
	// covers. What a row was charged counts as that where it is nil or knows nothing.
	OnDemand billing.RateBook
}

func (o Options) check() error {
	switch {
	case o.Version != V12 && o.Version != V14 && o.Version != CUR:
		return fault.At("version", "%q is neither 1.2 nor 1.4", o.Version)
	case o.Provider == "":
		return fault.At("provider", "is empty")
	}
	return nil
}

// serviceName is what is sold.
const serviceName = "Berth Tasks"

// kind is the type of a column's values.
type kind int

const (
	text   kind = iota
	object      // JSON, FOCUS KeyValueFormat: one object, nothing nested
	number      // FOCUS Decimal: always with a decimal point, never with an exponent
	moment      // a time, whole seconds, UTC
)

// column is one column of a file. Its value is what append adds to b; if that is
// nothing, the value is null.
type column struct {
	name   string
	kind   kind
	since  Version // V14: not in 1.2
	until  Version // V12: not in 1.4
	append func(b []byte, c *cells) []byte
}

// cells is a row with what several columns need of it.
type cells struct {
	*Row
	*sku
	options  *Options
	asOf     string // the checkpoint
	listRate billing.Rate
	plan     string // that covers the row; "" if none
	quantity int64  // 1e-10 unit-hours
	skus     map[billing.SKU]*sku
	facts    *billing.Facts // of which the three below are
	realm    task.Realm
	region   string // its name
	tags     []byte
}

func newCells(o *Options) *cells {
	c := &cells{options: o, skus: make(map[billing.SKU]*sku)}
	if o.Checkpoint.Size > 0 {
		c.asOf = fmt.Sprintf("%d %s", o.Checkpoint.Size, o.Checkpoint.Root)
	}
	return c
}

func (c *cells) set(r *Row) {
	c.Row = r
	s := c.skus[r.SKU]
	if s == nil {
		s = newSKU(r.SKU)
		c.skus[r.SKU] = s
	}
	c.sku, c.quantity = s, quantity(r.Units, s.per())
	c.listRate, c.plan = r.Rate, ""
	if _, plan, planned := strings.Cut(r.PriceList, "+"); planned && c.options.OnDemand != nil {
		if rate, known := c.options.OnDemand(r.PriceList, r.SKU); known && rate != r.Rate {
			c.listRate, c.plan = rate, plan
		}
	}
	if f := r.Facts; f != c.facts {
		c.facts, c.realm = f, task.Realm{Region: f.Region, Account: f.Account, Cluster: f.Cluster}
		c.region, c.tags = regionName(f.Region), appendTags(nil, f.Tags)
	}
}

// columns returns the columns of a file, in order.
func (o Options) columns() []column {
	if o.Version == CUR {
		return curColumns
	}
	var cs []column
	for _, c := range focusColumns {
		if (c.since == "" || o.Version >= c.since) && (c.until == "" || o.Version <= c.until) {
			cs = append(cs, c)
		}
	}
	return cs
}

// constant makes a column's function of a text that is always the same.
func constant(s string) func([]byte, *cells) []byte {
	return func(b []byte, _ *cells) []byte { return append(b, s...) }
}

// planned makes a column's function of a text that rows have which a plan covers.
func planned(s string) func([]byte, *cells) []byte {
	return func(b []byte, c *cells) []byte {
		if c.plan != "" {
			b = append(b, s...)
		}
		return b
	}
}

func null(b []byte, _ *cells) []byte { return b }

// focusColumns are the columns of FOCUS that have something to say here, by name,
// and ours, which begin with x_ (FOCUS specification 1.2 and 1.4, Cost and Usage).
var focusColumns = []column{
	{name: "BilledCost", kind: number, append: amount},
	{name: "BillingAccountId", append: accountID},
	{name: "BillingAccountName", append: accountID},
	{name: "BillingCurrency", append: constant("USD")},
	{name: "BillingPeriodEnd", kind: moment, append: func(b []byte, c *cells) []byte { return appendTime(b, nextMonth(c.Month)) }},
	{name: "BillingPeriodStart", kind: moment, append: func(b []byte, c *cells) []byte { return appendTime(b, c.Month) }},
	{name: "ChargeCategory", append: constant("Usage")},
	{name: "ChargeClass", append: func(b []byte, c *cells) []byte {
		if c.Correction() {
			b = append(b, "Correction"...)
		}
		return b
	}},
	{name: "ChargeDescription", append: func(b []byte, c *cells) []byte {
		b = appendASCII(b, c.Row.SKU.Description())
		return appendASCII(append(b, " - "...), c.region)
	}},
	{name: "ChargeFrequency", append: constant("Usage-Based")},
	{name: "ChargePeriodEnd", kind: moment, append: func(b []byte, c *cells) []byte { return appendTime(b, c.End) }},
	{name: "ChargePeriodStart", kind: moment, append: func(b []byte, c *cells) []byte { return appendTime(b, c.Start) }},
	{name: "CommitmentDiscountCategory", append: planned("Spend")},
	{name: "CommitmentDiscountId", append: func(b []byte, c *cells) []byte {
		if c.plan != "" {
			b = appendASCII(append(appendASCII(b, c.Facts.Region), '/'), c.plan)
		}
		return b
	}},
	{name: "CommitmentDiscountName", append: func(b []byte, c *cells) []byte { return appendASCII(b, c.plan) }},
	{name: "CommitmentDiscountQuantity", kind: number, append: func(b []byte, c *cells) []byte {
		if c.plan != "" {
			b = amount(b, c)
		}
		return b
	}},
	{name: "CommitmentDiscountStatus", append: planned("Used")},
	{name: "CommitmentDiscountType", append: planned("Savings Plan")},
	{name: "CommitmentDiscountUnit", append: planned("USD")},
	{name: "ConsumedQuantity", kind: number, append: reserved},
	{name: "ConsumedUnit", append: unit},
	{name: "ContractedCost", kind: number, append: listCost},
	{name: "ContractedUnitPrice", kind: number, append: price},
	{name: "EffectiveCost", kind: number, append: amount},
	{name: "HostProviderName", since: V14, append: provider},
	{name: "InvoiceId", append: null},
	{name: "InvoiceIssuerName", append: provider},
	{name: "ListCost", kind: number, append: listCost},
	{name: "ListUnitPrice", kind: number, append: price},
	{name: "PricingCategory", append: func(b []byte, c *cells) []byte {
		switch {
		case c.spot:
			return append(b, "Dynamic"...)
		case c.plan != "":
			return append(b, "Committed"...)
		}
		return append(b, "Standard"...)
	}},
	{name: "PricingCurrency", append: constant("USD")},
	{name: "PricingCurrencyContractedUnitPrice", kind: number, append: price},
	{name: "PricingCurrencyEffectiveCost", kind: number, append: amount},
	{name: "PricingCurrencyListUnitPrice", kind: number, append: price},
	{name: "PricingQuantity", kind: number, append: reserved},
	{name: "PricingUnit", append: unit},
	{name: "ProviderName", until: V12, append: provider},
	{name: "PublisherName", until: V12, append: provider},
	{name: "RegionId", append: func(b []byte, c *cells) []byte { return appendASCII(b, c.Facts.Region) }},
	{name: "RegionName", append: func(b []byte, c *cells) []byte { return appendASCII(b, c.region) }},
	{name: "ResourceId", append: resource},
	{name: "ResourceName", append: null}, // a task has no name
	{name: "ResourceType", append: constant("Task")},
	{name: "ServiceCategory", append: constant("Compute")},
	{name: "ServiceName", append: constant(serviceName)},
	{name: "ServiceProviderName", since: V14, append: provider},
	{name: "ServiceSubcategory", append: constant("Serverless Compute")},
	{name: "SkuId", append: func(b []byte, c *cells) []byte { return append(b, c.sku.id...) }},
	{name: "SkuMeter", append: func(b []byte, c *cells) []byte { return append(b, c.meter...) }},
	{name: "SkuPriceDetails", kind: object, append: func(b []byte, c *cells) []byte { return append(b, c.details...) }},
	{name: "SkuPriceId", append: func(b []byte, c *cells) []byte {
		b = append(append(b, c.sku.id...), '@')
		return appendASCII(append(appendASCII(b, c.PriceList), '/'), c.Facts.Region)
	}},
	{name: "SubAccountId", append: accountID},
	{name: "SubAccountName", append: accountID},
	{name: "Tags", kind: object, append: tags},

	{name: "x_ExactCost", append: amount},
	{name: "x_ExactQuantity", append: seconds},
	{name: "x_Group", append: func(b []byte, c *cells) []byte { return appendASCII(b, c.Facts.Group) }},
	{name: "x_LedgerCheckpoint", append: checkpoint},
	{name: "x_LedgerEntryIds", append: entries},
	{name: "x_PriceList", append: func(b []byte, c *cells) []byte { return appendASCII(b, c.PriceList) }},
	{name: "x_ReservedQuantity", kind: number, append: reserved},
	{name: "x_StartedBy", append: func(b []byte, c *cells) []byte { return appendASCII(b, c.Facts.StartedBy) }},
	{name: "x_TaskDefinition", append: func(b []byte, c *cells) []byte { return appendASCII(b, c.Facts.Definition) }},
	{name: "x_UsageType", append: func(b []byte, c *cells) []byte { return append(b, c.Row.SKU...) }},
	{name: "x_UsedQuantity", kind: number, append: used},
	{name: "x_WasteCost", kind: number, append: waste},
}

// curColumns are columns of the Cost and Usage Report 2.0 of AWS (AWS Data
// Exports user guide, "CUR 2.0 column dictionary"). Those of split cost
// allocation have the words for what is reserved, used and wasted.
var curColumns = []column{
	{name: "bill_bill_type", append: constant("Anniversary")},
	{name: "bill_billing_entity", append: provider},
	{name: "bill_billing_period_end_date", kind: moment, append: func(b []byte, c *cells) []byte { return appendTime(b, nextMonth(c.Month)) }},
	{name: "bill_billing_period_start_date", kind: moment, append: func(b []byte, c *cells) []byte { return appendTime(b, c.Month) }},
	{name: "bill_invoicing_entity", append: provider},
	{name: "bill_payer_account_id", append: account},
	{name: "identity_line_item_id", append: func(b []byte, c *cells) []byte { return append(b, c.Entries[0]...) }},
	{name: "identity_time_interval", append: func(b []byte, c *cells) []byte {
		return appendTime(append(appendTime(b, c.Start), '/'), c.End)
	}},
	{name: "line_item_currency_code", append: constant("USD")},
	{name: "line_item_line_item_description", append: func(b []byte, c *cells) []byte { return appendASCII(b, c.Row.SKU.Description()) }},
	{name: "line_item_line_item_type", append: constant("Usage")},
	{name: "line_item_operation", append: constant("FargateTask")},
	{name: "line_item_product_code", append: constant("AmazonECS")},
	{name: "line_item_resource_id", append: resource},
	{name: "line_item_unblended_cost", kind: number, append: amount},
	{name: "line_item_unblended_rate", kind: number, append: func(b []byte, c *cells) []byte { return appendRate(b, c.Rate) }},
	{name: "line_item_usage_account_id", append: account},
	{name: "line_item_usage_amount", kind: number, append: reserved},
	{name: "line_item_usage_end_date", kind: moment, append: func(b []byte, c *cells) []byte { return appendTime(b, c.End) }},
	{name: "line_item_usage_start_date", kind: moment, append: func(b []byte, c *cells) []byte { return appendTime(b, c.Start) }},
	{name: "line_item_usage_type", append: func(b []byte, c *cells) []byte {
		return append(b, usageType(c.Row.SKU, c.Facts.Region)...)
	}},
	{name: "pricing_currency", append: constant("USD")},
	{name: "pricing_public_on_demand_cost", kind: number, append: listCost},
	{name: "pricing_public_on_demand_rate", kind: number, append: price},
	{name: "pricing_rate_code", append: func(b []byte, c *cells) []byte { return append(append(append(b, c.sku.id...), '@'), c.PriceList...) }},
	{name: "pricing_term", append: func(b []byte, c *cells) []byte {
		if c.spot {
			return append(b, "Spot"...)
		}
		return append(b, "OnDemand"...)
	}},
	{name: "pricing_unit", append: func(b []byte, c *cells) []byte { return append(b, c.Row.SKU.Unit()...) }},
	{name: "product_region_code", append: func(b []byte, c *cells) []byte { return appendASCII(b, c.Facts.Region) }},
	{name: "product_servicecode", append: constant("AmazonECS")},
	{name: "resource_tags", kind: object, append: tags},
	{name: "split_line_item_actual_usage", kind: number, append: used},
	{name: "split_line_item_parent_resource_id", append: null}, // there is no instance
	{name: "split_line_item_reserved_usage", kind: number, append: reserved},
	{name: "split_line_item_split_cost", kind: number, append: func(b []byte, c *cells) []byte {
		if w, known := c.waste(); known {
			b = appendDecimal(b, int64(c.Amount-w), 9)
		}
		return b
	}},
	{name: "split_line_item_unused_cost", kind: number, append: waste},

	{name: "x_ledger_checkpoint", append: checkpoint},
	{name: "x_ledger_entry_ids", append: entries},
}

func checkpoint(b []byte, c *cells) []byte { return append(b, c.asOf...) }

func amount(b []byte, c *cells) []byte  { return appendDecimal(b, int64(c.Amount), 9) }
func account(b []byte, c *cells) []byte { return appendASCII(b, c.Facts.Account) }

// accountID writes an account so that nobody takes it for a number: loaders of CSV
// read 000000000001 as 1, and FOCUS wants a string.
func accountID(b []byte, c *cells) []byte { return account(append(b, "acct-"...), c) }

func reserved(b []byte, c *cells) []byte {
	return appendDecimal(b, c.quantity, quantityPlaces)
}
func unit(b []byte, c *cells) []byte     { return append(b, c.sku.unit...) }
func listCost(b []byte, c *cells) []byte { return appendProduct(b, c.listRate, c.quantity) }
func price(b []byte, c *cells) []byte    { return appendRate(b, c.listRate) }
func provider(b []byte, c *cells) []byte { return appendASCII(b, c.options.Provider) }
func resource(b []byte, c *cells) []byte { return appendASCII(b, c.realm.TaskARN(c.Task)) }
func seconds(b []byte, c *cells) []byte  { return appendSeconds(b, c.Units, c.per()) }
func tags(b []byte, c *cells) []byte     { return append(b, c.tags...) }

func used(b []byte, c *cells) []byte {
	if c.Measured {
		b = appendDecimal(b, quantity(c.Used, c.per()), quantityPlaces)
	}
	return b
}

func waste(b []byte, c *cells) []byte {
	if w, known := c.waste(); known {
		b = appendDecimal(b, int64(w), 9)
	}
	return b
}

// waste returns what of the amount is for what was reserved and not used.
func (c *cells) waste() (w billing.Money, known bool) {
	if !c.Measured || c.Units == 0 {
		return 0, c.Measured
	}
	unused := c.Units - c.Used
	if unused < 0 != (c.Units < 0) {
		unused = 0 // more was used than was reserved
	}
	if c.Used < 0 != (c.Units < 0) && c.Used != 0 {
		unused = c.Units
	}
	return share(c.Amount, unused, c.Units), true
}

func entries(b []byte, c *cells) []byte {
	for i, id := range c.Entries {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, id...)
	}
	return b
}

// appendTags writes tags as an object of FOCUS's KeyValueFormat. Tags of tasks
// are all made by users, so no key has a prefix.
func appendTags(b []byte, tags []task.Tag) []byte {
	b = append(b, '{')
	for i, t := range tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(append(appendJSON(b, t.Key), ':'), t.Value)
	}
	return append(b, '}')
}

func appendTime(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, "2006-01-02T15:04:05Z") }

// Header returns the names of a file's columns, in order.
func (o Options) Header() []string {
	var names []string
	for _, c := range o.columns() {
		names = append(names, c.name)
	}
	return names
}
