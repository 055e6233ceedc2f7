package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"berth/fault"
	"berth/notice"
	"berth/server/api"
	"berth/store"
	"berth/task"
)

func (a *app) noticesCommand() *cobra.Command {
	var q notice.Query
	var follow bool
	c := &cobra.Command{
		Use: "notices", Aliases: []string{"notice"}, Short: "Show what people were told, and follow it",
		Long: "Show what people were told: budgets that are used up, costs that are not as they were.\n" +
			"The newest come last. What names a webhook is sent there too, and tried for a day.",
		Example: "  berth notices --follow\n  berth notices --type berth.cost.anomaly --output json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			none := q.Limit == 0
			if none {
				q.Limit = 1 // The end of all is asked for.
			}
			list, err := a.client().Notices(c.Context(), nil, q)
			if err != nil {
				return err
			}
			if none {
				list.Notices = list.Notices[:0]
			}
			if !follow {
				return a.print(list, func(w io.Writer) { listNotices(w, list.Notices) })
			}
			lines := json.NewEncoder(a.out)
			lines.SetEscapeHTML(false)
			show := func(n api.Notice) error {
				if a.output == "json" {
					return lines.Encode(n)
				}
				_, err := fmt.Fprintln(a.out, strings.Join(noticeRow(n), "  "))
				return err
			}
			for _, n := range list.Notices {
				if err := show(n); err != nil {
					return err
				}
			}
			q.After = list.Last
			for n, err := range a.client().FollowNotices(c.Context(), q) {
				if err != nil {
					return err
				}
				if err := show(n); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	f.IntVarP(&q.Limit, "limit", "n", 50, "at most so many that were there before")
	f.StringVar(&q.Type, "type", "", "only those whose `type` begins so, as in berth.budget.")
	f.StringVar(&q.Subject, "subject", "", "only those about this `subject`, as in budget/NAME")
	c.AddCommand(a.noticesKeyCommand())
	return c
}

func listNotices(w io.Writer, all []api.Notice) {
	rows := [][]string{{"TIME", "TYPE", "SUBJECT", "DELIVERY", "WHAT"}}
	for _, n := range all {
		rows = append(rows, noticeRow(n))
	}
	table(w, rows...)
}

func noticeRow(n api.Notice) []string {
	delivery := "-"
	if d := n.Delivery; d != nil {
		switch delivery = "delivered"; d.Status {
		case api.Pending:
			delivery = fmt.Sprintf("pending, tried %s", count(d.Attempts, "time"))
		case api.GivenUp:
			delivery = "given up"
		}
		if d.Failure != "" {
			delivery += ": " + d.Failure
		}
	}
	var data struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(n.Data, &data) != nil || data.Reason == "" {
		data.Reason = string(n.Data)
	}
	return []string{n.At.UTC().Format("2006-01-02 15:04:05"), clean(n.Type), clean(n.Subject), clean(delivery), cleanLine(data.Reason)}
}

// noticesKeyFile is the key that signs deliveries.
const noticesKeyFile = "notices.key"

func (a *app) noticesKeyCommand() *cobra.Command {
	var config serverConfig
	c := &cobra.Command{
		Use: "key", Short: "Show the secret by which receivers check deliveries", Args: cobra.NoArgs,
		Long: "Show the secret by which webhooks check what they are sent, as libraries of Standard Webhooks\n" +
			"take it. It is read from the state directory of the server, and is never told by its API.",
		RunE: func(*cobra.Command, []string) error {
			dir, err := stateDir(config.StateDir)
			if err != nil {
				return err
			}
			key, err := os.ReadFile(filepath.Join(dir, noticesKeyFile))
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return fault.New(fault.NotFound, "%s has no key yet: it is made when a server begins there; say where it is with --state-dir", dir)
			case errors.Is(err, fs.ErrPermission):
				return fault.Wrap(fault.Invalid, err, "only who runs the server may read its key")
			case err != nil:
				return fmt.Errorf("read the key of notices: %w", err)
			}
			v := struct {
				Key string `json:"key"`
			}{notice.KeyText(key)}
			return a.print(v, func(w io.Writer) { fmt.Fprintln(w, v.Key) })
		},
	}
	config.stateFlag(c.Flags())
	return c
}

// newDeliverer returns who posts notices to webhooks.
func newDeliverer(ctx context.Context, c serverConfig, realm task.Realm, st *store.Store, log *zap.Logger) (*notice.Deliverer, error) {
	key, err := stateKey(c.StateDir, noticesKeyFile)
	if err != nil {
		return nil, err
	}
	instance, err := st.Instance(ctx, uuid.NewString())
	if err != nil {
		return nil, err
	}
	return notice.NewDeliverer(notice.Config{
		Book: st, Key: key, Source: "urn:berth:" + realm.Region + ":" + realm.Account + ":" + instance, UserAgent: "berth/" + version(),
		Transport: http.DefaultTransport, Log: log, Now: time.Now, Jitter: notice.Chance,
	}), nil
}
