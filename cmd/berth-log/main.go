// Command berth-log writes what one container prints to its log.
//
// The container's shim starts it through containerd's binary-v2:// IO scheme,
// with the container's stdout on descriptor 3, its stderr on 4, and on 5 a pipe
// on which it says that it is ready. It is the shim's child and not the
// server's, so that nothing is lost or written twice when the server dies. It
// lives until both streams have ended.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/logs"
)

// patience is how long the streams may stay open after SIGTERM. The shim closes
// its ends before it sends that, and SIGKILL follows 12 seconds later
// (containerd-shim-runc-v2, binaryIOProcTermTimeout).
const patience = 10 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "berth-log:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)

	flags := flag.NewFlagSet("berth-log", flag.ContinueOnError)
	dir := flags.String("dir", "", "directory of the container's `log`, made if it is not there")
	maxSize := flags.Int64("max-size", 16<<20, "`bytes` of one segment")
	maxFiles := flags.Int("max-files", 16, "`segments` to keep")
	cpus := flags.String("cpus", "", "`numbers` of the CPUs to run on, as in 0,2,3; all if left out")
	if err := flags.Parse(args); err != nil {
		return err
	}
	yield(*cpus)
	if *dir == "" || *maxSize <= 0 || *maxFiles <= 0 || flags.NArg() > 0 {
		return errors.New("usage: berth-log -dir DIR [-max-size BYTES] [-max-files N] [-cpus N,…], started by a container's shim")
	}
	w, err := logs.NewWriter(logs.WriterConfig{Dir: *dir, MaxSize: *maxSize, MaxFiles: *maxFiles, Now: clock()})
	if err != nil {
		return err
	}
	streams := map[string]*os.File{logs.Stdout: pipe(3), logs.Stderr: pipe(4)}

	// The byte says ready; closing alone could also be our death.
	ready := os.NewFile(5, "ready")
	if _, err := ready.Write([]byte{1}); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	ready.Close()

	var reading sync.WaitGroup
	d := &doubt{w: w}
	for name, f := range streams {
		reading.Go(func() { pump(w, d, name, f) })
	}
	ended := make(chan struct{})
	go func() { reading.Wait(); close(ended) }()

	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.Sync()
		case <-terminated:
			for _, f := range streams {
				_ = f.SetReadDeadline(time.Now().Add(patience))
			}
		case <-ended:
			d.end()
			return w.Close()
		}
	}
}

// niceness makes the kernel give a seventieth of an ordinary process's time to this one when
// CPUs are short.
const niceness = 19

// yield has this process give way to tasks. It is in the cgroup of none, so that it
// outlives them, and whoever floods it with output would else take CPU time beyond the
// limit of its task from its neighbours. Its pipe is full then, and it is the flooder who
// waits. For the same reason it runs where its task does, and not on the CPUs that another
// task has to itself.
//
// A thread has a niceness and CPUs of its own, and what it starts inherits it. The Go runtime starts
// threads whenever it likes, so one that is not nice yet may start another behind our back:
// only a pass that finds nothing to do says that all are.
func yield(cpus string) {
	var want unix.CPUSet
	for n := range strings.SplitSeq(cpus, ",") {
		if cpu, err := strconv.Atoi(n); err == nil {
			want.Set(cpu)
		}
	}
	for {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return // It works all the same.
		}
		changed := false
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			// The system call answers 20 less the niceness (getpriority(2)).
			if is, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && is > 20-niceness {
				changed = unix.Setpriority(unix.PRIO_PROCESS, id, niceness) == nil || changed
			}
			var on unix.CPUSet
			if want.Count() > 0 && unix.SchedGetaffinity(id, &on) == nil && on != want {
				changed = unix.SchedSetaffinity(id, &want) == nil && unix.SchedGetaffinity(id, &on) == nil && on == want || changed
			}
		}
		if !changed {
			return
		}
	}
}

// pipe opens an inherited descriptor so that reading it can be given a deadline.
func pipe(fd int) *os.File {
	_ = syscall.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), "stream")
}

// pump moves what the container prints to the log until there is no more.
func pump(w *logs.Writer, d *doubt, stream string, from io.Reader) {
	chunk := make([]byte, 64<<10)
	for first := true; ; first = false {
		n, err := from.Read(chunk)
		if n > 0 && !(first && stream == logs.Stderr && d.keep(chunk[:n])) {
			d.printed()
			w.Write(stream, chunk[:n])
		}
		if err != nil {
			return
		}
	}
}

// runtimeSays begins what runc prints, to the container's stderr, if it cannot make the
// container. That is not the container's word, names files of the host, and is told as the
// reason for which the container stopped, without them.
const runtimeSays = "runc create failed: "

// doubtTime is how long it may take until the streams end after runc has ended.
const doubtTime = 3 * time.Second

// doubt keeps what may be runc's until that is known. It is if nothing else was printed
// and nothing follows, for then no program of the container was started. Otherwise the
// container has printed it.
type doubt struct {
	w *logs.Writer

	mu    sync.Mutex
	text  []byte
	over  bool // the container has printed something
	timer *time.Timer
}

// keep takes the first that stands on stderr, and reports whether it did.
func (d *doubt) keep(text []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || !bytes.HasPrefix(text, []byte(runtimeSays)) {
		return false
	}
	d.text, d.timer = bytes.Clone(text), time.AfterFunc(doubtTime, d.printed)
	return true
}

// printed says that the container runs, so that what was kept is its own.
func (d *doubt) printed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.text != nil {
		d.timer.Stop()
		d.w.Write(logs.Stderr, d.text)
	}
	d.text, d.over = nil, true
}

// end says that the streams have ended.
func (d *doubt) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = nil
}

// clock returns the wall time of the start plus the boot time that has passed
// since. It counts through suspend and cannot be stepped, like the time line of
// the task.
func clock() func() time.Time {
	wall, start := time.Now(), bootTime()
	return func() time.Time { return wall.Add(bootTime() - start) }
}

func bootTime() time.Duration {
	var ts unix.Timespec
	// It cannot fail: the clock exists on every kernel since 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}
