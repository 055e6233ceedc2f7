package runner

import (
	"slices"
	"testing"

	"berth/task"
)

// Ensure containers are told where they run, and nothing where nobody tells.
func TestEquip(t *testing.T) {
	before := task.Task{ARN: "arn:aws:ecs:eu-west-1:123456789012:task/default/1"}
	before.LastStatus = task.Provisioning
	with, err := before.Apply(task.Provisioned(before, task.Instant{}, task.Network{IPv4: "100.64.0.2"}, "eni"))
	if err != nil {
		t.Fatal(err)
	}
	plans := func() []task.ContainerPlan {
		return []task.ContainerPlan{{Name: "a", Env: []string{"A=1"}}, {Name: "b"}}
	}
	r := &Runner{}
	if got := r.equip(task.Definition{}, with, plans()); got[0].Hostname != "ip-100-64-0-2.eu-west-1.compute.internal" || !slices.Equal(got[0].Env, []string{"A=1"}) {
		t.Errorf("%+v", got)
	}
	r.Environment = func(d task.Definition, _ task.Task, container string, own []string) []string {
		return append(own, "WHO="+d.Family+"/"+container)
	}
	got := r.equip(task.Definition{Family: "f"}, before, plans())
	if got[0].Hostname != "" || !slices.Equal(got[0].Env, []string{"A=1", "WHO=f/a"}) || !slices.Equal(got[1].Env, []string{"WHO=f/b"}) {
		t.Errorf("%+v", got)
	}
}
