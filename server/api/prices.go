package api

import "berth/billing/prices"

// ActivatePrices makes a price list active among those of its name.
type ActivatePrices struct {
	EffectiveFrom prices.Day `json:"effectiveFrom,omitempty" doc:"RFC 3339, or a day, which begins at midnight UTC; must not have passed. When the list itself begins, or now, whichever is later, if left out"`
}

// UsePrices puts prices in use.
type UsePrices struct {
	Prices        string     `json:"prices" minLength:"1" doc:"A region or another name, which means its newest price list; or the ID of a price list"`
	Plan          string     `json:"plan,omitempty" doc:"A discount plan of the list"`
	EffectiveFrom prices.Day `json:"effectiveFrom,omitempty" doc:"RFC 3339, or a day, which begins at midnight UTC; must not have passed. When the list itself begins, or now, whichever is later, if left out"`
}
