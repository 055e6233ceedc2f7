package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStateDirHasOneName(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real := filepath.Join(root, "real")
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": "real", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	for given, want := range map[string]string{
		"real":                 real,
		"./real/../real/":      real,
		root + "/link":         real,
		"link/not/yet/../here": real + "/not/here",
		root + "/nor/this":     root + "/nor/this",
	} {
		if got, err := stateDir(given); err != nil || got != want {
			t.Errorf("stateDir(%q) = %q, %v; want %q", given, got, err, want)
		}
	}
	for _, given := range []string{"loop", "file/below"} {
		if got, err := stateDir(given); err == nil {
			t.Errorf("stateDir(%q) = %q; want an error", given, got)
		}
	}
}

// Ensure only directories of this host, each under one ID, can stand for file systems.
func TestFileSystems(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := serverConfig{EFS: []string{"fs-12345678=" + dir, "fs-0123456789abcdef0=/"}}
	if got, err := good.fileSystems(); err != nil || len(got) != 2 || got["fs-12345678"] != dir {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range [][]string{
		{"fs-12345678"}, {"12345678=" + dir}, {"fs-12345678=."}, {"fs-12345678=" + file}, {"fs-12345678=" + dir + "/none"},
		{"fs-12345678=" + dir, "fs-12345678=/"},
	} {
		config := serverConfig{EFS: bad}
		if got, err := config.fileSystems(); err == nil {
			t.Errorf("%q is taken: %v", bad, got)
		}
	}
}
