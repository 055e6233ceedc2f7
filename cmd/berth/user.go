package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/access"
	"berth/fault"
	"berth/server/api"
)

// userCommand looks after who may call.
func (a *app) userCommand() *cobra.Command {
	c := &cobra.Command{Use: "user", Aliases: []string{"users"}, Short: "Say who may call, with what, and what they may do"}
	var account string
	c.PersistentFlags().StringVar(&account, "account", "", "`account` of the user, 12 digits (default: the caller's)")
	c.AddCommand(a.userCreateCommand(&account), a.userListCommand(&account), a.userRemoveCommand(&account), a.whoAmICommand(),
		a.keyCommand(&account, access.Bearer), a.keyCommand(&account, access.AccessKey), a.policyCommand(&account), a.quotaCommand())
	return c
}

func (a *app) userCreateCommand(account *string) *cobra.Command {
	var admin bool
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a user, who may do nothing until they have a policy", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			u, err := a.client().PutUser(c.Context(), api.UserRequest{Account: *account, Name: args[0], Admin: admin})
			if err != nil {
				return err
			}
			return a.print(u, func(w io.Writer) { fmt.Fprintln(w, u.ARN()) })
		},
	}
	c.Flags().BoolVar(&admin, "admin", false, "an admin of the server, who may do everything in all accounts")
	return c
}

func (a *app) userListCommand(account *string) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List users", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := a.client().Users(c.Context(), *account)
			if err != nil {
				return err
			}
			return a.print(all, func(w io.Writer) {
				rows := [][]string{{"ACCOUNT", "USER", "ADMIN", "CREATED"}}
				for _, u := range all {
					rows = append(rows, []string{u.Account, u.Name, yes(u.Admin), span(a.now().Sub(u.CreatedAt)) + " ago"})
				}
				table(w, rows...)
			})
		},
	}
}

func (a *app) userRemoveCommand(account *string) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME...", Aliases: []string{"remove"}, Short: "Forget users, with their keys and policies", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, name := range args {
				if err := a.client().RemoveUser(c.Context(), *account, name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) whoAmICommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Say who the server takes you for", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			who, err := a.client().WhoAmI(c.Context())
			if err != nil {
				return err
			}
			return a.print(who, func(w io.Writer) {
				table(w, []string{"ACCOUNT", "REGION", "ARN", "KEY", "ADMIN"}, []string{who.Account, who.Region, who.ARN, who.Key, yes(who.Admin)})
			})
		},
	}
}

// keyCommand looks after keys of one kind.
func (a *app) keyCommand(account *string, kind access.KeyKind) *cobra.Command {
	use, what := "token", "tokens, which prove who calls Berth's own API and command line"
	if kind == access.AccessKey {
		use, what = "key", "access keys, which sign calls of AWS's tools"
	}
	c := &cobra.Command{Use: use, Aliases: []string{use + "s"}, Short: "Make, list and remove " + what}
	var days int
	create := &cobra.Command{
		Use: "create USER", Short: "Make one and show its secret, once", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r := api.KeyRequest{Kind: kind}
			if c.Flags().Changed("expires-in-days") {
				r.ExpiresInDays = &days
			}
			k, err := a.client().NewKey(c.Context(), *account, args[0], r)
			if err != nil {
				return err
			}
			return a.print(k, func(w io.Writer) {
				if kind == access.Bearer {
					fmt.Fprintln(w, k.Secret)
					return
				}
				fmt.Fprintf(w, "aws_access_key_id = %s\naws_secret_access_key = %s\n", k.ID, k.Secret)
			})
		},
	}
	create.Flags().IntVar(&days, "expires-in-days", 0, "it counts for so many days only")
	list := &cobra.Command{
		Use: "ls USER", Aliases: []string{"list"}, Short: "List a user's", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := a.client().Keys(c.Context(), *account, args[0])
			if err != nil {
				return err
			}
			all = slices.DeleteFunc(all, func(k access.Key) bool { return k.Kind != kind })
			return a.print(all, func(w io.Writer) {
				rows := [][]string{{"ID", "USER", "CREATED", "EXPIRES", "DISABLED"}}
				for _, k := range all {
					expires := "never"
					if !k.ExpiresAt.IsZero() {
						expires = k.ExpiresAt.Format(time.RFC3339)
					}
					rows = append(rows, []string{k.ID, k.User, span(a.now().Sub(k.CreatedAt)) + " ago", expires, yes(k.Disabled)})
				}
				table(w, rows...)
			})
		},
	}
	set := func(verb, about string, disabled bool) *cobra.Command {
		return &cobra.Command{
			Use: verb + " ID", Short: about, Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				return a.client().SetKey(c.Context(), *account, args[0], disabled)
			},
		}
	}
	remove := &cobra.Command{
		Use: "rm ID...", Aliases: []string{"remove"}, Short: "Forget some", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, id := range args {
				if err := a.client().RemoveKey(c.Context(), *account, id); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.AddCommand(create, list, set("disable", "Make one not count until it is enabled", true), set("enable", "Make one count again", false), remove)
	return c
}

// principal is user/NAME or role/NAME of a name that may say which.
func principal(name string) string {
	if strings.HasPrefix(name, "user/") || strings.HasPrefix(name, "role/") {
		return name
	}
	return "user/" + name
}

func (a *app) policyCommand(account *string) *cobra.Command {
	c := &cobra.Command{
		Use: "policy", Aliases: []string{"policies"}, Short: "Say what users and roles may do, by IAM policies",
		Long: "Say what users and roles may do, by IAM policies. A principal is NAME, user/NAME or role/NAME;\n" +
			"tasks act in the role of their taskRoleArn.",
	}
	var file, managed string
	put := &cobra.Command{
		Use: "put PRINCIPAL POLICY", Short: "Give a user or role a policy, in place of the one of that name", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			document := []byte(strconv.Quote(managed))
			switch {
			case (file == "") == (managed == ""):
				return fault.New(fault.Invalid, "say which: either -f FILE or --managed NAME")
			case file == "-":
				var err error
				if document, err = io.ReadAll(a.in); err != nil {
					return fmt.Errorf("read the policy: %w", err)
				}
			case file != "":
				var err error
				if document, err = os.ReadFile(file); err != nil {
					return fault.New(fault.Invalid, "%v", err)
				}
			}
			if _, err := access.ParsePolicy(document); err != nil {
				return err
			}
			p, err := a.client().PutPolicy(c.Context(), *account, principal(args[0]), args[1], document)
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) { fmt.Fprintln(w, args[1]) })
		},
	}
	put.Flags().StringVarP(&file, "file", "f", "", "`file` with the policy; - is standard input")
	put.Flags().StringVar(&managed, "managed", "", "AdministratorAccess or ReadOnlyAccess")
	complete(put, "managed", "AdministratorAccess", "ReadOnlyAccess")
	list := &cobra.Command{
		Use: "ls PRINCIPAL", Aliases: []string{"list"}, Short: "List the policies of a user or role", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := a.client().Policies(c.Context(), *account, principal(args[0]))
			if err != nil {
				return err
			}
			return a.print(all, func(w io.Writer) {
				rows := [][]string{{"POLICY", "EFFECT", "ACTIONS", "RESOURCES", "CONDITIONS"}}
				for _, name := range slices.Sorted(maps.Keys(all)) {
					for _, s := range all[name].Statements {
						rows = append(rows, []string{name, s.Effect, wordsOf(s.Action, s.NotAction), wordsOf(s.Resource, s.NotResource), strconv.Itoa(len(s.Condition))})
					}
				}
				table(w, rows...)
			})
		},
	}
	remove := &cobra.Command{
		Use: "rm PRINCIPAL POLICY", Aliases: []string{"remove"}, Short: "Take a policy from a user or role", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.client().RemovePolicy(c.Context(), *account, principal(args[0]), args[1])
		},
	}
	c.AddCommand(put, list, remove)
	return c
}

