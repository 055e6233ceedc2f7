package containerd

// AskInstead makes tasks that begin from now on ask the name servers of another file,
// until it is undone.
func AskInstead(file string) (undo func()) {
	before := resolverFiles
	resolverFiles = []string{file}
	return func() { resolverFiles = before }
}
