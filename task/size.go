package task

// Size is what a task reserves and may not exceed.
type Size struct {
	CPU    int // CPU units; 1024 are one vCPU
	Memory int // MiB
}
