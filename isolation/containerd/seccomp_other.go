//go:build !amd64

package containerd

func hasX32() bool { return false }
