// Package daemon starts Berth's own containerd and keeps it running.
//
// The rule: containerd and what runs under it outlive this process. A new
// process finds the containerd of the one before and takes it over; stopping
// containerd leaves the shims, and so the tasks, running.
package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/fault"
)

// Config is what Open needs. All fields are required.
type Config struct {
	Libexec  string // has containerd, containerd-shim-runc-v2 and runc
	StateDir string // of the server; containerd's own is a directory in it
	RunDir   string // short, as in /run/berth/1a2b3c4d: Unix sockets have short names
	Log      *zap.Logger
}

// Daemon is a containerd that belongs to this server alone, and the lock on the
// server's state directory.
type Daemon struct {
	Config
	lock *os.File
}

// The most that the path of a Unix socket may measure, unix(7), without the
// closing zero byte.
const maxSocketPath = 107

// shutdownPatience is how long containerd may take to end when it is asked to.
const shutdownPatience = 10 * time.Second

// answerPatience is how long containerd may take until it answers: the first
// start on a slow disk, or many shims to reconnect to.
const answerPatience = 60 * time.Second

// Open locks the state directory and writes containerd's configuration. If
// another server has that directory, the error is a fault.Conflict. The lock
// ends with Close, or with the process.
func Open(c Config) (*Daemon, error) {
	d := &Daemon{Config: c}
	if n := len(d.Address() + ttrpcSuffix); n > maxSocketPath {
		return nil, fault.New(fault.Invalid, "run directory %s is too long: a socket in it would have %d bytes, %d are possible", c.RunDir, n, maxSocketPath)
	}
	// Bundles are below, and a task's root is nobody on the host.
	if err := os.MkdirAll(c.RunDir, 0o711); err != nil {
		return nil, fmt.Errorf("make directories for containerd: %w", err)
	}
	for _, dir := range []string{c.StateDir, d.root(), d.temp(), d.socketDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make directories for containerd: %w", err)
		}
	}
	lock, err := os.OpenFile(filepath.Join(c.StateDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fault.Wrap(fault.Conflict, err, "another server uses the state directory %s", c.StateDir)
	}
	d.lock = lock
	if err := os.WriteFile(d.configFile(), []byte(d.toml()), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("configure containerd: %w", err), d.Close())
	}
	return d, nil
}

// Close unlocks the state directory. Call it after Run has returned.
func (d *Daemon) Close() error { return d.lock.Close() }

// Address is the path of containerd's socket.
func (d *Daemon) Address() string { return filepath.Join(d.RunDir, "containerd.sock") }

func (d *Daemon) root() string       { return filepath.Join(d.StateDir, "containerd") }
func (d *Daemon) temp() string       { return filepath.Join(d.root(), "tmp") }
func (d *Daemon) socketDir() string  { return filepath.Join(d.RunDir, "s") }
func (d *Daemon) configFile() string { return filepath.Join(d.root(), "config.toml") }
func (d *Daemon) pidFile() string    { return filepath.Join(d.RunDir, "containerd.pid") }
func (d *Daemon) program() string    { return filepath.Join(d.Libexec, "containerd") }

// Ready blocks until containerd answers, or ctx ends.
func (d *Daemon) Ready(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", d.Address())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("wait for containerd: %w", errors.Join(context.Cause(ctx), err))
		}
	}
}

