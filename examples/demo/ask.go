package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"time"
)

// ask asks over HTTP/1.0, which needs no more than a connection: with net/http the
// program would be twice as large.
func ask(args []string) error {
	fs := flag.NewFlagSet("ask", flag.ContinueOnError)
	method, body := fs.String("X", "GET", "method"), fs.String("d", "", "body")
	span := fs.Duration("for", 0, "how long to ask, once a second; 0: once")
	fs.SetOutput(io.Discard)
	if fs.Parse(args) != nil || fs.NArg() == 0 {
		return errUsage
	}
	for end := time.Now().Add(*span); ; time.Sleep(time.Second) {
		for _, text := range fs.Args() {
			err := request(*method, os.ExpandEnv(text), *body)
			if err != nil && *span == 0 {
				return err
			}
			if err != nil {
				fmt.Println(err)
			}
		}
		if !time.Now().Before(end) {
			return nil
		}
	}
}

// request makes one request and prints the status and the body of the answer.
func request(method, text, body string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	if u.Scheme != "http" {
		return errors.New("it speaks http alone, not " + u.Scheme)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	c, err := net.DialTimeout("tcp", net.JoinHostPort(u.Hostname(), port), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c, "%s %s HTTP/1.0\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", method, u.RequestURI(), u.Host, len(body), body)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(bufio.NewReader(c))
	if err != nil {
		return err
	}
	head, content, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
	status := bytes.Fields(head)
	if !ok || len(status) < 2 {
		return fmt.Errorf("%s answered %q", u, answer)
	}
	fmt.Printf("%s %s\n", status[1], content)
	return nil
}
