package billing_test

import (
	"testing"

	"berth/billing"
	"berth/billing/billingtest"
)

func TestMem(t *testing.T) {
	billingtest.Suite(t, func(*testing.T) billing.Ledger { return new(billingtest.Mem) })
}
