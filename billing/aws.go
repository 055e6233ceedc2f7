package billing

import (
	"time"

	"berth/money"
)

// AWSRow returns what AWS writes in a row of its cost and usage data for a size of k
// over a time: the quantity in unit-hours and its cost in US dollars, both with ten
// decimals. The cost is that of the rounded quantity (FOCUS-Sample-Data,
// focus_sample.csv, rows of Amazon ECS, September 2024), which is why it can differ
// from the exact charge in the tenth decimal; bills and the ledger have the exact one.
func AWSRow(k SKU, size int64, d time.Duration, r Rate) (quantity, cost string) {
	n, _ := muldiv(int64(d), size*1e10, skus[k].per*int64(time.Hour))
	c, _ := muldiv(n, int64(r), 1e10)
	return money.Decimal(n, 10), money.Decimal(c, 10)
}
