package store_test

import (
	"context"
	"testing"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/store/storetest"
)

func TestLedger(t *testing.T) {
	billingtest.Suite(t, func(t *testing.T) billing.Ledger {
		s := storetest.Open(t, t.TempDir())
		t.Cleanup(func() {
			if a, err := s.VerifyLedger(context.Background(), nil); err != nil || !a.OK && a.Bad.Why != "there is neither an entry nor a task" { // The suite makes no tasks.
				t.Error(a.Bad, err)
			}
		})
		return s
	})
}
