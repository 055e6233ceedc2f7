package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"berth/server/aws/wire"
	"berth/task"
)

type subnetsIn struct {
	selection
	IDs []string `json:"SubnetId"`
}

type subnetsOut struct {
	Subnets []subnet `xml:"subnetSet>item"`
	Next    string   `xml:"nextToken,omitempty"`
}

type subnet struct {
	ID      string `xml:"subnetId"`
	ARN     string `xml:"subnetArn"`
	State   string `xml:"state"`
	VPC     string `xml:"vpcId"`
	CIDR    string `xml:"cidrBlock"`
	Free    int    `xml:"availableIpAddressCount"`
	Zone    string `xml:"availabilityZone"`
	ZoneID  string `xml:"availabilityZoneId"`
	Default bool   `xml:"defaultForAz"`
	Public  bool   `xml:"mapPublicIpOnLaunch"`
	IPv6    bool   `xml:"assignIpv6AddressOnCreation"`
	Owner   string `xml:"ownerId"`
}

// reserved is how many addresses of a subnet are no task's (VPC user guide, "Subnet CIDR
// blocks").
const reserved = 5

func (s *service) subnets(ctx context.Context, c wire.Call, in *subnetsIn) (*subnetsOut, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	tasks, err := s.Tasks.Connected(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	r := c.Realm()
	n := subnet{
		ID: r.SubnetID(), ARN: "arn:aws:ec2:" + r.Region + ":" + r.Account + ":subnet/" + r.SubnetID(), State: "available", VPC: r.VPCID(), CIDR: s.Subnet.String(),
		Free: max(0, 1<<(32-s.Subnet.Bits())-reserved-len(tasks)), Zone: r.Zone(), ZoneID: zoneID(r), Default: true, Owner: r.Account,
	}
	f := facts{
		"subnet-id": {n.ID}, "subnet-arn": {n.ARN}, "state": {n.State}, "vpc-id": {n.VPC}, "cidr-block": {n.CIDR}, "cidr": {n.CIDR}, "cidrBlock": {n.CIDR},
		"availability-zone": {n.Zone}, "availabilityZone": {n.Zone}, "availability-zone-id": {n.ZoneID}, "default-for-az": {"true"}, "defaultForAz": {"true"},
		"map-public-ip-on-launch": {"false"}, "owner-id": {n.Owner}, "available-ip-address-count": {strconv.Itoa(n.Free)}, "ipv6-native": {"false"},
	}
	var out subnetsOut
	out.Subnets, out.Next, err = single(in.selection, in.IDs, n.ID, "InvalidSubnetID", "subnet", f, n)
	return &out, err
}

// single returns the one thing of a kind there is, if it is asked for.
func single[T any](in selection, ids []string, id, code, noun string, f facts, thing T) ([]T, string, error) {
	if err := checkFilters(in.Filters, f.names()...); err != nil {
		return nil, "", err
	}
	for _, asked := range ids {
		if asked != id {
			return nil, "", wire.Errorf(code+".NotFound", "The %s ID '%s' does not exist", noun, asked)
		}
	}
	all := []T{}
	if f.matches(in.Filters) {
		all = append(all, thing)
	}
	return page(in, ids, all)
}

type vpcsIn struct {
	selection
	IDs []string `json:"VpcId"`
}

type vpcsOut struct {
	VPCs []vpc  `xml:"vpcSet>item"`
	Next string `xml:"nextToken,omitempty"`
}

type cidrState struct {
	State string `xml:"state"`
}

type cidrBlock struct {
	ID    string    `xml:"associationId"`
	CIDR  string    `xml:"cidrBlock"`
	State cidrState `xml:"cidrBlockState"`
}

type vpc struct {
	ID      string      `xml:"vpcId"`
	State   string      `xml:"state"`
	CIDR    string      `xml:"cidrBlock"`
	DHCP    string      `xml:"dhcpOptionsId"`
	Tenancy string      `xml:"instanceTenancy"`
	Default bool        `xml:"isDefault"`
	Owner   string      `xml:"ownerId"`
	Blocks  []cidrBlock `xml:"cidrBlockAssociationSet>item"`
}

func (s *service) vpcs(_ context.Context, c wire.Call, in *vpcsIn) (*vpcsOut, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	r := c.Realm()
	digits := strings.TrimPrefix(r.VPCID(), "vpc-")
	n := vpc{
		ID: r.VPCID(), State: "available", CIDR: s.Subnet.String(), DHCP: "dopt-" + digits, Tenancy: "default", Default: true, Owner: r.Account,
		Blocks: []cidrBlock{{"vpc-cidr-assoc-" + digits, s.Subnet.String(), cidrState{"associated"}}},
	}
	f := facts{
		"vpc-id": {n.ID}, "state": {n.State}, "cidr": {n.CIDR}, "cidr-block-association.cidr-block": {n.CIDR}, "cidr-block-association.association-id": {n.Blocks[0].ID},
		"cidr-block-association.state": {"associated"}, "dhcp-options-id": {n.DHCP}, "is-default": {"true"}, "isDefault": {"true"}, "owner-id": {n.Owner},
	}
	out := vpcsOut{}
	var err error
	out.VPCs, out.Next, err = single(in.selection, in.IDs, n.ID, "InvalidVpcID", "vpc", f, n)
	return &out, err
}

type vpcAttributeIn struct {
	dry
	ID        string `json:"VpcId" required:"true"`
	Attribute string `json:"Attribute" required:"true" enum:"enableDnsSupport,enableDnsHostnames,enableNetworkAddressUsageMetrics"`
}

type flag struct {
	Value bool `xml:"value"`
}

type vpcAttributeOut struct {
	ID        string `xml:"vpcId"`
	Support   *flag  `xml:"enableDnsSupport,omitempty"`
	Hostnames *flag  `xml:"enableDnsHostnames,omitempty"`
	Metrics   *flag  `xml:"enableNetworkAddressUsageMetrics,omitempty"`
}

func (s *service) vpcAttribute(_ context.Context, c wire.Call, in *vpcAttributeIn) (*vpcAttributeOut, error) {
	if in.ID != c.Realm().VPCID() {
		return nil, wire.Errorf("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", in.ID)
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	out := &vpcAttributeOut{ID: in.ID}
	switch in.Attribute {
	case "enableDnsSupport":
		out.Support = &flag{true}
	case "enableDnsHostnames":
		out.Hostnames = &flag{true}
	default:
		out.Metrics = &flag{false}
	}
	return out, nil
}

type zonesIn struct {
	dry
	Filters []filter `json:"Filter"`
	Names   []string `json:"ZoneName"`
	IDs     []string `json:"ZoneId"`
	All     *bool    `json:"AllAvailabilityZones"`
}

type zonesOut struct {
	Zones []zone `xml:"availabilityZoneInfo>item"`
}

type zone struct {
	Name   string `xml:"zoneName"`
	ID     string `xml:"zoneId"`
	State  string `xml:"zoneState"`
	Region string `xml:"regionName"`
	OptIn  string `xml:"optInStatus"`
	Group  string `xml:"groupName"`
	Border string `xml:"networkBorderGroup"`
	Type   string `xml:"zoneType"`
}

// zoneID returns the ID of the zone of r's region, as in use1-az1.
func zoneID(r task.Realm) string {
	id := ""
	for _, part := range strings.Split(r.Region, "-") {
		switch short := map[string]string{"northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw"}[part]; {
		case short != "":
			id += short
		case len(part) > 2:
			id += part[:1]
		default:
			id += part
		}
	}
	return id + "-az1"
}

func (s *service) zones(_ context.Context, c wire.Call, in *zonesIn) (*zonesOut, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	r := c.Realm()
	n := zone{r.Zone(), zoneID(r), "available", r.Region, "opt-in-not-required", r.Region, r.Region, "availability-zone"}
	f := facts{
		"zone-name": {n.Name}, "zone-id": {n.ID}, "state": {n.State}, "zone-state": {n.State}, "region-name": {n.Region}, "opt-in-status": {n.OptIn},
		"group-name": {n.Group}, "zone-type": {n.Type}, "message": nil, "parent-zone-id": nil, "parent-zone-name": nil,
	}
	if err := checkFilters(in.Filters, f.names()...); err != nil {
		return nil, err
	}
	for _, name := range append(slices.Clone(in.Names), in.IDs...) {
		if name != n.Name && name != n.ID {
			return nil, wire.Errorf("InvalidParameterValue", "Invalid availability zone: [%s]", name)
		}
	}
	out := zonesOut{Zones: []zone{}}
	if f.matches(in.Filters) {
		out.Zones = append(out.Zones, n)
	}
	return &out, nil
}

type regionsIn struct {
	dry
	Filters []filter `json:"Filter"`
	Names   []string `json:"RegionName"`
	All     *bool    `json:"AllRegions"`
}

type regionsOut struct {
	Regions []region `xml:"regionInfo>item"`
}

type region struct {
	Name     string `xml:"regionName"`
	Endpoint string `xml:"regionEndpoint"`
	OptIn    string `xml:"optInStatus"`
}

// regions tells of the region that is called, and of those that are asked for: a server
// answers for every region.
func (s *service) regions(_ context.Context, c wire.Call, in *regionsIn) (*regionsOut, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := checkFilters(in.Filters, "region-name", "endpoint", "opt-in-status"); err != nil {
		return nil, err
	}
	names := in.Names
	if len(names) == 0 {
		names = []string{c.Realm().Region}
	}
	out := regionsOut{Regions: []region{}}
	for _, name := range names {
		n := region{name, c.Host, "opt-in-not-required"}
		if (facts{"region-name": {n.Name}, "endpoint": {n.Endpoint}, "opt-in-status": {n.OptIn}}).matches(in.Filters) {
			out.Regions = append(out.Regions, n)
		}
	}
	return &out, nil
}

type accountAttributesIn struct {
	dry
	Names []string `json:"AttributeName"`
}

type attributeValue struct {
	Value string `xml:"attributeValue"`
}

type accountAttribute struct {
	Name   string           `xml:"attributeName"`
	Values []attributeValue `xml:"attributeValueSet>item"`
}

type accountAttributesOut struct {
	Attributes []accountAttribute `xml:"accountAttributeSet>item"`
}

func (s *service) accountAttributes(_ context.Context, c wire.Call, in *accountAttributesIn) (*accountAttributesOut, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	all := []accountAttribute{
		{"supported-platforms", []attributeValue{{"VPC"}}},
		{"default-vpc", []attributeValue{{c.Realm().VPCID()}}},
		{"vpc-max-security-groups-per-interface", []attributeValue{{"5"}}},
	}
	if len(in.Names) > 0 {
		all = slices.DeleteFunc(all, func(a accountAttribute) bool { return !slices.Contains(in.Names, a.Name) })
	}
	return &accountAttributesOut{all}, nil
}
