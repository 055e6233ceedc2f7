// Package whatif says what recorded runs would have cost on other terms: at another size,
// on ARM or Spot, in another region.
//
// The one rule: only the terms differ. Both sides are worked out by the arithmetic of the
// ledger, run by run, from the time that the run took and the prices that held when its
// charge began. So the difference is that of the terms, and not of a price that changed
// in the middle of a run or of an entry that was taken back.
//
//	recorded runs ─▶ pull + rest ─┬─▶ the shape that it had, the prices in use here ─▶ actual
//	                              └─▶ the shape asked about, prices of a region     ─▶ hypothetical
package whatif
