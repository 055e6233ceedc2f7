// Package thread runs code that changes the thread it runs on: one that enters
// a namespace. The rule: such a thread ends with the code, so nothing else ever
// runs there, and nothing has to be changed back.
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Apart runs do on a thread of its own, which ends when do returns. It blocks
// until then.
func Apart(do func() error) error {
	done := make(chan error)
	go func() {
		// A thread that is never unlocked ends with its goroutine. Only the main
		// thread cannot: Go would park it where do has brought it, and with it
		// what /proc/self shows. So here that one is kept busy meanwhile.
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			done <- Apart(do)
			return
		}
		done <- do()
	}()
	return <-done
}
