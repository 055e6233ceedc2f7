package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"berth/server/aws/wire"
	"berth/task"
)

type cidr struct {
	CIDR        string `json:"CidrIp" xml:"cidrIp"`
	Description string `json:"Description" xml:"description,omitempty"`
}

type pair struct {
	User        string `json:"UserId" xml:"userId"`
	ID          string `json:"GroupId" xml:"groupId"`
	Name        string `json:"GroupName" xml:"-"`
	VPC         string `json:"VpcId" xml:"-"`
	Description string `json:"Description" xml:"-"`
	Peering     string `json:"VpcPeeringConnectionId" xml:"-"`
	Status      string `json:"PeeringStatus" xml:"-"`
}

type cidr6 struct {
	CIDR        string `json:"CidrIpv6"`
	Description string `json:"Description"`
}

type prefixList struct {
	ID          string `json:"PrefixListId"`
	Description string `json:"Description"`
}

type permission struct {
	Protocol string       `json:"IpProtocol" xml:"ipProtocol"`
	From     *int         `json:"FromPort" xml:"fromPort,omitempty"`
	To       *int         `json:"ToPort" xml:"toPort,omitempty"`
	Groups   []pair       `json:"Groups" xml:"groups>item"`
	Ranges   []cidr       `json:"IpRanges" xml:"ipRanges>item"`
	Ranges6  []cidr6      `json:"Ipv6Ranges" xml:"-"`
	Prefixes []prefixList `json:"PrefixListIds" xml:"-"`
}

// shown returns rules as EC2 shows them.
func shown(r task.Realm, all []task.Permission) []permission {
	out := []permission{}
	for _, p := range all {
		v := permission{Protocol: p.Protocol, From: p.FromPort, To: p.ToPort}
		for _, x := range p.Ranges {
			v.Ranges = append(v.Ranges, cidr{x.CIDR, x.Description})
		}
		for _, x := range p.Pairs {
			v.Groups = append(v.Groups, pair{User: r.Account, ID: x.GroupID})
		}
		out = append(out, v)
	}
	return out
}

// rule is a permission of one peer.
type rule struct {
	group       string
	egress      bool
	protocol    string
	from, to    int // -1: all
	cidr, peer  string
	description string
}

// flatten returns the rules of g one by one.
func flatten(g task.SecurityGroup, egress bool, all []task.Permission) []rule {
	var out []rule
	for _, p := range all {
		r := rule{group: g.ID, egress: egress, protocol: p.Protocol, from: -1, to: -1}
		if p.FromPort != nil && p.ToPort != nil {
			r.from, r.to = *p.FromPort, *p.ToPort
		}
		for _, x := range p.Ranges {
			one := r
			one.cidr, one.description = x.CIDR, x.Description
			out = append(out, one)
		}
		for _, x := range p.Pairs {
			one := r
			one.peer = x.GroupID
			out = append(out, one)
		}
	}
	return out
}

// join is the inverse of flatten: a permission for each rule.
func join(all []rule) []task.Permission {
	out := []task.Permission{}
	for _, r := range all {
		p := task.Permission{Protocol: r.protocol}
		if r.from >= 0 && (r.protocol == "tcp" || r.protocol == "udp") {
			p.FromPort, p.ToPort = &r.from, &r.to
		}
		if r.cidr != "" {
			p.Ranges = []task.IPRange{{CIDR: r.cidr, Description: r.description}}
		} else {
			p.Pairs = []task.GroupPair{{GroupID: r.peer}}
		}
		out = append(out, p)
	}
	return out
}

// same reports whether two rules allow the same: their descriptions do not matter.
func (r rule) same(o rule) bool {
	r.description, o.description = "", ""
	return r == o
}

// id names a rule: the same for what allows the same.
func (r rule) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%t/%s/%d/%d/%s/%s", r.group, r.egress, r.protocol, r.from, r.to, r.cidr, r.peer))
	return "sgr-" + hex.EncodeToString(sum[:])[:17]
}

func (r rule) ports() (from, to string) { return strconv.Itoa(r.from), strconv.Itoa(r.to) }

// String is how EC2 speaks of a rule in errors.
func (r rule) String() string {
	peer, from := r.cidr+r.peer, ""
	if r.from >= 0 {
		from = fmt.Sprintf(", from port: %d, to port: %d", r.from, r.to)
	}
	protocol := strings.ToUpper(r.protocol)
	if r.protocol == "-1" {
		protocol = "ALL"
	}
	return "peer: " + peer + ", " + protocol + from + ", ALLOW"
}

