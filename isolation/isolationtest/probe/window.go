package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// window says how large its terminal is, COLUMNSxROWS, now and after each change, until it
// reads a q. It ends with code 5, with 1 if it has no terminal.
func window() {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	typed := make(chan struct{})
	go func() {
		defer close(typed)
		one := make([]byte, 1)
		for one[0] != 'q' {
			if _, err := os.Stdin.Read(one); err != nil {
				return
			}
		}
	}()
	for {
		size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			os.Exit(1)
		}
		fmt.Printf("%dx%d\n", size.Col, size.Row)
		select {
		case <-changed:
		case <-typed:
			os.Exit(5)
		}
	}
}
