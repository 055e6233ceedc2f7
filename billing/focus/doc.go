// Package focus writes what tasks cost in the form that others read: FOCUS, the
// FinOps Open Cost and Usage Specification, 1.2 or 1.4, as CSV or Parquet, and
// the Cost and Usage Report 2.0 of AWS as CSV.
//
// The one rule: a row says what the ledger says. What is billed is the sum of
// ledger entries, to the nano-dollar; list and contracted costs are the products
// that FOCUS asks for. Rows are made from a stream and written as a stream, so a
// file of any length takes the memory of a few rows.
//
//	entries of the ledger ─▶ Rows ─▶ CSV, Parquet
package focus