// permissionsIn are rules of a group: as a list, or one with its members side by side.
type permissionsIn struct {
	dry
	groupRef
	Permissions []permission       `json:"IpPermissions"`
	Protocol    string             `json:"IpProtocol"`
	From        *int               `json:"FromPort"`
	To          *int               `json:"ToPort"`
	CIDR        string             `json:"CidrIp"`
	Source      string             `json:"SourceSecurityGroupName"`
	SourceOwner string             `json:"SourceSecurityGroupOwnerId"`
	Tags        []tagSpecification `json:"TagSpecification"`
}

type revokeIn struct {
	permissionsIn
	Rules []string `json:"SecurityGroupRuleId"`
}

// wanted returns the rules of g that in names.
func (in permissionsIn) wanted(g task.SecurityGroup, egress bool) ([]rule, error) {
	if err := noTags(in.Tags); err != nil {
		return nil, err
	}
	all := in.Permissions
	if in.Protocol != "" || in.CIDR != "" || in.Source != "" {
		p := permission{Protocol: in.Protocol, From: in.From, To: in.To}
		if in.CIDR != "" {
			p.Ranges = []cidr{{CIDR: in.CIDR}}
		}
		if in.Source != "" {
			p.Groups = []pair{{Name: in.Source}}
		}
		all = append(slices.Clone(all), p)
	}
	var out []rule
	for _, p := range all {
		if len(p.Ranges6)+len(p.Prefixes) > 0 {
			return nil, wire.Errorf("UnsupportedOperation", "Rules with IPv6 ranges or prefix lists are not supported by this version of Berth")
		}
		protocol := p.Protocol
		if name := map[string]string{"6": "tcp", "17": "udp", "1": "icmp", "all": "-1"}[protocol]; name != "" {
			protocol = name
		}
		r := rule{group: g.ID, egress: egress, protocol: protocol, from: -1, to: -1}
		if p.From != nil && p.To != nil && (protocol == "tcp" || protocol == "udp") {
			r.from, r.to = *p.From, *p.To
		}
		for _, x := range p.Ranges {
			one := r
			one.cidr, one.description = x.CIDR, x.Description
			out = append(out, one)
		}
		for _, x := range p.Groups {
			one := r
			if one.peer = x.ID; x.ID == "" {
				one.peer = x.Name
			}
			out = append(out, one)
		}
	}
	return out, nil
}

type ruleInfo struct {
	ID          string  `xml:"securityGroupRuleId"`
	Group       string  `xml:"groupId"`
	Owner       string  `xml:"groupOwnerId"`
	Egress      bool    `xml:"isEgress"`
	Protocol    string  `xml:"ipProtocol"`
	From        int     `xml:"fromPort"`
	To          int     `xml:"toPort"`
	CIDR        string  `xml:"cidrIpv4,omitempty"`
	Peer        *peerOf `xml:"referencedGroupInfo,omitempty"`
	Description string  `xml:"description,omitempty"`
	ARN         string  `xml:"securityGroupRuleArn"`
}

type peerOf struct {
	Group string `xml:"groupId"`
	User  string `xml:"userId"`
}

func info(realm task.Realm, r rule) ruleInfo {
	v := ruleInfo{ID: r.id(), Group: r.group, Owner: realm.Account, Egress: r.egress, Protocol: r.protocol, From: r.from, To: r.to, CIDR: r.cidr, Description: r.description,
		ARN: "arn:aws:ec2:" + realm.Region + ":" + realm.Account + ":security-group-rule/" + r.id()}
	if r.peer != "" {
		v.Peer = &peerOf{r.peer, realm.Account}
	}
	return v
}

type allowOut struct {
	Return bool       `xml:"return"`
	Rules  []ruleInfo `xml:"securityGroupRuleSet>item"`
}

type revokeOut struct {
	Return bool `xml:"return"`
}

func (s *service) allowIn(ctx context.Context, c wire.Call, in *permissionsIn) (*allowOut, error) {
	return s.allow(ctx, c, in, false)
}

func (s *service) allowOut(ctx context.Context, c wire.Call, in *permissionsIn) (*allowOut, error) {
	return s.allow(ctx, c, in, true)
}

