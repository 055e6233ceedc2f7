package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"google.golang.org/protobuf/encoding/protowire"
)

// start starts the shim of the container's task, unless it runs already, and
// tells containerd where it listens. It listens from the first moment: who
// connects before it answers is kept waiting by the kernel.
func start(c call, shim string, params io.Reader, out io.Writer) error {
	input, err := io.ReadAll(params)
	if err != nil {
		return fmt.Errorf("read bootstrap parameters: %w", err)
	}
	dir, err := socketDir(input)
	if err != nil {
		return err
	}
	socket := filepath.Join(dir, group(c.id))
	l, err := listen(socket)
	if err != nil {
		return err
	}
	if l != nil {
		if err := spawn(c, shim, l); err != nil {
			return errors.Join(err, os.Remove(socket))
		}
	}
	_, err = out.Write(result("unix://" + socket))
	return err
}

// result is containerd.runtime.bootstrap.v1.BootstrapResult, as protobuf: a shim
// that speaks the third version of the task service.
func result(address string) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 3)
	b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), address)
	return protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), "ttrpc")
}

// group is what a container's ID says of the task it belongs to: all that stands
// before the last dash (isolation/containerd, runtimeID). The containers of a
// task share a shim, and its socket has the name of the task, by which
// isolation/containerd removes it after the last of them.
func group(id string) string {
	if i := strings.LastIndexByte(id, '-'); i > 0 {
		return id[:i]
	}
	return id
}

// socketDirField is the number of socket_dir in BootstrapParams.
const socketDirField = 9

// socketDir returns where containerd wants the sockets of shims, from the
// protobuf message that it gives us.
func socketDir(params []byte) (string, error) {
	for len(params) > 0 {
		number, kind, n := protowire.ConsumeTag(params)
		if n < 0 {
			return "", fmt.Errorf("decode bootstrap parameters: %w", protowire.ParseError(n))
		}
		params = params[n:]
		if number == socketDirField && kind == protowire.BytesType {
			dir, n := protowire.ConsumeString(params)
			if n < 0 {
				return "", fmt.Errorf("decode socket directory: %w", protowire.ParseError(n))
			}
			return dir, nil
		}
		if n = protowire.ConsumeFieldValue(number, kind, params); n < 0 {
			return "", fmt.Errorf("decode bootstrap parameters: %w", protowire.ParseError(n))
		}
		params = params[n:]
	}
	return "", errors.New("containerd did not say where sockets of shims belong (socket_dir)")
}

// listen makes a socket of that name, or returns nil if somebody answers there:
// the shim of a container that came before. One that died is replaced.
func listen(socket string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if errors.Is(err, syscall.EADDRINUSE) {
		if conn, err := net.Dial("unix", socket); err == nil {
			return nil, conn.Close()
		}
		if err := os.Remove(socket); err != nil {
			return nil, fmt.Errorf("remove socket that nobody listens at: %w", err)
		}
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, fmt.Errorf("close socket to others: %w", err)
	}
	f, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	return f, nil
}

// spawn starts the shim with the socket as its descriptor 3.
func spawn(c call, shim string, socket *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	p, err := os.StartProcess(shim,
		[]string{shim, "-namespace", c.namespace, "-id", c.id, "-address", c.address},
		&os.ProcAttr{
			Env:   append(os.Environ(), "GOMAXPROCS=4"),
			Files: []*os.File{null, null, null, socket},
			Sys:   &syscall.SysProcAttr{Setpgid: true},
		})
	if err != nil {
		return fmt.Errorf("start %s: %w", shim, err)
	}
	if err := leaveToLast(p.Pid); err != nil {
		return errors.Join(err, p.Kill())
	}
	return nil
}

// leaveToLast makes the kernel, when memory runs out, end the shim just before it
// ends containerd, which is our parent.
func leaveToLast(pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", os.Getppid()))
	if err != nil {
		return fmt.Errorf("read containerd's OOM score: %w", err)
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read containerd's OOM score: %w", err)
	}
	const highest = 1000
	text = strconv.AppendInt(nil, int64(min(score+1, highest)), 10)
	err = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), text, 0)
	if err != nil && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EPERM) { // as in a container of its own
		return fmt.Errorf("set the shim's OOM score: %w", err)
	}
	return nil
}
