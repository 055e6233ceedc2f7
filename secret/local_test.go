package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fault"
)

var epoch = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// newLocal returns a store in dir whose clock moves by a second with every look.
func newLocal(t testing.TB, dir string) *Local {
	t.Helper()
	at := epoch
	l, err := NewLocal(dir, func() time.Time { at = at.Add(time.Second); return at })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t testing.TB, l *Local, name, value string) Info {
	t.Helper()
	i, err := l.Put(t.Context(), name, []byte(value))
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	return i
}

func wantValue(t testing.TB, s Source, name, key, want string) {
	t.Helper()
	if got, err := s.Value(t.Context(), name, key); err != nil || got != want {
		t.Errorf("%s %s: %.80q, %v; want %.80q", name, key, got, err, want)
	}
}

func wantKind(t testing.TB, err error, kind fault.Kind, text string) {
	t.Helper()
	if fault.KindOf(err) != kind || !strings.Contains(fault.Message(err), text) {
		t.Errorf("%v is %s; want %s with %q", err, fault.KindOf(err), kind, text)
	}
}

// Ensure what was put can be read, also by the next server, replaced, listed and removed.
func TestLocal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	l := newLocal(t, dir)
	if all, err := l.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("a store that is not there has %v, %v", all, err)
	}
	first := put(t, l, "/prod/db", "one")
	put(t, l, "prod/db", `{"user":"u","password":"p\"w","port":5432}`)
	largest := strings.Repeat("x", MaxValue)
	put(t, l, "big", largest)

	l = newLocal(t, dir)
	wantValue(t, l, "prod/db", "password", `p"w`)
	wantValue(t, l, "prod/db", "port", "5432")
	wantValue(t, l, "big", "", largest)
	all, err := l.List(t.Context())
	if err != nil || len(all) != 2 || all[1].Name != "prod/db" || all[1].Size != 42 || all[0].Size != MaxValue ||
		!all[1].CreatedAt.Equal(first.CreatedAt) || !all[1].UpdatedAt.After(first.UpdatedAt) {
		t.Errorf("list: %+v, %v", all, err)
	}
	if err := l.Remove(t.Context(), "/prod/db"); err != nil {
		t.Error(err)
	}
	_, err = l.Value(t.Context(), "prod/db", "")
	wantKind(t, err, fault.NotFound, "prod/db")
	wantKind(t, l.Remove(t.Context(), "prod/db"), fault.NotFound, "prod/db")
	_, err = l.Value(t.Context(), "big", "key")
	wantKind(t, err, fault.Invalid, "no JSON object")
}