func (s *service) allow(ctx context.Context, c wire.Call, in *permissionsIn, egress bool) (*allowOut, error) {
	s.editing.Lock()
	defer s.editing.Unlock()
	g, have, rules, err := s.asked(ctx, c, *in, egress)
	if err != nil {
		return nil, err
	}
	for i, r := range rules {
		if slices.ContainsFunc(append(slices.Clone(have), rules[:i]...), r.same) {
			return nil, wire.Errorf("InvalidPermission.Duplicate", "the specified rule \"%s\" already exists", r)
		}
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := s.put(ctx, c.Realm(), g, egress, append(have, rules...)); err != nil {
		return nil, err
	}
	out := allowOut{Return: true}
	for _, r := range rules {
		out.Rules = append(out.Rules, info(c.Realm(), r))
	}
	return &out, nil
}

// asked returns a group, the rules that it has, and those that are named, with peers by ID.
func (s *service) asked(ctx context.Context, c wire.Call, in permissionsIn, egress bool) (g task.SecurityGroup, have, rules []rule, err error) {
	if g, err = s.find(ctx, c.Realm(), in.groupRef); err != nil {
		return g, nil, nil, err
	}
	have = flatten(g, egress, g.Ingress)
	if egress {
		have = flatten(g, egress, g.Egress)
	}
	if rules, err = in.wanted(g, egress); err != nil {
		return g, nil, nil, err
	}
	for i, r := range rules {
		if r.peer == "" {
			continue
		}
		peer, err := s.find(ctx, c.Realm(), groupRef{Name: r.peer})
		if err != nil {
			return g, nil, nil, err
		}
		rules[i].peer = peer.ID
	}
	return g, have, rules, nil
}

func (s *service) put(ctx context.Context, in task.Realm, g task.SecurityGroup, egress bool, rules []rule) error {
	if egress {
		g.Egress = join(rules)
	} else {
		g.Ingress = join(rules)
	}
	_, err := s.Groups.PutGroup(ctx, in, g)
	return err
}

func (s *service) revokeIn(ctx context.Context, c wire.Call, in *revokeIn) (*revokeOut, error) {
	return s.revoke(ctx, c, in, false)
}

func (s *service) revokeOut(ctx context.Context, c wire.Call, in *revokeIn) (*revokeOut, error) {
	return s.revoke(ctx, c, in, true)
}

func (s *service) revoke(ctx context.Context, c wire.Call, in *revokeIn, egress bool) (*revokeOut, error) {
	s.editing.Lock()
	defer s.editing.Unlock()
	g, have, rules, err := s.asked(ctx, c, in.permissionsIn, egress)
	if err != nil {
		return nil, err
	}
	for _, id := range in.Rules {
		i := slices.IndexFunc(have, func(r rule) bool { return r.id() == id })
		if i < 0 {
			return nil, wire.Errorf("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", id)
		}
		rules = append(rules, have[i])
	}
	for _, r := range rules {
		if !slices.ContainsFunc(have, r.same) {
			return nil, wire.Errorf("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
		}
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	have = slices.DeleteFunc(have, func(h rule) bool { return slices.ContainsFunc(rules, h.same) })
	return &revokeOut{true}, s.put(ctx, c.Realm(), g, egress, have)
}

type rulesIn struct {
	selection
	IDs []string `json:"SecurityGroupRuleId"`
}

type rulesOut struct {
	Rules []ruleInfo `xml:"securityGroupRuleSet>item"`
	Next  string     `xml:"nextToken,omitempty"`
}

func (s *service) rules(ctx context.Context, c wire.Call, in *rulesIn) (*rulesOut, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := checkFilters(in.Filters, "group-id", "security-group-rule-id"); err != nil {
		return nil, err
	}
	all, err := s.Groups.Groups(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	found, seen := []ruleInfo{}, make(map[string]bool)
	for _, g := range all {
		for _, r := range append(flatten(g, false, g.Ingress), flatten(g, true, g.Egress)...) {
			seen[r.id()] = true
			if (len(in.IDs) == 0 || slices.Contains(in.IDs, r.id())) && (facts{"group-id": {g.ID}, "security-group-rule-id": {r.id()}}).matches(in.Filters) {
				found = append(found, info(c.Realm(), r))
			}
		}
	}
	for _, id := range in.IDs {
		if !seen[id] {
			return nil, wire.Errorf("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", id)
		}
	}
	var out rulesOut
	out.Rules, out.Next, err = page(in.selection, in.IDs, found)
	return &out, err
}
