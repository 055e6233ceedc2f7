// Package rightsize says which of Fargate's sizes is the cheapest that a task needs, from
// what its runs used.
//
// The one rule: what was seen is the least that is suggested. Memory is looked at by its
// peak, for a task that wants more is killed; CPU by a percentile of its minutes, for one
// that wants more only waits. A limit that was hit hides how much more is needed, so where
// one was, more of it is suggested than there was.
package rightsize
