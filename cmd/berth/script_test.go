package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/billing/anomaly"
	"berth/billing/history"
	"berth/notice"
	"berth/server/rest"
	"berth/server/rest/resttest"
	"berth/task"
)

var update = flag.Bool("update", false, "write what the scripts say now into the scripts")

// TestScripts runs testdata/*.txt: what the command line says, word for word. A
// script is a list of commands, each followed by "----" and what it says: what
// goes to standard output as it is, what goes to standard error after "! ", the
// exit code if it is not 0. ␛ stands for the escape that steers terminals. To add a case, write the commands and run go test
// ./cmd/berth -update; to review a change, read the diff.
//
// The server is a resttest.Fake, on which demo programs end at once.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			switch {
			case got == string(want):
			case *update:
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// stage is where a script plays.
type stage struct {
	t        *testing.T
	fake     *resttest.Fake
	endpoint string
	dir      string
	env      map[string]string
}

func play(t *testing.T, script string) string {
	fake := resttest.New()
	fake.Script = demo
	c := fake.Config()
	c.Log = zap.NewNop()
	srv := httptest.NewServer(rest.New(t.Context(), c))
	defer srv.Close()
	s := &stage{t: t, fake: fake, endpoint: srv.URL, dir: t.TempDir(), env: map[string]string{"BERTH_ENDPOINT": srv.URL}}

	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(script), "\n\n\n") {
		ask, _, _ := strings.Cut(block, "\n----")
		fmt.Fprint(&out, ask)
		if !strings.HasPrefix(ask, "#") {
			fmt.Fprint(&out, strings.TrimRight("\n----\n"+s.do(ask), "\n"))
		}
		fmt.Fprint(&out, "\n\n\n")
	}
	return strings.TrimSpace(out.String()) + "\n"
}

// do runs one command of a script.
func (s *stage) do(ask string) string {
	line, input, _ := strings.Cut(ask, "\n")
	args := split(line)
	switch args[0] {
	case "file": // file NAME, and its content in the lines below
		if err := os.WriteFile(filepath.Join(s.dir, args[1]), []byte(input), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return "ok"
	case "env": // env KEY=VALUE
		key, value, _ := strings.Cut(args[1], "=")
		s.env[key] = value
		return "ok"
	case "damage": // damage SECRET
		s.fake.DamageSecret(args[1])
		return "ok"
	case "ran": // ran COUNT, and the JSON of a history.Run that was so often, every hour once
		var run history.Run
		if err := json.Unmarshal([]byte(input), &run); err != nil {
			s.t.Fatal(err)
		}
		n, err := strconv.Atoi(args[1])
		if err != nil {
			s.t.Fatal(err)
		}
		for i := range n {
			run.StoppedAt = resttest.Epoch.Add(-time.Duration(i) * time.Hour)
			s.fake.Ran = append(s.fake.Ran, run)
		}
		return "ok"
	case "images": // images JSON
		var images []task.Image
		if err := json.Unmarshal([]byte(input), &images); err != nil {
			s.t.Fatal(err)
		}
		s.fake.SetImages(images...)
		return "ok"
	case "tell": // tell TYPE SUBJECT DATA [WEBHOOK]
		s.fake.Tell(notice.Notice{
			ID: notice.ID(args[1:4]...), At: resttest.Epoch, Type: args[1], Subject: args[2], Data: json.RawMessage(args[3]), Webhook: strings.Join(args[4:], ""),
		})
		return "ok"
	case "found": // found JSON
		var all []anomaly.Anomaly
		if err := json.Unmarshal([]byte(input), &all); err != nil {
			s.t.Fatal(err)
		}
		s.fake.Found(all...)
		return "ok"
	case "berth":
		return s.berth(args[1:], input)
	}
	s.t.Fatalf("no command %q", args[0])
	return ""
}

// berth runs the command line in this process.
func (s *stage) berth(args []string, input string) string {
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$DIR", s.dir)
	}
	var out, errs strings.Builder
	a := newApp(strings.NewReader(input), &out, &errs)
	a.env = func(key string) (string, bool) { v, ok := s.env[key]; return v, ok }
	a.now = func() time.Time { return resttest.Epoch.Add(time.Hour) }
	root := a.root()
	root.SetArgs(args)
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	code := a.report(root.ExecuteContext(ctx))

	said := out.String()
	for line := range strings.Lines(errs.String()) {
		said += "! " + strings.TrimRight(line, "\n") + "\n"
	}
	if code != 0 {
		said += fmt.Sprintf("[exit code %d]\n", code)
	}
	said = strings.ReplaceAll(strings.ReplaceAll(said, s.dir, "$DIR"), s.endpoint, "http://SERVER")
	said = strings.ReplaceAll(said, "\x1b", "␛")
	for strings.Contains(said, "\n\n\n") { // they part the commands of a script
		said = strings.ReplaceAll(said, "\n\n\n", "\n\n")
	}
	return said
}

