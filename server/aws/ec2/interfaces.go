package ec2

import (
	"cmp"
	"context"
	"slices"

	"berth/server/aws/wire"
	"berth/task"
)

type interfacesIn struct {
	selection
	IDs     []string `json:"NetworkInterfaceId"`
	Managed *bool    `json:"IncludeManagedResources"`
}

type interfacesOut struct {
	Interfaces []networkInterface `xml:"networkInterfaceSet>item"`
	Next       string             `xml:"nextToken,omitempty"`
}

type association struct {
	IPOwner  string `xml:"ipOwnerId"`
	PublicIP string `xml:"publicIp"`
}

type attachment struct {
	ID     string    `xml:"attachmentId"`
	Owner  string    `xml:"instanceOwnerId"`
	Index  int       `xml:"deviceIndex"`
	Status string    `xml:"status"`
	At     wire.Time `xml:"attachTime"`
	Delete bool      `xml:"deleteOnTermination"`
}

type groupName struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

type address struct {
	IP          string       `xml:"privateIpAddress"`
	Name        string       `xml:"privateDnsName"`
	Primary     bool         `xml:"primary"`
	Association *association `xml:"association,omitempty"`
}

type networkInterface struct {
	ID          string       `xml:"networkInterfaceId"`
	Subnet      string       `xml:"subnetId"`
	VPC         string       `xml:"vpcId"`
	Zone        string       `xml:"availabilityZone"`
	Description string       `xml:"description"`
	Owner       string       `xml:"ownerId"`
	Requester   string       `xml:"requesterId"`
	Managed     bool         `xml:"requesterManaged"`
	Status      string       `xml:"status"`
	MAC         string       `xml:"macAddress"`
	IP          string       `xml:"privateIpAddress"`
	Name        string       `xml:"privateDnsName"`
	Check       bool         `xml:"sourceDestCheck"`
	Groups      []groupName  `xml:"groupSet>item"`
	Attachment  attachment   `xml:"attachment"`
	Association *association `xml:"association,omitempty"`
	Addresses   []address    `xml:"privateIpAddressesSet>item"`
	Type        string       `xml:"interfaceType"`
}

func (n networkInterface) facts() facts {
	f := facts{
		"network-interface-id": {n.ID}, "subnet-id": {n.Subnet}, "vpc-id": {n.VPC}, "availability-zone": {n.Zone}, "description": {n.Description},
		"owner-id": {n.Owner}, "requester-id": {n.Requester}, "requester-managed": {"true"}, "status": {n.Status}, "mac-address": {n.MAC},
		"private-ip-address": {n.IP}, "addresses.private-ip-address": {n.IP}, "addresses.primary": {"true"}, "private-dns-name": {n.Name}, "interface-type": {n.Type}, "source-dest-check": {"true"},
		"attachment.attachment-id": {n.Attachment.ID}, "attachment.status": {n.Attachment.Status}, "attachment.device-index": {"1"}, "attachment.instance-owner-id": {n.Owner},
		"group-id": nil, "group-name": nil, "association.public-ip": nil, "addresses.association.public-ip": nil, "association.ip-owner-id": nil,
	}
	for _, g := range n.Groups {
		f["group-id"], f["group-name"] = append(f["group-id"], g.ID), append(f["group-name"], g.Name)
	}
	if a := n.Association; a != nil {
		f["association.public-ip"], f["addresses.association.public-ip"], f["association.ip-owner-id"] = []string{a.PublicIP}, []string{a.PublicIP}, []string{a.IPOwner}
	}
	return f
}

// names returns the names of filters of a kind of thing.
func (f facts) names() []string {
	var all []string
	for name := range f {
		all = append(all, name)
	}
	return all
}

func (s *service) interfaces(ctx context.Context, c wire.Call, in *interfacesIn) (*interfacesOut, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := checkFilters(in.Filters, networkInterface{}.facts().names()...); err != nil {
		return nil, err
	}
	for _, id := range in.IDs {
		if err := malformed("InvalidNetworkInterfaceId.Malformed", "eni", id); err != nil {
			return nil, err
		}
	}
	all, err := s.connected(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, id := range in.IDs {
		if !slices.ContainsFunc(all, func(n networkInterface) bool { return n.ID == id }) {
			return nil, wire.Errorf("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id)
		}
	}
	all = slices.DeleteFunc(all, func(n networkInterface) bool {
		return len(in.IDs) > 0 && !slices.Contains(in.IDs, n.ID) || !n.facts().matches(in.Filters)
	})
	var out interfacesOut
	out.Interfaces, out.Next, err = page(in.selection, in.IDs, all)
	return &out, err
}

// connected returns the interfaces of all tasks that are connected, by ID.
func (s *service) connected(ctx context.Context, c wire.Call) ([]networkInterface, error) {
	tasks, err := s.Tasks.Connected(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	groups, err := s.Groups.Groups(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	names := make(map[string]string)
	for _, g := range groups {
		names[g.ID] = g.Name
	}
	var all []networkInterface
	for _, t := range tasks {
		for _, e := range t.ENIs() {
			all = append(all, s.of(c, t, e, names))
		}
	}
	slices.SortFunc(all, func(a, b networkInterface) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// amazon is the account that EC2 shows for what AWS's services did.
const amazon = "amazon"

// of returns the interface of a task.
func (s *service) of(c wire.Call, t task.Task, e task.ENI, names map[string]string) networkInterface {
	realm := t.Realm()
	n := networkInterface{
		ID: e.ID, Subnet: e.Subnet, VPC: realm.VPCID(), Zone: realm.Zone(),
		Description: "arn:aws:ecs:" + realm.Region + ":" + realm.Account + ":attachment/" + e.Attachment,
		Owner:       realm.Account, Requester: amazon, Managed: true, Status: "in-use", MAC: e.MAC, IP: e.IPv4, Name: e.PrivateDNSName, Check: true,
		Attachment: attachment{ID: "eni-attach-" + e.ID[len("eni-"):], Owner: realm.Account, Index: 1, Status: "attached", At: wire.At(t.PullStartedAt), Delete: false},
		Type:       "interface", Groups: []groupName{},
	}
	if e.Status == "DETACHING" {
		n.Status, n.Attachment.Status = "detaching", "detaching"
	}
	for _, id := range t.Groups() {
		n.Groups = append(n.Groups, groupName{id, names[id]})
	}
	if published(t) {
		n.Association = &association{amazon, s.publicIP(c)}
	}
	n.Addresses = []address{{n.IP, n.Name, true, n.Association}}
	return n
}

// published reports whether ports of this host lead to t.
func published(t task.Task) bool {
	return slices.ContainsFunc(t.Containers, func(c task.Container) bool {
		return slices.ContainsFunc(c.NetworkBindings, func(b task.NetworkBinding) bool { return b.HostPort > 0 })
	})
}
