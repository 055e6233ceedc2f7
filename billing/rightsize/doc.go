// Package rightsize says which of Fargate's sizes is the cheapest that a task needs, from
// what its runs used.
//
// The one rule: it never suggests less than what was seen. CPU is looked at minute by
// minute and memory at its peak; a limit that was hit hides how much more is needed, so
// where one was, the next larger size is suggested and nothing is saved.
package rightsize
