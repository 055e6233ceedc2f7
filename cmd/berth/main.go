// Command berth is Berth: the server, and the command line that speaks to it.
//
// It wires and it prints; it decides nothing. Every command that concerns tasks
// is a call of package client, so whatever it does can be done over HTTP as well.
package main

import (
	"context"
	"io"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for the exit. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := newApp(stdin, stdout, stderr)
	root := a.root()
	root.SetArgs(args)
	return a.report(root.ExecuteContext(ctx))
}
