package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/client"
	"berth/server/api"
	"berth/task"
)

// follower shows what tasks do until they stop.
type follower struct {
	*app
	prefixed bool // lines begin with who wrote them
	mu       sync.Mutex
	bars     bars // of pulls
}

// follow shows what the tasks do until all have stopped, and returns them and the exit
// code that stands for how they ended. If it was left before, there are none.
func (a *app) follow(ctx context.Context, tasks []task.Task) (ended []task.Task, code int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{app: a, bars: bars{w: a.err, terminal: terminal(a.err)}}
	f.prefixed = len(tasks) > 1
	for _, t := range tasks {
		f.prefixed = f.prefixed || len(t.Containers) > 1
		a.note("Task %s", t.ID)
	}
	interrupted := f.onInterrupt(ctx, cancel, tasks)

	ended = make([]task.Task, len(tasks))
	var g errgroup.Group
	for i, t := range tasks {
		g.Go(func() (err error) {
			ended[i], err = f.one(ctx, t, len(tasks) > 1)
			return err
		})
	}
	err = g.Wait()
	select {
	case <-interrupted:
		return nil, 130, nil // 128 + SIGINT
	default:
	}
	if err != nil {
		return nil, codeBerth, err
	}
	for _, t := range ended {
		a.note("%s", outcome(t))
		if code == 0 {
			code = exitCode(t)
		}
	}
	return ended, code, nil
}

// onInterrupt stops the tasks at the first Ctrl-C and gives up waiting for them
// at the second. The result is closed at the second.
func (f *follower) onInterrupt(ctx context.Context, leave context.CancelFunc, tasks []task.Task) <-chan struct{} {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	left := make(chan struct{})
	go func() {
		defer signal.Stop(signals)
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			if n == 2 {
				f.say("Left. What was asked to stop will stop.")
				close(left)
				leave()
				return
			}
			f.say("Asking %s to stop; once more Ctrl-C leaves without waiting.", count(len(tasks), "task"))
			for _, t := range tasks {
				if _, err := f.client().Stop(ctx, string(t.ID), task.ReasonUserStopped); err != nil {
					f.say("berth: %s", explain(err))
				}
			}
		}
	}()
	return left
}

// one shows what one task does until it has stopped.
func (f *follower) one(ctx context.Context, t task.Task, several bool) (task.Task, error) {
	pulling, stopPulling := context.WithCancel(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer stopPulling()
	others.Go(func() { f.pulls(pulling, t) })

	lines := make(chan error, 1)
	go func() { lines <- f.logs(ctx, t, several) }()

	status := task.Status("")
	for now, err := range f.client().Watch(ctx, string(t.ID)) {
		if err != nil {
			return t, err
		}
		if t = now; t.LastStatus == status {
			continue
		}
		status = t.LastStatus
		if status != task.Provisioning && status != task.Pending {
			stopPulling()
		}
		f.sayStatus(t, several)
	}
	select { // the last lines come after the last status
	case err := <-lines:
		return t, err
	case <-ctx.Done():
		return t, ctx.Err()
	}
}

// sayStatus tells of the states that mean something to a person.
func (f *follower) sayStatus(t task.Task, several bool) {
	who := ""
	if several {
		who = string(t.ID) + " "
	}
	switch t.LastStatus {
	case task.Provisioning:
		f.say("%sWaiting for capacity, cgroup and network", who)
	case task.Pending:
		f.say("%sPulling %s", who, strings.Join(imagesOf(t), ", "))
	case task.Running:
		f.say("%sRunning %s after it was submitted", who, span(t.StartedAt.Sub(t.CreatedAt)))
	}
}

func imagesOf(t task.Task) []string {
	var names []string
	for _, c := range t.Containers {
		if !slices.Contains(names, c.Image) {
			names = append(names, c.Image)
		}
	}
	return names
}

// say tells a person something, above the bars of pulls if there are any.
func (f *follower) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bars.hide()
	f.note("%s", clean(fmt.Sprintf(format, args...)))
	f.bars.show()
}

// logs prints what the task's containers write: stdout to stdout, all else to
// stderr.
func (f *follower) logs(ctx context.Context, t task.Task, several bool) error {
	for line, err := range f.client().Logs(ctx, string(t.ID), client.LogQuery{Follow: true}) {
		if err != nil {
			return fmt.Errorf("follow logs: %w", err)
		}
		f.mu.Lock()
		f.bars.hide()
		f.printLine(line, prefix(t, line, f.prefixed, several))
		f.bars.show()
		f.mu.Unlock()
	}
	return nil
}

func prefix(t task.Task, line api.LogLine, prefixed, several bool) string {
	switch {
	case several:
		return string(t.ID[len(t.ID)-6:]) + "/" + line.Container + " | "
	case prefixed:
		return line.Container + " | "
	}
	return ""
}

// printLine prints one line of a log. A terminal gets nothing that could steer
// it; a file gets the line as it is.
func (a *app) printLine(line api.LogLine, prefix string) {
	w := a.out
	if line.Stream != "stdout" {
		w = a.err
	}
	text := line.Text
	if terminal(w) {
		text = cleanLine(text)
	}
	end := "\n"
	if line.Partial {
		end = ""
	}
	fmt.Fprint(w, clean(prefix), text, end)
}

// pulls shows how far the images of the task have come.
func (f *follower) pulls(ctx context.Context, t task.Task) {
	for all, err := range f.client().Pulls(ctx) {
		if err != nil {
			break // They are over, or the task itself will tell that it cannot go on.
		}
		f.mu.Lock()
		f.bars.update(ours(all, t))
		f.mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bars.update(nil)
}

// ours selects the pulls of images that t needs.
func ours(all []task.PullProgress, t task.Task) []task.PullProgress {
	var some []task.PullProgress
	for _, p := range all {
		for _, c := range t.Containers {
			if p.Image == c.Image || strings.HasSuffix(p.Image, "/"+c.Image) || strings.HasSuffix(p.Image, "/"+c.Image+":latest") {
				some = append(some, p)
				break
			}
		}
	}
	return some
}

// outcome says in one line how a task ended.
func outcome(t task.Task) string {
	var ends []string
	for _, c := range t.Containers {
		switch {
		case c.ExitCode != nil && c.Reason != "":
			ends = append(ends, fmt.Sprintf("%s exited with %d (%s)", c.Name, *c.ExitCode, c.Reason))
		case c.ExitCode != nil:
			ends = append(ends, fmt.Sprintf("%s exited with %d", c.Name, *c.ExitCode))
		case c.Reason != "":
			ends = append(ends, fmt.Sprintf("%s did not run: %s", c.Name, c.Reason))
		}
	}
	ran := "without having run"
	if !t.StartedAt.IsZero() {
		ran = "after " + span(latest(t.ExecutionStoppedAt, t.StoppingAt).Sub(t.StartedAt))
	}
	text := fmt.Sprintf("Task %s %s %s: %s", t.ID, strings.ToLower(string(t.LastStatus)), ran, t.StoppedReason)
	if len(ends) > 0 {
		text += "; " + strings.Join(ends, ", ")
	}
	return clean(text)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// exitCode returns the code that stands for how the task ended: that of the
// first essential container that failed, 0 if none did, and codeBerth if the
// task did not come to run, or was stopped for want of money before it was done.
func exitCode(t task.Task) int {
	ran := false
	for _, c := range t.Containers {
		if !c.Essential || c.ExitCode == nil {
			continue
		}
		ran = true
		if *c.ExitCode != 0 {
			return *c.ExitCode
		}
	}
	if !ran || t.OverSpent() {
		return codeBerth
	}
	return 0
}
