package containerd

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/capability"
	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/task"
)

// readProcess reads from /proc what keeps the main process of a container apart.
func readProcess(c *task.ContainerIsolation) error {
	dir := fmt.Sprintf("/proc/%d", c.HostPID)
	status, err := readStatus(dir + "/status")
	if err != nil {
		return err
	}
	c.NoNewPrivileges = status["NoNewPrivs"] == "1"
	c.Seccomp.Mode = map[string]string{"0": "disabled", "1": "strict", "2": "filter"}[status["Seccomp"]]
	c.Seccomp.Filters, _ = strconv.Atoi(status["Seccomp_filters"])
	for field, set := range map[string]*[]string{
		"CapEff": &c.Capabilities.Effective, "CapPrm": &c.Capabilities.Permitted, "CapInh": &c.Capabilities.Inheritable,
		"CapBnd": &c.Capabilities.Bounding, "CapAmb": &c.Capabilities.Ambient,
	} {
		if *set, err = capabilityNames(status[field]); err != nil {
			return err
		}
	}
	if err := readNamespaces(c, dir+"/ns"); err != nil {
		return err
	}
	uidMap, err := os.ReadFile(dir + "/uid_map")
	if err != nil {
		return err
	}
	c.UIDMap = strings.Join(strings.Fields(string(uidMap)), " ")
	score, err := os.ReadFile(dir + "/oom_score_adj")
	if err != nil {
		return err
	}
	c.OOMScoreAdj, _ = strconv.Atoi(strings.TrimSpace(string(score)))
	if c.Rlimits, err = readLimits(dir + "/limits"); err != nil {
		return err
	}
	return readMounts(c, dir+"/mountinfo")
}

// readStatus reads the fields of /proc/PID/status.
func readStatus(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields, nil
}

func capabilityNames(hexSet string) ([]string, error) {
	set, err := strconv.ParseUint(hexSet, 16, 64)
	if err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	names := []string{}
	for n := range 64 {
		if set>>n&1 == 1 {
			names = append(names, "CAP_"+strings.ToUpper(capability.Cap(n).String()))
		}
	}
	return names, nil
}

// readNamespaces reads the process's namespaces, and which of them are ours.
func readNamespaces(c *task.ContainerIsolation, dir string) error {
	c.Namespaces, c.SharedWithHost = make(map[string]string), []string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "_for_children") {
			continue
		}
		own, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		c.Namespaces[e.Name()] = own
		if hosts, err := os.Readlink("/proc/self/ns/" + e.Name()); err == nil && hosts == own {
			c.SharedWithHost = append(c.SharedWithHost, e.Name())
		}
	}
	return nil
}

// readLimits reads /proc/PID/limits, whose columns have fixed places.
func readLimits(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const name, soft, hard = 26, 47, 68 // where each column ends (fs/proc/base.c)
	limits := make(map[string]string)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if len(line) < hard || !strings.HasPrefix(line, "Max ") {
			continue
		}
		limits[strings.TrimSpace(line[len("Max "):name])] = strings.TrimSpace(line[name:soft]) + " " + strings.TrimSpace(line[soft:hard])
	}
	return limits, lines.Err()
}

// readMounts reads whether the root is read-only, and what is hidden or read-only by
// mounts over it.
func readMounts(c *task.ContainerIsolation, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	mounts, err := mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	c.MaskedPaths, c.ReadonlyPaths = []string{}, []string{}
	for _, m := range mounts {
		readonly := strings.HasPrefix(m.Options+",", "ro,")
		switch {
		case m.Mountpoint == "/":
			c.ReadonlyRoot = readonly
		case !strings.HasPrefix(m.Mountpoint, "/proc/") && !strings.HasPrefix(m.Mountpoint, "/sys/"):
		case m.Root == "/null" || m.FSType == "tmpfs" && readonly && !strings.HasPrefix(m.Mountpoint, "/sys/fs/cgroup"):
			c.MaskedPaths = append(c.MaskedPaths, m.Mountpoint)
		case readonly && (m.FSType == "proc" || m.Mountpoint == "/sys/fs/cgroup"):
			c.ReadonlyPaths = append(c.ReadonlyPaths, m.Mountpoint)
		}
	}
	return nil
}

// profileOf returns the hash of the seccomp profile in a container's spec.
func profileOf(s specs.Spec) (string, error) {
	if s.Linux == nil || s.Linux.Seccomp == nil {
		return "", nil
	}
	text, err := json.Marshal(s.Linux.Seccomp)
	if err != nil {
		return "", fmt.Errorf("encode seccomp profile: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
