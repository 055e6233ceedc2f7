package containerd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/fault"
	"berth/isolation"
)

// Ensure a program is found where runc would find it, and that what may be in a mount is
// left to whoever sees it.
func TestFindProgram(t *testing.T) {
	root := t.TempDir()
	for path, mode := range map[string]os.FileMode{"bin/tool": 0o755, "bin/text": 0o644, "opt/private": 0o700, "work/run": 0o755, "data/app": 0o755} {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"bin/link": "/work/run", "bin/outside": "/../../bin/tool", "bin/volume": "/data/elsewhere", "bin/dangling": "/none", "bin/loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	mounts := []isolation.Mount{{Path: "/data"}}
	for _, tt := range []struct {
		name, search, cwd string
		uid               uint32
		want              string // part of what is wrong; empty: nothing
	}{
		{"tool", "/usr/bin:/bin", "/", 0, ""}, {"/bin/tool", "", "/", 0, ""}, {"./run", "", "/work", 0, ""}, {"../bin/tool", "", "/work", 0, ""},
		{"link", "/bin", "/", 0, ""}, {"outside", "/bin", "/", 0, ""}, {"private", "/opt", "/", 0, ""},
		{"/data/app", "", "/", 0, ""}, {"/data/none", "", "/", 0, ""}, {"volume", "/bin", "/", 0, ""}, {"none", "/bin:/data", "/", 0, ""}, {"/proc/self/exe", "", "/", 0, ""},
		{"tool", "relative", "/", 0, ""}, {"/bin/loop", "", "/", 0, ""},
		{"tool", "/usr/bin", "/", 0, `exec: "tool": executable file not found in $PATH`}, {"tool", "", "/bin", 0, "not found in $PATH"},
		{"text", "/bin", "/", 0, "not found in $PATH"}, {"private", "/opt", "/", 7, "not found in $PATH"}, {"dangling", "/bin", "/", 0, "not found in $PATH"},
		{"/bin/text", "", "/", 0, `exec: "/bin/text": permission denied`}, {"/opt/private", "", "/", 7, "permission denied"}, {"/bin", "", "/", 0, "is a directory"},
		{"/none", "", "/", 0, "stat /none: no such file or directory"}, {"./none", "", "/work", 0, "stat ./none: no such file"}, {"/bin/tool/x", "", "/", 0, "not a directory"},
		{"/database", "", "/", 0, "no such file"}, // is not below /data
	} {
		err := findProgram(root, mounts, tt.name, tt.search, tt.cwd, 0, specs.User{UID: tt.uid, GID: tt.uid})
		if tt.want == "" && err != nil || tt.want != "" && (fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), tt.want)) {
			t.Errorf("%s in %q of %s for %d: %v, want %q", tt.name, tt.search, tt.cwd, tt.uid, err, tt.want)
		}
	}
}
