package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/access"
	"berth/fault"
	"berth/isolation"
	"berth/isolation/isolationtest"
	"berth/task"
)

// world is a fake host with one task on it.
type world struct {
	*Sessions
	fake    isolationtest.Fake
	task    task.Task
	records []Record
}

func newWorld(t *testing.T) *world {
	w := &world{}
	id := task.NewID()
	w.task = task.Task{ID: id, ARN: "arn:task/" + string(id), Containers: []task.Container{{Name: "main", LastStatus: task.Running}}}
	ctx := t.Context()
	if _, err := w.fake.Provision(ctx, isolation.Sandbox{ID: id}); err != nil {
		t.Fatal(err)
	}
	if err := w.fake.Create(ctx, isolation.Container{Task: id, Name: "main", Image: "image", Command: []string{"sleep", "9999h"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.fake.Start(ctx, id, "main"); err != nil {
		t.Fatal(err)
	}
	w.Sessions = New(Config{
		Runtime: &w.fake, Tasks: w, Record: func(_ context.Context, r Record) { w.records = append(w.records, r) },
		Idle: Idle, Most: 2, Log: zap.NewNop(), Now: time.Now, NewID: func() string { return string(task.NewID()) },
	})
	return w
}

func (w *world) Task(_ context.Context, id task.ID) (task.Task, error) {
	if id != w.task.ID {
		return task.Task{}, fault.New(fault.NotFound, "no task %s", id)
	}
	return w.task, nil
}

func (w *world) prepare(t *testing.T, command ...string) Session {
	t.Helper()
	s, err := w.Prepare(access.With(t.Context(), access.Identity{ARN: "arn:ann"}), Wish{Task: w.task.ID, Command: command, Via: "exec"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Ensure a session carries what is said, and a record says who, what and how it ended.
func TestHold(t *testing.T) {
	w := newWorld(t)
	var out bytes.Buffer
	code, err := w.Hold(t.Context(), w.prepare(t, "cat"), Streams{Stdin: strings.NewReader("hello"), Stdout: &out, Stderr: io.Discard})
	if code != 0 || err != nil || out.String() != "hello" {
		t.Fatalf("Hold = %d, %v; it said %q", code, err, &out)
	}
	if len(w.records) != 2 || !w.records[0].Ended.IsZero() {
		t.Fatalf("records = %+v", w.records)
	}
	r := w.records[1]
	if r.Who.ARN != "arn:ann" || r.TaskARN != w.task.ARN || r.Command[0] != "cat" || r.Container != "main" || r.Code == nil || *r.Code != 0 || r.In != 5 || r.Out != 5 || r.Ended.IsZero() {
		t.Errorf("record = %+v", r)
	}
}

// Ensure a session in which nothing is said ends, and one in which something is does not.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		began := time.Now()
		if _, err := w.Hold(t.Context(), w.prepare(t, "sleep", "99h"), Streams{Stdout: io.Discard, Stderr: io.Discard}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Hold = %v", err)
		}
		if took := time.Since(began); took != Idle {
			t.Errorf("it was ended after %s", took)
		}
		if r := w.records[1]; r.Code != nil || r.Cause == "" {
			t.Errorf("record = %+v", r)
		}

		typed, keyboard := io.Pipe()
		began = time.Now()
		go func() {
			for range 5 {
				time.Sleep(Idle - time.Second)
				keyboard.Write([]byte("still here\n"))
			}
			keyboard.Close()
		}()
		if code, err := w.Hold(t.Context(), w.prepare(t, "cat"), Streams{Stdin: typed, Stdout: io.Discard, Stderr: io.Discard}); code != 0 || err != nil {
			t.Errorf("Hold = %d, %v after %s", code, err, time.Since(began))
		}
		w.stop(t)
	})
}

func (w *world) stop(t *testing.T) {
	if err := w.fake.Remove(t.Context(), w.task.ID); err != nil {
		t.Error(err)
	}
}

// Ensure a container has only so many sessions at a time.
func TestMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for range 2 {
			s := w.prepare(t, "sleep", "1m")
			go func() {
				_, err := w.Hold(ctx, s, Streams{Stdout: io.Discard, Stderr: io.Discard})
				ended <- err
			}()
		}
		synctest.Wait()
		if _, err := w.Hold(ctx, w.prepare(t, "cat"), Streams{}); fault.KindOf(err) != fault.Exhausted {
			t.Errorf("a session too many: %v", err)
		}
		cancel()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Hold = %v", err)
			}
		}
		if code, err := w.Hold(t.Context(), w.prepare(t, "exit", "3"), Streams{}); code != 3 || err != nil {
			t.Errorf("a session after others = %d, %v", code, err)
		}
		w.stop(t)
	})
}

// Ensure there is no session where there is nothing to talk to.
func TestPrepare(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		what string
		wish Wish
		want fault.Kind
	}{
		{"no command", Wish{Task: w.task.ID}, fault.Invalid},
		{"no task", Wish{Task: task.NewID(), Command: []string{"sh"}}, fault.NotFound},
		{"no container", Wish{Task: w.task.ID, Container: "side", Command: []string{"sh"}}, fault.NotFound},
	} {
		if _, err := w.Prepare(t.Context(), c.wish); fault.KindOf(err) != c.want || err == nil {
			t.Errorf("%s: %v, want %s", c.what, err, c.want)
		}
	}
	w.task.Containers[0].LastStatus = task.Stopped
	if _, err := w.Prepare(t.Context(), Wish{Task: w.task.ID, Command: []string{"sh"}}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a container that has stopped: %v", err)
	}
	w.task.Containers = append(w.task.Containers, task.Container{Name: "side", LastStatus: task.Running})
	if _, err := w.Prepare(t.Context(), Wish{Task: w.task.ID, Command: []string{"sh"}}); fault.FieldOf(err) != "container" {
		t.Errorf("one of several containers: %v", err)
	}
}

// Ensure a server that stops ends its sessions, and begins no more.
func TestStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		life, stop := context.WithCancel(t.Context())
		ran, held := make(chan error, 1), make(chan error, 1)
		go func() { ran <- w.Run(life) }()
		one := w.prepare(t, "sleep", "9h")
		go func() {
			_, err := w.Hold(t.Context(), one, Streams{})
			held <- err
		}()
		synctest.Wait()
		stop()
		if err := <-held; fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Hold = %v", err)
		}
		if err := <-ran; err != nil {
			t.Errorf("Run = %v", err)
		}
		if _, err := w.Hold(t.Context(), w.prepare(t, "exit", "0"), Streams{}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Hold after the end = %v", err)
		}
		w.stop(t)
	})
}
