// Command demo is the content of Berth's built-in image, berth/demo:latest: one
// static program that does what one wants to see a task do. Run it without
// arguments for a list.
package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
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
		"spin":   {"spin [-for D] [-threads N]", "use as much CPU as it gets, and say how much that was", spin},
		"work":   {"work D", "use that much CPU time, however long that takes", work},
		"hog":    {"hog MIB", "allocate and touch that much memory, then exit", hog},
		"fork":   {"fork [N]", "start N processes; without N start itself for ever: a fork bomb", fork},
		"lines":  {"lines N [-rate R] [-bytes B]", "print numbered lines, R a second", lines},
		"exit":   {"exit CODE", "exit with that code", exit},
		"sleep":  {"sleep D", "wait that long", sleep},
		"trap":   {"trap SIGNAL", "exit with 0 when that signal comes", trap},
		"ignore": {"ignore SIGNAL", "go on when that signal comes", ignore},
		"stamp":  {"stamp", "print the time, as the first thing it does", stamp},
		"env":    {"env", "print the environment", env},
		"digest": {"digest VARIABLE...", "print the SHA-256 of variables, for those that are secret", digest},
		"id":     {"id", "print user, groups, capabilities and seccomp mode", id},
		"mounts": {"mounts", "print what is mounted where, and how", mounts},
		"cat":    {"cat FILE...", "print files", cat},
		"ls":     {"ls DIR...", "list directories", ls},
		"serve":  {"serve PORT", "answer HTTP requests with its own name", serve},
		"get":    {"get HOST:PORT", "ask an HTTP server there and print what it says", get},
		"ask":    {"ask [-X METHOD] [-d BODY] [-for D] URL...", "ask each URL, $VARIABLES in it replaced, and print the answers", ask},
		"lookup": {"lookup NAME...", "print the addresses that names have", lookup},
		"write":  {"write FILE MIB", "write a file of that size", write},
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	all := commands()
	if len(args) == 0 {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			fmt.Printf("%-30s %s\n", all[name].usage, all[name].about)
		}
		return nil
	}
	c, ok := all[args[0]]
	if !ok {
		return fmt.Errorf("no command %q", args[0])
	}
	if err := c.run(args[1:]); errors.Is(err, errUsage) {
		return fmt.Errorf("usage: demo %s", c.usage)
	} else if err != nil {
		return err
	}
	return nil
}

// errUsage is for arguments that a command does not take.
var errUsage = errors.New("usage")

// parse reads the flags of a command that takes no other arguments.
func parse(fs *flag.FlagSet, args []string) error {
	fs.SetOutput(new(strings.Builder))
	if fs.Parse(args) != nil || fs.NArg() > 0 {
		return errUsage
	}
	return nil
}

func number(args []string) (int, error) {
	if len(args) == 0 {
		return 0, errUsage
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 0 {
		return 0, errUsage
	}
	return n, nil
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
		return errUsage
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return errUsage
	}
	fmt.Printf("demo: sleeps %v\n", d)
	time.Sleep(d)
	return nil
}

func trap(args []string) error {
	c, sig, err := listen(args)
	if err != nil {
		return err
	}
	fmt.Printf("demo: waits for %v\n", sig)
	fmt.Printf("demo: got %v\n", <-c)
	return nil
}

func ignore(args []string) error {
	c, sig, err := listen(args)
	if err != nil {
		return err
	}
	fmt.Printf("demo: ignores %v\n", sig)
	for s := range c {
		fmt.Printf("demo: got %v and ignored it\n", s)
	}
	return nil
}

// listen catches the signal that is named.
func listen(args []string) (<-chan os.Signal, os.Signal, error) {
	names := map[string]os.Signal{
		"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "TERM": syscall.SIGTERM,
		"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH,
	}
	if len(args) != 1 {
		return nil, nil, errUsage
	}
	sig, ok := names[strings.TrimPrefix(strings.ToUpper(args[0]), "SIG")]
	if !ok {
		return nil, nil, fmt.Errorf("no signal %q", args[0])
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, sig)
	return c, sig, nil
}

// stamp is for benchmarks: the time until a program runs.
func stamp([]string) error {
	fmt.Println(time.Now().Format(time.RFC3339Nano))
	return nil
}
