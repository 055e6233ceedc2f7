// Package tuning finds the cheapest size of a task by trying: it runs a definition
// some times at each of several sizes, under the real limits, and says what each
// size took, cost and failed at.
//
// The one rule: each run is written down before it is submitted, and submitted with
// a token that follows from what was written. So the process may die between any two
// acts, and the next one goes on: no run is made twice, and none is forgotten.
//
//	WAITING ─▶ RUNNING ─┬──────────────▶ COMPLETED       every size has its runs
//	   │  ▲             └─▶ STOPPING ─┬▶ BUDGET_REACHED ─┐
//	   │  │                           ├▶ CANCELLED ──────┤
//	   │  │                           └▶ FAILED ─────────┤ the server refused a run
//	   └──┼─▶ CANCELLED                                  │
//	      └──────────────────────── Resume ──────────────┘
//
// The idea is that of AWS Lambda Power Tuning (Alex Casalboni), whose cheapest,
// fastest and balanced are meant here too.
package tuning
