package task

import (
	"testing"
	"time"

	"berth/fault"
)

// Ensure a task has the agent of ExecuteCommand if it was asked for, and then a role.
func TestExecuteCommand(t *testing.T) {
	d, err := ParseDefinition([]byte(`{"family": "job", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
		"containerDefinitions": [{"name": "main", "image": "busybox"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	run := Run{EnableExecuteCommand: true}
	if _, err := New(d, run, NewID(), Instant{}); fault.FieldOf(err) != "enableExecuteCommand" {
		t.Errorf("a task without a role: %v", err)
	}
	run.Overrides.TaskRoleARN = "arn:aws:iam::000000000000:role/job"
	made, err := New(d, run, NewID(), Instant{})
	if err != nil || !made.EnableExecuteCommand {
		t.Fatalf("New = %+v, %v", made, err)
	}
	c := made.Containers[0]
	c.LastStatus, c.StartedAt = Running, time.Unix(9, 0)
	if a := made.Agents(c); len(a) != 1 || a[0].Name != "ExecuteCommandAgent" || a[0].LastStatus != Running || !a[0].LastStartedAt.Equal(c.StartedAt) {
		t.Errorf("Agents = %+v", a)
	}
	made.EnableExecuteCommand = false
	if a := made.Agents(c); a != nil {
		t.Errorf("Agents without = %+v", a)
	}
}
