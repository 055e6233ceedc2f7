// Package prices knows what things cost, where and when.
//
// The one rule: prices of time that has passed never change. A list is never
// changed once it is stored; another price is another list. Which list holds at
// a time follows from a history of changes that only grows, and a change begins
// in the future, if only by a second. So anyone can recompute a bill later with
// the prices that it was made with.
//
// Lists of one name follow one another: those of a region of AWS bear its name,
// one's own bear any other. At each time one name is in use, and of its active
// lists the newest holds:
//
//	Change{List: L2, From: …}   L2 is active from then on, among those of its name
//	Change{Name: N, From: …}    N is in use from then on
//
//	own         ───────────────L1────────────L2──────▶
//	us-east-1   ──E1─────────────────────────────────▶
//	in use      ──us-east-1─────────┤own──────────────▶
//	holds         E1                 L1      L2
//
// Lists come from files of the AWS Price List (import.go), from people (draft.go)
// and, dated and marked as examples, with Berth (examples.json).
package prices
