package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// cpuLimit says how much CPU the cgroup mounted at root allows, as far as it can
// be seen from in here.
func cpuLimit(root string) string {
	quota, period := word(root, "cpu.max", 0), word(root, "cpu.max", 1)
	for _, v1 := range []string{"cpu", "cpu,cpuacct"} {
		if quota < 0 {
			quota, period = word(root, v1+"/cpu.cfs_quota_us", 0), word(root, v1+"/cpu.cfs_period_us", 0)
		}
	}
	if quota <= 0 || period <= 0 {
		return "all CPU of its task"
	}
	return strconv.FormatFloat(float64(quota)/float64(period), 'f', -1, 64) + " vCPU"
}

// memoryLimit is cpuLimit for memory.
func memoryLimit(root string) string {
	limit := word(root, "memory.max", 0)
	if limit < 0 {
		limit = word(root, "memory/memory.limit_in_bytes", 0)
	}
	if limit < 0 || limit > 1<<60 { // version 1 has a large number for none
		return "all"
	}
	return fmt.Sprintf("%d MiB", limit>>20)
}

// word returns a number in a file, or -1 if there is none.
func word(root, file string, n int) int64 {
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return -1
	}
	words := strings.Fields(string(text))
	if n >= len(words) {
		return -1
	}
	v, err := strconv.ParseInt(words[n], 10, 64)
	if err != nil {
		return -1
	}
	return v
}

// digest shows that a program knows a secret, without the secret.
func digest(names []string) error {
	if len(names) == 0 {
		return errUsage
	}
	for _, name := range names {
		value, ok := os.LookupEnv(name)
		if !ok {
			return fmt.Errorf("no variable %s", name)
		}
		fmt.Printf("%s %x\n", name, sha256.Sum256([]byte(value)))
	}
	return nil
}

func env([]string) error {
	vars := os.Environ()
	slices.Sort(vars)
	fmt.Println(strings.Join(vars, "\n"))
	return nil
}

func id([]string) error {
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	fmt.Printf("uid=%d gid=%d groups=%v pid=%d hostname=%s cwd=%s\n", os.Getuid(), os.Getgid(), groups, os.Getpid(), host, dir)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") || strings.HasPrefix(line, "Seccomp") {
			fmt.Print(line)
		}
	}
	return nil
}

func mounts([]string) error { return cat([]string{"/proc/self/mounts"}) }

func cat(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	for _, name := range args {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func ls(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	for _, dir := range args {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			fmt.Println(filepath.Join(dir, e.Name()))
		}
	}
	return nil
}
