package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"berth/fault"
	"berth/server/api"
)

func (a *app) secretCommand() *cobra.Command {
	c := &cobra.Command{Use: "secret", Aliases: []string{"secrets"}, Short: "Keep what containers are given in confidence"}
	c.AddCommand(a.secretPutCommand(), a.secretListCommand(), a.secretRemoveCommand())
	return c
}

func (a *app) secretPutCommand() *cobra.Command {
	var value, file string
	c := &cobra.Command{
		Use:   "put NAME",
		Short: "Keep a secret, in place of the one that was there",
		Long: "Keep a secret, in place of the one that was there. Task definitions name it as a parameter\n" +
			"(NAME), or by an ARN of the Parameter Store or of Secrets Manager. Without flags the value is\n" +
			"read from standard input, without the line end after it. Nobody gets it back but containers.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := a.secretValue(c.Flags().Changed("value"), value, file)
			if err != nil {
				return err
			}
			s, err := a.client().PutSecret(c.Context(), args[0], text)
			if err != nil {
				return err
			}
			return a.print(s, func(w io.Writer) { fmt.Fprintln(w, clean(s.Name)) })
		},
	}
	c.Flags().StringVar(&value, "value", "", "the `value`, which other users of this host can see while the command runs")
	c.Flags().StringVar(&file, "from-file", "", "`file` whose content is the value, to the last byte")
	c.MarkFlagsMutuallyExclusive("value", "from-file")
	return c
}

// secretValue returns what is to be kept.
func (a *app) secretValue(given bool, value, file string) ([]byte, error) {
	if given {
		return []byte(value), nil
	}
	from := a.in
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%v", err)
		}
		defer f.Close()
		from = f
	} else if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(a.err, "Value: ")
		defer fmt.Fprintln(a.err)
		text, err := term.ReadPassword(int(f.Fd()))
		if err != nil {
			return nil, fmt.Errorf("read the value: %w", err)
		}
		return text, nil
	}
	text, err := io.ReadAll(io.LimitReader(from, api.MaxSecret+int64(len("\r\n"))+1))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the value cannot be read")
	}
	if file == "" {
		if line, ended := bytes.CutSuffix(text, []byte("\n")); ended {
			text = bytes.TrimSuffix(line, []byte("\r"))
		}
	}
	if len(text) > api.MaxSecret {
		return nil, fault.New(fault.Invalid, "the secret has more than %d bytes (64 KiB)", api.MaxSecret)
	}
	return text, nil
}

func (a *app) secretListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the secrets, without their values", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := a.client().Secrets(c.Context())
			if err != nil {
				return err
			}
			return a.print(all, func(w io.Writer) {
				rows := [][]string{{"SECRET", "CREATED", "UPDATED", "SIZE"}}
				for _, s := range all {
					rows = append(rows, []string{s.Name, span(a.now().Sub(s.CreatedAt)) + " ago", span(a.now().Sub(s.UpdatedAt)) + " ago", secretSize(s)})
				}
				table(w, rows...)
			})
		},
	}
}

// secretSize is how much of a secret there is.
func secretSize(s api.SecretInfo) string {
	if s.Damaged {
		return "damaged"
	}
	return byteCount(uint64(max(0, s.SizeBytes)))
}

func (a *app) secretRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME...", Aliases: []string{"remove"}, Short: "Forget secrets", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeSecrets,
		RunE: func(c *cobra.Command, args []string) error {
			for _, name := range args {
				if err := a.client().RemoveSecret(c.Context(), name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// completeSecrets completes the names of secrets.
func (a *app) completeSecrets(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.suggest(c, begun, func(ctx context.Context, add func(name, about string) bool) {
		all, err := a.client().Secrets(ctx)
		for _, s := range all {
			if err != nil || !add(s.Name, secretSize(s)) {
				return
			}
		}
	})
}
