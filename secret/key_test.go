package secret

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/fault"
)

func write(t rapid.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t rapid.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

var otherKey = strings.Repeat("5a", keySize) + "\n"

// Ensure another key than that of the secrets is known at once, whatever else the store
// has, and nothing is ever put under it.
func TestAnotherKey(t *testing.T) {
	for name, change := range map[string]func(l *Local){
		"checked":          func(*Local) {},
		"before checks":    func(l *Local) { remove(t, filepath.Join(l.dir, checkFile)) },
		"damaged check":    func(l *Local) { write(t, filepath.Join(l.dir, checkFile), "00ff") },
		"a damaged secret": func(l *Local) { write(t, filepath.Join(l.dir, fileOf("a")), "") },
		"all damaged": func(l *Local) {
			write(t, filepath.Join(l.dir, fileOf("a")), "")
			write(t, filepath.Join(l.dir, fileOf("b")), "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLocal(t, t.TempDir())
			put(t, l, "a", "value of a")
			put(t, l, "b", "value of b")
			change(l)
			key := filepath.Join(l.dir, keyFile)
			right, err := os.ReadFile(key)
			if err != nil {
				t.Fatal(err)
			}
			write(t, key, otherKey)
			_, err = NewLocal(l.dir, time.Now)
			wantKind(t, err, fault.Conflict, "it opens 0 of 2. Bring the right key back.")
			_, err = l.Put(t.Context(), "c", []byte("x"))
			wantKind(t, err, fault.Conflict, "is not the one")
			if !strings.HasSuffix(name, "damaged") {
				_, err = l.Value(t.Context(), "b", "")
				wantKind(t, err, fault.Invalid, "not the one it was encrypted with")
				all, err := l.List(t.Context())
				if err != nil || len(all) != 2 || all[1].Damaged != nil {
					t.Errorf("whole secrets with another key: %+v, %v", all, err)
				}
			}
			write(t, key, string(right))
			l = newLocal(t, l.dir)
			put(t, l, "c", "value of c")
			wantValue(t, l, "c", "", "value of c")
		})
	}
}

// Ensure a store without a check, or with one that is not its key's, gets one where the
// key is right, and that this needs no directory that can be written to.
func TestKeyChecked(t *testing.T) {
	for name, change := range map[string]func(l *Local){
		"before checks": func(l *Local) { remove(t, filepath.Join(l.dir, checkFile)) },
		"before checks, one damaged": func(l *Local) {
			remove(t, filepath.Join(l.dir, checkFile))
			if err := flip(filepath.Join(l.dir, fileOf("b")), `"ciphertext":"`); err != nil {
				t.Fatal(err)
			}
		},
		"before checks, all torn": func(l *Local) {
			remove(t, filepath.Join(l.dir, checkFile))
			write(t, filepath.Join(l.dir, fileOf("a")), "{")
			write(t, filepath.Join(l.dir, fileOf("b")), "{")
		},
		"damaged check":    func(l *Local) { write(t, filepath.Join(l.dir, checkFile), "xyz") },
		"check is a pipe":  func(l *Local) { _ = damage["a pipe"](filepath.Join(l.dir, checkFile)) },
		"check of another": func(l *Local) { copyCheck(t, l) },
		"another, no secret": func(l *Local) {
			for _, name := range []string{"a", "b"} {
				if err := l.Remove(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(l.dir, keyFile), otherKey)
		},
		"killed after the key": func(l *Local) {
			for _, name := range []string{"a", "b"} {
				if err := l.Remove(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			remove(t, filepath.Join(l.dir, checkFile))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLocal(t, t.TempDir())
			put(t, l, "a", "value of a")
			put(t, l, "b", "value of b")
			change(l)
			old, _ := readRegular(filepath.Join(l.dir, checkFile))
			l = newLocal(t, l.dir)
			text, err := os.ReadFile(filepath.Join(l.dir, checkFile))
			if err != nil || slices.Equal(text, old) {
				t.Errorf("the check is not written anew: %v", err)
			}
			put(t, l, "c", "value of c")
			write(t, filepath.Join(l.dir, keyFile), strings.Repeat("00", keySize))
			_, err = NewLocal(l.dir, time.Now)
			wantKind(t, err, fault.Conflict, "is not the one")
		})
	}
}

// copyCheck gives a store the check of another.
func copyCheck(t *testing.T, l *Local) {
	other := newLocal(t, t.TempDir())
	put(t, other, "x", "y")
	text, err := os.ReadFile(filepath.Join(other.dir, checkFile))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(l.dir, checkFile), string(text))
}

// Ensure a check that says another key was here outweighs a secret that this one opens
// while there are others that it does not, and that the operator can say who is right.
func TestMixedKeys(t *testing.T) {
	l := newLocal(t, t.TempDir())
	put(t, l, "a", "value of a")
	put(t, l, "b", "value of b")
	copyCheck(t, l)
	if err := flip(filepath.Join(l.dir, fileOf("b")), `"ciphertext":"`); err != nil {
		t.Fatal(err)
	}
	_, err := NewLocal(l.dir, time.Now)
	wantKind(t, err, fault.Conflict, "it opens 1 of 2")
	wantKind(t, err, fault.Conflict, "remove "+filepath.Join(l.dir, checkFile))
	remove(t, filepath.Join(l.dir, checkFile))
	wantValue(t, newLocal(t, l.dir), "a", "", "value of a")
}

// Ensure that whatever is done to a store, all that Put says it kept is read under the key
// that was there then.
func TestKeysAtRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "secrets-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		open := func() *Local { // like NewLocal, but also of a store that a server refuses
			return &Local{dir: dir, now: time.Now}
		}
		kept := make(map[string]string) // values by their names
		under := make(map[string]string)
		key := filepath.Join(dir, keyFile)
		keys := []string{otherKey, strings.Repeat("77", keySize) + "\n"}
		names := rapid.SampledFrom([]string{"a", "b", "c"})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				name, value := names.Draw(t, "name"), rapid.StringMatching(`[a-z]{1,5}`).Draw(t, "value")
				if _, err := open().Put(t.Context(), name, []byte(value)); err != nil {
					if fault.KindOf(err) != fault.Conflict {
						t.Fatal(err)
					}
					return
				}
				text, err := os.ReadFile(key)
				if err != nil {
					t.Fatal(err)
				}
				for other, k := range under {
					if other != name && k != string(text) {
						t.Fatalf("%s was put under a key that is not that of %s", name, other)
					}
				}
				kept[name], under[name] = value, string(text)
				if !slices.Contains(keys, string(text)) {
					keys = append(keys, string(text))
				}
			},
			"remove": func(t *rapid.T) {
				name := names.Draw(t, "name")
				if _, err := os.Stat(filepath.Join(dir, fileOf(name))); err == nil {
					if err := open().Remove(t.Context(), name); err != nil {
						t.Fatal(err)
					}
				}
				delete(kept, name)
				delete(under, name)
			},
			"another key":  func(t *rapid.T) { write(t, key, rapid.SampledFrom(keys).Draw(t, "key")) },
			"no key":       func(t *rapid.T) { remove(t, key) },
			"no check":     func(t *rapid.T) { remove(t, filepath.Join(dir, checkFile)) },
			"server again": func(*rapid.T) { _, _ = NewLocal(dir, time.Now) },
			"": func(t *rapid.T) {
				text, _ := os.ReadFile(key)
				for name, value := range kept {
					got, err := open().Value(t.Context(), name, "")
					if right := under[name] == string(text); right && got != value || !right && err == nil {
						t.Fatalf("%s: %q, %v; want %q, under the right key: %v", name, got, err, value, right)
					}
				}
			},
		})
	})
}
