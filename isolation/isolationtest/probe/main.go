// Command probe is what the tests run in containers: it does for real what
// isolationtest.Fake plays, and looks around from inside.
//
//	probe sleep 90s [PORT] | trap TERM 3s [PORT] | ignore TERM [PORT]
//	probe spin 2s | exit 3 | oom 64 | listen 80 | dial 80 | pids
//	probe inspect 2s      prints what it sees of itself and its surroundings, as JSON, and stays that long
//	probe say hello 3     prints hello, and ends with code 3
//	probe flood FILE      writes until it may not
//	probe uses DIR        does there what programs do with files, sockets and pipes, and prints what failed
//	probe cat             repeats what it reads
//	probe window          says how large its terminal is, until it reads a q
//	probe daemon          starts a child with a session of its own, and ends
//	probe family          starts a child, and both stay
//	probe chatter 1000    prints so many lines of 200 letters
//	probe bomb            starts itself over and over
//	probe knows A b       ends with 0 if the variable A is b, else with 1
//	probe orphans 3       leaves three zombies to PID 1, and ends with how many there are a second later
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	word := func(n int) string {
		if n < len(os.Args) {
			return os.Args[n]
		}
		return ""
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	switch word(1) {
	case "sleep":
		serve(word(3))
		select {
		case <-terminated:
			os.Exit(128 + int(syscall.SIGTERM))
		case <-time.After(duration(word(2))):
		}
	case "spin":
		signal.Stop(terminated)
		spin(duration(word(2)))
	case "exit":
		os.Exit(number(word(2)))
	case "oom":
		hog(number(word(2)) << 20)
	case "trap":
		serve(word(4))
		<-terminated
		select {
		case <-terminated: // A second signal, which many programs take for the wish to end at once.
			os.Exit(9)
		case <-time.After(duration(word(3))):
		}
	case "ignore":
		signal.Ignore(syscall.SIGTERM)
		serve(word(3))
		time.Sleep(time.Hour)
	case "listen":
		serve(word(2))
		time.Sleep(time.Hour)
	case "dial":
		dial(word(2))
	case "raw":
		raw(word(2), word(3), word(4), number(word(5)), word(6))
	case "put":
		put(word(2), word(3), number(word(4)))
	case "flood":
		flood(word(2))
	case "uses":
		uses(word(2))
	case "look":
		look(word(2))
	case "knows":
		if os.Getenv(word(2)) != word(3) {
			os.Exit(1)
		}
	case "pids":
		os.Exit(len(processes()))
	case "inspect":
		inspect()
		time.Sleep(duration(word(2)))
	case "say":
		fmt.Println(word(2))
		os.Exit(number(word(3)))
	case "loud":
		for _, f := range []*os.File{os.Stdout, os.Stderr} {
			if _, err := fmt.Fprintln(f, "loud"); err != nil {
				os.Exit(100) // Nobody can be told.
			}
		}
		os.Exit(number(word(2)))
	case "cat":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			os.Exit(1)
		}
	case "window":
		window()
	case "daemon":
		child := exec.Command("/proc/self/exe", "sleep", "1h")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		_ = child.Start()
	case "family":
		_ = exec.Command("/proc/self/exe", "sleep", "1h").Start()
		time.Sleep(time.Hour)
	case "chatter":
		for n := range number(word(2)) {
			fmt.Println(n, strings.Repeat("x", 200))
		}
	case "watch":
		watch(number(word(2)))
		time.Sleep(duration(word(3)))
	case "bomb":
		bomb()
	case "orphan":
		_ = exec.Command("/proc/self/exe", "sleep", "200ms").Start()
	case "orphans":
		orphans(number(word(2)))
	}
}

func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return time.Hour
	}
	return d
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// spin uses all the CPU it gets and prints how much that was.
func spin(d time.Duration) {
	begin := time.Now()
	for range runtime.NumCPU() {
		go func() {
			for n := 0; ; n++ {
				if n < 0 {
					return
				}
			}
		}()
	}
	time.Sleep(d)
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	fmt.Printf(`{"cpu": %f, "elapsed": %f}`+"\n", cpu.Seconds(), time.Since(begin).Seconds())
}

