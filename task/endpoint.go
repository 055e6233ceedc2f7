package task

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
)

// RuntimeID is how a container is called where it runs, and by the metadata endpoint.
// As on Fargate it is the task's ID and a number of ten digits, here derived from the
// container's name: making it again makes the same.
func RuntimeID(id ID, container string) string {
	sum := sha256.Sum256([]byte(container))
	return fmt.Sprintf("%s-%010d", id, binary.BigEndian.Uint64(sum[:])%1e10)
}

// IPv4 is the address of t's network interface, empty if it has none now.
func (t Task) IPv4() string { return t.interfaceDetail("privateIPv4Address") }

// MAC is the hardware address of t's network interface, empty if it has none now.
func (t Task) MAC() string { return t.interfaceDetail("macAddress") }

func (t Task) interfaceDetail(name string) string {
	for _, a := range t.Attachments {
		if a.Type != "ElasticNetworkInterface" || a.Status != "ATTACHED" {
			continue
		}
		for _, d := range a.Details {
			if d.Name == name {
				return d.Value
			}
		}
	}
	return ""
}

// DNSName is the name that Amazon's VPC gives to a host of that IPv4 address (VPC user
// guide, "Amazon EC2 instance hostname types").
func (r Realm) DNSName(ipv4 string) string {
	domain := r.Region + ".compute.internal"
	if r.Region == "us-east-1" {
		domain = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(ipv4, ".", "-") + "." + domain
}

// Domain is where services of tasks have names that tasks can ask for.
const Domain = "berth.internal"

// ServiceDomain is the domain of the services of r's cluster: one called web has the name
// web.CLUSTER.berth.internal.
func (r Realm) ServiceDomain() string { return strings.ToLower(r.Cluster) + "." + Domain }

// Role is the ARN of the role that the containers of t, a task of d, act in; empty if
// they have none.
func Role(d Definition, t Task) string {
	if t.Overrides.TaskRoleARN != "" {
		return t.Overrides.TaskRoleARN
	}
	return d.TaskRoleARN
}
