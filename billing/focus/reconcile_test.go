package focus_test

import (
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/focus"
	"berth/fault"
)

// between yields the charges that are booked in a range.
func between(charges []billing.Charge) func(from, to time.Time) iter.Seq2[billing.Charge, error] {
	return func(from, to time.Time) iter.Seq2[billing.Charge, error] {
		return func(yield func(billing.Charge, error) bool) {
			for _, c := range charges {
				if !c.Booked.Before(from) && c.Booked.Before(to) && !yield(c, nil) {
					return
				}
			}
		}
	}
}

// Ensure that our own files, of either kind, are what the ledger says.
func TestReconcileOurs(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		charges := history(r)
		for i := range charges { // what is booked later is another question
			if charges[i].Kind == billing.Reversal || charges[i].Kind == billing.Correction {
				return
			}
		}
		for _, v := range []focus.Version{focus.V12, focus.V14, focus.CUR} {
			got, err := focus.Reconcile(strings.NewReader(write(t, v, charges)), between(charges))
			if err != nil {
				r.Fatal(err)
			}
			if got.Different+got.OnlyHere+got.OnlyThere+got.Ignored != 0 || got.Equal == 0 || got.There != got.Here {
				r.Fatalf("%s: %+v", v, got)
			}
		}
	})
}

// Ensure that each kind of difference is told, by how much, and the largest first.
func TestReconcile(t *testing.T) {
	charges := sample() // two tasks, 05:30 to 07:30 or so, two SKUs: 12 rows
	text := write(t, focus.CUR, charges)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	n := len(lines) - 1
	lines[1] = strings.Replace(lines[1], ",0.005060000,", ",0.005060100,", 1) // dearer by 1e-7
	gone := lines[2]
	lines = append(lines[:2], lines[3:]...)
	lines = append(lines, strings.Replace(gone, "task/default/", "task/default/f", 1)) // theirs alone
	lines = append(lines, strings.NewReplacer("Fargate-vCPU-Hours:perCPU", "BoxUsage:t3.micro", "Fargate-GB-Hours", "BoxUsage:t3.micro").Replace(gone))
	got, err := focus.Reconcile(strings.NewReader(strings.Join(lines, "\n")), between(charges))
	if err != nil {
		t.Fatal(err)
	}
	if got.Equal != n-2 || got.Different != 1 || got.OnlyThere != 1 || got.OnlyHere != 1 || got.Ignored != 1 || len(got.Lines) != 3 {
		t.Errorf("%+v", got)
	}
	last := got.Lines[2]
	if last.Kind != focus.Different || last.By != "-0.0000001000" || last.There != "0.0050601000" || last.Here != "0.0050600000" {
		t.Errorf("%+v", got.Lines)
	}
}

// Ensure that AWS's own files are understood: FOCUS without a usage type, with the
// columns in any order and exponents, and the older report with its other names.
func TestReconcileAWS(t *testing.T) {
	c := sample()[0]
	c.From, c.To, c.Booked = day, day.Add(time.Minute), day
	c.Units, c.Amount = 256*60e9, 168_667 // 0.25 vCPU for a minute
	arn := "arn:aws:ecs:us-east-1:000000000000:task/default/" + string(c.Task)
	for name, file := range map[string]string{
		"FOCUS": "ChargeCategory,BilledCost,ChargeDescription,ChargePeriodStart,PricingQuantity,ResourceId\n" +
			`Usage,1.686667E-4,AWS Fargate - vCPU  - US East (N. Virginia),2026-10-30T00:00:00Z,0.0041666667,` + arn + "\n" +
			"Tax,1.0,AWS Fargate - vCPU,2026-10-30T00:00:00Z,,\n",
		"CUR": "lineItem/LineItemType,lineItem/UnblendedCost,lineItem/UsageType,lineItem/UsageStartDate,lineItem/UsageAmount,lineItem/ResourceId\n" +
			`Usage,0.0001686667,USE1-Fargate-vCPU-Hours:perCPU,2026-10-30 00:00:00,0.0041666667,` + arn + "\n" +
			"Usage,1,USW2-BoxUsage:m5.large,2026-10-30 00:00:00,1,i-1\n",
	} {
		got, err := focus.Reconcile(strings.NewReader(file), between([]billing.Charge{c}))
		if err != nil || got.Format != name || got.Equal != 1 || got.Ignored != 1 || len(got.Lines) != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Ensure that what is no such file is refused, and costs neither time nor memory.
func TestReconcileRefuses(t *testing.T) {
	head := "ChargeCategory,BilledCost,x_UsageType,ChargePeriodStart,PricingQuantity,ResourceId\n"
	for _, file := range []string{
		"", "a,b\n1,2\n", "\x00\x01", head + "Usage,1\n", head + "\"",
		head + "Usage,1e999999999,Fargate-GB-Hours,2026-10-30T00:00:00Z,1,r\n",
		head + "Usage,1,Fargate-GB-Hours,yesterday,1,r\n",
		head + "Usage,1,Fargate-GB-Hours,2026-10-30T00:00:00Z,NaN,r\n",
		strings.Repeat("x,", 2000) + "\n",
	} {
		if _, err := focus.Reconcile(strings.NewReader(file), between(nil)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%.60q: %v", file, err)
		}
	}
}

func FuzzReconcile(f *testing.F) {
	f.Add(write(f, focus.CUR, sample()))
	f.Add(write(f, focus.V12, sample()))
	charges := sample()
	f.Fuzz(func(t *testing.T, file string) {
		r, err := focus.Reconcile(strings.NewReader(file), between(charges))
		if err == nil && r.Different+r.OnlyHere+r.OnlyThere < len(r.Lines) {
			t.Error(fmt.Sprint(r))
		}
	})
}
