package containerd

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"go.uber.org/zap"

	"berth/task"
)

// hangup is berth-hangup, a program that ends sessions the moment that this process has
// died: the kernel tells it by the end of its input. It is started for the first session.
// Without it they go on until the next server ends them.
type hangup struct {
	mu    sync.Mutex
	tried bool
	words io.WriteCloser
}

// watchSession has a session ended if this process dies.
func (r *Runtime) watchSession(id task.ID, rid, mark string) {
	r.hangup.mu.Lock()
	defer r.hangup.mu.Unlock()
	if !r.hangup.tried {
		r.hangup.tried = true
		words, err := r.startHangup()
		if err != nil {
			r.Log.Warn("sessions outlive this server if it is killed, until the next one starts", zap.Error(err))
		}
		r.hangup.words = words
	}
	r.hangup.say("+ %s %s %s\n", id, rid, mark)
}

// unwatchSession takes watchSession back.
func (r *Runtime) unwatchSession(mark string) {
	r.hangup.mu.Lock()
	defer r.hangup.mu.Unlock()
	r.hangup.say("- %s\n", mark)
}

// say tells berth-hangup, if it runs. One that was killed is started for the next session.
func (h *hangup) say(format string, args ...any) {
	if h.words == nil {
		return
	}
	if _, err := fmt.Fprintf(h.words, format, args...); err != nil {
		h.words.Close()
		h.words, h.tried = nil, false
	}
}

func (r *Runtime) startHangup() (io.WriteCloser, error) {
	p := exec.Command(filepath.Join(r.Libexec, "berth-hangup"), "-cgroup-parent", r.CgroupParent)
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends this process's group leaves it alone
	words, err := p.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.Wait() }() // it ends when words is closed, at the latest with this process
	return words, nil
}

// closeHangup ends berth-hangup. No session may run any more.
func (r *Runtime) closeHangup() error {
	r.hangup.mu.Lock()
	defer r.hangup.mu.Unlock()
	if r.hangup.words == nil {
		return nil
	}
	words := r.hangup.words
	r.hangup.words, r.hangup.tried = nil, false
	return words.Close()
}
