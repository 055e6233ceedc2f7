package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/fault"
	"berth/server/api"
	"berth/task"
)

func (a *app) groupCommand() *cobra.Command {
	c := &cobra.Command{Use: "security-group", Aliases: []string{"security-groups", "sg"}, Short: "Say what tasks may reach and who may reach them"}
	list := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the security groups", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := a.client().Groups(c.Context())
			if err != nil {
				return err
			}
			return a.print(all, func(w io.Writer) { listGroups(w, all) })
		},
	}
	remove := &cobra.Command{
		Use: "rm GROUP...", Aliases: []string{"remove"}, Short: "Remove security groups that nothing uses", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, ref := range args {
				if err := a.client().RemoveGroup(c.Context(), ref); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.AddCommand(a.groupPutCommand(), list, remove)
	return c
}

func (a *app) groupPutCommand() *cobra.Command {
	var r api.GroupRequest
	var file string
	var ingress, egress []string
	var shut bool
	c := &cobra.Command{
		Use:   "put NAME",
		Short: "Make a security group, or replace its rules",
		Long: "Make a security group, or replace its rules, also for tasks that run in it. Rules only\n" +
			"allow. A RULE is PROTOCOL:PEER or PROTOCOL:PORTS:PEER, where PROTOCOL is tcp, udp, icmp or\n" +
			"all, PORTS one port or a range, and PEER an IPv4 CIDR or a security group. Without --egress\n" +
			"everything may go out; without --ingress nothing may come in.",
		Example: "  berth security-group put web\n" +
			"  berth security-group put db --ingress tcp:5432:web --egress udp:53:10.0.0.2/32\n" +
			"  berth run -f db.json --security-group db",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if file != "" {
				if len(ingress)+len(egress) > 0 || shut {
					return fault.New(fault.Invalid, "give the rules in a file or as flags, not both")
				}
				text, err := os.ReadFile(file)
				if err != nil {
					return fault.New(fault.Invalid, "%v", err)
				}
				if err := json.Unmarshal(text, &r); err != nil {
					return fault.New(fault.Invalid, "%s: %v", file, err)
				}
			}
			for _, rules := range []struct {
				text []string
				into *[]task.Permission
			}{{ingress, &r.Ingress}, {egress, &r.Egress}} {
				for _, text := range rules.text {
					p, err := parseRule(text)
					if err != nil {
						return err
					}
					*rules.into = append(*rules.into, p)
				}
			}
			if shut {
				r.Egress = []task.Permission{}
			}
			g, err := a.client().PutGroup(c.Context(), args[0], r)
			if err != nil {
				return err
			}
			return a.print(g, func(w io.Writer) { fmt.Fprintln(w, clean(g.ID)) })
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "`file` with the rules as JSON: ipPermissions and ipPermissionsEgress")
	f.StringArrayVar(&ingress, "ingress", nil, "`RULE` for what may come in; can be repeated")
	f.StringArrayVar(&egress, "egress", nil, "`RULE` for what may go out; can be repeated")
	f.BoolVar(&shut, "no-egress", false, "nothing may go out")
	f.StringVar(&r.Description, "description", "", "what the group is for")
	c.MarkFlagsMutuallyExclusive("egress", "no-egress")
	return c
}

// parseRule reads PROTOCOL:[PORTS:]PEER.
func parseRule(text string) (p task.Permission, err error) {
	bad := fault.New(fault.Invalid, "%q is not a rule, as in tcp:80:10.0.0.0/8, udp:8000-8010:web or all:web", text)
	parts := strings.SplitN(text, ":", 3)
	if len(parts) < 2 {
		return p, bad
	}
	p.Protocol = parts[0]
	if p.Protocol == "all" {
		p.Protocol = "-1"
	}
	peer := parts[len(parts)-1]
	if len(parts) == 3 {
		first, last, ranged := strings.Cut(parts[1], "-")
		if !ranged {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil {
			return p, bad
		}
		p.FromPort, p.ToPort = &from, &to
	}
	if strings.Trim(peer, "0123456789-") == "" { // ports, and the peer is missing
		return p, bad
	}
	if prefix, err := netip.ParsePrefix(peer); err == nil {
		p.Ranges = []task.IPRange{{CIDR: prefix.String()}}
	} else {
		p.Pairs = []task.GroupPair{{GroupID: peer}}
	}
	return p, nil
}

func listGroups(w io.Writer, all []task.SecurityGroup) {
	names := make(map[string]string)
	for _, g := range all {
		names[g.ID] = g.Name
	}
	rows := [][]string{{"NAME", "ID", "IN", "OUT"}}
	for _, g := range all {
		rows = append(rows, []string{g.Name, g.ID, dash(ruleLine(g.Ingress, names)), dash(ruleLine(g.Egress, names))})
	}
	table(w, rows...)
}

// ruleLine writes rules as parseRule reads them.
func ruleLine(rules []task.Permission, names map[string]string) string {
	var all []string
	for _, p := range rules {
		head := p.Protocol
		if head == "-1" {
			head = "all"
		}
		if p.FromPort != nil && *p.FromPort >= 0 {
			head += ":" + strconv.Itoa(*p.FromPort)
			if *p.ToPort != *p.FromPort {
				head += "-" + strconv.Itoa(*p.ToPort)
			}
		}
		for _, r := range p.Ranges {
			all = append(all, head+":"+r.CIDR)
		}
		for _, pair := range p.Pairs {
			name, ok := names[pair.GroupID]
			if !ok {
				name = pair.GroupID
			}
			all = append(all, head+":"+name)
		}
	}
	return strings.Join(all, ", ")
}
