package doctor

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// required are the programs in the libexec directory.
var required = []string{
	"runc", "containerd-shim-runc-v2", "containerd-shim-berth-v2", "berth-log", "berth-init", "cni/bridge", "cni/host-local", "cni/loopback",
}

func programs(ctx context.Context, h host) verdict {
	names := required
	if h.ContainerdAddress == "" {
		names = append([]string{"containerd"}, required...)
	}
	if missing := missingFiles(h.Libexec, names); len(missing) > 0 {
		return fail("build them with \"make build\", or say where they are with --libexec", "missing in %s: %s", h.Libexec, strings.Join(missing, ", "))
	}
	var versions []string
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "runc"} {
		if v := versionOf(ctx, filepath.Join(h.Libexec, name)); v != "" {
			versions = append(versions, name+" "+v)
		}
	}
	return ok("%s in %s", strings.Join(versions, ", "), h.Libexec)
}

// versionOf asks a program for its version; "" if it does not say.
func versionOf(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	flag := "--version"
	if strings.HasSuffix(path, "containerd-shim-runc-v2") {
		flag = "-v"
	}
	out, err := exec.CommandContext(ctx, path, flag).Output()
	if err != nil {
		return ""
	}
	for _, word := range strings.Fields(string(out)) {
		word = strings.Trim(word, "v,")
		if len(word) > 2 && word[0] >= '0' && word[0] <= '9' && strings.Contains(word, ".") {
			return word
		}
	}
	return "of unknown version"
}

func containerd(ctx context.Context, h host) verdict {
	if h.ContainerdAddress == "" {
		return ok("the server starts its own")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", h.ContainerdAddress)
	if err != nil {
		return fail("start it, or leave --containerd-address out: the server then starts its own", "%v", err)
	}
	conn.Close()
	return ok("something answers at %s", h.ContainerdAddress)
}

// clock asks the kernel whether something keeps its clock right: adjtimex(2)
// says TIME_ERROR if nothing does.
func clock(_ context.Context, h host) verdict {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		return warn("", "not readable: %v", err)
	case state == unix.TIME_ERROR:
		return warn("let chrony or systemd-timesyncd keep it right; how long tasks ran is right in any case, only the dates may be off", "nothing keeps it in step with the world")
	}
	return ok("in step; %s", h.Now().UTC().Format(time.RFC3339))
}
