package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// serve answers HTTP requests with the name of this container, and says who asked. It
// speaks as much of HTTP/1.0 (RFC 1945) as that takes: the whole of net/http would be
// most of the image.
func serve(args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	l, err := net.Listen("tcp", ":"+args[0])
	if err != nil {
		return err
	}
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Printf("demo: serves on port %s\n", args[0])
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(c, name)
	}
}

// patience is how long either end waits for the other.
const patience = 5 * time.Second

func answer(c net.Conn, name string) {
	defer c.Close()
	if c.SetDeadline(time.Now().Add(patience)) != nil {
		return
	}
	in := bufio.NewReader(io.LimitReader(c, 64<<10))
	line, err := in.ReadString('\n')
	if err != nil {
		return // Somebody only looked whether the port is open.
	}
	for header := line; strings.TrimSpace(header) != ""; {
		if header, err = in.ReadString('\n'); err != nil {
			return
		}
	}
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	fmt.Printf("demo: %s asked for %q\n", host, strings.TrimSpace(line))
	body := "hello from " + name + "\n"
	fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// get asks for the root of an HTTP server and prints what it says.
func get(args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	c, err := net.DialTimeout("tcp", args[0], patience)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	fmt.Fprintf(c, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", args[0])
	text, err := io.ReadAll(io.LimitReader(c, 64<<10))
	if err != nil {
		return err
	}
	_, body, _ := strings.Cut(string(text), "\r\n\r\n")
	fmt.Print(body)
	return nil
}

// lookup prints what the name server says, a line for each name.
func lookup(names []string) error {
	if len(names) == 0 {
		return errUsage
	}
	for _, name := range names {
		all, err := net.LookupHost(name)
		if err != nil {
			fmt.Printf("%s: %v\n", name, err)
			continue
		}
		slices.Sort(all)
		fmt.Printf("%s: %s\n", name, strings.Join(all, " "))
	}
	return nil
}
