package isolationtest

import (
	"path"
	"strconv"
	"strings"
	"time"

	"berth/fault"
)

// script is what a fake process does.
type script struct {
	runs    time.Duration // ends by itself after that
	code    int           // with this exit code
	oom     bool          // is killed for memory
	ignores bool          // the stop signal
	lingers time.Duration // goes on for that long after the stop signal, and ends well
	listens string        // TCP port
	dials   string        // TCP port; fails if nobody in the task listens there

	says    string // in a session, on both of its outputs
	repeats bool   // what it reads, until that ends
	windows bool   // tells the size of its terminal until it reads a q
}

// forever is longer than any test looks.
const forever = 100 * 365 * 24 * time.Hour

// parse understands a command line:
//
//	sleep 90s      ends well after 90 s
//	spin 2s        the same, and uses all the CPU it gets
//	exit 3         ends at once with code 3
//	oom 64         takes memory, 64 MiB at a time, until it is killed for that
//	loud 3         says something on both of its outputs, and ends with code 3
//	cat            in a session, repeats what it reads until that ends
//	window         in a session, says how large its terminal is, COLUMNSxROWS, now and after each
//	               change, until it reads a q, and ends with code 5
//	trap TERM 3s   runs until it gets the stop signal, and 3 s longer
//	ignore TERM    runs until it is killed
//	listen 80      serves TCP port 80
//	dial 80        ends well as soon as somebody in its task serves that port on
//	               loopback, with 1 if nobody does; with 127.0.0.1:80 it tries once
//	pids           ends with the number of processes that it can see as code
//	/missing       is not in the image, which is the user's fault
//
// The words sleep, trap and ignore may be followed by one more, the TCP port
// that the program serves as soon as it is ready for signals.
//
// A leading /probe, the entry point of the real image, is passed over. Anything
// else ends well at once.
func parse(command []string) (script, error) {
	if len(command) > 0 && path.Base(command[0]) == "probe" {
		command = command[1:]
	}
	word := func(n int) string {
		if n < len(command) {
			return command[n]
		}
		return ""
	}
	duration := func(n int) time.Duration {
		d, err := time.ParseDuration(word(n))
		if err != nil {
			return forever
		}
		return d
	}
	switch word(0) {
	case "sleep", "spin":
		return script{runs: duration(1), listens: word(2)}, nil
	case "exit":
		code, _ := strconv.Atoi(word(1))
		return script{code: code}, nil
	case "loud":
		code, _ := strconv.Atoi(word(1))
		return script{code: code, says: "loud\n"}, nil
	case "cat":
		return script{repeats: true}, nil
	case "window":
		return script{windows: true, code: 5}, nil
	case "oom":
		return script{oom: true}, nil
	case "trap":
		return script{runs: forever, lingers: duration(2), listens: word(3)}, nil
	case "ignore":
		return script{runs: forever, ignores: true, listens: word(2)}, nil
	case "listen":
		return script{runs: forever, listens: word(1)}, nil
	case "dial":
		return script{dials: strings.TrimPrefix(word(1), "127.0.0.1:")}, nil
	case "pids":
		return script{code: 1}, nil
	case "/missing":
		return script{}, fault.New(fault.Invalid, `CannotStartContainerError: exec: "/missing": no such file or directory`)
	}
	return script{}, nil
}
