package secret

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/task"
)

// fixed has values by name; a name that begins with ! fails.
type fixed map[string]string

func (f fixed) Value(_ context.Context, name, key string) (string, error) {
	if text, bad := f["!"+name]; bad {
		return "", errors.New(text)
	}
	value, ok := f[name]
	if !ok {
		return "", absent(name)
	}
	return pick([]byte(value), key)
}

func resolve(t *testing.T, r *Resolver, valueFrom string) (string, error) {
	t.Helper()
	env, err := r.Resolve(t.Context(), task.ContainerPlan{Secrets: []task.Secret{{Name: "S", ValueFrom: valueFrom}}})
	if err != nil || len(env) != 1 {
		return "", err
	}
	return strings.TrimPrefix(env[0], "S="), nil
}

const manager = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"

// Ensure references of both kinds find what they mean, the first source first.
func TestResolveSecrets(t *testing.T) {
	r := &Resolver{Sources: []Source{
		fixed{"prod/db": `{"password":"p","port":1}`, "both": "first"},
		fixed{"both": "second", "plain": "x", "a-secret": "ends in six letters", "a": "wrong"},
	}}
	for valueFrom, want := range map[string]string{
		"plain": "x", "/plain": "x", "/prod/db": `{"password":"p","port":1}`, "both": "first",
		"arn:aws:ssm:us-east-1:123456789012:parameter/prod/db":         `{"password":"p","port":1}`,
		"arn:aws-us-gov:ssm:us-gov-west-1:123456789012:parameter/both": "first",
		manager + "prod/db": `{"password":"p","port":1}`, manager + "prod/db-AbCdEf": `{"password":"p","port":1}`,
		manager + "prod/db-AbCdEf:password::": "p", manager + "prod/db:port:AWSCURRENT:": "1", manager + "both-AbCdEf:::": "first",
		manager + "a-secret": "ends in six letters", manager + "a-secret-AbCdEf": "ends in six letters",
	} {
		if got, err := resolve(t, r, valueFrom); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", valueFrom, got, err, want)
		}
	}
}

// Ensure whoever waits for a secret that is not there learns it in Fargate's words, and
// a source that cannot be asked hides no other.
func TestResolveMissing(t *testing.T) {
	r := &Resolver{Sources: []Source{fixed{"here": `{"a":"TOPSECRET"}`, "text": "TOPSECRET", "nul": "TOP\x00SECRET", "!broken": "disk on fire"}, fixed{"broken": "old"}}}
	for valueFrom, tt := range map[string]struct {
		kind fault.Kind
		text string
	}{
		"none":           {fault.NotFound, fromSSM + "invalid parameters: none"},
		"broken":         {fault.Unavailable, fromSSM},
		manager + "none": {fault.NotFound, fromASM + "failed to fetch secret " + manager + "none from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret."},
		manager + "here-AbCdEf:b::": {fault.NotFound, fromASM + "failed to fetch secret " + manager + "here-AbCdEf:b:: from secrets manager: " +
			"retrieved secret from Secrets Manager did not contain json key b"},
		manager + "text:a::": {fault.Invalid, "no JSON object"},
		"nul":                {fault.Invalid, "NUL"},
		"arn:aws:iam::1:x":   {fault.Invalid, "neither the ARN"},
	} {
		_, err := resolve(t, r, valueFrom)
		wantKind(t, err, tt.kind, tt.text)
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: the error has the value: %v", valueFrom, err)
		}
	}
}

// Ensure a denial of one name that a reference may mean leaves the other.
func TestResolveDenied(t *testing.T) {
	srv := vault(t)
	r := &Resolver{Sources: []Source{open(t, srv.URL, tokenFile(t, token)), fixed{"denied": "not this"}}}
	if got, err := resolve(t, r, manager+"app-AbCdEf"); err != nil || got != "of the app" {
		t.Errorf("%q, %v", got, err)
	}
	_, err := resolve(t, r, "denied")
	wantKind(t, err, fault.Invalid, fromSSM+"AccessDeniedException")
}

