//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// berth runs the command line against the server and returns what it says.
func (s *server) berth(stdin string, args ...string) (string, error) {
	cmd := exec.Command(berth, args...)
	cmd.Env = append(os.Environ(), "BERTH_ENDPOINT=http://"+s.addr)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *server) put(name, value string) {
	s.t.Helper()
	if out, err := s.berth(value+"\n", "secret", "put", name); err != nil {
		s.t.Fatalf("secret put %s: %v: %s", name, err, out)
	}
}

// secretive returns a definition of containers, each a JSON object without its end.
func secretive(containers ...string) string {
	for i, c := range containers {
		containers[i] = `{"image":"berth/demo:latest",` + c + `}`
	}
	return `{"family":"secretive","requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":"256","memory":"512",` +
		`"executionRoleArn":"arn:aws:iam::000000000000:role/x","containerDefinitions":[` + strings.Join(containers, ",") + `]}`
}

func digest(name, value string) string {
	sum := sha256.Sum256([]byte(value))
	return name + " " + hex.EncodeToString(sum[:])
}

// says waits until a container has said exactly these lines.
func (s *server) says(id, container string, want ...string) {
	s.t.Helper()
	s.eventually(20*time.Second, container+" knows what it was told", func() error {
		var got []string
		for _, e := range s.logs(id) {
			if e.Container == container {
				got = append(got, e.Message)
			}
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("it says %q, not %q", got, want)
		}
		return nil
	})
}

// finds returns the files of the server that have a text in them, apart from the
// memory in which secrets are handed over.
func (s *server) finds(text string) (found []string) {
	s.t.Helper()
	files := 0
	sum := sha256.Sum256([]byte(s.dir))
	for _, top := range []string{s.dir, "/run/berth/" + hex.EncodeToString(sum[:4])} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() && path == filepath.Join(top, "secrets") && top != s.dir {
				return fs.SkipDir
			}
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			if info, err := d.Info(); err != nil || info.Size() > 1<<30 {
				return nil // a task's disk, which is mounted and looked into
			}
			content, err := os.ReadFile(path)
			if files++; err == nil && bytes.Contains(content, []byte(text)) {
				found = append(found, path)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Error(err)
		}
	}
	if files < 20 {
		s.t.Errorf("only %d files were looked at", files)
	}
	return found
}

