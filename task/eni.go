package task

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// ENI is a task's elastic network interface, as EC2 speaks of it.
type ENI struct {
	ID             string // eni- and 17 hex digits
	Attachment     string // ID of the task's attachment
	Status         string // of the attachment: ATTACHED, DETACHING, DELETED
	Subnet         string // the first one that the task asked for, else its realm's
	MAC            string
	IPv4           string
	PrivateDNSName string
}

// ENIs returns the network interfaces of t: none before it is connected, then one. IDs follow
// from the attachment's, so everybody who names an interface names it alike.
func (t Task) ENIs() []ENI {
	var all []ENI
	for _, a := range t.Attachments {
		if a.Type != "ElasticNetworkInterface" {
			continue
		}
		e := ENI{ID: "eni-" + tail(a.ID), Attachment: a.ID, Status: a.Status, Subnet: t.Realm().SubnetID()}
		if n := t.NetworkConfiguration; n != nil && len(n.AWSVPC.Subnets) > 0 {
			e.Subnet = n.AWSVPC.Subnets[0]
		}
		for _, d := range a.Details {
			switch d.Name {
			case "macAddress":
				e.MAC = d.Value
			case "privateIPv4Address":
				e.IPv4 = d.Value
				e.PrivateDNSName = t.Realm().DNSName(d.Value)
			}
		}
		all = append(all, e)
	}
	return all
}

// Details returns e as details of an attachment (ECS developer guide, "Amazon ECS task
// state change events"), in its order.
func (e ENI) Details() []KeyValuePair {
	all := []KeyValuePair{{"subnetId", e.Subnet}, {"networkInterfaceId", e.ID}}
	for _, d := range []KeyValuePair{{"macAddress", e.MAC}, {"privateDnsName", e.PrivateDNSName}, {"privateIPv4Address", e.IPv4}} {
		if d.Value != "" {
			all = append(all, d)
		}
	}
	return all
}

// idDigits is how many hex digits EC2's IDs have.
const idDigits = 17

// tail returns the last digits of id, which in a UUID are the random ones.
func tail(id string) string {
	digits := strings.ReplaceAll(id, "-", "")
	return digits[max(0, len(digits)-idDigits):]
}

// SubnetID is the ID of the one subnet of r's account and region, which is Berth's bridge.
func (r Realm) SubnetID() string { return "subnet-" + r.derived("subnet") }

// VPCID is the ID of the one VPC of r's account and region.
func (r Realm) VPCID() string { return "vpc-" + r.derived("vpc") }

// Zone is the one availability zone of r's region.
func (r Realm) Zone() string { return r.Region + "a" }

// derived returns what an ID of EC2 has after its hyphen: the same for ever for that kind of
// thing in an account and region.
func (r Realm) derived(kind string) string {
	sum := sha256.Sum256([]byte(kind + "/" + r.Account + "/" + r.Region))
	return hex.EncodeToString(sum[:])[:idDigits]
}
