//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sigv4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// as runs a command of the command line with a token.
func (s *server) as(token, stdin string, args ...string) (string, error) {
	cmd := exec.Command(berth, args...)
	cmd.Env = append(os.Environ(), "BERTH_ENDPOINT=http://"+s.addr, "BERTH_TOKEN="+token)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// must is as for what cannot fail.
func (s *server) must(token, stdin string, args ...string) string {
	s.t.Helper()
	out, err := s.as(token, stdin, args...)
	if err != nil {
		s.t.Fatalf("berth %v: %v\n%s", args, err, out)
	}
	return out
}

// asked makes one call of the native API with a token and returns the answer.
func (s *server) asked(token, method, path, body string) string {
	s.t.Helper()
	r, err := http.NewRequest(method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// sealed is a request to the ECS API that somebody signed.
type sealed struct {
	key, secret string
	body, sent  string // sent, if it is not body
	at          time.Time
	service     string
	change      func(*http.Request) // after it was signed
}

// signed sends operation, and returns the status and the answer.
func (s *server) signed(operation string, q sealed) (int, string) {
	s.t.Helper()
	if q.body == "" {
		q.body = "{}"
	}
	if q.sent == "" {
		q.sent = q.body
	}
	if q.at.IsZero() {
		q.at = time.Now()
	}
	if q.service == "" {
		q.service = "ecs"
	}
	r, err := http.NewRequest("POST", "http://"+s.addr+"/", strings.NewReader(q.sent))
	if err != nil {
		s.t.Fatal(err)
	}
	r.ContentLength = int64(len(q.body))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113."+operation)
	sum := sha256.Sum256([]byte(q.body))
	if err := sigv4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: q.key, SecretAccessKey: q.secret}, r,
		hex.EncodeToString(sum[:]), q.service, "us-east-1", q.at); err != nil {
		s.t.Fatal(err)
	}
	if q.change != nil {
		q.change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// fields reads "name = value" lines.
func fields(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Ensure a server with --auth lets nobody in who does not prove who they are, and lets those
// who do have what their policies, account and quota allow, by tokens and by signatures.
func TestAuth(t *testing.T) {
	s := start(t, "--auth")
	file := filepath.Join(s.dir, "admin.token")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	admin := strings.TrimSpace(string(b))
	for _, name := range []string{"admin.token", "admin.credentials", "access.key"} {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}

	// Nobody without a token, or with one that is not whole.
	if code := s.call("GET", "/api/v1/tasks", "", &problem{}); code != 401 {
		t.Errorf("without a token: %d", code)
	}
	for _, token := range []string{"x", admin[:len(admin)-1] + "~", strings.Replace(admin, "berth_", "berth_a", 1)[:len(admin)]} {
		if out, err := s.as(token, "", "ps"); err == nil {
			t.Errorf("token %.12s…: %s", token, out)
		}
	}
	if out := s.must(admin, "", "user", "whoami"); !strings.Contains(out, "arn:aws:iam::000000000000:user/admin") {
		t.Errorf("whoami: %s", out)
	}

	// A user of another account, who may do nothing until somebody says so.
	const account = "222222222222"
	s.must(admin, "", "user", "create", "ann", "--account", account)
	token := s.must(admin, "", "user", "token", "create", "ann", "--account", account)
	credentials := s.must(admin, "", "user", "key", "create", "ann", "--account", account)
	key, secret := fields(credentials, "aws_access_key_id"), fields(credentials, "aws_secret_access_key")
	if !strings.HasPrefix(key, "AKIA") || len(key) != 20 || len(secret) != 40 {
		t.Fatalf("key: %s", credentials)
	}
	if out, err := s.as(token, "", "ps"); err == nil || !strings.Contains(out, "is not authorized to perform: ecs:ListTasks because no identity-based policy allows") {
		t.Errorf("without a policy: %v %s", err, out)
	}
	if code, out := s.signed("ListTasks", sealed{key: key, secret: secret}); code != 400 || !strings.Contains(out, "AccessDeniedException") {
		t.Errorf("signed, without a policy: %d %s", code, out)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecs:*","logs:*"],"Resource":"*"},
		{"Effect":"Deny","Action":"ecs:RunTask","Resource":"*","Condition":{"Null":{"aws:RequestTag/team":"true"}}}]}`
	s.must(admin, policy, "user", "policy", "put", "ann", "work", "-f", "-", "--account", account)
	s.must(token, "", "ps")
	s.signatures(key, secret)

	// What is another account's does not exist.
	var made struct{ Tasks []aTask }
	if out := s.asked(admin, "POST", "/api/v1/tasks", `{"taskDefinition":`+definition("hello", "256", "512", "", "hello", "-for", "60s")+`}`); json.Unmarshal([]byte(out), &made) != nil || len(made.Tasks) != 1 {
		t.Fatal(out)
	}
	others := made.Tasks[0].id()
	for _, command := range [][]string{{"describe", others}, {"logs", others}, {"stop", others}} {
		if out, err := s.as(token, "", command...); err == nil || !strings.Contains(out, "not found") && !strings.Contains(out, "no task") {
			t.Errorf("another account's task, %v: %v %s", command, err, out)
		}
	}
	if code, out := s.signed("DescribeTasks", sealed{key: key, secret: secret, body: `{"tasks":["` + others + `"]}`}); code != 200 || !strings.Contains(out, `"MISSING"`) {
		t.Errorf("another account's task: %d %s", code, out)
	}
	if out, err := s.as(token, "", "ledger", "verify"); err == nil {
		t.Errorf("the ledger of all accounts: %s", out)
	}

	// Conditions, quotas and the rate.
	register := definition("web", "256", "512", "", "hello", "-for", "60s")
	if code, out := s.signed("RegisterTaskDefinition", sealed{key: key, secret: secret, body: register}); code != 200 {
		t.Fatalf("register: %d %s", code, out)
	}
	run := func(tags string) (int, string) {
		return s.signed("RunTask", sealed{key: key, secret: secret, body: `{"taskDefinition":"web","launchType":"FARGATE","count":1` + tags + `,
			"networkConfiguration":{"awsvpcConfiguration":{"subnets":["subnet-12345678"]}}}`})
	}
	if code, out := run(""); code != 400 || !strings.Contains(out, "with an explicit deny in an identity-based policy") {
		t.Errorf("without the tag: %d %s", code, out)
	}
	s.must(admin, "", "user", "quota", "set", account, "--tasks", "1")
	const tagged = `,"tags":[{"key":"team","value":"hunter2"}]`
	if code, out := run(tagged); code != 200 || strings.Contains(out, `"reason"`) {
		t.Errorf("with the tag: %d %s", code, out)
	}
	if code, out := run(tagged); !strings.Contains(out, "You've reached the limit on the number of tasks you can run concurrently") {
		t.Errorf("beyond the quota: %d %s", code, out)
	}
	s.must(admin, "", "user", "quota", "set", account, "--requests", "1")
	s.eventually(10*time.Second, "somebody asks too often", func() error {
		if code, out := s.signed("ListTasks", sealed{key: key, secret: secret}); code != 400 || !strings.Contains(out, "ThrottlingException") {
			return io.EOF
		}
		return nil
	})
	s.must(admin, "", "user", "quota", "set", account, "--requests", "0")

	// What was done is written down, without what is confidential.
	trail := s.must(admin, "", "audit", "--account", account, "-o", "json")
	for _, want := range []string{`"RunTask"`, `"arn:aws:iam::222222222222:user/ann"`, `"127.0.0.1"`, `"RegisterTaskDefinition"`} {
		if !strings.Contains(trail, want) {
			t.Errorf("the audit log lacks %s", want)
		}
	}
	for _, secret := range []string{secret, token, admin, "hunter2"} {
		if strings.Contains(trail, secret) {
			t.Errorf("a secret is in the audit log")
		}
	}

	// A key counts as long as it is enabled, whatever server answers.
	s.kill()
	s.run()
	s.eventually(10*time.Second, "ann is known to the next server", func() error { _, err := s.as(token, "", "ps"); return err })
	s.must(admin, "", "user", "key", "disable", key, "--account", account)
	if code, out := s.signed("ListTasks", sealed{key: key, secret: secret}); code != 400 || !strings.Contains(out, "UnrecognizedClientException") {
		t.Errorf("a disabled key: %d %s", code, out)
	}
	s.must(admin, "", "user", "rm", "ann", "--account", account)
	if out, err := s.as(token, "", "ps"); err == nil {
		t.Errorf("a user who was removed: %s", out)
	}
}

// signatures tries what signatures can have wrong.
func (s *server) signatures(key, secret string) {
	s.t.Helper()
	wrong := strings.Map(func(r rune) rune {
		if r == 'a' {
			return 'b'
		}
		return 'a'
	}, secret)
	for name, c := range map[string]struct {
		q    sealed
		code int
		says string
	}{
		"right":           {sealed{}, 200, "taskArns"},
		"wrong secret":    {sealed{secret: wrong}, 400, "InvalidSignatureException"},
		"unknown key":     {sealed{key: "AKIA0000000000000000"}, 400, "UnrecognizedClientException"},
		"4 minutes late":  {sealed{at: time.Now().Add(-4 * time.Minute)}, 200, "taskArns"},
		"6 minutes late":  {sealed{at: time.Now().Add(-6 * time.Minute)}, 400, "Signature expired"},
		"6 minutes early": {sealed{at: time.Now().Add(6 * time.Minute)}, 400, "Signature not yet current"},
		"another body":    {sealed{body: `{"maxResults":1}`, sent: `{"maxResults":2}`}, 400, "InvalidSignatureException"},
		"another service": {sealed{service: "sts"}, 400, "Credential should be scoped to correct service"},
		"another operation": {sealed{change: func(r *http.Request) {
			r.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113.ListClusters")
		}}, 400, "InvalidSignatureException"},
		"a header beside": {sealed{change: func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }}, 400, "InvalidSignatureException"},
		"no signature":    {sealed{change: func(r *http.Request) { r.Header.Del("Authorization") }}, 400, "MissingAuthenticationTokenException"},
		"half of one": {sealed{change: func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")[:40])
		}}, 400, "IncompleteSignatureException"},
		"an unknown operation, not signed": {sealed{change: func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113.Nothing")
		}}, 400, "MissingAuthenticationTokenException"},
	} {
		if c.q.key == "" {
			c.q.key = key
		}
		if c.q.secret == "" {
			c.q.secret = secret
		}
		code, out := s.signed("ListTasks", c.q)
		if code != c.code || !strings.Contains(out, c.says) {
			s.t.Errorf("%s: %d %s, want %d %s", name, code, out, c.code, c.says)
		}
		if strings.Contains(out, secret) {
			s.t.Errorf("%s: the secret is in the answer", name)
		}
	}
	// SDKs send the same bytes again after a time-out: that is not refused.
	at := time.Now()
	for range 2 {
		if code, out := s.signed("ListTasks", sealed{key: key, secret: secret, at: at}); code != 200 {
			s.t.Errorf("sent again: %d %s", code, out)
		}
	}
}

// Ensure a server beyond loopback starts with --auth and TLS only, that the CLI speaks to it
// over TLS, that a renewed certificate is used, and that up and down know it without a name.
func TestTLS(t *testing.T) {
	dir, err := os.MkdirTemp(env("BERTH_TEST_STATE", "/tmp"), "berth-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir, addr: "127.0.0.1:" + port}
	t.Cleanup(s.down)
	certificates := t.TempDir()
	cert, key := filepath.Join(certificates, "cert.pem"), filepath.Join(certificates, "key.pem")
	selfSigned(t, cert, key, 1)
	listen := []string{"--state-dir", dir, "--listen", "0.0.0.0:" + port}
	for _, c := range []struct{ more, says string }{
		{"", "Say --auth"}, {"--tls-cert=" + cert + " --tls-key=" + key, "Say --auth"}, {"--auth", "--tls-cert"},
		{"--auth --tls-cert=" + cert, "go together"}, {"--auth --behind-proxy --trusted-proxy=all", "neither an address nor a CIDR"},
		{"--auth --acme-host=10.0.0.1", "no name in the DNS"},
	} {
		out, err := exec.Command(berth, append(append([]string{"server"}, listen...), strings.Fields(c.more)...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.says) {
			t.Errorf("with %q: %v %s", c.more, err, out)
		}
	}
	s.cmd, s.done = exec.Command(berth, append([]string{"up", "--no-sample", "--auth", "--tls-cert", cert, "--tls-key", key}, listen...)...), make(chan struct{})
	out, err := s.cmd.CombinedOutput()
	close(s.done)
	if err != nil {
		t.Fatalf("berth up: %v\n%s", err, out)
	}
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(args ...string) (string, error) {
		cmd := exec.Command(berth, append(args, "user", "whoami")...)
		cmd.Env = append(os.Environ(), "BERTH_ENDPOINT=https://localhost:"+port, "BERTH_TOKEN="+strings.TrimSpace(string(token)))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := ask("--ca-file", cert); err != nil || !strings.Contains(out, "user/admin") {
		t.Errorf("over TLS: %v %s", err, out)
	}
	if out, err := ask(); err == nil {
		t.Errorf("a certificate that nobody knows will do: %s", out)
	}
	if resp, err := http.Get("http://127.0.0.1:" + port + "/api/v1/tasks"); err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("in the clear: %s", resp.Status)
		}
	}
	selfSigned(t, cert, key, 2)
	s.eventually(15*time.Second, "the renewed certificate is used", func() error {
		conn, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return err
		}
		defer conn.Close()
		if conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64() != 2 {
			return io.EOF
		}
		return nil
	})
}

// selfSigned writes a certificate for localhost and its key.
func selfSigned(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
