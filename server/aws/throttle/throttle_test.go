package throttle

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/access"
	"berth/fault"
	"berth/task"
)

var ann = access.Identity{Account: "111122223333", Region: "eu-central-1"}

// Ensure no more calls of a kind pass in any stretch of time than the bucket allows, that as
// many pass as it allows, and that a refused call takes nothing: against a model that adds
// up whole tokens of a thousandth.
func TestRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1e9, 0)
		l := New(func() time.Time { return now })
		operation := rapid.SampledFrom([]string{"CreateCluster", "DescribeTasks", "DeleteTaskDefinitions", "ListDaemons"}).Draw(t, "operation")
		rate := Rates[kindOf(operation)]
		thousandths := 1000 * rate.Burst
		for range rapid.IntRange(1, 400).Draw(t, "calls") {
			pause := rapid.IntRange(0, 300).Draw(t, "ms")
			now = now.Add(time.Duration(pause) * time.Millisecond)
			thousandths = min(1000*rate.Burst, thousandths+pause*rate.Refill)
			want := thousandths >= 1000
			if want {
				thousandths -= 1000
			}
			err := l.Call(ann, "ecs", operation)
			if near := thousandths%1000 == 0 || thousandths%1000 == 999; (err == nil) != want && !near {
				t.Fatalf("%s: %v with %d thousandths of a token left", operation, err, thousandths)
			}
			if (err == nil) != want { // Rounding decided; the model follows.
				return
			}
			if err != nil && (fault.KindOf(err) != fault.Throttled || fault.Message(err) != "Rate exceeded") {
				t.Fatal(err)
			}
		}
	})
}

// Ensure accounts, regions and kinds have buckets of their own, and other services none.
func TestBuckets(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := New(func() time.Time { return now })
	drain := func(who access.Identity, operation string) (n int) {
		for l.Call(who, "ecs", operation) == nil {
			n++
		}
		return n
	}
	elsewhere, other := ann, ann
	elsewhere.Region, other.Account = "us-east-1", "444455556666"
	for _, c := range []struct {
		who       access.Identity
		operation string
		want      int
	}{
		{ann, "CreateCluster", 20}, {ann, "UpdateCluster", 0}, {ann, "DescribeClusters", 50}, {elsewhere, "CreateCluster", 20}, {other, "CreateCluster", 20},
		{ann, "RunTask", 20}, {ann, "StopTask", 80}, {ann, "DeleteTaskDefinitions", 5}, {ann, "GetTaskProtection", 200}, {ann, "ListServicesByNamespace", 10},
	} {
		if got := drain(c.who, c.operation); got != c.want {
			t.Errorf("%s of %s in %s: %d calls passed, want %d", c.operation, c.who.Account, c.who.Region, got, c.want)
		}
	}
	now = now.Add(time.Second)
	if got := drain(ann, "RunTask"); got != 20 {
		t.Errorf("after a second %d calls of RunTask passed, want 20", got)
	}
	if got := drain(ann, "CreateCluster"); got != 1 {
		t.Errorf("after a second %d clusters could be made, want 1", got)
	}
	for range 1000 {
		if err := l.Call(ann, "logs", "PutLogEvents"); err != nil {
			t.Fatal(err)
		}
	}
}

// Ensure launches take a token for each task, and none if there are too few.
func TestLaunch(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := New(func() time.Time { return now })
	in := task.Realm{Account: ann.Account, Region: ann.Region, Cluster: "any"}
	for i := range 12 {
		if err := l.Launch(in, false, 8); (err == nil) != (i < 12) {
			t.Fatalf("launch %d: %v", i, err)
		}
	}
	if err := l.Launch(in, false, 5); fault.KindOf(err) != fault.Throttled {
		t.Errorf("5 more after 96: %v", err)
	}
	if err := l.Launch(in, false, 4); err != nil {
		t.Errorf("4 more after 96, the refused ones took nothing: %v", err)
	}
	var none *Limiter
	if none.Launch(in, false, 1000) != nil || none.Call(ann, "ecs", "RunTask") != nil {
		t.Error("no limiter refuses something")
	}
	if err := l.Launch(in.InCluster("other"), true, 100); err != nil {
		t.Errorf("Spot has its own: %v", err)
	}
}

// Ensure memory does not grow with accounts that were made up.
func TestForget(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := New(func() time.Time { return now })
	for i := range 3 * most {
		who := access.Identity{Account: fmt.Sprintf("%012d", i), Region: "r"}
		if err := l.Call(who, "ecs", "ListTasks"); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			now = now.Add(time.Millisecond)
		}
	}
	if n := len(l.buckets); n > most+1 {
		t.Errorf("%d buckets are remembered", n)
	}
}
