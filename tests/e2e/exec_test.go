//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// guest starts a task that waits for people to run commands in it, with the probe of the
// isolation suite as its program.
func (s *server) guest(more string) aTask {
	s.t.Helper()
	s.importProgram("../../isolation/isolationtest/probe", "test/probe:1")
	t := s.submit(`{"family":"guest","requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":"256","memory":"512",` +
		`"containerDefinitions":[{"name":"main","image":"test/probe:1","command":["sleep","1h"],"user":"1000"` + more + `}]}`)
	return s.until(t.id(), "RUNNING", 30*time.Second)
}

// exec is berth exec with streams.
func (s *server) exec(stdin []byte, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := exec.Command(berth, append([]string{"exec"}, args...)...)
	cmd.Env = append(os.Environ(), "BERTH_ENDPOINT=http://"+s.addr)
	var out, other bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &other
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		s.t.Fatal(err)
	}
	return out.String(), other.String(), cmd.ProcessState.ExitCode()
}

// Ensure berth exec passes every byte on both ways, ends as its command did, and says why
// if it could not run it.
func TestExec(t *testing.T) {
	s := start(t)
	id := s.guest("").id()
	sent := make([]byte, 10<<20)
	random := rand.NewChaCha8([32]byte{3})
	_, _ = random.Read(sent)
	if out, _, code := s.exec(sent, "-i", id, "--", "/program", "cat"); code != 0 || out != string(sent) {
		t.Errorf("cat exits with %d, and %d bytes come back of %d", code, len(out), len(sent))
	}
	if out, stderr, code := s.exec(nil, id, "-c", "main", "--", "/program", "loud", "3"); code != 3 || out != "loud\n" || stderr != "loud\n" {
		t.Errorf("loud exits with %d and says %q, %q", code, out, stderr)
	}
	if _, stderr, code := s.exec(nil, id, "--", "/missing"); code != 126 || !strings.Contains(stderr, "/missing") {
		t.Errorf("what is not there exits with %d: %s", code, stderr)
	}
	if _, stderr, code := s.exec(nil, id, "-c", "side", "--", "/program", "exit", "0"); code != 125 || !strings.Contains(stderr, "side") {
		t.Errorf("no such container: %d, %s", code, stderr)
	}
	if _, stderr, code := s.exec(nil, "-i", "-t", id, "--", "/program", "cat"); code != 126 || !strings.Contains(stderr, "terminal") {
		t.Errorf("-t without a terminal: %d, %s", code, stderr)
	}
	var log struct {
		Records []struct {
			Name       string `json:"eventName"`
			Resources  []string
			Parameters struct {
				Command  []string
				ExitCode *int
			} `json:"requestParameters"`
		}
	}
	s.call("GET", "/api/v1/audit", "", &log)
	told := false
	for _, r := range log.Records {
		told = told || r.Name == "EndSession" && slices.Contains(r.Parameters.Command, "loud") && *r.Parameters.ExitCode == 3 && strings.HasSuffix(r.Resources[0], id)
	}
	if !told {
		t.Errorf("the audit log does not tell of a session: %+v", log)
	}
	var got aTask
	s.call("POST", "/api/v1/tasks/"+id+"/stop", "", &got)
	s.until(id, "STOPPED", 60*time.Second)
	if _, stderr, code := s.exec(nil, id, "--", "/program", "exit", "0"); code != 125 || !strings.Contains(stderr, "does not run") {
		t.Errorf("a task that has stopped: %d, %s", code, stderr)
	}
}

// pty is a terminal, and what is on it.
type pty struct {
	master *os.File
	mu     sync.Mutex
	text   bytes.Buffer
}

