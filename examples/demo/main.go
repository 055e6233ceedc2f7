// Command demo is the content of Berth's built-in image, berth/demo:latest: one
// static program that does what one wants to see a task do. Run it without
// arguments for a list.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// command is one thing that demo does.
type command struct {
	usage string
	about string
	run   func(args []string) error
}

func commands() map[string]command {
	return map[string]command{
		"hello":  {"hello [-for D]", "say where it is, then work a little every second", hello},
		"spin":   {"spin [-for D] [-threads N]", "use as much CPU as it gets", spin},
		"hog":    {"hog MIB", "allocate and touch that much memory, then exit", hog},
		"fork":   {"fork", "start itself twice, for ever: a fork bomb", fork},
		"lines":  {"lines N [-rate R] [-bytes B]", "print numbered lines, R a second", lines},
		"exit":   {"exit CODE", "exit with that code", exit},
		"sleep":  {"sleep D", "wait that long", sleep},
		"trap":   {"trap SIGNAL", "exit with 0 when that signal comes", trap},
		"ignore": {"ignore SIGNAL", "go on when that signal comes", ignore},
		"env":    {"env", "print the environment", env},
		"id":     {"id", "print user, groups, capabilities and seccomp mode", id},
		"cat":    {"cat FILE...", "print files", cat},
		"ls":     {"ls DIR...", "list directories", ls},
		"write":  {"write FILE MIB", "write a file of that size", write},
		"stamp":  {"stamp", "print the time as the first thing it does", nil},
	}
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "stamp" {
		fmt.Println(time.Now().Format(time.RFC3339Nano)) // before anything else, for benchmarks
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	all := commands()
	if len(args) == 0 {
		for _, name := range slices.Sorted(keys(all)) {
			fmt.Printf("%-30s %s\n", all[name].usage, all[name].about)
		}
		return nil
	}
	c, ok := all[args[0]]
	if !ok || c.run == nil {
		return fmt.Errorf("no command %q", args[0])
	}
	return c.run(args[1:])
}

func keys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// hello works a little each second, so that its usage has something to show, and
// prints one line to each stream.
func hello(args []string) error {
	fs := flag.NewFlagSet("hello", flag.ContinueOnError)
	span := fs.Duration("for", 5*time.Second, "how long")
	if err := fs.Parse(args); err != nil {
		return err
	}
	begun := time.Now()
	host, _ := os.Hostname()
	fmt.Printf("hello from %s: %s/%s, pid %d\n", host, runtime.GOOS, runtime.GOARCH, os.Getpid())
	fmt.Printf("CPU quota %s, memory limit %s\n", first("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
		first("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"))
	var kept [][]byte
	for second := 1; time.Since(begun) < *span; second++ {
		kept = append(kept, bytes.Repeat([]byte{1}, 4<<20))
		sum := 0
		for busy := time.Now(); time.Since(busy) < 60*time.Millisecond; {
			for i := range 10_000 {
				sum += i ^ second
			}
		}
		fmt.Printf("second %d: worked 60 ms, hold %d MiB\n", second, 4*len(kept))
		fmt.Fprintf(os.Stderr, "second %d: nothing wrong\n", second)
		time.Sleep(min(time.Until(begun.Add(time.Duration(second)*time.Second)), time.Until(begun.Add(*span))))
	}
	fmt.Println("done")
	runtime.KeepAlive(kept)
	return nil
}

// first returns the content of the first file that can be read.
func first(files ...string) string {
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	return "unknown here"
}

func spin(args []string) error {
	fs := flag.NewFlagSet("spin", flag.ContinueOnError)
	span := fs.Duration("for", 10*time.Second, "how long")
	threads := fs.Int("threads", 1, "how many")
	if err := fs.Parse(args); err != nil {
		return err
	}
	runtime.GOMAXPROCS(*threads)
	deadline := time.Now().Add(*span)
	for range *threads {
		go func() {
			for time.Now().Before(deadline) {
			}
		}()
	}
	time.Sleep(time.Until(deadline))
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
		kept = append(kept, bytes.Repeat([]byte{1}, 1<<20))
	}
	fmt.Printf("demo: has %d MiB\n", len(kept))
	runtime.KeepAlive(kept)
	return nil
}

func fork([]string) error {
	for {
		cmd := exec.Command("/proc/self/exe", "fork")
		if err := cmd.Start(); err != nil {
			time.Sleep(10 * time.Millisecond) // the limit holds; try again
		}
	}
}

func lines(args []string) error {
	n, err := number(args)
	if err != nil {
		return err
	}
	fs := flag.NewFlagSet("lines", flag.ContinueOnError)
	rate := fs.Int("rate", 0, "lines a second; 0 means as fast as they go")
	size := fs.Int("bytes", 40, "length of a line")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	begun := time.Now()
	for i := range n {
		line := fmt.Sprintf("%d ", i)
		if pad := *size - len(line) - 1; pad > 0 {
			line += strings.Repeat("x", pad)
		}
		fmt.Println(line)
		if *rate > 0 && i%100 == 99 {
			time.Sleep(time.Until(begun.Add(time.Duration(i+1) * time.Second / time.Duration(*rate))))
		}
	}
	return nil
}

func exit(args []string) error {
	code, err := number(args)
	if err != nil {
		return err
	}
	fmt.Printf("demo: exits with %d\n", code)
	os.Exit(code)
	return nil
}

func sleep(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("say how long")
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	fmt.Printf("demo: sleeps %v\n", d)
	time.Sleep(d)
	return nil
}

func trap(args []string) error {
	sig, err := parseSignal(args)
	if err != nil {
		return err
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, sig)
	fmt.Printf("demo: waits for %v\n", sig)
	fmt.Printf("demo: got %v\n", <-c)
	return nil
}

func ignore(args []string) error {
	sig, err := parseSignal(args)
	if err != nil {
		return err
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, sig)
	fmt.Printf("demo: ignores %v\n", sig)
	for s := range c {
		fmt.Printf("got %v and ignored it\n", s)
	}
	return nil
}

func parseSignal(args []string) (syscall.Signal, error) {
	names := map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "TERM": syscall.SIGTERM,
		"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH,
	}
	if len(args) != 1 {
		return 0, fmt.Errorf("say which signal")
	}
	sig, ok := names[strings.TrimPrefix(strings.ToUpper(args[0]), "SIG")]
	if !ok {
		return 0, fmt.Errorf("no signal %q", args[0])
	}
	return sig, nil
}

func env([]string) error {
	vars := os.Environ()
	slices.Sort(vars)
	fmt.Println(strings.Join(vars, "\n"))
	return nil
}

func id([]string) error {
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	wd, _ := os.Getwd()
	fmt.Printf("uid=%d gid=%d groups=%v pid=%d hostname=%s cwd=%s\n", os.Getuid(), os.Getgid(), groups, os.Getpid(), host, wd)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") || strings.HasPrefix(line, "Seccomp") {
			fmt.Print(line)
		}
	}
	return nil
}

func cat(args []string) error {
	for _, name := range args {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		os.Stdout.Write(b)
	}
	return nil
}

func ls(args []string) error {
	for _, dir := range args {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			return err
		}
		fmt.Println(strings.Join(names, "\n"))
	}
	return nil
}

func write(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("say which file and how many MiB")
	}
	mib, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for range mib {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return f.Sync()
}

func number(args []string) (int, error) {
	if len(args) == 0 {
		return 0, fmt.Errorf("say a number")
	}
	return strconv.Atoi(args[0])
}