func TestEnvironment(t *testing.T) {
	e := Environment{Prefix: "B_", Lookup: func(v string) (string, bool) {
		value, ok := map[string]string{"B_PROD_DB_1": "x", "B_JSON": `{"a":"b"}`, "B_EMPTY": ""}[v]
		return value, ok
	}}
	wantValue(t, e, "prod/db-1", "", "x")
	wantValue(t, e, "json", "a", "b")
	wantValue(t, e, "empty", "", "")
	_, err := e.Value(t.Context(), "none", "")
	wantKind(t, err, fault.NotFound, "none")
}

// tree makes a directory with files, links and other things, and something beside it.
func tree(t *testing.T) (dir string) {
	t.Helper()
	above := t.TempDir()
	dir = filepath.Join(above, "dir")
	for path, text := range map[string]string{
		"outside": "OUTSIDE", "dir/plain": "x", "dir/line": "x\n", "dir/windows": "x\r\n", "dir/two": "x\n\n",
		"dir/prod/db": "deep", "dir/large": strings.Repeat("x", MaxValue) + "\n", "dir/larger": strings.Repeat("x", MaxValue+1),
	} {
		path = filepath.Join(above, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"inner": "prod/db", "out": "../outside", "absolute": filepath.Join(above, "outside"), "loop": "loop", "sub": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Ensure a directory's files are values, and nothing leads out of it.
func TestDirectory(t *testing.T) {
	d := Directory(tree(t))
	for name, want := range map[string]string{"plain": "x", "line": "x", "windows": "x", "two": "x\n", "prod/db": "deep", "inner": "deep",
		"large": strings.Repeat("x", MaxValue)} {
		wantValue(t, d, name, "", want)
	}
	for name, kind := range map[string]fault.Kind{
		"none": fault.NotFound, "plain/x": fault.NotFound, "prod": fault.Invalid, "pipe": fault.Invalid, "larger": fault.Invalid, "loop": fault.Invalid,
		"out": fault.Invalid, "absolute": fault.Invalid, "sub/outside": fault.Invalid, "../outside": fault.Invalid,
	} {
		got, err := d.Value(t.Context(), name, "")
		if fault.KindOf(err) != kind || strings.Contains(got, "OUT") {
			t.Errorf("%s: %q, %v; want %s", name, got, err, kind)
		}
	}
	_, err := Directory("/nowhere/at/all").Value(t.Context(), "x", "")
	wantKind(t, err, fault.Unavailable, "")
}

// Ensure variables come from where they count most: secrets, plain ones, the first file.
func TestResolveFiles(t *testing.T) {
	dir := tree(t)
	for file, text := range map[string]string{
		"a.env":      "# first\nA=a1\nB=\"b 1\"\nPLAIN=file\nSECRET=file\n",
		"sub2/b.env": "A=a2\nC=c=2 \n\nE=\n=x\nnothing\n export D=d\nA=a3",
		"nul.env":    "A=\x00",
		"long.env":   "A=" + strings.Repeat("x", maxLine),
	} {
		path := filepath.Join(dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	r := &Resolver{Sources: []Source{fixed{"s": "secret"}}, Buckets: map[string]string{"my.bucket": dir, "gone": dir + "/none"}}
	object := func(key string) task.EnvironmentFile {
		return task.EnvironmentFile{Type: "s3", Value: "arn:aws:s3:::my.bucket/" + key}
	}
	got, err := r.Resolve(t.Context(), task.ContainerPlan{
		Env:              []string{"PLAIN=plain"},
		EnvironmentFiles: []task.EnvironmentFile{object("a.env"), object("sub2/b.env")},
		Secrets:          []task.Secret{{Name: "SECRET", ValueFrom: "s"}},
	})
	if want := []string{"A=a1", `B="b 1"`, "C=c=2 ", " export D=d", "SECRET=secret"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for key, tt := range map[string]struct {
		kind fault.Kind
		text string
	}{
		"none.env": {fault.NotFound, envFiles + "arn:aws:s3:::my.bucket/none.env: NoSuchKey"}, "../outside": {fault.Invalid, envFiles}, "out": {fault.Invalid, "leads out"},
		"absolute": {fault.Invalid, "leads out"}, "pipe": {fault.Invalid, "no regular file"}, "nul.env": {fault.Invalid, "line 1"}, "long.env": {fault.Invalid, "line 1"},
	} {
		_, err := r.Resolve(t.Context(), task.ContainerPlan{EnvironmentFiles: []task.EnvironmentFile{object(key)}})
		wantKind(t, err, tt.kind, tt.text)
	}
	for arn, tt := range map[string]struct {
		kind fault.Kind
		text string
	}{
		"arn:aws:s3:::gone/a.env": {fault.Unavailable, "cannot be read"}, "arn:aws:s3:::unknown/a.env": {fault.NotFound, "NoSuchBucket"},
	} {
		_, err := r.Resolve(t.Context(), task.ContainerPlan{EnvironmentFiles: []task.EnvironmentFile{{Type: "s3", Value: arn}}})
		wantKind(t, err, tt.kind, envFiles+arn)
		wantKind(t, err, tt.kind, tt.text)
	}
}

// Ensure no file makes the parser fail oddly, and what it returns is in the file.
func FuzzParseEnvironmentFile(f *testing.F) {
	for _, seed := range []string{"A=b\n", "# x\nA=b\r\nC=\"d e\"", "=\n==\n===", "A=1\nA=2", "\xef\xbb\xbfA=b", "A", "", "\x00", " A = b \n\n#A=c\nexport X=y"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		vars, err := ParseEnvironmentFile(text)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || vars != nil {
				t.Fatalf("%v with %v", err, vars)
			}
			return
		}
		seen := make(map[string]bool)
		for _, v := range vars {
			line := v.Name + "=" + v.Value
			switch {
			case v.Name == "" || v.Value == "" || strings.ContainsAny(v.Name, "=\n") || strings.Contains(v.Value, "\n") || strings.Contains(line, "\x00"):
				t.Fatalf("variable %q", line)
			case strings.HasPrefix(v.Name, "#") || seen[v.Name]:
				t.Fatalf("variable %q is a comment or there twice", line)
			case !strings.Contains("\n"+string(text)+"\n", "\n"+line):
				t.Fatalf("variable %q is not in the file", line)
			}
			seen[v.Name] = true
		}
	})
}

// Ensure one account's tasks do not have another's secrets, however they call them, and that
// each account has those that are kept for it.
func TestSecretsOfAccounts(t *testing.T) {
	r := &Resolver{Account: "111111111111", Buckets: map[string]string{"bucket": t.TempDir()},
		Sources: []Source{fixed{"prod/db": "of the server", "222222222222/prod/db": "of another", "222222222222/111111111111/prod/db": "nested"}}}
	ask := func(account, valueFrom string) (string, error) {
		env, err := r.Resolve(t.Context(), task.ContainerPlan{Account: account, Secrets: []task.Secret{{Name: "S", ValueFrom: valueFrom}}})
		return strings.Join(env, ""), err
	}
	own := "arn:aws:secretsmanager:eu-west-1:111111111111:secret:prod/db-AbCdEf"
	for _, c := range []struct{ account, valueFrom, want string }{
		{"111111111111", "prod/db", "S=of the server"}, {"111111111111", own, "S=of the server"},
		{"222222222222", "prod/db", "S=of another"}, {"222222222222", own, "S=of another"},
		{"222222222222", "arn:aws:ssm:eu-west-1:222222222222:parameter/prod/db", "S=of another"},
		{"222222222222", "111111111111/prod/db", "S=nested"},
	} {
		if got, err := ask(c.account, c.valueFrom); err != nil || got != c.want {
			t.Errorf("%s has by %s: %q, %v; want %q", c.account, c.valueFrom, got, err, c.want)
		}
	}
	for _, valueFrom := range []string{"prod/db", "/prod/db", own, "222222222222/prod/db"} {
		if got, err := ask("333333333333", valueFrom); fault.KindOf(err) != fault.NotFound {
			t.Errorf("333333333333 has by %s: %q, %v", valueFrom, got, err)
		}
	}
	_, err := r.Resolve(t.Context(), task.ContainerPlan{Account: "222222222222", EnvironmentFiles: []task.EnvironmentFile{{Type: "s3", Value: "arn:aws:s3:::bucket/a.env"}}})
	wantKind(t, err, fault.NotFound, "NoSuchBucket")
}
