package task_test

import (
	"testing"
	"time"

	"berth/fault"
	"berth/task"
)

// Ensure a task is the target that its run says, and that a run is refused, in the words of
// CreateService, if its definition has no such container or port.
func TestLoadBalancers(t *testing.T) {
	d := task.Definition{
		Family: "web", CPU: "256", Memory: "512", NetworkMode: "awsvpc", RequiresCompatibilities: []string{"FARGATE"},
		ContainerDefinitions: []task.ContainerDefinition{{Name: "app", Image: "demo", PortMappings: []task.PortMapping{
			{ContainerPort: 80}, {ContainerPort: 53, Protocol: "udp"}, {ContainerPortRange: "8000-8010"},
		}}},
	}
	const arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/0123456789abcdef"
	for _, tt := range []struct {
		l           task.LoadBalancer
		field, text string
	}{
		{task.LoadBalancer{arn, "app", 80}, "", ""},
		{task.LoadBalancer{arn, "app", 8010}, "", ""},
		{task.LoadBalancer{arn, "app", 8011}, "loadBalancers[0].containerPort", "The container app did not have a container port 8011 defined."},
		{task.LoadBalancer{arn, "app", 53}, "loadBalancers[0].containerPort", "The container app did not have a container port 53 defined."},
		{task.LoadBalancer{arn, "db", 80}, "loadBalancers[0].containerName", "The container db does not exist in the task definition."},
		{task.LoadBalancer{"", "app", 80}, "loadBalancers[0].targetGroupArn", "targetGroupArn can not be blank."},
		{task.LoadBalancer{arn, "app", 0}, "loadBalancers[0].containerPort", "must be from 1 to 65535, not 0"},
	} {
		run := task.Run{Inline: &d, LoadBalancers: []task.LoadBalancer{tt.l}}
		err := run.Validate()
		var got task.Task
		if err == nil {
			got, err = task.New(d, run, task.NewID(), task.Instant{Wall: time.Unix(1, 0)})
		}
		if field := fault.FieldOf(err); field != tt.field || tt.text != "" && fault.Message(err) != tt.text {
			t.Errorf("%+v: %q, %v; want %q, %q", tt.l, field, err, tt.field, tt.text)
		}
		if err == nil && (len(got.LoadBalancers) != 1 || got.LoadBalancers[0] != tt.l) {
			t.Errorf("%+v: the task has %+v", tt.l, got.LoadBalancers)
		}
	}
	if err := (task.Run{Inline: &d, LoadBalancers: make([]task.LoadBalancer, 6)}).Validate(); fault.FieldOf(err) != "loadBalancers" {
		t.Errorf("six load balancers: %v", err)
	}
}
