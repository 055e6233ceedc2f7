// Package budget keeps what tasks cost within limits.
//
// A budget is about money that is not spent yet. So for each unfinished task in the scope
// of a budget some of it is held: what the task would have cost if it ended a lease from
// now. That is set aside before the task starts, in the transaction that accepts it, and
// renewed while it runs. What is spent and held together never exceeds the limit of a
// budget that denies, so no two submissions can spend the same dollar; and if the hold of
// a task cannot be renewed, the task is stopped while there is still money held for the time
// that this takes (decision 0027).
package budget