// Run keeps containerd running until ctx ends, and then stops it. It takes over
// one that runs already. Tasks notice nothing of any of that.
func (d *Daemon) Run(ctx context.Context) error {
	const slowest = 5 * time.Second
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, slowest) {
		answered, err := d.once(ctx)
		if ctx.Err() != nil {
			return err
		}
		if answered {
			pause = 100 * time.Millisecond
		}
		d.Log.Error("containerd ended; it is started again", zap.Duration("in", pause), zap.Error(err), zap.String("log", d.logFile()))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// once sees one containerd through its life. answered tells whether it got as
// far as answering.
func (d *Daemon) once(ctx context.Context) (answered bool, err error) {
	p, err := d.adopt()
	if err != nil {
		return false, err
	}
	if p == nil {
		if p, err = d.start(); err != nil {
			return false, err
		}
	}
	defer p.close()

	ready, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	go func() { // One that ended will never be ready.
		select {
		case <-p.done:
			cancel()
		case <-ready.Done():
		}
	}()
	if err := d.Ready(ready); ctx.Err() != nil {
		return false, p.stop()
	} else if err != nil {
		return false, errors.Join(err, p.stop())
	}
	d.Log.Info("containerd ready", zap.Int("pid", p.pid), zap.Bool("adopted", p.adopted), zap.String("address", d.Address()))
	select {
	case <-p.done:
		return true, nil
	case <-ctx.Done():
		return true, p.stop()
	}
}

// identity is what the PID file says: a process, and when it started, as PIDs
// are used again.
type identity struct {
	PID       int
	StartTime string // field 22 of /proc/<pid>/stat
	BootID    string
}

// adopt returns the containerd that an earlier process of ours started, or nil.
func (d *Daemon) adopt() (*process, error) {
	text, err := os.ReadFile(d.pidFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for a running containerd: %w", err)
	}
	var known identity
	if err == nil && json.Unmarshal(text, &known) == nil {
		if p, err := open(known.PID); err == nil {
			if now, err := identify(known.PID); err == nil && now == known {
				p.adopted = true
				return p, nil
			}
			p.close()
		}
	}
	return d.find()
}

// find looks for a containerd of ours that no PID file names: whoever started it died
// right after. Another one beside it would wait for its database for ever.
func (d *Daemon) find() (*process, error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, fmt.Errorf("look for a running containerd: %w", err)
	}
	want := strings.Join([]string{d.program(), "--config", d.configFile(), ""}, "\x00")
	for _, path := range lines {
		if line, err := os.ReadFile(path); err != nil || string(line) != want {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		p, err := open(pid)
		if err != nil {
			continue // It has just ended.
		}
		p.adopted = true
		if err := d.writePIDFile(pid); err != nil {
			p.close()
			return nil, fmt.Errorf("adopt containerd: %w", err)
		}
		return p, nil
	}
	return nil, nil
}

func (d *Daemon) start() (*process, error) {
	logFile, err := d.openLog()
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	cmd := exec.Command(d.program(), "--config", d.configFile())
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.Dir = d.root()
	cmd.Env = cmd.Environ()
	for i, kv := range cmd.Env { // Its shim looks for runc there, too.
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			cmd.Env[i] = "PATH=" + d.Libexec + ":" + path
		}
	}
	// What this process ignores, as after nohup, a container would ignore too, and could not
	// be told to end by it. What it handles it does not hand on, and handling it like this
	// is ignoring it.
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	// Its own session: a signal to our terminal or process group is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start containerd: %w", err)
	}
	p, err := open(cmd.Process.Pid)
	if err == nil {
		err = d.writePIDFile(cmd.Process.Pid)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start containerd: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	go cmd.Wait() // A child that nobody waits for stays as a zombie.
	return p, nil
}

func (d *Daemon) writePIDFile(pid int) error {
	id, err := identify(pid)
	if err != nil {
		return err
	}
	text, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return os.WriteFile(d.pidFile(), text, 0o600)
}

// maxLog is how large containerd's log may be when containerd starts; a larger
// one is put aside, in the place of the one before.
const maxLog = 10 << 20

func (d *Daemon) logFile() string { return filepath.Join(d.StateDir, "containerd.log") }

func (d *Daemon) openLog() (*os.File, error) {
	if st, err := os.Stat(d.logFile()); err == nil && st.Size() > maxLog {
		if err := os.Rename(d.logFile(), d.logFile()+".1"); err != nil {
			return nil, fmt.Errorf("rotate containerd's log: %w", err)
		}
	}
	f, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open containerd's log: %w", err)
	}
	return f, nil
}
