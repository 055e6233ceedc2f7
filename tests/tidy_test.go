package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// banned says what may be written where, and what to write instead.
var banned = []struct {
	text, instead string
	only          []string // folders where it may be written
}{
	{"time.Now()", "take the time from Config.Now", []string{"cmd/", "examples/"}},
	{"os.Getenv", "read the environment in cmd and pass it in", []string{"cmd/", "examples/"}},
	{"context.Background()", "pass the context of the caller", []string{"cmd/", "examples/"}},
	{"func init()", "make what you need where you need it", nil},
	{"zap.L()", "take a *zap.Logger in Config", nil},
	{"fmt.Print", "write to an io.Writer or log", []string{"examples/"}},
	{"gin-gonic/gin", "keep gin in package server", []string{"server/"}},
	{"database/sql", "keep the database in package store", []string{"store/"}},
	{"containerd/v2/client", "keep containerd in isolation/containerd and images", []string{"isolation/containerd/", "images/", "cmd/"}},
	{"time.Sleep(", "wait for what you wait for, or for ctx", []string{"examples/"}},
}

const maxLines = 450 // of one file; a longer one has two subjects

// Ensure the house rules hold that a reader would otherwise have to check.
func TestTidy(t *testing.T) {
	documented := make(map[string]bool)
	eachFile(t, func(path, pkg string) {
		src, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Fatal(err)
		}
		documented[pkg] = documented[pkg] || bytes.HasPrefix(src, []byte("// ")) || bytes.Contains(src, []byte("\n// Package ")) || bytes.Contains(src, []byte("\n// Command "))
		if slices.ContainsFunc(strings.Split(pkg, "/"), func(dir string) bool { return dir == "tests" || strings.HasSuffix(dir, "test") }) {
			return // isolationtest and its like are for tests only
		}
		if n := bytes.Count(src, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, more than %d", path, n, maxLines)
		}
		for _, b := range banned {
			allowed := slices.ContainsFunc(b.only, func(dir string) bool { return strings.HasPrefix(path, dir) })
			if !allowed && bytes.Contains(src, []byte(b.text)) {
				t.Errorf("%s says %s: %s", path, b.text, b.instead)
			}
		}
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s does not say what it is for", dir)
		}
	}
}
