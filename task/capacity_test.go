package task

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/fault"
)

// Ensure tasks are shared out as ECS documents: the base first, then by weight, never
// further than one task from the share.
func TestProviders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, MaxCount).Draw(t, "count")
		base := rapid.IntRange(0, 12).Draw(t, "base")
		a, b := rapid.IntRange(0, 5).Draw(t, "a"), rapid.IntRange(1, 5).Draw(t, "b")
		r := Run{Definition: "d", Providers: []CapacityProvider{{Name: OnDemand, Weight: a, Base: base}, {Name: Spot, Weight: b}}}
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		got := Share(r.Providers, n)
		if len(got) != n {
			t.Fatalf("%d tasks of %d", len(got), n)
		}
		rest := max(0, n-base)
		spot := len(got) - len(slices.DeleteFunc(slices.Clone(got), func(p string) bool { return p == Spot }))
		want := float64(rest) * float64(b) / float64(a+b)
		if d := float64(spot) - want; d <= -1 || d >= 1 {
			t.Fatalf("%d of %d beyond the base are on Spot, want %.2f", spot, rest, want)
		}
	})
	if got := Share(nil, 2); !slices.Equal(got, []string{"", ""}) {
		t.Errorf("without a strategy: %q", got)
	}
}

// Ensure a strategy that gives no provider a share is refused, and that an empty one is
// none: tasks run on demand, and beside a launch type.
func TestNoWeight(t *testing.T) {
	const text = "There are no capacity providers in the capacity provider strategy with a weight value greater than zero"
	for _, none := range [][]CapacityProvider{
		{{Name: Spot}}, {{Name: Spot}, {Name: OnDemand}}, {{Name: OnDemand, Base: 2}}, {{Name: Spot, Base: 1}, {Name: OnDemand}},
	} {
		err := (Run{Definition: "d", Providers: none}).Validate()
		if fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != "capacityProviderStrategy" || fault.Message(err) != text {
			t.Errorf("%+v: %v", none, err)
		}
	}
	for _, empty := range [][]CapacityProvider{nil, {}} {
		r := Run{Definition: "d", LaunchType: "FARGATE", Providers: empty}
		if err := r.Validate(); err != nil {
			t.Errorf("%#v: %v", empty, err)
		}
		if got := Share(r.Providers, 1); !slices.Equal(got, []string{""}) {
			t.Errorf("%#v: runs on %q", empty, got)
		}
	}
}

func TestStrategyIsRefused(t *testing.T) {
	for text, r := range map[string]Run{
		"Specifying both a launch type": {LaunchType: "FARGATE", Providers: []CapacityProvider{{Name: Spot, Weight: 1}}},
		"was not found":                 {Providers: []CapacityProvider{{Name: "EC2"}}},
		"can have a base":               {Providers: []CapacityProvider{{Name: Spot, Weight: 1, Base: 1}, {Name: OnDemand, Base: 1}}},
		"is there twice":                {Providers: []CapacityProvider{{Name: Spot, Weight: 1}, {Name: Spot, Weight: 1}}},
		"from 0 to 1000":                {Providers: []CapacityProvider{{Name: Spot, Weight: 1001}}},
		"must be one of FARGATE":        {LaunchType: "EC2"},
	} {
		r.Definition = "d"
		if err := r.Validate(); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), text) {
			t.Errorf("%+v: %v, want %q", r.Providers, err, text)
		}
	}
}
