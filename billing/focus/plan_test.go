package focus_test

import (
	"testing"

	"berth/billing"
	"berth/billing/focus"
)

// Ensure that what a Savings Plan covers has the price on demand as its list price,
// and as its cost what was charged; and that Spot, storage and lists that nobody
// knows any more are not taken for covered. Rates are those of Compute Savings
// Plans in us-east-1, one year, no upfront (AWS Savings Plans pricing page, 2026-09-25).
func TestSavingsPlan(t *testing.T) {
	covered := sample()[0]
	covered.SKU, covered.Rate, covered.PriceList = billing.VCPU, 323_840_000, "us-east-1@7+compute-1y-no-upfront"
	covered.Units, covered.Amount = 1024*3600*1e9, 32_384_000
	spot, old, none := covered, covered, covered
	spot.SKU, spot.Rate = billing.SpotVCPU, billing.BuiltIn().Rates[billing.SpotVCPU]
	old.PriceList, none.PriceList = "gone+plan", "us-east-1@7"
	o := options(focus.V12)
	rates := o.OnDemand
	o.OnDemand = func(list string, k billing.SKU) (billing.Rate, bool) {
		if list == old.PriceList {
			return 0, false
		}
		return rates(list, k)
	}
	f := read(t, focus.V12, writeAs(t, o, []billing.Charge{covered, spot, old, none}))
	for i, want := range []map[string]string{
		{"ListUnitPrice": "0.04048", "ContractedUnitPrice": "0.04048", "ListCost": "0.04048", "ContractedCost": "0.04048", "BilledCost": "0.032384000", "EffectiveCost": "0.032384000",
			"PricingCategory": "Committed", "CommitmentDiscountCategory": "Spend", "CommitmentDiscountId": "us-east-1/compute-1y-no-upfront", "CommitmentDiscountName": "compute-1y-no-upfront",
			"CommitmentDiscountQuantity": "0.032384000", "CommitmentDiscountStatus": "Used", "CommitmentDiscountType": "Savings Plan", "CommitmentDiscountUnit": "USD"},
		{"PricingCategory": "Dynamic", "CommitmentDiscountId": ""},
		{"PricingCategory": "Standard", "CommitmentDiscountId": "", "ListUnitPrice": "0.032384"},
		{"PricingCategory": "Standard", "CommitmentDiscountId": "", "ListUnitPrice": "0.032384"},
	} {
		for name, value := range want {
			if f.rows[i][name] != value {
				t.Errorf("row %d: %s is %q, want %q", i, name, f.rows[i][name], value)
			}
		}
	}
	o.Version = focus.CUR
	row := read(t, focus.CUR, writeAs(t, o, []billing.Charge{covered})).rows[0]
	for name, value := range map[string]string{"pricing_public_on_demand_rate": "0.04048", "pricing_public_on_demand_cost": "0.04048",
		"line_item_unblended_rate": "0.032384", "line_item_unblended_cost": "0.032384000", "line_item_line_item_type": "Usage"} {
		if row[name] != value {
			t.Errorf("%s is %q, want %q", name, row[name], value)
		}
	}
}
