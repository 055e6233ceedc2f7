package containerd

import (
	"sync"

	"golang.org/x/sys/unix"
)

// x32Bit marks the system calls of x32, an ABI of 32-bit pointers that next to no
// distribution builds its kernel with (CONFIG_X86_X32_ABI; Amazon Linux does not).
const x32Bit = 0x40000000

// hasX32 reports whether the kernel has system calls of x32.
var hasX32 = sync.OnceValue(func() bool {
	_, _, errno := unix.RawSyscall(x32Bit|unix.SYS_GETPID, 0, 0, 0)
	return errno == 0
})
