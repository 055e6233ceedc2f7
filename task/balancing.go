package task

import (
	"fmt"

	"berth/fault"
)

// LoadBalancer says that a port of a task is a target of a target group (ECS API,
// LoadBalancer, as far as it concerns Fargate).
type LoadBalancer struct {
	TargetGroupARN string `json:"targetGroupArn"`
	ContainerName  string `json:"containerName"`
	ContainerPort  int    `json:"containerPort"` // 1 to 65535, TCP, one of the container's portMappings
}

// maxLoadBalancers is how many a service can have (ECS API, CreateService).
const maxLoadBalancers = 5

func (r Run) validateLoadBalancers() error {
	if len(r.LoadBalancers) > maxLoadBalancers {
		return fault.At("loadBalancers", "has at most %d load balancers", maxLoadBalancers)
	}
	for i, l := range r.LoadBalancers {
		at := fmt.Sprintf("loadBalancers[%d].", i)
		switch {
		case l.TargetGroupARN == "":
			return fault.At(at+"targetGroupArn", "targetGroupArn can not be blank.")
		case l.ContainerName == "":
			return fault.At(at+"containerName", "Container Name can not be blank.")
		case l.ContainerPort < 1 || l.ContainerPort > 65535:
			return fault.At(at+"containerPort", "must be from 1 to 65535, not %d", l.ContainerPort)
		}
	}
	return nil
}

// CheckLoadBalancers reports the first of all that d has no container or no port for, in
// the words of CreateService.
func (d Definition) CheckLoadBalancers(all []LoadBalancer) error {
	for i, l := range all {
		c := d.container(l.ContainerName)
		if c == nil {
			return fault.At(fmt.Sprintf("loadBalancers[%d].containerName", i), "The container %s does not exist in the task definition.", l.ContainerName)
		}
		if !c.listens(l.ContainerPort) {
			return fault.At(fmt.Sprintf("loadBalancers[%d].containerPort", i), "The container %s did not have a container port %d defined.", l.ContainerName, l.ContainerPort)
		}
	}
	return nil
}

// listens reports whether c has that port of TCP among its portMappings.
func (c ContainerDefinition) listens(port int) bool {
	for _, m := range c.PortMappings {
		if m.Protocol != "" && m.Protocol != "tcp" {
			continue
		}
		first, last := m.ContainerPort, m.ContainerPort
		if m.ContainerPortRange != "" {
			first, last, _ = parsePortRange(m.ContainerPortRange) // A registered definition has one.
		}
		if first <= port && port <= last {
			return true
		}
	}
	return false
}
