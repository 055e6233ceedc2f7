// Command berth-hangup ends the sessions of a server that has died: the commands that
// people run in containers beside their main processes, and what those started.
//
// The server starts it and tells it on its input what there is to be ended, a line each:
//
//   - TASK CONTAINER MARK    a session begins; MARK is a variable that its processes have
//   - MARK                   it has ended
//
// When the input ends, so has the server, however that came about, and with it whoever
// listened to the sessions that are left. They are killed, and this program ends.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"berth/isolation/cgroup"
)

func main() {
	parent := flag.String("cgroup-parent", "", "`path` of the cgroup of all tasks")
	flag.Parse()
	if err := run(*parent, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "berth-hangup:", err)
		os.Exit(1)
	}
}

// session is where one is.
type session struct{ task, container string }

func run(parent string, in io.Reader) error {
	tree, err := cgroup.Open(parent)
	if err != nil {
		return err
	}
	var failed []error
	for mark, s := range read(in) {
		failed = append(failed, tree.KillSession(s.task, s.container, 0, mark))
	}
	return errors.Join(failed...)
}

// read returns the sessions that had not ended when the input did, by their marks. A line
// that was cut short is none: its session had not begun.
func read(in io.Reader) map[string]session {
	open := make(map[string]session)
	words := bufio.NewReader(in)
	for {
		line, err := words.ReadString('\n')
		if err != nil {
			return open
		}
		switch f := strings.Fields(line); {
		case len(f) == 4 && f[0] == "+":
			open[f[3]] = session{task: f[1], container: f[2]}
		case len(f) == 2 && f[0] == "-":
			delete(open, f[1])
		}
	}
}
