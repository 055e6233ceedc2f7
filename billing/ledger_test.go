package billing_test

import (
	"flag"
	"testing"

	"berth/billing"
	"berth/billing/billingtest"
)

func TestMem(t *testing.T) {
	billingtest.Suite(t, func(*testing.T) billing.Ledger { return new(billingtest.Mem) })
}

// histories is how many random histories of tasks agree with the oracle at every
// run of the tests. For more: -run TestManyHistories -rapid.checks=100000.
const histories = "2000"

func TestManyHistories(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set(histories); err != nil {
			t.Fatal(err)
		}
		defer checks.Value.Set(checks.DefValue)
	}
	billingtest.Histories(t, new(billingtest.Mem))
}
