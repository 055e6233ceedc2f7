package main

import (
	"testing"
	"time"

	"berth/eventbridge"
	"berth/service"
	"berth/task"
)

// Ensure an event of a service becomes one of EventBridge's, of its account, region and
// cluster.
func TestServiceEvent(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	e := serviceEvent(service.Event{Seq: 3, ID: "i", ARN: "arn:aws:ecs:eu-west-1:111122223333:service/blue/web", At: at, Name: "SERVICE_DEPLOYMENT_FAILED", Level: "ERROR", Deployment: "ecs-svc/1", Reason: "r"})
	if want := (task.Realm{Region: "eu-west-1", Account: "111122223333", Cluster: "blue"}); e.Realm != want || e.Seq != 3 {
		t.Errorf("%+v", e)
	}
	ev, told, err := eventbridge.OfService(e)
	if err != nil || !told || ev.DetailType != eventbridge.DeploymentStateChange || string(ev.Detail) != `{"eventType":"ERROR","eventName":"SERVICE_DEPLOYMENT_FAILED","deploymentId":"ecs-svc/1","updatedAt":"2026-11-29T12:00:00.000Z","reason":"r"}` {
		t.Errorf("%+v %s, %v", ev, ev.Detail, err)
	}
	if r := realmOfService("web"); r != (task.Realm{}) {
		t.Errorf("%+v", r)
	}
}
