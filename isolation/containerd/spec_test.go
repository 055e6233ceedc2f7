package containerd

import (
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
)

func TestCommandIsComputedAsDockerDoes(t *testing.T) {
	for _, tt := range []struct {
		name                             string
		imgEntry, imgCmd, entry, command []string
		want                             string // "": refused
	}{
		{"the image's", []string{"e"}, []string{"c"}, nil, nil, "e c"},
		{"the image's command alone", nil, []string{"c"}, nil, nil, "c"},
		{"another command", []string{"e"}, []string{"c"}, nil, []string{"x", "y"}, "e x y"},
		{"another entry point clears the command", []string{"e"}, []string{"c"}, []string{"x"}, nil, "x"},
		{"both", []string{"e"}, []string{"c"}, []string{"x"}, []string{"y"}, "x y"},
		{"none", nil, nil, nil, nil, ""},
		{"an empty one", nil, []string{""}, nil, nil, ""},
	} {
		got, err := command(isolation.Container{EntryPoint: tt.entry, Command: tt.command}, ocispec.ImageConfig{Entrypoint: tt.imgEntry, Cmd: tt.imgCmd})
		if tt.want == "" {
			if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.Message(err), "CannotStartContainerError") {
				t.Errorf("%s: %q, %v; want a refusal in Fargate's words", tt.name, got, err)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	img := ocispec.ImageConfig{Env: []string{"A=image", "B=image", "PATH=/bin"}}
	got := environment(isolation.Container{Env: []string{"B=ours", "C=", "B=ours again"}}, img, "h")
	if want := []string{"PATH=/bin", "HOSTNAME=h", "A=image", "B=ours again", "C="}; !slices.Equal(got, want) {
		t.Errorf("environment = %q, want %q", got, want)
	}
	if got := environment(isolation.Container{Terminal: true}, ocispec.ImageConfig{}, "h"); !slices.Contains(got, "TERM=xterm") || got[0] != "PATH="+defaultPath {
		t.Errorf("environment with a terminal = %q", got)
	}
}

func TestCapabilities(t *testing.T) {
	for _, tt := range []struct {
		add, drop []string
		has       int // how many
		with, not string
	}{
		{nil, nil, 14, "CAP_NET_RAW", "CAP_SYS_ADMIN"},
		{nil, []string{"ALL"}, 0, "", "CAP_CHOWN"},
		{nil, []string{"all"}, 0, "", "CAP_CHOWN"},
		{nil, []string{"NET_RAW", "CAP_CHOWN", "SYS_ADMIN"}, 12, "CAP_KILL", "CAP_NET_RAW"},
		{[]string{"SYS_PTRACE"}, nil, 15, "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"},
		{[]string{"cap_sys_ptrace", "SYS_PTRACE"}, []string{"ALL"}, 1, "CAP_SYS_PTRACE", "CAP_CHOWN"},
	} {
		got, err := capabilities(tt.add, tt.drop)
		if err != nil || len(got) != tt.has || tt.with != "" && !slices.Contains(got, tt.with) || slices.Contains(got, tt.not) {
			t.Errorf("add %q, drop %q: %q, %v", tt.add, tt.drop, got, err)
		}
	}
	for _, add := range []string{"SYS_ADMIN", "ALL", "NET_ADMIN", ""} {
		if got, err := capabilities([]string{add}, nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("add %q: %q, %v; want a refusal", add, got, err)
		}
	}
}

func TestRlimits(t *testing.T) {
	r := &Runtime{Config: Config{Log: zap.NewNop()}}
	got, err := r.rlimits([]isolation.Ulimit{{Name: "nofile", Soft: 10, Hard: 20}, {Name: "core"}})
	want := []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 10, Hard: 20}, {Type: "RLIMIT_RTPRIO"}, {Type: "RLIMIT_CORE"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("rlimits = %v, %v; want %v", got, err, want)
	}
	if got, err = r.rlimits(nil); err != nil || len(got) != 2 || got[1].Hard != 0 || got[0].Hard > defaultFiles || got[0].Soft > got[0].Hard {
		t.Errorf("default rlimits = %v, %v", got, err)
	}
	for _, u := range []isolation.Ulimit{{Name: "NOFILE"}, {Name: "nofile", Soft: 2, Hard: 1}, {Name: "rtprio", Soft: 0, Hard: 99}, {}} {
		if got, err := r.rlimits([]isolation.Ulimit{u}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v, %v; want a refusal", u, got, err)
		}
	}
}

func TestStopSignals(t *testing.T) {
	for text, want := range map[string]unix.Signal{
		"": unix.SIGTERM, "SIGINT": unix.SIGINT, "int": unix.SIGINT, "3": unix.SIGQUIT, "SIGRTMIN+3": 37, "RTMIN": 34,
	} {
		if got, err := stopSignal(text); err != nil || got != want {
			t.Errorf("stopSignal(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"SIGNONE", "0", "65", "-1", "SIGRTMIN+31", "SIG"} {
		if got, err := stopSignal(text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("stopSignal(%q) = %d, %v; want a refusal", text, got, err)
		}
	}
}

func TestRuntimeIDs(t *testing.T) {
	const id = "0199a1b2c3d4e5f60718293a4b5c6d7e"
	seen := make(map[string]string)
	for _, name := range []string{"app", "App", "a-b", "a_b", "tasks", strings.Repeat("x", 255)} {
		got := runtimeID(id, name)
		if len(got) != len(id)+11 || !strings.HasPrefix(got, id+"-") || got != runtimeID(id, name) {
			t.Errorf("runtimeID of %s = %s", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s have the same ID", name, other)
		}
		seen[got] = name
	}
}
