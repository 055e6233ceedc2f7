package eventbridge

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/task"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

// stopped is a task at its end, and the event of that.
func stopped(t *testing.T) task.Event {
	t.Helper()
	noon := time.Date(2026, 11, 29, 12, 0, 0, 402e6, time.UTC)
	now := task.Instant{Wall: noon, Boot: time.Hour, BootID: "b"}
	d := task.Definition{Family: "web", CPU: "256", Memory: "512",
		Registration:         task.Registration{ARN: here.DefinitionARN("web", 3)},
		ContainerDefinitions: []task.ContainerDefinition{{Name: "app", Image: "berth/demo:latest"}, {Name: "side", Image: "busybox"}}}
	cpu := 128
	tk, err := task.New(d, task.Run{Realm: here, StartedBy: "ecs-svc/1", Group: "service:web",
		Overrides: task.Overrides{Containers: []task.ContainerOverride{{Name: "app", CPU: &cpu}}},
		Network:   &task.NetworkConfiguration{AWSVPC: task.AWSVPC{Subnets: []string{"subnet-abcd1234"}}}}, "0123456789abcdef0123456789abcdef", now)
	if err != nil {
		t.Fatal(err)
	}
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	for _, tr := range []task.Transition{
		task.Provisioned(tk, now, task.Network{IPv4: "10.0.0.139", MAC: "0a:98:eb:a7:29:ba"}, "019331f0a1b27c3d8e4f5a6b7c8d9e0f"),
		task.Pulled(at(1), map[string]string{"app": "berth/demo@sha256:1", "side": "busybox@sha256:2"}),
		task.Started(at(2), map[string]task.Outcome{"app": {RuntimeID: "r-1", StartedAt: at(2)}, "side": {RuntimeID: "r-2", StartedAt: at(2)}}),
		task.Quit(at(3), task.EssentialExited, task.ReasonEssentialExited, map[string]task.Outcome{"app": {Exit: &task.Exit{Code: 137, At: at(3), OOMKilled: true}}}),
		task.Deactivated(at(3)), task.Ended(at(4), nil, nil), task.Removed(at(5)),
	} {
		if tk, err = tk.Apply(tr); err != nil {
			t.Fatal(err)
		}
	}
	return task.Event{Seq: 9, At: at(5), Task: tk}
}

// Ensure events look as AWS documents them, and the same one has the same ID.
func TestEvents(t *testing.T) {
	ev := stopped(t)
	e, err := OfTask(ev)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "task.json", e)
	ev.Seq = 10 // in a journal that was put back
	if again, err := OfTask(ev); err != nil || again.ID != e.ID {
		t.Errorf("the same event is %s and %s", e.ID, again.ID)
	}
	ev.Task.Version++
	if next, err := OfTask(ev); err != nil || next.ID == e.ID {
		t.Error("the next event has the ID of the one before")
	}
	arn := "arn:aws:ecs:eu-west-1:111122223333:service/default/web"
	for name, s := range map[string]ServiceEvent{
		"steady.json":     {ID: "1", Realm: here, Service: arn, At: ev.At, Name: "SERVICE_STEADY_STATE", Level: "INFO"},
		"deployment.json": {ID: "2", Realm: here, Service: arn, At: ev.At, Name: "SERVICE_DEPLOYMENT_COMPLETED", Level: "INFO", Deployment: "ecs-svc/123", Reason: "ECS deployment ecs-svc/123 completed."},
	} {
		e, told, err := OfService(s)
		if err != nil || !told {
			t.Fatal(told, err)
		}
		golden(t, name, e)
	}
}

// Ensure the budget's own stop code, which AWS does not have, is told as a user's.
func TestSpendLimit(t *testing.T) {
	ev := stopped(t)
	ev.Task.StopCode = task.SpendLimit
	e, err := OfTask(ev)
	if err != nil || !bytes.Contains(e.Detail, []byte(`"stopCode":"UserInitiated"`)) {
		t.Errorf("%s, %v", e.Detail, err)
	}
}
