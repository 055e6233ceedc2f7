package focus_test

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"berth/billing"
	"berth/billing/focus"
	"berth/task"
)

func sampleTask(i int) task.Task {
	return task.Task{ID: task.ID(fmt.Sprintf("%032x", i+1)), ARN: fmt.Sprintf("arn:aws:ecs:us-east-1:000000000000:task/default/%032x", i+1),
		CPU: "256", Memory: "512", Arch: "X86_64", PullStartedAt: day.Add(30 * time.Minute)}
}

// Ensure that a row has AWS's quantity and cost to ten decimals for the same
// unit-seconds at the same rate. The unit-seconds are those of the rows for Fargate
// in the FOCUS sample data of the FinOps Foundation (September 2024); what AWS
// makes of them is the quantity in hours with ten decimals, and that times the
// price with ten decimals.
func TestGolden(t *testing.T) {
	unitSeconds := []string{"15", "30", "900", "64", "129", "33", "240", "28.25", "195.54675", "779.336", "3600"}
	for _, p := range []struct {
		sku  billing.SKU
		rate billing.Rate
	}{{billing.VCPU, 404_800_000}, {billing.Memory, 44_450_000}, {billing.ArmMemory, 35_600_000}} {
		for _, us := range unitSeconds {
			exact, _ := new(big.Rat).SetString(us)
			units := new(big.Rat).Mul(exact, big.NewRat(1024*1e9, 1))
			if !units.IsInt() {
				t.Fatalf("%s unit-seconds are no whole number of units", us)
			}
			hours := new(big.Rat).Quo(exact, big.NewRat(3600, 1)).FloatString(10)
			quantity, _ := new(big.Rat).SetString(hours)
			cost := new(big.Rat).Mul(quantity, big.NewRat(int64(p.rate), 1e10)).FloatString(10)

			c := sample()[0]
			c.SKU, c.Rate, c.Units = p.sku, p.rate, units.Num().Int64()
			row := read(t, focus.V12, write(t, focus.V12, []billing.Charge{c})).rows[0]
			if row["PricingQuantity"] != hours || row["ConsumedQuantity"] != hours {
				t.Errorf("%s unit-seconds are %s hours, and AWS has %s", us, row["PricingQuantity"], hours)
			}
			got, _ := new(big.Rat).SetString(row["ListCost"])
			if got.FloatString(10) != cost {
				t.Errorf("%s unit-seconds at %s cost %s, and AWS has %s", us, row["ListUnitPrice"], row["ListCost"], cost)
			}
			if back, _ := new(big.Rat).SetString(row["x_ExactQuantity"]); back.Cmp(exact) != 0 {
				t.Errorf("%s unit-seconds are written as %s", us, row["x_ExactQuantity"])
			}
		}
	}
	// Of the published rows themselves: 15 vCPU-seconds and 30 GB-seconds.
	for us, hours := range map[int64]string{15: "0.0041666667", 30: "0.0083333333"} {
		c := sample()[0]
		c.Units = us * 1024 * 1e9
		if row := read(t, focus.V12, write(t, focus.V12, []billing.Charge{c})).rows[0]; row["PricingQuantity"] != hours {
			t.Errorf("%d unit-seconds are %s hours", us, row["PricingQuantity"])
		}
	}
}
