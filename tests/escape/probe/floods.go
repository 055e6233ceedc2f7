package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// floods are things that a task can take too much of. Each call takes some more and
// returns how much.
var floods = map[string]func() (int, error){
	"fork":    forkFlood,
	"memory":  memoryFlood,
	"hoard":   hoardFlood,
	"disk":    diskFlood,
	"write":   writeFlood,
	"inode":   inodeFlood,
	"fd":      fdFlood,
	"log":     logFlood,
	"cpu":     cpuFlood,
	"copy":    copyFlood,
	"shm":     func() (int, error) { return fill(room) },
	"dev":     func() (int, error) { return fill("/dev") },
	"inotify": inotifyFlood,
	"aio":     aioFlood,
	"pty":     ptyFlood,
	"pipe":    pipeFlood,
	"socket":  socketFlood,
	"connect": connectFlood,
	"buffer":  bufferFlood,
	"spawn":   func() (int, error) { return 1, exec.Command("/proc/self/exe", "helper", "nothing").Run() },
}

// noise is what a hostile neighbour does, all at once.
var noise = []string{"cpu", "cpu", "copy", "spawn", "write", "fd", "log"}

func forkFlood() (int, error) {
	cmd := exec.Command("/proc/self/exe", "serve", "0")
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return 1, nil
}

var hoard [][]byte

// memoryFlood takes memory in a child, again and again, so that the flood outlives it.
func memoryFlood() (int, error) {
	cmd := exec.Command("/proc/self/exe", "flood", "hoard", "10s")
	if err := cmd.Run(); err != nil {
		return 1, err
	}
	return 0, nil
}

func hoardFlood() (int, error) {
	b := make([]byte, 16<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	hoard = append(hoard, b)
	return len(b), nil
}

func diskFlood() (int, error) {
	f, err := os.CreateTemp(scratch(), "berth-flood")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	const step = 256 << 20
	n := 0
	for {
		// Blocks that are reserved are taken, and are not written to the host's disk.
		if err := unix.Fallocate(int(f.Fd()), 0, int64(n), step); err != nil {
			return n, err
		}
		n += step
	}
}

// scratch is where the task's storage is.
func scratch() string {
	if unix.Access("/tmp", unix.W_OK) == nil {
		return "/tmp"
	}
	return "/"
}

var block = make([]byte, 1<<20)

// writeFlood writes a file over and over, and waits for the disk.
func writeFlood() (int, error) {
	f, err := os.OpenFile(scratch()+"/berth-flood-write", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n := 0
	for range 64 {
		m, err := f.Write(block)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, f.Sync()
}

var files int

func inodeFlood() (int, error) {
	if files%1000 == 0 {
		if err := os.Mkdir(fmt.Sprintf("%s/berth-flood-%d", scratch(), files/1000), 0o700); err != nil {
			return 0, err
		}
	}
	f, err := os.Create(fmt.Sprintf("%s/berth-flood-%d/%d", scratch(), files/1000, files))
	if err != nil {
		return 0, err
	}
	files++
	return 1, f.Close()
}

var held []int

// hold keeps a descriptor until there are no more. Then it gives all back: the program
// itself needs some.
func hold(fd int, err error) (int, error) {
	if err != nil {
		for _, fd := range held {
			unix.Close(fd)
		}
		held = held[:0]
		return 0, err
	}
	held = append(held, fd)
	return 1, nil
}

func fdFlood() (int, error) { return hold(unix.Open("/dev/null", unix.O_RDONLY, 0)) }

var line = strings.Repeat("x", 1000) + "\n"

func logFlood() (int, error) { return os.Stdout.WriteString(line) }

func cpuFlood() (int, error) {
	n := 0
	for i := range 1 << 20 {
		n ^= i
	}
	return 1 + n&0, nil
}

// copyFlood uses the memory's bandwidth: more than the processor's caches hold.
func copyFlood() (int, error) {
	for len(hoard) < 2 {
		hoard = append(hoard, make([]byte, 128<<20))
	}
	return copy(hoard[0], hoard[1]), nil
}

func fill(dir string) (int, error) {
	f, err := os.CreateTemp(dir, "berth-flood")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Write(block)
}

func inotifyFlood() (int, error) {
	if _, err := unix.InotifyInit1(0); err != nil {
		return 0, err
	}
	return 1, nil
}

func aioFlood() (int, error) {
	var context uintptr
	if err := call(unix.SYS_IO_SETUP, 4096, address(context)); err != nil {
		return 0, err
	}
	return 4096, nil
}

// ptyFlood keeps its terminals, unless there are more of them than descriptors.
func ptyFlood() (int, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil && err != unix.EMFILE {
		return 0, err
	}
	return hold(fd, err)
}

func pipeFlood() (int, error) {
	var p [2]int
	if err := syscall.Pipe(p[:]); err != nil {
		return hold(0, err)
	}
	held = append(held, p[:]...)
	_, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 1<<20)
	return 1, err
}

func socketFlood() (int, error) { return hold(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)) }

// bufferFlood fills the receive buffers of 4,000 sockets that nobody reads, again and again.
func bufferFlood() (int, error) {
	if len(held) == 4000 {
		return hold(0, unix.EMFILE)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return hold(fd, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		unix.Close(fd)
		return 0, err
	}
	own, err := unix.Getsockname(fd)
	for range 4 {
		if err == nil {
			err = unix.Sendto(fd, block[:60000], 0, own)
		}
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return hold(fd, nil)
}

var peer uint32

// connectFlood speaks to ever new addresses of its own subnet, each of which the kernel
// has to look for.
func connectFlood() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	own := ownAddress().To4()
	peer++
	to := unix.SockaddrInet4{Port: 9, Addr: [4]byte{own[0], own[1], own[2]&0xf0 | byte(peer>>8)&0x0f, byte(peer)}}
	return 1, unix.Sendto(fd, []byte("x"), 0, &to)
}
