package task

// Forecast is what would become of a run that was submitted now. Nothing of it was
// written down: its tasks have IDs and do not exist.
type Forecast struct {
	Definition Definition // without ARN and revision if it would be registered first
	Tasks      []Task

	// Never says why this host could never hold one of the tasks, as submitting them
	// would: a fault.Exhausted. It is nil if the host could.
	Never error

	StartNow        int  // of Tasks: have room now; the others would wait
	Ahead           int  // tasks that wait already, before those
	Total, Reserved Size // of all tasks, as it is without these
}

// Free returns what no task reserves. It is never negative.
func (f Forecast) Free() Size {
	return Size{CPU: max(0, f.Total.CPU-f.Reserved.CPU), Memory: max(0, f.Total.Memory-f.Reserved.Memory)}
}
