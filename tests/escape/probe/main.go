// Command probe tries to get out of the task that it runs in, or across to another,
// in every way that it knows, and says of each whether it was stopped.
//
//	probe all FACTS          tries everything, each try in a process of its own; one JSON line a try
//	probe one NAME FACTS     makes one try
//	probe list               the table, as JSON lines
//	probe flood KIND FOR     takes as much of one thing as it can get, for some time
//	probe noise FOR          a flood of everything that is not used up
//	probe serve PORT         what a neighbour does: answers at a port, and says so every second
//
// FACTS is a JSON object: what an attacker may have learnt of the host. The same tries
// are made on the host itself, in namespaces made for each: one that does not work there
// either shows nothing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// facts are what an attacker may know.
type facts struct {
	State    string // path of a file in the server's state directory, with something in it
	Socket   string // path of containerd's socket
	APIPort  int    // of the server, on the host's loopback
	OpenPort int    // on which the host listens at all its addresses
	Gateway  string // the host's address on the bridge
	Host     string // another address of the host
	Victim   string // address of another task, which listens at VictimPort and answers pings
	VictimID string // its container's ID

	VictimPort int
	VictimPID  int    // a process of the other task, as the host counts
	Disk       uint64 // device number of the host's disk
	Control    bool   // this is the host, so that each try should work
}

// probe is one way out.
type probe struct {
	name  string
	tries string // what it tries
	// try returns what it saw, and nil if it got through.
	try func(facts) (saw string, err error)
	// stops are the errors that say it was stopped. Any other means that it came further
	// than it should have.
	stops []error
	// control says how the same is tried on the host.
	control control
}

// control is a way to show that a try can succeed at all.
type control string

// The ways.
const (
	onHost  control = "host"    // as root of the host, with mount, UTS and IPC namespaces of its own
	inNet   control = "network" // the same, with a network namespace of its own
	outside control = "outside" // whoever runs the probe looks from outside what came of it
	none    control = ""        // it would harm the host, or the host has nothing of the kind
)

// result is what came of a try.
type result struct {
	Probe   string  `json:"probe"`
	Tries   string  `json:"tries"`
	Verdict string  `json:"verdict,omitempty"` // blocked, open, or sent: look from outside
	How     string  `json:"how,omitempty"`
	Control control `json:"control,omitempty"`
}

// patience is how long one try may take. Most of those that take any time wait for an
// answer, so some are made at once.
const (
	patience = 20 * time.Second
	atOnce   = 8
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: probe all|one|list|flood|serve ...")
		os.Exit(2)
	}
	out := json.NewEncoder(os.Stdout)
	switch args := os.Args[2:]; os.Args[1] {
	case "all":
		var group sync.WaitGroup
		var print sync.Mutex
		turns := make(chan struct{}, atOnce)
		for _, p := range table() {
			turns <- struct{}{}
			group.Go(func() {
				r := apart(p, args[0])
				print.Lock()
				_ = out.Encode(r)
				print.Unlock()
				<-turns
			})
		}
		group.Wait()
	case "one":
		for _, p := range table() {
			if p.name == args[0] {
				_ = out.Encode(p.run(decode(args[1])))
			}
		}
	case "list":
		for _, p := range table() {
			_ = out.Encode(result{Probe: p.name, Tries: p.tries, Control: p.control})
		}
	case "flood":
		flood(args[0], args[1])
	case "noise":
		for _, kind := range noise {
			cmd := exec.Command("/proc/self/exe", "flood", kind, args[0])
			cmd.Stdout = os.Stdout
			if err := cmd.Start(); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			defer func() { _ = cmd.Wait() }()
		}
	case "serve":
		serve(args[0])
	case "helper":
		helper(args)
	}
}

// table is every probe.
func table() []probe {
	var all []probe
	for _, part := range [][]probe{fileProbes, deviceProbes, mountProbes, namespaceProbes, kernelProbes, privilegeProbes, networkProbes, spoofProbes, architectureProbes} {
		all = append(all, part...)
	}
	return all
}

func decode(text string) (f facts) {
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		fmt.Fprintln(os.Stderr, "facts:", err)
		os.Exit(2)
	}
	return f
}

// apart runs p in a process of its own: some are killed for what they try.
func apart(p probe, facts string) result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := result{Probe: p.name, Tries: p.tries}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "one", p.name, facts)
	text, err := cmd.Output()
	switch status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case ctx.Err() != nil:
		r.Verdict, r.How = "open", fmt.Sprintf("still at it after %v", patience)
	case status.Signaled() && status.Signal() == syscall.SIGSYS:
		r.Verdict, r.How = "blocked", "killed by seccomp"
	case err != nil:
		r.Verdict, r.How = "open", "the probe ended with "+err.Error()
	default:
		if err := json.Unmarshal(text, &r); err != nil {
			r.Verdict, r.How = "open", fmt.Sprintf("said %q", text)
		}
	}
	return r
}

func (p probe) run(f facts) result {
	if f.Control {
		// Nothing that is mounted from here on is seen by anybody else.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return result{Probe: p.name, Verdict: "blocked", How: "make mounts private: " + err.Error()}
		}
	}
	saw, err := p.try(f)
	r := result{Probe: p.name, Tries: p.tries, Verdict: "open", How: saw}
	if p.control == outside && err == nil {
		r.Verdict = "sent"
	}
	if err != nil {
		r.How = strings.TrimPrefix(saw+": "+err.Error(), ": ")
		for _, stop := range p.stops {
			if errors.Is(err, stop) {
				r.Verdict = "blocked"
			}
		}
	}
	return r
}

// What stops a try, by what it needs.
var (
	refused = []error{unix.EPERM, unix.EACCES, unix.ENOSYS} // by a filter, or for want of a capability
	hidden  = []error{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EROFS, fs.ErrNotExist, unix.ENOTDIR, errMasked, unix.EINVAL}
	// silent is what a packet filter does. A probe that gets ENETUNREACH has no way at all.
	silent = []error{unix.EPERM, unix.EACCES, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ETIMEDOUT, os.ErrDeadlineExceeded, context.DeadlineExceeded, errSilence}
	// strange is a kind of socket that a container has no use for.
	strange = []error{unix.EPERM, unix.EACCES, unix.EAFNOSUPPORT, unix.ENOSYS}
)

var (
	errMasked  = errors.New("something empty is mounted there")
	errSilence = errors.New("no answer")
)

// errno returns nil for 0.
func errno(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// call makes one system call.
func call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	_, _, e := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	return errno(e)
}

// calls is a probe that makes one system call. With arguments that the kernel looks at
// only after it has asked for permission, it harms nobody where it gets through.
func calls(number uintptr, args ...uintptr) func(facts) (string, error) {
	return func(facts) (string, error) { return "", call(number, args...) }
}

// serve answers at a TCP and a UDP port until it is ended.
func serve(port string) {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	u, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				continue
			}
			fmt.Printf("HEARD %q from %v\n", b[:n], from)
			_, _ = u.WriteTo(b[:n], from)
		}
	}()
	go func() {
		for range time.Tick(time.Second) {
			fmt.Println("alive")
		}
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			continue
		}
		fmt.Printf("HEARD a connection from %v\n", c.RemoteAddr())
		_, _ = c.Write([]byte("hello\n"))
		c.Close()
	}
}
