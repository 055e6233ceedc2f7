package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Commands of this program beside runc's.
const (
	monitorAction = "monitor" // ROOT ID
	pauseAction   = "pause"
)

// killed is the exit code of a container that was killed, or of which nobody can
// tell how it ended: its sandbox is gone.
const killed = 128 + int(syscall.SIGKILL)

// word is what a monitor is told, once: to start its container, by runsc with these
// arguments, or, without any, that it never will be started.
type word struct{ Args []string }

// answer is what became of that.
type answer struct{ Code int }

// socket is where a container's monitor listens until the container is started.
func (c call) socket() string { return filepath.Join(c.root, "begin-"+c.id) }

// create makes the container, and then its monitor, whose number goes where the
// shim looks for it. The monitor becomes a child of the shim, which adopts the
// orphans below it. It keeps what are to be the container's standard streams: to
// runsc they belong to the start.
func (c call) create() (int, error) {
	if code, err := c.pass(without(c.flags, "pid-file", "no-pivot", "no-new-keyring")...); code != 0 || err != nil {
		return code, err
	}
	if err := c.watch(); err != nil {
		c.action, c.rest = "delete", nil
		_, undo := c.pass("--force")
		return 0, errors.Join(err, undo)
	}
	return 0, nil
}

func (c call) watch() error {
	if err := os.Remove(c.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.socket(), Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for the start: %w", err)
	}
	file, err := l.File()
	if err != nil {
		return fmt.Errorf("listen for the start: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := exec.Command(self, monitorAction, c.root, c.id)
	p.Stdin, p.Stdout, p.Stderr = os.Stdin, os.Stdout, os.Stderr
	p.ExtraFiles = []*os.File{file}
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := p.Start(); err != nil {
		return fmt.Errorf("start monitor: %w", err)
	}
	if file, ok := value(c.flags, "pid-file"); ok {
		return os.WriteFile(file, []byte(strconv.Itoa(p.Process.Pid)), 0o600)
	}
	return nil
}

// start has the monitor start the container.
func (c call) start() (int, error) { return c.tell(word{c.args(c.flags...)}) }

// kill sends a signal. A container that was not started has no process to get it:
// it ends, as runc's does.
func (c call) kill() (int, error) {
	if _, err := os.Stat(c.socket()); err != nil {
		var said bytes.Buffer
		p := exec.Command(c.runsc, c.args(c.flags...)...)
		p.Stdout, p.Stderr = os.Stdout, &said
		code, err := exitCode(p.Run())
		if sandboxGone.Match(said.Bytes()) {
			said.WriteString("\nos: process already finished\n") // containerd's shim knows these words
		}
		os.Stderr.Write(said.Bytes())
		return code, err
	}
	c.action, c.rest = "delete", nil
	code, err := c.pass("--force")
	_, told := c.tell(word{})
	return code, errors.Join(err, told)
}

// sandboxGone is what runsc says when there is nothing any more to send a signal to.
var sandboxGone = regexp.MustCompile(`connecting to control server|sandbox is not running|no such process|not running`)

// tell tells the monitor, if it still waits to be told, and takes its socket away.
func (c call) tell(w word) (int, error) {
	conn, err := net.Dial("unix", c.socket())
	if err != nil {
		os.Remove(c.socket())
		if len(w.Args) == 0 {
			return 0, nil // There is nobody to be told.
		}
		return 0, fmt.Errorf("container %s has no monitor: %w", c.id, err)
	}
	defer conn.Close()
	var a answer
	if err := json.NewEncoder(conn).Encode(w); err != nil {
		return 0, fmt.Errorf("tell monitor: %w", err)
	}
	err = json.NewDecoder(conn).Decode(&a)
	os.Remove(c.socket())
	if err != nil {
		return 0, fmt.Errorf("monitor of container %s ended: %w", c.id, err)
	}
	return a.Code, nil
}

// monitor stands for the container among the processes of the host: it ends when
// and as the container does.
func monitor(runsc, root, id string) (int, error) {
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	runtime.LockOSThread() // of whose end the kernel tells the child
	unix.CloseOnExec(3)
	l, err := net.FileListener(os.NewFile(3, "socket"))
	if err != nil {
		return killed, err
	}
	conn, err := l.Accept()
	if err != nil {
		return killed, err
	}
	var w word
	if err := json.NewDecoder(conn).Decode(&w); err != nil || len(w.Args) == 0 {
		json.NewEncoder(conn).Encode(answer{})
		return killed, nil
	}
	// What it has to say is in its log, where the shim looks. Our standard streams
	// are the container's.
	p := exec.Command(runsc, w.Args...)
	p.Stdin, p.Stdout, p.Stderr = os.Stdin, os.Stdout, os.Stderr
	code, err := exitCode(p.Run())
	if err != nil || code != 0 {
		json.NewEncoder(conn).Encode(answer{max(1, code)})
		return killed, err
	}
	// From here on only the container has them, and they end with it.
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return killed, err
	}
	for fd := range 3 {
		if err := unix.Dup2(int(null.Fd()), fd); err != nil {
			return killed, err
		}
	}
	if err := json.NewEncoder(conn).Encode(answer{}); err != nil && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, syscall.EPIPE) {
		return killed, err
	}
	conn.Close()
	l.Close()
	return wait(runsc, root, id), nil
}

// wait waits for the end of a container and returns its exit code.
func wait(runsc, root, id string) int {
	p := exec.Command(runsc, slices.Concat([]string{"--root", root}, sandboxFlags, []string{"wait", id})...)
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.Output()
	var end struct {
		ExitStatus int `json:"exitStatus"`
	}
	if err != nil || json.Unmarshal(out, &end) != nil {
		return killed
	}
	return end.ExitStatus
}

// pause is the first program of every sandbox. It does nothing, for as long as
// the sandbox lives.
func pause() {
	wait := make(chan os.Signal, 1)
	signal.Notify(wait, syscall.SIGTERM)
	<-wait
}
