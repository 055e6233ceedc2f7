package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"berth/fault"
)

// healthCommand is for health checks where there is neither curl nor a shell.
func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Say whether tasks can run, by exit code too",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := a.client().Health(c.Context())
			if err != nil {
				return err
			}
			if err := a.print(h, func(w io.Writer) { fmt.Fprintln(w, h.Status) }); err != nil {
				return err
			}
			if h.Status != "ok" {
				return fault.New(fault.Unavailable, "tasks cannot run: %s", strings.Join(h.Reasons, "; "))
			}
			return nil
		},
	}
}
