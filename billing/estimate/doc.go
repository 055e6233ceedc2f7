// Package estimate says what a definition will cost before it runs, and what
// recorded runs would have cost otherwise.
//
// The one rule: an estimate is a bill of times that were not measured yet. The
// same arithmetic, to the nano-dollar, is applied to a low, an expected and a high
// time; where the times come from is said with each, and where a definition has
// run before, each is the time of a real run.
//
//	definition, compose file, Terraform plan ─▶ Subject ─┐
//	recorded runs ─▶ Times (P5, P50, P95) ───────────────┼─▶ Cost: on demand and Spot, x86 and ARM
//	price list of a region ──────────────────────────────┘
package estimate
