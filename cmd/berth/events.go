package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"berth/eventbridge"
	"berth/fault"
	"berth/notice"
	"berth/server/api"
	"berth/store"
)

func (a *app) eventsCommand() *cobra.Command {
	var pattern, after string
	var limit int
	c := &cobra.Command{
		Use: "events", Short: "Follow what happens, in the words of Amazon EventBridge",
		Long: "Follow what happens to tasks and services, in the words of Amazon EventBridge. A pattern is\n" +
			"one of EventBridge's event patterns, or @FILE with one.",
		Example: "  berth events --pattern '{\"detail\":{\"lastStatus\":[\"STOPPED\"]}}' --output json\n" +
			"  berth events --after 0 --limit 10",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			pattern, err := patternOf(pattern)
			if err != nil {
				return err
			}
			lines := json.NewEncoder(a.out)
			lines.SetEscapeHTML(false)
			n := 0
			for ev, err := range a.client().EventBridge(c.Context(), pattern, after) {
				if err != nil {
					return err
				}
				if a.output == "json" {
					err = lines.Encode(ev)
				} else {
					_, err = fmt.Fprintln(a.out, strings.Join(eventRow(ev), "  "))
				}
				if n++; err != nil || n == limit {
					return err
				}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&pattern, "pattern", "", "only what this event `pattern` selects")
	f.StringVar(&after, "after", "", "begin behind this `position`; 0 is the beginning of all (default: now)")
	f.IntVarP(&limit, "limit", "n", 0, "end after so many")
	c.AddCommand(a.eventRuleCommand())
	return c
}

// patternOf returns the pattern that is meant by a flag.
func patternOf(text string) (string, error) {
	file, ok := strings.CutPrefix(text, "@")
	if !ok {
		return text, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fault.New(fault.Invalid, "%v", err)
	}
	return string(b), nil
}

func eventRow(ev eventbridge.Event) []string {
	var d struct {
		EventName, LastStatus, DesiredStatus, StopCode, StoppedReason, Reason, Group string
	}
	json.Unmarshal(ev.Detail, &d) // What is not there is not shown.
	what := d.EventName
	if what == "" {
		what = d.LastStatus
		if what == "RUNNING" && d.DesiredStatus == "STOPPED" {
			what += " (asked to stop)"
		}
	}
	if reason := d.Reason + d.StoppedReason; reason != "" {
		what += ": " + reason
	}
	subject := ""
	if len(ev.Resources) > 0 {
		subject = lastPart(ev.Resources[0])
	}
	return []string{clean(ev.Time), clean(ev.DetailType), clean(subject), cleanLine(what)}
}

func (a *app) eventRuleCommand() *cobra.Command {
	c := &cobra.Command{Use: "rule", Aliases: []string{"rules"}, Short: "Send events to webhooks"}
	list := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the rules, and how far each has come", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := a.client().EventRules(c.Context())
			if err != nil {
				return err
			}
			return a.print(all, func(w io.Writer) {
				rows := [][]string{{"NAME", "WEBHOOK", "DELIVERED", "GIVEN UP", "FAILURE", "PATTERN"}}
				for _, r := range all {
					rows = append(rows, []string{clean(r.Name), clean(r.Webhook), fmt.Sprint(r.Delivered), fmt.Sprint(r.GivenUp), clean(r.Failure), cleanLine(string(r.Pattern))})
				}
				table(w, rows...)
			})
		},
	}
	var r api.EventRuleRequest
	var pattern string
	put := &cobra.Command{
		Use: "put NAME", Short: "Make a rule, which begins now, or change it", Args: cobra.ExactArgs(1),
		Long: "Make a rule: what its pattern selects is posted to its webhook as EventBridge's JSON, in order,\n" +
			"at least once, signed as \"berth notices key\" says. A rule that is changed goes on where it is.",
		Example: "  berth events rule put stops --pattern '{\"detail\":{\"lastStatus\":[\"STOPPED\"]}}' --webhook https://example.com/hook",
		RunE: func(c *cobra.Command, args []string) error {
			text, err := patternOf(pattern)
			if err != nil {
				return err
			}
			if text != "" {
				if r.Pattern, err = json.Marshal(text); err != nil {
					return fmt.Errorf("encode pattern: %w", err)
				}
			}
			made, err := a.client().PutEventRule(c.Context(), args[0], r)
			if err != nil {
				return err
			}
			return a.print(made, func(w io.Writer) { fmt.Fprintln(w, clean(made.Name)) })
		},
	}
	f := put.Flags()
	f.StringVar(&pattern, "pattern", "", "event `pattern`, or @FILE with one; all events if left out")
	f.StringVar(&r.Webhook, "webhook", "", "`URL` that events are posted to")
	f.StringVar(&r.Description, "description", "", "what the rule is for")
	put.MarkFlagRequired("webhook")
	remove := &cobra.Command{
		Use: "rm NAME...", Aliases: []string{"remove"}, Short: "Remove rules", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, name := range args {
				if err := a.client().RemoveEventRule(c.Context(), name); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.AddCommand(put, list, remove)
	return c
}

// bridge tells what happens in EventBridge's words.
type bridge struct {
	*store.Store
	feed eventbridge.Feed
}

func (b bridge) LastEvent(ctx context.Context) (eventbridge.Position, error) { return b.feed.Last(ctx) }

func (b bridge) FollowEvents(ctx context.Context, from eventbridge.Position) iter.Seq2[eventbridge.Item, error] {
	return b.feed.Follow(ctx, from)
}

// newForwarder returns who sends events to the webhooks of rules.
func newForwarder(c serverConfig, b bridge, log *zap.Logger) (*eventbridge.Forwarder, error) {
	key, err := stateKey(c.StateDir, noticesKeyFile)
	if err != nil {
		return nil, err
	}
	return eventbridge.NewForwarder(eventbridge.Config{
		Feed: b.feed, Book: b.Store, Post: notice.NewPoster(key, "berth/"+version(), http.DefaultTransport).Post,
		Log: log, Now: time.Now, Jitter: notice.Chance,
	}), nil
}
