package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hello works a little each second, so that its usage has something to show, and
// prints one line to each stream.
func hello(args []string) error {
	fs := flag.NewFlagSet("hello", flag.ContinueOnError)
	span := fs.Duration("for", 5*time.Second, "how long")
	if err := parse(fs, args); err != nil {
		return err
	}
	begun := time.Now()
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Printf("hello from %s: %s/%s, process %d\n", host, runtime.GOOS, runtime.GOARCH, os.Getpid())
	fmt.Printf("this container may use %s and %s of memory\n", cpuLimit("/sys/fs/cgroup"), memoryLimit("/sys/fs/cgroup"))
	var kept [][]byte
	for second := 1; time.Since(begun) < *span; second++ {
		kept = append(kept, touched(4))
		used := cpuTime()
		for busy := time.Now(); cpuTime()-used < 60*time.Millisecond && time.Since(busy) < time.Second; {
		}
		fmt.Printf("second %d: worked for %v, hold %d MiB\n", second, (cpuTime() - used).Round(time.Millisecond), 4*len(kept))
		fmt.Fprintf(os.Stderr, "second %d: nothing wrong\n", second)
		time.Sleep(min(time.Until(begun.Add(time.Duration(second)*time.Second)), time.Until(begun.Add(*span))))
	}
	fmt.Println("done")
	runtime.KeepAlive(kept)
	return nil
}

// touched returns so many MiB, in which every page was written to.
func touched(mib int) []byte { return bytes.Repeat([]byte{1}, mib<<20) }

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func spin(args []string) error {
	fs := flag.NewFlagSet("spin", flag.ContinueOnError)
	span := fs.Duration("for", 10*time.Second, "how long")
	threads := fs.Int("threads", 1, "how many")
	if err := parse(fs, args); err != nil {
		return err
	}
	runtime.GOMAXPROCS(*threads + 1)       // one for the wait below
	begun, before := time.Now(), cpuTime() // runc used some in this process, to make the container
	deadline := begun.Add(*span)
	for range *threads {
		go func() {
			for time.Now().Before(deadline) {
			}
		}()
	}
	time.Sleep(time.Until(deadline))
	used, took := cpuTime()-before, time.Since(begun)
	fmt.Printf("demo: used %.2f s of CPU in %.2f s: %.3f vCPU\n", used.Seconds(), took.Seconds(), used.Seconds()/took.Seconds())
	return nil
}

// work ends when it has used so much CPU time: later where it gets less of it.
func work(args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	want, err := time.ParseDuration(args[0])
	if err != nil {
		return errUsage
	}
	begun, before := time.Now(), cpuTime()
	for cpuTime()-before < want {
	}
	fmt.Printf("demo: used %v of CPU in %v\n", (cpuTime() - before).Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
	return nil
}

func hog(args []string) error {
	mib, err := number(args)
	if err != nil {
		return err
	}
	fmt.Printf("demo: taking %d MiB\n", mib)
	var kept [][]byte
	for range mib {
		kept = append(kept, touched(1))
	}
	fmt.Printf("demo: has %d MiB\n", len(kept))
	runtime.KeepAlive(kept)
	return nil
}

// fork without arguments is a fork bomb: every process starts another one, over
// and over.
func fork(args []string) error {
	for len(args) == 0 {
		if exec.Command("/proc/self/exe", "fork").Start() != nil {
			time.Sleep(10 * time.Millisecond) // the limit holds; try again
		}
	}
	n, err := number(args)
	if err != nil {
		return err
	}
	for i := range n {
		cmd := exec.Command("/proc/self/exe", "sleep", "1h")
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start process %d: %w", i+1, err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
	}
	fmt.Printf("demo: started %d processes\n", n)
	return nil
}

func lines(args []string) error {
	n, err := number(args)
	if err != nil {
		return err
	}
	fs := flag.NewFlagSet("lines", flag.ContinueOnError)
	rate := fs.Int("rate", 0, "lines a second; 0 means as fast as they go")
	size := fs.Int("bytes", 40, "length of a line")
	if err := parse(fs, args[1:]); err != nil {
		return err
	}
	begun := time.Now()
	pause := max(*rate/100, 1) // lines between pauses: a timer is no finer than a few milliseconds
	for i := range n {
		if *rate > 0 && i%pause == 0 {
			time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / time.Duration(*rate))))
		}
		line := strconv.Itoa(i) + " "
		if pad := *size - len(line) - 1; pad > 0 {
			line += strings.Repeat("x", pad)
		}
		if _, err := fmt.Println(line); err != nil {
			return err
		}
	}
	return nil
}

func write(args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	mib, err := number(args[1:])
	if err != nil {
		return err
	}
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	for range mib {
		if _, err := f.Write(touched(1)); err != nil {
			return err
		}
	}
	return f.Sync()
}
