package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"berth/fault"
	"berth/server/api"
	"berth/task"
)

func (a *app) imageCommand() *cobra.Command {
	c := &cobra.Command{Use: "image", Aliases: []string{"images"}, Short: "Look after the images on the server's host"}
	c.AddCommand(a.imageImportCommand(), a.imageListCommand(), a.imageRemoveCommand(), a.imagePullCommand(), a.imagePruneCommand())
	return c
}

func (a *app) imageImportCommand() *cobra.Command {
	var tag string
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Import an image from an OCI or docker-archive tar",
		Long: "Import an image from a tar in the OCI layout or as \"docker save\" writes it; - is standard\n" +
			"input. No registry is ever asked about an imported image.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			from := a.in
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fault.New(fault.Invalid, "%v", err)
				}
				defer f.Close()
				if info, err := f.Stat(); err == nil && info.IsDir() {
					return fault.New(fault.Invalid, "%s is a directory; import takes a tar of it", args[0])
				}
				from = f
			}
			images, err := a.client().Import(c.Context(), tag, io.NopCloser(from))
			if err != nil {
				return err
			}
			return a.print(images, func(w io.Writer) {
				for _, i := range images {
					fmt.Fprintln(w, clean(i.Name+"@"+i.Digest))
				}
			})
		},
	}
	c.Flags().StringVar(&tag, "tag", "", "`name` of the image, as task definitions will say it (default: as the archive says)")
	return c
}

func (a *app) imageListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the images",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			images, err := a.client().Images(c.Context())
			if err != nil {
				return err
			}
			return a.print(images, func(w io.Writer) {
				rows := [][]string{{"IMAGE", "DIGEST", "SIZE", "PLATFORM", "USED", "STATE"}}
				for _, i := range images {
					rows = append(rows, []string{i.Name, shortDigest(i.Digest), byteCount(uint64(max(0, i.SizeBytes))),
						i.Platform, span(a.now().Sub(i.UsedAt)) + " ago", imageState(i)})
				}
				table(w, rows...)
			})
		},
	}
}

func imageState(i task.Image) string {
	var states []string
	if i.Imported {
		states = append(states, "imported")
	}
	if i.InUse {
		states = append(states, "in use")
	}
	return dash(strings.Join(states, ", "))
}

// shortDigest keeps as much of a digest as a person compares.
func shortDigest(d string) string {
	const enough = len("sha256:") + 12
	return d[:min(len(d), enough)]
}

func (a *app) imageRemoveCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:               "rm IMAGE...",
		Aliases:           []string{"remove"},
		Short:             "Remove images",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(c *cobra.Command, args []string) error {
			for _, name := range args {
				if err := a.client().RemoveImage(c.Context(), name, force); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "also if a task needs it; the task keeps what it has")
	return c
}

func (a *app) imagePullCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pull IMAGE",
		Short: "Pull an image from its registry",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b := bars{w: a.err, terminal: terminal(a.err)}
			var last task.PullProgress
			for p, err := range a.client().Pull(c.Context(), args[0]) {
				if err != nil {
					b.update(nil)
					return err
				}
				last = p
				b.update([]task.PullProgress{p})
			}
			return a.print(last, func(w io.Writer) { fmt.Fprintln(w, clean(last.Image+"@"+last.Digest)) })
		},
	}
}

func (a *app) imagePruneCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Remove the images that no task needs and that were not imported",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			got, err := a.client().CollectImages(c.Context())
			if err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) {
				for _, name := range got.Removed {
					fmt.Fprintln(w, clean(name))
				}
				fmt.Fprintf(w, "Removed %s, which frees %s.\n", count(len(got.Removed), "image"), byteCount(uint64(max(0, got.FreedBytes))))
			})
		},
	}
}

// printLineJSON prints one line of a log as one line of JSON.
func (a *app) printLineJSON(line api.LogLine) error {
	if err := json.NewEncoder(a.out).Encode(line); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}