// hog takes memory, step bytes at a time, and uses it.
func hog(step int) {
	var all [][]byte
	for {
		b := make([]byte, max(step, 1<<20))
		for i := 0; i < len(b); i += os.Getpagesize() {
			b[i] = 1
		}
		all = append(all, b)
	}
}

// serve accepts connections on a port of loopback, if it is given one.
func serve(port string) {
	if port == "" {
		return
	}
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		for {
			if c, err := l.Accept(); err == nil {
				c.Close()
			}
		}
	}()
}

// dial connects to a port on loopback, for whose listener it waits, as that may
// be starting; or to an address with a port, which it tries once.
func dial(port string) {
	address, tries := port, 1
	if !strings.Contains(port, ":") {
		address, tries = "127.0.0.1:"+port, 1000
	}
	for range tries {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	os.Exit(1)
}

// raw sends a UDP packet that it made itself, past the kernel's routes and sockets:
// to that hardware address, from that IP address, to that one and its port.
func raw(hardware, from, to string, port int, sender string) {
	mac, err := net.ParseMAC(hardware)
	link, err2 := net.InterfaceByName("eth0")
	fd, err3 := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0)
	if err := errors.Join(err, err2, err3); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	udp := []byte{0x30, 0x39, byte(port >> 8), byte(port), 0, 11, 0, 0, 'r', 'a', 'w'} // no checksum, as RFC 768 allows
	ip := []byte{0x45, 0, 0, byte(20 + len(udp)), 0, 0, 0, 0, 64, syscall.IPPROTO_UDP, 0, 0}
	ip = append(append(ip, net.ParseIP(from).To4()...), net.ParseIP(to).To4()...)
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(ip[i])<<8 | uint32(ip[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	ip[10], ip[11] = byte(^sum>>8), byte(^sum)
	own := link.HardwareAddr
	if sender != "" {
		if own, err = net.ParseMAC(sender); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	frame := append(append(append([]byte{}, mac...), own...), 8, 0)
	frame = append(append(frame, ip...), udp...)
	var at syscall.SockaddrLinklayer
	at.Ifindex, at.Halen = link.Index, 6
	copy(at.Addr[:], mac)
	for range 3 {
		if err := syscall.Sendto(fd, frame, 0, &at); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

// put writes text to a file, so many times.
func put(path, text string, times int) {
	err := os.WriteFile(path, []byte(strings.Repeat(text, max(times, 1))), 0o644)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// uses does in a directory what programs do with their temporary files, and prints what
// did not work.
func uses(dir string) {
	at := func(name string) string { return filepath.Join(dir, name) }
	failed := make(map[string]string)
	try := func(what string, do func() error) {
		if err := do(); err != nil {
			failed[what] = err.Error()
		}
	}
	try("write", func() error { return os.WriteFile(at("a"), []byte("text"), 0o600) })
	try("rename", func() error { return os.Rename(at("a"), at("b")) })
	try("link", func() error { return os.Link(at("b"), at("c")) })
	try("symlink", func() error { return os.Symlink("b", at("d")) })
	try("read", func() error {
		text, err := os.ReadFile(at("d"))
		if err == nil && string(text) != "text" {
			err = fmt.Errorf("it has %q", text)
		}
		return err
	})
	try("chmod", func() error { return os.Chmod(at("b"), 0o640) })
	try("map", func() error {
		f, err := os.OpenFile(at("b"), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		m, err := syscall.Mmap(int(f.Fd()), 0, 4, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			return err
		}
		copy(m, "more")
		return errors.Join(syscall.Munmap(m), syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	})
	try("pipe", func() error { return syscall.Mkfifo(at("pipe"), 0o600) })
	try("socket", func() error {
		l, err := net.Listen("unix", at("socket"))
		if err != nil {
			return err
		}
		defer l.Close()
		c, err := net.Dial("unix", at("socket"))
		if err != nil {
			return err
		}
		return c.Close()
	})
	try("remove", func() error {
		return errors.Join(os.Remove(at("b")), os.Remove(at("pipe")), os.MkdirAll(at("e/f"), 0o700), os.RemoveAll(at("e")))
	})
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"failed": failed})
}

// flood writes to a file until it may not any more, and prints how much that was.
func flood(path string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	chunk := make([]byte, 64<<10)
	written := 0
	for n := 0; err == nil; written += n {
		n, err = f.Write(chunk)
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"written": written, "full": errors.Is(err, syscall.ENOSPC), "error": err.Error()})
}

// look prints what is known of a file or directory.
func look(path string) {
	st, err := os.Stat(path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	text, _ := os.ReadFile(path)
	var names []string
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	owner := st.Sys().(*syscall.Stat_t)
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"mode": st.Mode().String(), "uid": owner.Uid, "gid": owner.Gid, "text": string(text), "names": names,
	})
}

// processes returns the PIDs that can be seen.
func processes() []string {
	all, _ := filepath.Glob("/proc/[0-9]*")
	return all
}

// watch makes inotify instances until it has so many or may have no more, and prints how
// many those are.
func watch(most int) {
	got := 0
	for got < most {
		if _, err := syscall.InotifyInit1(0); err != nil {
			break
		}
		got++
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"got": got})
}

func bomb() {
	for {
		cmd := exec.Command("/proc/self/exe", "bomb")
		if err := cmd.Start(); err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		go cmd.Wait()
	}
}

// orphans starts children that each start a grandchild and end; the
// grandchildren end a little later, as children of PID 1.
func orphans(n int) {
	for range n {
		_ = exec.Command("/proc/self/exe", "orphan").Run()
	}
	time.Sleep(time.Second)
	zombies := 0
	for _, p := range processes() {
		if status, err := os.ReadFile(p + "/status"); err == nil && strings.Contains(string(status), "State:\tZ") {
			zombies++
		}
	}
	os.Exit(zombies)
}

func inspect() {
	report := map[string]any{
		"args": os.Args, "env": os.Environ(), "pid": os.Getpid(), "uid": os.Getuid(), "gid": os.Getgid(),
	}
	report["groups"], _ = os.Getgroups()
	report["cwd"], _ = os.Getwd()
	report["hostname"], _ = os.Hostname()
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			switch k {
			case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "SigIgn":
				report[k] = strings.TrimSpace(v)
			}
		}
	}
	namespaces := map[string]string{}
	for _, ns := range []string{"pid", "ipc", "uts", "mnt", "net", "cgroup", "user"} {
		namespaces[ns], _ = os.Readlink("/proc/self/ns/" + ns)
	}
	report["namespaces"] = namespaces
	var files syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
	report["nofile"] = []uint64{files.Cur, files.Max}
	for name, path := range map[string]string{"hosts": "/etc/hosts", "cgroup": "/proc/self/cgroup", "routes": "/proc/net/route", "oomScore": "/proc/self/oom_score_adj"} {
		text, _ := os.ReadFile(path)
		report[name] = strings.TrimSpace(string(text))
	}
	report["writable"] = writable("/", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/mm/transparent_hugepage/enabled",
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max", "/etc/hosts")
	report["open"], _ = filepath.Glob("/proc/self/fd/*")
	report["devices"], _ = filepath.Glob("/dev/*")
	for name, path := range map[string]string{"kcore": "/proc/kcore", "keys": "/proc/keys"} {
		b, err := os.ReadFile(path)
		report[name] = err == nil && len(b) > 0
	}
	var interfaces []string
	all, _ := net.Interfaces()
	for _, i := range all {
		addrs, _ := i.Addrs()
		interfaces = append(interfaces, fmt.Sprint(i.Name, " ", addrs))
	}
	report["interfaces"] = interfaces
	_ = json.NewEncoder(os.Stdout).Encode(report)
}

// writable returns those of paths that can be written.
func writable(paths ...string) []string {
	var can []string
	for _, p := range paths {
		if st, err := os.Stat(p); err == nil && st.IsDir() {
			if f, err := os.CreateTemp(p, "probe"); err == nil {
				f.Close()
				os.Remove(f.Name())
				can = append(can, p)
			}
			continue
		}
		if f, err := os.OpenFile(p, os.O_WRONLY, 0); err == nil {
			f.Close()
			can = append(can, p)
		}
	}
	return can
}
