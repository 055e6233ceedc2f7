package task

import (
	"fmt"

	"berth/fault"
)

// Capacity providers of Fargate.
const (
	OnDemand = "FARGATE"
	Spot     = "FARGATE_SPOT" // for less, and taken away when it is needed elsewhere
)

// ReasonInterrupted is the stoppedReason of an interrupted task (ECS developer guide,
// "Amazon ECS clusters for Fargate", Fargate Spot termination notices).
const ReasonInterrupted = "Your Spot Task was interrupted."

// CapacityProvider says which share of tasks a capacity provider gets (ECS API,
// CapacityProviderStrategyItem).
type CapacityProvider struct {
	Name   string `json:"capacityProvider"`
	Weight int    `json:"weight,omitempty"` // 0 to 1000: its share among the others; one of a strategy has more than 0
	Base   int    `json:"base,omitempty"`   // 0 to 100,000: so many it gets before the others; for one provider only
}

// Limits of a strategy (ECS API, CapacityProviderStrategyItem). An empty one is none.
const (
	maxProviders = 20
	maxWeight    = 1000
	maxBase      = 100_000
)

func (r Run) validateCapacity() error {
	const field = "capacityProviderStrategy"
	if err := oneOf("launchType", r.LaunchType, "FARGATE"); err != nil {
		return err
	}
	switch {
	case len(r.Providers) > 0 && r.LaunchType != "":
		return fault.At(field, "Specifying both a launch type and capacity provider strategy is not supported")
	case len(r.Providers) > maxProviders:
		return fault.At(field, "has at most %d capacity providers", maxProviders)
	}
	bases, weights := 0, 0
	seen := make(map[string]bool)
	for i, p := range r.Providers {
		at := fmt.Sprintf("%s[%d].", field, i)
		switch {
		case p.Name != OnDemand && p.Name != Spot:
			return fault.At(at+"capacityProvider", "The specified capacity provider '%s' was not found.", p.Name)
		case seen[p.Name]:
			return fault.At(at+"capacityProvider", "capacity provider %s is there twice", p.Name)
		case p.Weight < 0 || p.Weight > maxWeight:
			return fault.At(at+"weight", "must be from 0 to %d, not %d", maxWeight, p.Weight)
		case p.Base < 0 || p.Base > maxBase:
			return fault.At(at+"base", "must be from 0 to %d, not %d", maxBase, p.Base)
		}
		seen[p.Name] = true
		weights += p.Weight
		if p.Base > 0 {
			bases++
		}
	}
	switch {
	case bases > 1:
		return fault.At(field, "Only one capacity provider in a capacity provider strategy can have a base defined.")
	case len(r.Providers) > 0 && weights == 0:
		return fault.At(field, "There are no capacity providers in the capacity provider strategy with a weight value greater than zero")
	}
	return nil
}

// Share returns the capacity provider of each of count tasks of a strategy: first the
// base, then by weight, as near to the shares as whole tasks can be. It is "" where the
// strategy is empty. A single provider gets all, whatever its weight.
func Share(strategy []CapacityProvider, count int) []string {
	all := make([]string, 0, count)
	if len(strategy) == 0 {
		return append(all, make([]string, count)...)
	}
	for _, p := range strategy {
		for range min(p.Base, count-len(all)) {
			all = append(all, p.Name)
		}
	}
	given := make([]int, len(strategy))
	for len(all) < count {
		// Whoever is furthest behind its share once it has one more (D'Hondt).
		next := 0
		for i, p := range strategy {
			if p.Weight*(given[next]+1) > strategy[next].Weight*(given[i]+1) {
				next = i
			}
		}
		given[next]++
		all = append(all, strategy[next].Name)
	}
	return all
}

// Interruptible reports whether t may be interrupted.
func (t Task) Interruptible() bool { return t.CapacityProvider == Spot }

// OverSpent reports whether t ends because there is no money left for it.
func (t Task) OverSpent() bool { return t.StopCode == SpendLimit }

// Interrupted reports whether t ends because it was interrupted.
func (t Task) Interrupted() bool { return t.StopCode == SpotInterruption }
