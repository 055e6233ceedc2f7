package balancer

import (
	"time"

	"berth/fault"
	"berth/task"
)

// LoadBalancer is what AWS's clients hold listeners by. It balances nothing itself: each of
// its listeners is the ListenPort of a target group. What is only kept says so.
type LoadBalancer struct {
	ARN       string    `json:"loadBalancerArn"`
	Name      string    `json:"loadBalancerName"`
	Type      string    `json:"type"`   // application or network
	Scheme    string    `json:"scheme"` // kept
	CreatedAt time.Time `json:"createdAt"`

	Subnets        []string          `json:"subnets,omitempty"`        // kept
	SecurityGroups []string          `json:"securityGroups,omitempty"` // kept
	Attributes     map[string]string `json:"attributes,omitempty"`     // kept
	Tags           []task.Tag        `json:"tags,omitempty"`
	Listeners      []Listener        `json:"listeners,omitempty"`
}

// Listener is a port of this host that leads to the targets of a group.
type Listener struct {
	ARN      string     `json:"listenerArn"`
	Protocol Protocol   `json:"protocol"`
	Port     int        `json:"port"`
	GroupARN string     `json:"targetGroupArn"`
	Tags     []task.Tag `json:"tags,omitempty"`
}

// NoLoadBalancer is the error of a load balancer that does not exist, in the words of Elastic
// Load Balancing.
func NoLoadBalancer(ref string) error {
	return fault.New(fault.NotFound, "Load balancer '%s' not found", ref)
}
