package main

import (
	"os"
	"path/filepath"
	"testing"
)

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
