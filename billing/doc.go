// Package billing turns what tasks reserved into what they cost, and keeps both
// for ever.
//
// The one rule: anyone can recompute a bill. A task is charged for what it
// reserved, from pullStartedAt to stoppedAt on its own time line, rounded up to
// a whole second, at least a minute (AWS Fargate pricing page, "Pricing"):
//
//	seconds = max(60, ceil(stoppedAt − pullStartedAt))
//	amount  = size × rate × seconds / 3600, rounded half to even to 1e-9 USD
//
// for each of its SKUs, and for each segment of its time in which one price list
// held; what is rounded up belongs to the last. How often the meter ran in between, and how often it
// died, changes nothing: charges are differences of rounded running totals, so
// that they add up to the rounded total, however time was cut. Money is whole
// nano-dollars, rates whole 1e-10 dollars per hour; no float touches either.
//
// An entry also says what was used of what it charges, as far as the samples tell
// that the ledger has (Used), so that used + waste = reserved adds up in the books.
//
//	journal ─▶ Meter ─┬─▶ Cursor.Advance / Close ─▶ Ledger.Post   what it costs
//	                  └─▶ Gauge.Read, 1 Hz ─▶ Chunk ─▶ Roll ─▶ Ledger.PutUsage   what it used
package billing