func wordsOf(are, not access.Words) string {
	if len(not) > 0 {
		return "not " + strings.Join(not, " ")
	}
	return strings.Join(are, " ")
}

func (a *app) quotaCommand() *cobra.Command {
	c := &cobra.Command{Use: "quota", Aliases: []string{"quotas"}, Short: "Say how much accounts may have at a time"}
	var q access.Quota
	show := func(w io.Writer, account string, q access.Quota) {
		none := func(n int) string {
			if n == 0 {
				return "no limit"
			}
			return strconv.Itoa(n)
		}
		table(w, []string{"ACCOUNT", "VCPU", "TASKS", "REQUESTS/S"}, []string{account, none(q.VCPU), none(q.Tasks), none(q.Requests)})
	}
	set := &cobra.Command{
		Use: "set ACCOUNT", Short: "Set them; what is not named stays, 0 is no limit", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			now, err := a.client().Quota(c.Context(), args[0])
			if err != nil {
				return err
			}
			for flag, set := range map[string]func(){"vcpu": func() { now.VCPU = q.VCPU }, "tasks": func() { now.Tasks = q.Tasks }, "requests": func() { now.Requests = q.Requests }} {
				if c.Flags().Changed(flag) {
					set()
				}
			}
			if err := a.client().SetQuota(c.Context(), args[0], now); err != nil {
				return err
			}
			return a.print(now, func(w io.Writer) { show(w, args[0], now) })
		},
	}
	set.Flags().IntVar(&q.VCPU, "vcpu", 0, "vCPUs of tasks that have not stopped")
	set.Flags().IntVar(&q.Tasks, "tasks", 0, "tasks that have not stopped")
	set.Flags().IntVar(&q.Requests, "requests", 0, "requests in a second, on average")
	describe := &cobra.Command{
		Use: "show ACCOUNT", Aliases: []string{"ls"}, Short: "Show them", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			q, err := a.client().Quota(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(q, func(w io.Writer) { show(w, args[0], q) })
		},
	}
	c.AddCommand(set, describe)
	return c
}

// auditCommand shows who changed what.
func (a *app) auditCommand() *cobra.Command {
	var account string
	var most int
	c := &cobra.Command{
		Use: "audit", Short: "Show who changed what, newest first", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all := []access.Record{}
			for r, err := range a.client().Audit(c.Context(), account) {
				if err != nil {
					return err
				}
				if all = append(all, r); len(all) == most {
					break
				}
			}
			return a.print(all, func(w io.Writer) {
				rows := [][]string{{"TIME", "WHO", "WHAT", "ON", "FROM", "OUTCOME"}}
				for _, r := range all {
					outcome := "done"
					if r.ErrorCode != "" {
						outcome = r.ErrorCode
					}
					rows = append(rows, []string{r.EventTime.Format(time.RFC3339), r.Identity.ARN, r.Source + " " + r.Name, strings.Join(r.Resources, " "), r.Address, outcome})
				}
				table(w, rows...)
			})
		},
	}
	c.Flags().StringVar(&account, "account", "", "only of this `account` (default: the caller's; for an admin all)")
	c.Flags().IntVar(&most, "limit", 50, "at most so many; 0 is all")
	return c
}