func TestLocalRefuses(t *testing.T) {
	l := newLocal(t, t.TempDir())
	for name, tt := range map[string]struct {
		name, value string
		kind        fault.Kind
	}{
		"empty name": {"", "x", fault.Invalid}, "only a slash": {"/", "x", fault.Invalid}, "up": {"a/../b", "x", fault.Invalid},
		"space": {"a b", "x", fault.Invalid}, "two slashes": {"a//b", "x", fault.Invalid}, "colon": {"a:b", "x", fault.Invalid},
		"no value": {"a", "", fault.Invalid}, "NUL": {"a", "x\x00y", fault.Invalid},
		"too large": {"a", strings.Repeat("x", MaxValue+1), fault.TooLarge},
	} {
		if _, err := l.Put(t.Context(), tt.name, []byte(tt.value)); fault.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(l.dir); err != nil || len(entries) != 0 {
		t.Errorf("what was refused left %v, %v", entries, err)
	}
}

// Ensure nobody but the owner can read the files, none has a value in clear, and equal
// values look different.
func TestLocalAtRest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	l := newLocal(t, dir)
	const value = "correct horse battery staple"
	put(t, l, "a", value)
	put(t, l, "b", value)
	seen := make(map[string]bool)
	files, err := filepath.Glob(dir + "/*")
	if err != nil || len(files) != 6 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, path := range append(files, dir) {
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
		if st.IsDir() {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil || bytes.Contains(text, []byte(value)) {
			t.Errorf("%s has the value in clear, or %v", path, err)
		}
		var s sealed
		if json.Unmarshal(text, &s) == nil && s.Text != nil {
			seen[string(s.Text[:len(value)])] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("%d different texts of two secrets", len(seen))
	}
}

// Ensure no file that was changed, moved or brought back under another name is taken
// for a secret.
func TestLocalTampered(t *testing.T) {
	l := newLocal(t, t.TempDir())
	put(t, l, "a", "value of a")
	put(t, l, "b", "value of b")
	a, b := filepath.Join(l.dir, fileOf("a")), filepath.Join(l.dir, fileOf("b"))
	whole, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	change := func(how func(s *sealed)) []byte {
		var s sealed
		if err := json.Unmarshal(whole, &s); err != nil {
			t.Fatal(err)
		}
		how(&s)
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, tt := range map[string]struct {
		path string
		text []byte
	}{
		"moved":   {b, whole},
		"renamed": {b, change(func(s *sealed) { s.Name = "b" })},
		"text":    {a, change(func(s *sealed) { s.Text[0] ^= 1 })},
		"nonce":   {a, change(func(s *sealed) { s.Nonce[0] ^= 1 })},
		"cut":     {a, change(func(s *sealed) { s.Nonce = s.Nonce[:5] })},
		"no tag":  {a, change(func(s *sealed) { s.Text = s.Text[:3] })},
		"dated":   {a, change(func(s *sealed) { s.UpdatedAt = epoch })},
	} {
		old, err := os.ReadFile(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tt.path, tt.text, 0o600); err != nil {
			t.Fatal(err)
		}
		secret := map[string]string{a: "a", b: "b"}[tt.path]
		if got, err := l.Value(t.Context(), secret, ""); err == nil {
			t.Errorf("%s: %q", name, got)
		}
		if err := os.WriteFile(tt.path, old, 0o600); err != nil {
			t.Fatal(err)
		}
		wantValue(t, l, secret, "", "value of "+secret)
	}
}

// damage spoils the file of a secret in one of the ways that files are.
var damage = map[string]func(path string) error{
	"empty":   func(path string) error { return os.Truncate(path, 0) },
	"torn":    func(path string) error { return os.Truncate(path, 100) },
	"zeros":   func(path string) error { return os.WriteFile(path, make([]byte, 300), 0o600) },
	"huge":    func(path string) error { return os.Truncate(path, 1<<40) },
	"null":    func(path string) error { return os.WriteFile(path, []byte("null"), 0o600) },
	"a pipe":  func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
	"a loop":  func(path string) error { return errors.Join(os.Remove(path), os.Symlink(path, path)) },
	"flipped": func(path string) error { return flip(path, `"ciphertext":"`) },
	"dated":   func(path string) error { return flip(path, `"updatedAt":"`) },
	"another name": func(path string) error {
		text, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path, bytes.Replace(text, []byte(`"name":"`), []byte(`"name":"x`), 1), 0o600))
	},
}

// flip changes the second character after a text in a file.
func flip(path, after string) error {
	text, err := os.ReadFile(path)
	if i := bytes.Index(text, []byte(after)); err == nil && i >= 0 {
		at := &text[i+len(after)+1]
		*at = map[bool]byte{true: '1', false: '0'}[*at == '0']
	}
	return errors.Join(err, os.WriteFile(path, text, 0o600))
}

// Ensure one damaged file is named, harms no other secret, and can be replaced and
// removed, also by the next server.
func TestDamaged(t *testing.T) {
	for how, spoil := range damage {
		t.Run(how, func(t *testing.T) {
			l := newLocal(t, t.TempDir())
			put(t, l, "a", "value of a")
			put(t, l, "prod/db", "value")
			put(t, l, "z", "value of z")
			path := filepath.Join(l.dir, fileOf("prod/db"))
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			l = newLocal(t, l.dir)
			all, err := l.List(t.Context())
			if err != nil || len(all) != 3 || all[1].Name != "prod/db" || all[1].Damaged == nil || !strings.Contains(all[1].Damaged.Error(), path) ||
				all[1].UpdatedAt.IsZero() || all[0].Damaged != nil || all[2].Damaged != nil {
				t.Fatalf("list: %+v, %v", all, err)
			}
			wantValue(t, l, "a", "", "value of a")
			put(t, l, "b", "new")
			_, err = l.Value(t.Context(), "prod/db", "")
			wantKind(t, err, fault.Invalid, "the file of the secret prod/db is damaged")
			if strings.Contains(fault.Message(err), l.dir) || !strings.Contains(err.Error(), path) {
				t.Errorf("the file is not for the user, but for the operator: %v", err)
			}
			put(t, l, "prod/db", "better")
			wantValue(t, l, "prod/db", "", "better")
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			if err := l.Remove(t.Context(), "prod/db"); err != nil {
				t.Error(err)
			}
			if all, err := l.List(t.Context()); err != nil || len(all) != 3 || all[2].Name != "z" {
				t.Errorf("after its removal: %+v, %v", all, err)
			}
		})
	}
}

// Ensure a damaged secret of a store without names is named if its file still says how
// it is called, and can be removed if it does not; and that names come and go with secrets.
func TestDamagedBeforeNames(t *testing.T) {
	l := newLocal(t, t.TempDir())
	for _, name := range []string{"torn", "empty", "whole"} {
		put(t, l, name, "value")
		if err := os.Remove(filepath.Join(l.dir, strings.TrimSuffix(fileOf(name), suffix)+names)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(damage["torn"](filepath.Join(l.dir, fileOf("torn"))), damage["empty"](filepath.Join(l.dir, fileOf("empty")))); err != nil {
		t.Fatal(err)
	}
	l = newLocal(t, l.dir)
	stem := strings.TrimSuffix(fileOf("empty"), suffix)
	for _, want := range []string{"torn", stem} {
		all, err := l.List(t.Context())
		if err != nil || !slices.ContainsFunc(all, func(i Info) bool { return i.Name == want && i.Damaged != nil }) {
			t.Errorf("list: %+v, %v; want %s", all, err, want)
		}
		if err := l.Remove(t.Context(), want); err != nil {
			t.Errorf("remove %s: %v", want, err)
		}
	}
	if err := damage["empty"](filepath.Join(l.dir, fileOf("whole"))); err != nil {
		t.Fatal(err)
	}
	if all, err := l.List(t.Context()); err != nil || len(all) != 1 || all[0].Name != "whole" {
		t.Errorf("list: %+v, %v", all, err)
	}
	if err := os.Remove(filepath.Join(l.dir, fileOf("whole"))); err != nil { // as if killed before the name went
		t.Fatal(err)
	}
	newLocal(t, l.dir)
	if left, err := filepath.Glob(l.dir + "/*" + names); err != nil || len(left) != 0 {
		t.Errorf("names without secrets: %v, %v", left, err)
	}
}

// Ensure a key that others can read is refused, and one that is gone is not replaced
// while something is encrypted with it.
func TestKey(t *testing.T) {
	l := newLocal(t, t.TempDir())
	put(t, l, "a", "value")
	key := filepath.Join(l.dir, keyFile)
	for _, mode := range []os.FileMode{0o604, 0o640, 0o660, 0o777} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		_, err := NewLocal(l.dir, time.Now)
		wantKind(t, err, fault.Invalid, "0600")
		_, err = l.Value(t.Context(), "a", "")
		wantKind(t, err, fault.Unavailable, "key")
		_, err = l.Put(t.Context(), "b", []byte("x"))
		wantKind(t, err, fault.Invalid, "0600")
	}
	if err := os.Chmod(key, 0o400); err != nil {
		t.Fatal(err)
	}
	wantValue(t, l, "a", "", "value")
	for _, text := range []string{"", "00", strings.Repeat("0", 63) + "x", strings.Repeat("0", 66)} {
		if err := os.WriteFile(key+".bad", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		other := &Local{dir: t.TempDir(), now: time.Now}
		if err := os.Rename(key+".bad", filepath.Join(other.dir, keyFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Put(t.Context(), "a", []byte("x")); err == nil {
			t.Errorf("%q is taken for a key", text)
		}
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	_, err := l.Put(t.Context(), "b", []byte("x"))
	wantKind(t, err, fault.Conflict, "is gone")
	_, err = l.Value(t.Context(), "a", "")
	wantKind(t, err, fault.Invalid, "cannot be decrypted")
	if err := l.Remove(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	put(t, l, "b", "x")
}

// Ensure what a killed server was writing goes away.
func TestLocalTidies(t *testing.T) {
	dir := t.TempDir()
	put(t, newLocal(t, dir), "a", "value")
	if err := os.WriteFile(filepath.Join(dir, "new-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantValue(t, newLocal(t, dir), "a", "", "value")
	if _, err := os.Stat(filepath.Join(dir, "new-123")); err == nil {
		t.Error("the half-written file is still there")
	}
}

// Ensure many at once make one key and lose nothing.
func TestLocalConcurrently(t *testing.T) {
	l, err := NewLocal(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Split("a b c d e f g h", " ")
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			if _, err := l.Put(t.Context(), name, []byte(name)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got, err := l.List(t.Context())
	if err != nil || !slices.EqualFunc(got, names, func(i Info, name string) bool { return i.Name == name }) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, name := range names {
		wantValue(t, l, name, "", name)
	}
}
