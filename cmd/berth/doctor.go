package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"berth/cmd/berth/internal/doctor"
	"berth/fault"
)

func (a *app) doctorCommand() *cobra.Command {
	var config serverConfig
	var verbose bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether this host can run tasks, and say how to mend it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := stateDir(config.StateDir)
			if err != nil {
				return err
			}
			shim, err := config.kataShim()
			if err != nil {
				return err
			}
			background, running := findBackground(dir)
			findings := doctor.Examine(c.Context(), doctor.Config{
				Root: "/", StateDir: dir, Listen: config.Listen, Libexec: libexec(config.Libexec), KataShim: shim,
				ContainerdAddress: config.ContainerdAddress, Running: running && background.endpoint == config.endpoint(),
				Now: a.now,
			})
			if err := a.print(findings, func(w io.Writer) { printFindings(w, findings, verbose) }); err != nil {
				return err
			}
			if n := doctor.Count(findings, doctor.Fail); n > 0 {
				if a.output == "json" {
					return exit(1)
				}
				return fault.New(fault.Unavailable, "tasks cannot run on this host: %s failed", count(n, "check"))
			}
			return nil
		},
	}
	config.stateFlag(c.Flags())
	c.Flags().StringVar(&config.Listen, "listen", defaultListen, "`host:port` that the server shall listen on")
	config.libexecFlag(c.Flags())
	config.kataFlag(c.Flags())
	c.Flags().StringVar(&config.ContainerdAddress, "containerd-address", "", "`socket` of the containerd to use")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "say what each check is for, also if all is well")
	return c
}

// printFindings prints one line a check, and below it what is wrong.
func printFindings(w io.Writer, findings []doctor.Finding, verbose bool) {
	for _, f := range findings {
		fmt.Fprintf(w, "%-4s  %-22s %s\n", f.Status, f.Check, clean(f.Found))
		if f.Status != doctor.OK || verbose {
			fmt.Fprintf(w, "      %s\n", clean(f.Means))
		}
		if f.Status != doctor.OK && f.Mend != "" {
			fmt.Fprintf(w, "      → %s\n", clean(f.Mend))
		}
	}
	fmt.Fprintf(w, "\n%d ok, %d warn, %d fail\n",
		doctor.Count(findings, doctor.OK), doctor.Count(findings, doctor.Warn), doctor.Count(findings, doctor.Fail))
}
