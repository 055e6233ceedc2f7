package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"berth/client"
	"berth/fault"
)

// app is what every command works with.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) (string, bool)
	now      func() time.Time

	endpoint string
	token    string // that proves who calls; empty: none
	caFile   string // with certificates by which the server is known besides the host's
	pinned   string // file with the certificate of a server on this host; see ownServer
	output   string // table or json
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{in: stdin, out: stdout, err: stderr, env: os.LookupEnv, now: time.Now}
}

// defaultListen is where a server listens if nobody says otherwise.
const defaultListen = "127.0.0.1:8080"

// root is the command line. Every flag can be given as an environment variable
// too; variable says how it is called.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "berth",
		Short: "Fargate on your own machines",
		Long: "Berth runs ECS task definitions at once, isolated on containerd with exactly their\n" +
			"limits, meters them every second and bills them.\n\n" +
			"Every flag can be given in the environment too: --endpoint and those of the server as\n" +
			"BERTH_ENDPOINT and BERTH_STATE_DIR, others with their command, as BERTH_RUN_CPU.",
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return a.configure(c) },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	flags := root.PersistentFlags()
	flags.StringVar(&a.endpoint, "endpoint", "http://"+defaultListen, "address of the `server`")
	flags.StringVar(&a.token, "auth-token", "", "the `token` that proves who calls, of a server with --auth (also BERTH_TOKEN)")
	flags.StringVar(&a.caFile, "ca-file", "", "`file` with certificates by which the server is known besides the host's, PEM")
	flags.StringVarP(&a.output, "output", "o", "table", "`format` of what is printed: table or json")
	complete(root, "output", "table", "json")
	root.AddCommand(
		a.upCommand(), a.downCommand(), a.serverCommand(), a.doctorCommand(),
		a.runCommand(), a.psCommand(), a.describeCommand(), a.logsCommand(), a.stopCommand(), a.execCommand(),
		a.usageCommand(), a.billCommand(), a.costsCommand(), a.ledgerCommand(), a.estimateCommand(), a.rightsizeCommand(), a.priceCommand(), a.budgetCommand(), a.noticesCommand(), a.eventsCommand(), a.imageCommand(), a.groupCommand(), a.targetGroupCommand(), a.secretCommand(), a.userCommand(), a.auditCommand(), a.interruptCommand(), a.definitionCommand(), a.healthCommand(), a.versionCommand(),
	)
	return root
}

// configure fills in from the environment what the command line leaves open.
func (a *app) configure(c *cobra.Command) error {
	var failed error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		name := variable(c, f)
		value, given := a.env(name)
		if f.Changed || !given || f.Name == "help" || failed != nil {
			return
		}
		if c.Flags().Set(f.Name, value) != nil {
			failed = fault.New(fault.Invalid, "the environment variable %s is %q, which --%s does not take", name, value, f.Name)
		}
	})
	if token, ok := a.env("BERTH_TOKEN"); ok && a.token == "" {
		a.token = token
	}
	if failed == nil && a.output != "table" && a.output != "json" {
		failed = fault.New(fault.Invalid, "--output %q: it can be table or json", a.output)
	}
	return failed
}

// variable names the environment variable of a flag. Flags of the server and of
// all commands are BERTH_FLAG; others have the command in their name too, so that
// the memory of the server is not taken for the memory of a task.
func variable(c *cobra.Command, f *pflag.Flag) string {
	path := strings.Fields(c.CommandPath())
	switch {
	case c.InheritedFlags().Lookup(f.Name) != nil, serverFlag(f.Name) && serverLike[c.Name()]:
		path = path[:1]
	}
	name := strings.Join(append(path, f.Name), "_")
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// serverLike are the commands whose flags are those of a server.
var serverLike = map[string]bool{"server": true, "up": true, "down": true, "doctor": true}

func serverFlag(name string) bool {
	var c serverConfig
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.flags(flags)
	return flags.Lookup(name) != nil
}

func (a *app) client() *client.Client {
	options := []client.Option{client.WithUserAgent("berth/" + version())}
	if a.token != "" {
		options = append(options, client.WithToken(a.token))
	}
	switch {
	case a.pinned != "":
		options = append(options, client.WithHTTPClient(clientPinning(a.pinned)))
	case a.caFile != "":
		h, err := clientTrusting(a.caFile)
		if err != nil {
			h = &http.Client{Transport: failing{err}}
		}
		options = append(options, client.WithHTTPClient(h))
	}
	return client.New(a.endpoint, options...)
}

// failing is a transport that fails for a reason known before anything is sent.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// exit is the wish to end with a code, when everything has been said already.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// failure is an error that ends the program with a code of its own.
type failure struct {
	error
	code int
}

func (f failure) Unwrap() error { return f.error }

// report says what went wrong, once, and returns the exit code.
func (a *app) report(err error) int {
	var e exit
	var f failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return int(e)
	}
	fmt.Fprintln(a.err, "berth: "+clean(explain(err)))
	if errors.As(err, &f) {
		return f.code
	}
	return 1
}

// explain says what is wrong and how to mend it.
func explain(err error) string {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		lines := make([]string, 0, 4)
		for _, each := range joined.Unwrap() {
			if line := explain(each); !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "; ")
	}
	var e *fault.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	text := e.Msg
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		text += "; start one with \"berth up\", or say where it is with --endpoint or BERTH_ENDPOINT"
	case e.Kind == fault.Unauthenticated:
		text += "; give yours with --auth-token or BERTH_TOKEN"
	case e.Err != nil && e.Kind != fault.Internal:
		text += ": " + e.Err.Error()
	}
	return text
}

// print prints v as JSON if that is what the user wants, and else calls table.
func (a *app) print(v any, table func(io.Writer)) error {
	if a.output == "table" {
		table(a.out)
		return nil
	}
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// note tells a person how things go, apart from what was asked for.
func (a *app) note(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }

// terminal reports whether w is a terminal.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// complete completes the values of a flag.
func complete(c *cobra.Command, flag string, values ...string) {
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag
	}
}