// Ensure containers are told their secrets from wherever those are, and nobody else
// ever is: not in any file, answer, event or log.
func TestSecrets(t *testing.T) {
	bucket, files := t.TempDir(), t.TempDir()
	const kept, inEnv, inFile, inBucket = "kept-7f3a9c-battery", "env-7f3a9c-horse", "file-7f3a9c-staple", "bucket-7f3a9c-correct"
	for path, text := range map[string]string{
		bucket + "/team/a.env": "PLAIN=of the file\nFIRST=one\nQUOTED=\"" + inBucket + "\"\n# no\n", bucket + "/b.env": "FIRST=two\nSECOND=2\n",
		files + "/api/key": inFile + "\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("E2E_SECRET_DB_USER", inEnv)
	s := start(t, "--secrets", "local,env:E2E_SECRET_,dir:"+files, "--s3", "my-bucket="+bucket)
	s.put("/prod/db", `{"password":"`+kept+`","port":5432}`)
	s.put("prod/db", `{"password":"`+kept+`","port":5433}`)

	const told = `"secrets":[
		{"name":"PASSWORD","valueFrom":"arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf:password::"},
		{"name":"PORT","valueFrom":"arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db:port:AWSCURRENT:"},
		{"name":"DB_USER","valueFrom":"arn:aws:ssm:eu-west-1:123456789012:parameter/db/user"},
		{"name":"KEY","valueFrom":"api/key"}],
		"environmentFiles":[{"type":"s3","value":"arn:aws:s3:::my-bucket/team/a.env"},{"type":"s3","value":"arn:aws:s3:::my-bucket/b.env"}],
		"environment":[{"name":"PLAIN","value":"of the definition"}]`
	id := s.submit(secretive(
		`"name":"main","command":["sleep","1h"],`+told,
		`"name":"say","essential":false,"command":["digest","PASSWORD","PORT","DB_USER","KEY","PLAIN","FIRST","SECOND","QUOTED"],`+told,
		`"name":"init","essential":false,"linuxParameters":{"initProcessEnabled":true},"command":["digest","PASSWORD","SECOND"],`+told,
	)).id()
	s.until(id, "RUNNING", 30*time.Second)
	s.says(id, "say", digest("PASSWORD", kept), digest("PORT", "5433"), digest("DB_USER", inEnv), digest("KEY", inFile),
		digest("PLAIN", "of the definition"), digest("FIRST", "one"), digest("SECOND", "2"), digest("QUOTED", `"`+inBucket+`"`))
	s.says(id, "init", digest("PASSWORD", kept), digest("SECOND", "2"))

	nowhere := func(when string) {
		t.Helper()
		for _, value := range []string{kept, inEnv, inFile, inBucket} {
			if found := s.finds(value); len(found) > 0 {
				t.Errorf("%s %s is in %q", when, value, found)
			}
		}
		for _, args := range [][]string{{"describe", id}, {"describe", id, "-o", "json"}, {"secret", "list", "-o", "json"}, {"definition", "show", "secretive"}} {
			out, err := s.berth("", args...)
			if strings.Contains(out, "7f3a9c") || len(out) < 20 {
				t.Errorf("berth %v says %v: %s", args, err, out)
			}
		}
	}
	nowhere("while it runs")
	s.call("POST", "/api/v1/tasks/"+id+"/stop", `{}`, nil)
	s.until(id, "STOPPED", 60*time.Second)
	nowhere("after it stopped")
	if n := s.events(id, "7f3a9c"); n < 5 {
		t.Errorf("only %d events were looked at", n)
	}
	if matches, _ := filepath.Glob("/run/berth/*/secrets/" + id); len(matches) > 0 {
		t.Errorf("the memory of the task is still there: %v", matches)
	}
}

// events looks through the events of a task for a text and returns how many there were.
func (s *server) events(id, text string) (n int) {
	s.t.Helper()
	req, err := http.NewRequest("GET", "http://"+s.addr+"/api/v1/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/x-ndjson")
	req.Header.Set("Last-Event-ID", "0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	read := make([]byte, 0, 1<<20)
	buffer := make([]byte, 64<<10)
	for !bytes.Contains(read, []byte(`"lastStatus":"STOPPED"`)) {
		k, err := resp.Body.Read(buffer)
		if read = append(read, buffer[:k]...); err != nil {
			s.t.Fatalf("events: %v after %s", err, read)
		}
	}
	if bytes.Contains(read, []byte(text)) {
		s.t.Errorf("an event says %q", text)
	}
	return bytes.Count(read, []byte(id))
}

// Ensure what is missing ends a task with Fargate's reason.
func TestMissingSecrets(t *testing.T) {
	s := start(t, "--s3", "my-bucket="+t.TempDir())
	const pulling = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
	for container, reason := range map[string]string{
		`"secrets":[{"name":"A","valueFrom":"none"}]`:                                                      pulling + "unable to retrieve secrets from ssm: invalid parameters: none",
		`"secrets":[{"name":"A","valueFrom":"arn:aws:secretsmanager:us-east-1:123456789012:secret:none"}]`: pulling + "unable to retrieve secret from asm: failed to fetch secret ",
		`"environmentFiles":[{"type":"s3","value":"arn:aws:s3:::my-bucket/none.env"}]`:                     "ResourceInitializationError: failed to download env files: arn:aws:s3:::my-bucket/none.env: NoSuchKey",
		`"environmentFiles":[{"type":"s3","value":"arn:aws:s3:::other-bucket/none.env"}]`:                  "ResourceInitializationError: failed to download env files: arn:aws:s3:::other-bucket/none.env: NoSuchBucket",
	} {
		got := s.until(s.submit(secretive(`"name":"main","command":["hello"],`+container)).id(), "STOPPED", 30*time.Second)
		if got.StopCode != "TaskFailedToStart" || !strings.HasPrefix(got.StoppedReason, reason) || got.code("main") != -1 {
			t.Errorf("%s: %s %s", container, got.StopCode, got.StoppedReason)
		}
	}
	var p problem
	body := `{"taskDefinition":` + secretive(`"name":"main","secrets":[{"name":"A","valueFrom":"arn:aws:iam::1:x"}]`) + `}`
	if code := s.call("POST", "/api/v1/tasks", body, &p); code != 400 || p.Field != "taskDefinition.containerDefinitions[0].secrets[0].valueFrom" {
		t.Errorf("odd reference: %d %+v", code, p)
	}
	if out, err := s.berth("x", "secret", "put", "a b"); err == nil || !strings.Contains(out, "no name of a secret") {
		t.Errorf("odd name: %v %s", err, out)
	}
}

// Ensure a damaged file fails only the tasks that need it, at once and with a reason, and
// is named to the operator; and that the secret can be put again.
func TestDamagedSecret(t *testing.T) {
	s := start(t)
	s.put("good", "one")
	s.put("bad", "two")
	sum := sha256.Sum256([]byte("bad"))
	file := filepath.Join(s.dir, "secrets", hex.EncodeToString(sum[:])+".json")
	if err := os.Truncate(file, 50); err != nil {
		t.Fatal(err)
	}
	for valueFrom, words := range map[string]string{
		"bad": "unable to retrieve secrets from ssm: ",
		"arn:aws:secretsmanager:us-east-1:123456789012:secret:bad-AbCdEf": "unable to retrieve secret from asm: failed to fetch secret " +
			"arn:aws:secretsmanager:us-east-1:123456789012:secret:bad-AbCdEf from secrets manager: ",
	} {
		id := s.submit(secretive(`"name":"main","command":["hello"],"secrets":[{"name":"A","valueFrom":"` + valueFrom + `"}]`)).id()
		got := s.until(id, "STOPPED", 20*time.Second)
		want := "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: " + words +
			"the file of the secret bad is damaged: put the secret again, or remove it"
		if got.StopCode != "TaskFailedToStart" || got.StoppedReason != want {
			t.Errorf("%s: %s %s", valueFrom, got.StopCode, got.StoppedReason)
		}
	}
	out, err := s.berth("", "secret", "list")
	if err != nil || strings.Count(out, "damaged") != 1 || !strings.Contains(out, "good") || !strings.Contains(out, "bad") {
		t.Errorf("secret list: %v\n%s", err, out)
	}
	if log, err := os.ReadFile(filepath.Join(s.dir, "stdio.log")); err != nil || !bytes.Contains(log, []byte(file)) {
		t.Errorf("the server's log does not name %s (%v)", file, err)
	}
	s.put("bad", "three")
	id := s.submit(secretive(`"name":"main","command":["digest","A","B"],"secrets":[{"name":"A","valueFrom":"bad"},{"name":"B","valueFrom":"good"}]`)).id()
	s.until(id, "STOPPED", 30*time.Second)
	s.says(id, "main", digest("A", "three"), digest("B", "one"))
}

// Ensure a task that was told its secrets goes on after the server died, also when they
// are gone by then; and that the secrets outlive the server.
func TestSecretsAfterRestart(t *testing.T) {
	s := start(t)
	s.put("first", "one")
	s.put("second", "two")
	id := s.submit(secretive(
		`"name":"before","essential":false,"command":["sleep","4s"]`,
		`"name":"main","dependsOn":[{"containerName":"before","condition":"SUCCESS"}],"command":["digest","A"],"secrets":[{"name":"A","valueFrom":"first"}]`,
	)).id()
	s.until(id, "ACTIVATING", 20*time.Second)
	s.eventually(20*time.Second, "the first container is started, and so both are made", func() error {
		if started, _ := filepath.Glob(filepath.Join(s.dir, "tasks", id, id+"-*", "started.json")); len(started) != 1 {
			return fmt.Errorf("%d are started", len(started))
		}
		return nil
	})
	if out, err := s.berth("", "secret", "rm", "first"); err != nil {
		t.Fatalf("secret rm: %v %s", err, out)
	}
	s.kill()
	s.run()
	if got := s.until(id, "STOPPED", 60*time.Second); got.code("main") != 0 {
		t.Errorf("after the restart: %d %s %s", got.code("main"), got.StopCode, got.StoppedReason)
	}
	s.says(id, "main", digest("A", "one"))
	id = s.submit(secretive(`"name":"main","command":["digest","A"],"secrets":[{"name":"A","valueFrom":"second"}]`)).id()
	s.until(id, "STOPPED", 30*time.Second)
	s.says(id, "main", digest("A", "two"))
}

// Ensure the key is its owner's alone, and a server refuses one that is not.
func TestSecretKey(t *testing.T) {
	s := start(t)
	if _, err := os.Stat(filepath.Join(s.dir, "secrets")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is something of secrets before there is one: %v", err)
	}
	s.put("a", "value")
	paths, err := filepath.Glob(filepath.Join(s.dir, "secrets", "*"))
	if err != nil || len(paths) != 4 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	key := filepath.Join(s.dir, "secrets", "key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	s.terminate()
	out, err := exec.Command(berth, "server", "--state-dir", s.dir, "--listen", s.addr).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "0600") {
		t.Errorf("a server with a key that all can read: %v\n%s", err, out)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	right, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte(strings.Repeat("5a", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command(berth, "server", "--state-dir", s.dir, "--listen", s.addr).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Bring the right key back") {
		t.Errorf("a server with another key: %v\n%s", err, out)
	}
	if err := os.WriteFile(key, right, 0o600); err != nil {
		t.Fatal(err)
	}
	s.run()
	for _, flags := range [][]string{{"--secrets", "cloud"}, {"--secrets", "env:"}, {"--secrets", "dir:relative"}, {"--secrets", "vault:http://127.0.0.1:1"}, {"--s3", "x"}, {"--s3", "my-bucket=/nowhere/at/all"}} {
		out, err := exec.Command(berth, append([]string{"server", "--state-dir", t.TempDir(), "--listen", freeAddr(t)}, flags...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), flags[0]) {
			t.Errorf("%v: %v\n%s", flags, err, out)
		}
	}
}

// Ensure a Vault that is away for a while only delays a task, and that what it knows
// reaches the task.
func TestSecretsOfVault(t *testing.T) {
	var asked atomic.Int32
	vault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Vault-Token") != "s.token":
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
		case r.URL.Path != "/v1/secret/data/prod/db":
			http.Error(w, `{"errors":[]}`, http.StatusNotFound)
		case asked.Add(1) <= 3:
			http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, `{"data":{"data":{"password":"of vault"},"metadata":{"version":1}}}`)
		}
	}))
	defer vault.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s.token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--secrets", "vault:"+vault.URL, "--vault-token-file", token)
	id := s.submit(secretive(`"name":"main","command":["digest","A"],` +
		`"secrets":[{"name":"A","valueFrom":"arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf:password::"}]`)).id()
	s.until(id, "STOPPED", 30*time.Second)
	s.says(id, "main", digest("A", "of vault"))
	if n := asked.Load(); n != 4 {
		t.Errorf("Vault was asked %d times", n)
	}
	if out, err := s.berth("x", "secret", "put", "a"); err == nil || !strings.Contains(out, "keeps no secrets itself") {
		t.Errorf("secret put without a store: %v %s", err, out)
	}
}
