// Package waste says which part of the costs was for nothing: attempts that failed,
// time in which images were pulled, what was rounded up, and what was reserved and not
// used.
//
// The one rule: every nano-dollar of the ledger counts once.
//
//	cost = productive + waste
//	waste = failed + pull + minimum + rounding + idle
//
// What an entry is for is asked in this order. If its run failed, all of it is failed,
// whatever it was spent on. What was rounded up, to a second or to the minimum, is that.
// Of the time that was metered, what lies before the end of the pull is pull; of the
// rest, the share of the reserved units that was not used is idle; what is left is
// productive.
//
//	charges of the ledger, hour by hour ─┐
//	records of runs: pull, end, failure ─┴─▶ For, entry by entry ─▶ sums of groups
package waste
