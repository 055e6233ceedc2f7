package billing

import (
	"testing"
	"time"
)

// What AWS writes for the unit-seconds that are in its sample of FOCUS data
// (FOCUS-Sample-Data, focus_sample.csv, rows of Fargate, September 2024), at the
// prices there: the quantity in hours and the cost of that quantity, both to ten
// decimals. The last column is the exact cost to nine. All were computed with
// decimals outside of this program.
func TestAWSRow(t *testing.T) {
	for _, row := range []struct {
		sku                   SKU
		size                  int64
		d                     time.Duration
		quantity, cost, exact string
	}{
		{VCPU, 256, 60000 * time.Millisecond, "0.0041666667", "0.0001686667", "0.000168667"},         // 15 s
		{Memory, 512, 30000 * time.Millisecond, "0.0041666667", "0.0000185208", "0.000018521"},       // 15 s
		{ArmMemory, 1024, 15000 * time.Millisecond, "0.0041666667", "0.0000148333", "0.000014833"},   // 15 s
		{VCPU, 256, 120000 * time.Millisecond, "0.0083333333", "0.0003373333", "0.000337333"},        // 30 s
		{Memory, 512, 60000 * time.Millisecond, "0.0083333333", "0.0000370417", "0.000037042"},       // 30 s
		{ArmMemory, 1024, 30000 * time.Millisecond, "0.0083333333", "0.0000296667", "0.000029667"},   // 30 s
		{VCPU, 256, 3600000 * time.Millisecond, "0.2500000000", "0.0101200000", "0.010120000"},       // 900 s
		{Memory, 512, 1800000 * time.Millisecond, "0.2500000000", "0.0011112500", "0.001111250"},     // 900 s
		{ArmMemory, 1024, 900000 * time.Millisecond, "0.2500000000", "0.0008900000", "0.000890000"},  // 900 s
		{VCPU, 256, 256000 * time.Millisecond, "0.0177777778", "0.0007196444", "0.000719644"},        // 64 s
		{Memory, 512, 128000 * time.Millisecond, "0.0177777778", "0.0000790222", "0.000079022"},      // 64 s
		{ArmMemory, 1024, 64000 * time.Millisecond, "0.0177777778", "0.0000632889", "0.000063289"},   // 64 s
		{VCPU, 256, 516000 * time.Millisecond, "0.0358333333", "0.0014505333", "0.001450533"},        // 129 s
		{Memory, 512, 258000 * time.Millisecond, "0.0358333333", "0.0001592792", "0.000159279"},      // 129 s
		{ArmMemory, 1024, 129000 * time.Millisecond, "0.0358333333", "0.0001275667", "0.000127567"},  // 129 s
		{VCPU, 256, 132000 * time.Millisecond, "0.0091666667", "0.0003710667", "0.000371067"},        // 33 s
		{Memory, 512, 66000 * time.Millisecond, "0.0091666667", "0.0000407458", "0.000040746"},       // 33 s
		{ArmMemory, 1024, 33000 * time.Millisecond, "0.0091666667", "0.0000326333", "0.000032633"},   // 33 s
		{VCPU, 256, 960000 * time.Millisecond, "0.0666666667", "0.0026986667", "0.002698667"},        // 240 s
		{Memory, 512, 480000 * time.Millisecond, "0.0666666667", "0.0002963333", "0.000296333"},      // 240 s
		{ArmMemory, 1024, 240000 * time.Millisecond, "0.0666666667", "0.0002373333", "0.000237333"},  // 240 s
		{VCPU, 256, 113000 * time.Millisecond, "0.0078472222", "0.0003176556", "0.000317656"},        // 28.25 s
		{Memory, 512, 56500 * time.Millisecond, "0.0078472222", "0.0000348809", "0.000034881"},       // 28.25 s
		{ArmMemory, 1024, 28250 * time.Millisecond, "0.0078472222", "0.0000279361", "0.000027936"},   // 28.25 s
		{VCPU, 256, 782188 * time.Millisecond, "0.0543186111", "0.0021988174", "0.002198817"},        // 195.547 s
		{Memory, 512, 391094 * time.Millisecond, "0.0543186111", "0.0002414462", "0.000241446"},      // 195.547 s
		{ArmMemory, 1024, 195547 * time.Millisecond, "0.0543186111", "0.0001933743", "0.000193374"},  // 195.547 s
		{VCPU, 256, 3117344 * time.Millisecond, "0.2164822222", "0.0087632004", "0.008763200"},       // 779.336 s
		{Memory, 512, 1558672 * time.Millisecond, "0.2164822222", "0.0009622635", "0.000962263"},     // 779.336 s
		{ArmMemory, 1024, 779336 * time.Millisecond, "0.2164822222", "0.0007706767", "0.000770677"},  // 779.336 s
		{VCPU, 256, 14400000 * time.Millisecond, "1.0000000000", "0.0404800000", "0.040480000"},      // 3600 s
		{Memory, 512, 7200000 * time.Millisecond, "1.0000000000", "0.0044450000", "0.004445000"},     // 3600 s
		{ArmMemory, 1024, 3600000 * time.Millisecond, "1.0000000000", "0.0035600000", "0.003560000"}, // 3600 s
	} {
		rate := BuiltIn().Rates[row.sku]
		if q, c := AWSRow(row.sku, row.size, row.d, rate); q != row.quantity || c != row.cost {
			t.Errorf("%s, %d for %s: %s at %s, want %s at %s", row.sku, row.size, row.d, q, c, row.quantity, row.cost)
		}
		if got := quantity(row.sku, row.size, row.d); got != row.quantity {
			t.Errorf("%s, %d for %s: a bill says %s, want %s", row.sku, row.size, row.d, got, row.quantity)
		}
		if got := charge(row.sku, row.size, rate, row.d).String(); got != row.exact {
			t.Errorf("%s, %d for %s: the charge is %s, want %s", row.sku, row.size, row.d, got, row.exact)
		}
	}
}
