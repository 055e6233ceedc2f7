//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// plugin builds AWS's Session Manager plugin and returns the folder that it is in.
func plugin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-C", "../clients/plugin", "-ldflags", "-s -w", "-o", filepath.Join(dir, "session-manager-plugin"),
		"github.com/aws/session-manager-plugin/src/sessionmanagerplugin-main")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	return dir
}

// Ensure "aws ecs execute-command" with AWS's own plugin works as with Fargate: what is
// typed, sizes, UTF-8, Ctrl-C, much output byte for byte, and the end.
func TestExecuteCommand(t *testing.T) {
	aws, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("NOT TESTED: there is no AWS CLI here (apt-get install awscli)")
	}
	plugins := plugin(t)
	s := start(t)
	s.importProgram("../../isolation/isolationtest/probe", "test/probe:1")
	var out struct{ Tasks []aTask }
	s.call("POST", "/api/v1/tasks", `{"enableExecuteCommand":true,"taskDefinition":{"family":"guest","requiresCompatibilities":["FARGATE"],`+
		`"networkMode":"awsvpc","cpu":"256","memory":"512","taskRoleArn":"arn:aws:iam::000000000000:role/guest",`+
		`"containerDefinitions":[{"name":"main","image":"test/probe:1","command":["sleep","1h"]}]}}`, &out)
	id := s.until(out.Tasks[0].id(), "RUNNING", 30*time.Second).id()

	screen, keys := openPTY(t)
	screen.resize(t, 132, 43)
	at := func(stdout *os.File, command string) *exec.Cmd {
		cmd := exec.Command(aws, "--endpoint-url", "http://"+s.addr, "--region", "us-east-1", "ecs", "execute-command",
			"--interactive", "--task", id, "--command", command)
		cmd.Env = append(os.Environ(), "PATH="+plugins+":"+os.Getenv("PATH"), "AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secret", "AWS_PAGER=")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = keys, stdout, keys
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	ends := func(cmd *exec.Cmd, word string) {
		t.Helper()
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the AWS CLI: %v", err)
			}
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			t.Fatal("the AWS CLI does not end")
		}
		screen.shows(s, word)
	}
	types := func(text string) {
		t.Helper()
		if _, err := screen.master.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}

	cmd := at(keys, "/program window")
	screen.shows(s, "132x43")
	screen.resize(t, 77, 33)
	screen.shows(s, "77x33")
	types("q\r")
	ends(cmd, "The command exited with code 5.")

	cmd = at(keys, "/program cat")
	types("grüß dich\r")
	screen.shows(s, "grüß dich\r\r\ngrüß dich") // the echo, and what cat says
	types("\x03")
	ends(cmd, "The command exited with code 130.")

	const lines = 50_000
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	ends(at(file, fmt.Sprintf("/program 'chatter' \"%d\"", lines)), "")
	got, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	for n := range lines {
		fmt.Fprintf(&want, "%d %s\r\n", n, strings.Repeat("x", 200))
	}
	if !bytes.Contains(got, want.Bytes()) {
		t.Errorf("%d bytes came, without the %d that were said in one piece", len(got), want.Len())
	}
}
