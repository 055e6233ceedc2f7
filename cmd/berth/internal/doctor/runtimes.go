package doctor

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tryPatience is how long a sandbox may take to run one program.
const tryPatience = 30 * time.Second

// gvisor tries gVisor, if it is there: only that says whether the kernel lets it
// trap the system calls of its programs.
func gvisor(ctx context.Context, h host) verdict {
	if missing := missingFiles(h.Libexec, []string{"runsc", "berth-runsc"}); len(missing) > 0 {
		return ok("not set up; \"make up GVISOR=1\" does that")
	}
	if os.Geteuid() != 0 {
		return warn("run berth with sudo", "it is there and was not tried")
	}
	ctx, cancel := context.WithTimeout(ctx, tryPatience)
	defer cancel()
	root, err := os.MkdirTemp("", "berth-doctor-")
	if err != nil {
		return warn("", "not tried: %v", err)
	}
	defer os.RemoveAll(root)
	var said bytes.Buffer
	p := exec.CommandContext(ctx, filepath.Join(h.Libexec, "runsc"), "--root", root, "--network=none", "--ignore-cgroups",
		"do", "--", filepath.Join(h.Libexec, "berth-init"))
	p.Stderr = &said
	p.WaitDelay = time.Second
	const explains = 126 // berth-init's code when it is given nothing to run
	if err := p.Run(); p.ProcessState == nil || p.ProcessState.ExitCode() != explains {
		return warn("tasks cannot be run with --runtime gvisor until this is mended", "runsc ran nothing: %v: %s", err, lastLine(said.String()))
	}
	return ok("runs programs")
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func kata(_ context.Context, h host) verdict {
	if h.KataShim == "" {
		return ok("not set up; docs/decisions/0015 says how")
	}
	if _, err := os.Stat(filepath.Join(h.Root, "dev/kvm")); err != nil {
		return warn("load kvm_intel or kvm_amd, or use a host that can nest virtual machines", "%s is there, and /dev/kvm is not", h.KataShim)
	}
	return ok("%s; whether virtual machines boot is not tried", h.KataShim)
}