// openPTY returns a terminal and the file of whoever sits at it.
func openPTY(t *testing.T) (*pty, *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	var number int
	control(t, master, func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	p := &pty{master: master}
	go func() {
		for b := make([]byte, 4096); ; {
			n, err := master.Read(b)
			p.mu.Lock()
			p.text.Write(b[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return p, slave
}

func control(t *testing.T, f *os.File, do func(fd int) error) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err == nil {
		err = errors.Join(err, raw.Control(func(fd uintptr) {
			if e := do(int(fd)); e != nil {
				t.Error(e)
			}
		}))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p *pty) resize(t *testing.T, columns, rows uint16) {
	t.Helper()
	control(t, p.master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	})
}

func (p *pty) shows(s *server, word string) {
	s.t.Helper()
	s.eventually(20*time.Second, word+" is on the terminal", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !strings.Contains(p.text.String(), word) {
			return fmt.Errorf("it shows %q", p.text.String())
		}
		return nil
	})
}

// Ensure a terminal's size, its changes and Ctrl-C come to a command, and that the terminal
// is as it was afterwards. With runc, and with gVisor.
func TestExecTerminal(t *testing.T) {
	for _, class := range []string{"runc", "gvisor"} {
		t.Run(class, func(t *testing.T) {
			if class == "gvisor" {
				needGVisor(t)
			}
			s := start(t, "--runtime", class)
			id := s.guest("").id()
			screen, keys := openPTY(t)
			screen.resize(t, 132, 43)
			modes := func() (m *unix.Termios) {
				control(t, keys, func(fd int) (err error) { m, err = unix.IoctlGetTermios(fd, unix.TCGETS); return err })
				return m
			}
			before := *modes()
			at := func(command ...string) *exec.Cmd {
				cmd := exec.Command(berth, append([]string{"exec", "-it", id, "--", "/program"}, command...)...)
				cmd.Env = append(os.Environ(), "BERTH_ENDPOINT=http://"+s.addr)
				cmd.Stdin, cmd.Stdout, cmd.Stderr = keys, keys, keys
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				return cmd
			}
			cmd := at("window")
			screen.shows(s, "132x43")
			screen.resize(t, 77, 33)
			screen.shows(s, "77x33")
			if _, err := screen.master.WriteString("q\r"); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
				t.Errorf("window: %v, want exit code 5", err)
			}
			if after := *modes(); after != before {
				t.Errorf("the terminal is %+v, and was %+v", after, before)
			}

			screen.resize(t, 100, 30)
			cmd = at("window")
			screen.shows(s, "100x30")
			if _, err := screen.master.WriteString("\x03"); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 128+2 && code != 2 { // a Go program exits with 2
				t.Errorf("after Ctrl-C it exits with %d", code)
			}
		})
	}
}

// sessions returns the processes on this host that a session of anybody's started.
func sessions() (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && bytes.Contains(append([]byte{0}, text...), []byte("\x00BERTH_SESSION=")) {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// Ensure nothing of a session outlives the server, however that ends, nor the client.
func TestExecEndsWithServer(t *testing.T) {
	s := start(t)
	id := s.guest("").id()
	others := len(sessions())
	count := func(want int, when string) {
		t.Helper()
		s.eventually(20*time.Second, fmt.Sprintf("%d processes are there %s", want, when), func() error {
			if n := len(sessions()) - others; n != want {
				return fmt.Errorf("there are %d", n)
			}
			return nil
		})
	}
	talk := func() *exec.Cmd {
		cmd := exec.Command(berth, "exec", id, "--", "/program", "family")
		cmd.Env = append(os.Environ(), "BERTH_ENDPOINT=http://"+s.addr)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		count(2, "in a session")
		return cmd
	}
	client := talk()
	client.Process.Kill()
	client.Wait()
	count(0, "when the client was killed")

	client = talk()
	s.kill()
	count(0, "when the server was killed, before the next one runs")
	if client.Wait(); client.ProcessState.ExitCode() != 125 {
		t.Errorf("the client exits with %d", client.ProcessState.ExitCode())
	}
	s.run()
	if out, _, code := s.exec([]byte("hello"), "-i", id, "--", "/program", "cat"); out != "hello" || code != 0 {
		t.Errorf("a session on the next server: %q, %d", out, code)
	}

	client = talk()
	s.terminate()
	count(0, "when the server was ended")
	client.Wait()
	s.run()
}
