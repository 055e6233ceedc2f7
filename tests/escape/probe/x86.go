//go:build amd64

package main

import "golang.org/x/sys/unix"

// architectureProbes are calls that only this architecture has.
var architectureProbes = []probe{
	{"x86-iopl", "reach the machine's ports by iopl", calls(unix.SYS_IOPL, 3), refused, onHost},
	{"x86-ioperm", "reach the machine's ports by ioperm", calls(unix.SYS_IOPERM, 0x80, 1, 1), refused, onHost},
	{"x86-uselib", "map a library by the oldest call", calls(unix.SYS_USELIB, text("/nothing")), refused, none},
	{"x86-sysctl", "change sysctls by the old call", calls(unix.SYS__SYSCTL, 0), refused, none},
	{"x86-create-module", "load a module by the old call", calls(unix.SYS_CREATE_MODULE, text("nothing"), 4096), refused, none},
}
