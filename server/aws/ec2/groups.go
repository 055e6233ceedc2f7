package ec2

import (
	"context"
	"slices"

	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

type groupsIn struct {
	selection
	IDs   []string `json:"GroupId"`
	Names []string `json:"GroupName"`
}

type groupsOut struct {
	Groups []group `xml:"securityGroupInfo>item"`
	Next   string  `xml:"nextToken,omitempty"`
}

type group struct {
	ID          string       `xml:"groupId"`
	Name        string       `xml:"groupName"`
	Description string       `xml:"groupDescription"`
	Owner       string       `xml:"ownerId"`
	VPC         string       `xml:"vpcId"`
	ARN         string       `xml:"securityGroupArn"`
	Ingress     []permission `xml:"ipPermissions>item"`
	Egress      []permission `xml:"ipPermissionsEgress>item"`
}

func arnOf(r task.Realm, id string) string {
	return "arn:aws:ec2:" + r.Region + ":" + r.Account + ":security-group/" + id
}

func newGroup(r task.Realm, g task.SecurityGroup) group {
	return group{g.ID, g.Name, g.Description, r.Account, r.VPCID(), arnOf(r, g.ID), shown(r, g.Ingress), shown(r, g.Egress)}
}

func (s *service) groups(ctx context.Context, c wire.Call, in *groupsIn) (*groupsOut, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := checkFilters(in.Filters, groupFacts(c.Realm(), task.SecurityGroup{}).names()...); err != nil {
		return nil, err
	}
	all, err := s.Groups.Groups(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	asked := append(slices.Clone(in.IDs), in.Names...)
	for _, ref := range in.IDs {
		if err := malformed("InvalidGroupId.Malformed", "sg", ref); err != nil {
			return nil, err
		}
	}
	for _, ref := range asked {
		if !slices.ContainsFunc(all, func(g task.SecurityGroup) bool { return g.ID == ref || g.Name == ref }) {
			return nil, noGroup(ref)
		}
	}
	var out groupsOut
	var found []group
	for _, g := range all {
		if (len(asked) == 0 || slices.Contains(asked, g.ID) || slices.Contains(asked, g.Name)) && groupFacts(c.Realm(), g).matches(in.Filters) {
			found = append(found, newGroup(c.Realm(), g))
		}
	}
	out.Groups, out.Next, err = page(in.selection, asked, found)
	return &out, err
}

func groupFacts(r task.Realm, g task.SecurityGroup) facts {
	f := facts{
		"group-id": {g.ID}, "group-name": {g.Name}, "description": {g.Description}, "owner-id": {r.Account}, "vpc-id": {r.VPCID()},
		"ip-permission.cidr": nil, "ip-permission.group-id": nil, "ip-permission.protocol": nil, "ip-permission.from-port": nil, "ip-permission.to-port": nil,
		"egress.ip-permission.cidr": nil, "egress.ip-permission.group-id": nil, "egress.ip-permission.protocol": nil, "egress.ip-permission.from-port": nil, "egress.ip-permission.to-port": nil,
	}
	for _, each := range []struct {
		prefix string
		rules  []task.Permission
	}{{"ip-permission.", g.Ingress}, {"egress.ip-permission.", g.Egress}} {
		add := func(name, v string) { f[each.prefix+name] = append(f[each.prefix+name], v) }
		for _, r := range flatten(g, each.prefix != "ip-permission.", each.rules) {
			add("protocol", r.protocol)
			if r.cidr != "" {
				add("cidr", r.cidr)
			}
			if r.peer != "" {
				add("group-id", r.peer)
			}
			from, to := r.ports()
			add("from-port", from)
			add("to-port", to)
		}
	}
	return f
}

// noGroup is a group that does not exist.
func noGroup(ref string) error {
	return wire.Errorf("InvalidGroup.NotFound", "The security group '%s' does not exist", ref)
}

type tagSpecification struct {
	Type string `json:"ResourceType"`
	Tags []struct {
		Key   string `json:"Key"`
		Value string `json:"Value"`
	} `json:"Tag"`
}

// noTags refuses tags, which groups do not have.
func noTags(all []tagSpecification) error {
	for _, t := range all {
		if len(t.Tags) > 0 {
			return wire.Errorf("UnsupportedOperation", "Security groups and their rules have no tags in this version of Berth")
		}
	}
	return nil
}

type createGroupIn struct {
	dry
	Name        string             `json:"GroupName" required:"true"`
	Description string             `json:"GroupDescription" required:"true"`
	VPC         string             `json:"VpcId"`
	Tags        []tagSpecification `json:"TagSpecification"`
}

type createGroupOut struct {
	ID  string `xml:"groupId"`
	ARN string `xml:"securityGroupArn"`
}

// createGroup makes a group that lets everything out and nothing in.
func (s *service) createGroup(ctx context.Context, c wire.Call, in *createGroupIn) (*createGroupOut, error) {
	r := c.Realm()
	if err := noTags(in.Tags); err != nil {
		return nil, err
	}
	if in.VPC != "" && in.VPC != r.VPCID() {
		return nil, wire.Errorf("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", in.VPC)
	}
	s.editing.Lock()
	defer s.editing.Unlock()
	if _, err := s.Groups.Group(ctx, r, in.Name); err == nil {
		return nil, wire.Errorf("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", in.Name, r.VPCID())
	} else if fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	g, err := s.Groups.PutGroup(ctx, r, task.SecurityGroup{Name: in.Name, Description: in.Description, Ingress: []task.Permission{}, Egress: task.Everything()})
	if err != nil {
		return nil, err
	}
	return &createGroupOut{g.ID, arnOf(r, g.ID)}, nil
}

// groupRef names a group.
type groupRef struct {
	ID   string `json:"GroupId"`
	Name string `json:"GroupName"`
}

func (g groupRef) ref() string {
	if g.ID != "" {
		return g.ID
	}
	return g.Name
}

// groupARN says for policies which group a call is about.
func groupARN[In interface{ ref() string }](c wire.Call, in *In) []string {
	return []string{arnOf(c.Realm(), (*in).ref())}
}

// find returns the group that is named.
func (s *service) find(ctx context.Context, r task.Realm, ref groupRef) (task.SecurityGroup, error) {
	if ref.ref() == "" {
		return task.SecurityGroup{}, wire.Errorf("MissingParameter", "The request must contain the parameter groupName or groupId")
	}
	if ref.ID != "" {
		if err := malformed("InvalidGroupId.Malformed", "sg", ref.ID); err != nil {
			return task.SecurityGroup{}, err
		}
	}
	g, err := s.Groups.Group(ctx, r, ref.ref())
	if fault.KindOf(err) == fault.NotFound {
		return g, noGroup(ref.ref())
	}
	return g, err
}

type deleteGroupIn struct {
	dry
	groupRef
}

type deleteGroupOut struct {
	Return bool   `xml:"return"`
	ID     string `xml:"groupId"`
}

func (s *service) deleteGroup(ctx context.Context, c wire.Call, in *deleteGroupIn) (*deleteGroupOut, error) {
	s.editing.Lock()
	defer s.editing.Unlock()
	g, err := s.find(ctx, c.Realm(), in.groupRef)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	err = s.Groups.RemoveGroup(ctx, c.Realm(), g.ID)
	if fault.KindOf(err) == fault.Conflict {
		return nil, wire.Errorf("DependencyViolation", "resource %s has a dependent object", g.ID)
	}
	return &deleteGroupOut{true, g.ID}, err
}