// split splits a line into words; quotes hold words together.
func split(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

// demo drives a task as the program of berth/demo would that its first container
// runs. Programs that go on are left RUNNING.
func demo(f *resttest.Fake, t task.Task) {
	type instant = task.Instant
	f.Advance(t.ID, func(t task.Task, now instant) task.Transition {
		return task.Provisioned(t, now, task.Network{IPv4: "10.88.0.2"}, "eni-1")
	})
	if strings.Contains(t.Containers[0].Image, "missing") {
		f.Advance(t.ID, func(t task.Task, now instant) task.Transition {
			return task.GaveUp(t, now.Wall, task.FailedToStart, "CannotPullContainerError: missing: not found", nil)
		})
		f.Advance(t.ID, func(t task.Task, now instant) task.Transition { return task.Removed(now.Wall) })
		return
	}
	f.Advance(t.ID, func(t task.Task, now instant) task.Transition { return task.Pulled(now.Wall, nil) })
	started, ended := map[string]task.Outcome{}, map[string]task.Outcome{}
	f.Advance(t.ID, func(t task.Task, now instant) task.Transition {
		for _, c := range t.Containers {
			started[c.Name] = task.Outcome{RuntimeID: c.Name, StartedAt: now.Wall}
		}
		return task.Started(now.Wall, started)
	})
	command := commandOf(f, t)
	code, oom := 0, false
	for _, c := range t.Containers {
		f.Write(t.ID, c.Name, "stdout", "ran "+strings.Join(command, " "))
		f.Write(t.ID, c.Name, "stderr", "a \x1b[31mwarning\x1b[0m")
	}
	switch command[0] {
	case "exit":
		fmt.Sscan(command[1], &code)
	case "hog":
		code, oom = 137, true
	case "sleep":
		return
	}
	f.Advance(t.ID, func(t task.Task, now instant) task.Transition {
		for _, c := range t.Containers {
			ended[c.Name] = task.Outcome{Exit: &task.Exit{Code: code, At: now.Wall, OOMKilled: oom}}
		}
		return task.Quit(now.Wall, task.EssentialExited, task.ReasonEssentialExited, ended)
	})
	f.Advance(t.ID, func(t task.Task, now instant) task.Transition { return task.Deactivated(now.Wall) })
	f.Advance(t.ID, func(t task.Task, now instant) task.Transition { return task.Ended(now.Wall, nil, nil) })
	f.Advance(t.ID, func(t task.Task, now instant) task.Transition { return task.Removed(now.Wall) })
}

func commandOf(f *resttest.Fake, t task.Task) []string {
	for _, o := range t.Overrides.Containers {
		if o.Command != nil {
			return o.Command
		}
	}
	d, err := f.Definition(context.Background(), t.Realm(), t.DefinitionARN)
	if err != nil || len(d.ContainerDefinitions[0].Command) == 0 {
		return []string{"nothing"}
	}
	return d.ContainerDefinitions[0].Command
}
