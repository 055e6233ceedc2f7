package ecs_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/fault"
	"berth/server/aws/ssm"
	"berth/server/aws/wire"
	"berth/session"
)

// guests opens sessions that nobody holds, unless it has an error for them.
type guests struct {
	wishes []session.Wish
	err    error
}

func (g *guests) Open(_ context.Context, c wire.Call, w session.Wish) (ssm.Opened, error) {
	if g.err != nil {
		return ssm.Opened{}, g.err
	}
	g.wishes = append(g.wishes, w)
	return ssm.Opened{SessionID: "ecs-execute-command-1", StreamURL: "ws://" + c.Host + "/1", Token: "token"}, nil
}

// Ensure ExecuteCommand opens a session in the container that is meant, for tasks that were
// run for that, and says in AWS's words why it does not.
func TestExecuteCommand(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		g := &guests{}
		h.config.Exec = g
		h.serve()
		h.register("job", "sleep 1h", `,"taskRoleArn":"arn:aws:iam::111122223333:role/job"`)
		h.register("plain", "sleep 1h")
		h.refuse("RunTask", `{`+network+`,"taskDefinition":"plain","enableExecuteCommand":true}`, "InvalidParameterException", "a valid taskRoleArn is not being used")
		arn := h.run(`"taskDefinition":"job","enableExecuteCommand":true`)[0]
		closed := h.run(`"taskDefinition":"job"`)[0]
		settle(time.Minute)

		task := only(t, h.do("DescribeTasks", `{"tasks":["`+arn+`"]}`))
		container := list(task, "containers")[0].(object)
		agent := list(container, "managedAgents")[0].(object)
		if task["enableExecuteCommand"] != true || agent["name"] != "ExecuteCommandAgent" || agent["lastStatus"] != "RUNNING" || agent["lastStartedAt"] == nil {
			t.Errorf("the task is %v", task)
		}
		h.asked = nil
		out := h.do("ExecuteCommand", `{"task":"`+arn+`","interactive":true,"command":"sh -c 'echo hello'"}`)
		same(t, out, `{"clusterArn":"arn:aws:ecs:eu-central-1:111122223333:cluster/default","containerArn":"`+container["containerArn"].(string)+`",
			"containerName":"main","interactive":true,"taskArn":"`+arn+`",
			"session":{"sessionId":"ecs-execute-command-1","streamUrl":"ws://localhost/1","tokenValue":"token"}}`)
		w := g.wishes[0]
		if !slices.Equal(w.Command, []string{"sh", "-c", "echo hello"}) || !w.Terminal || w.Container != "main" || !strings.HasSuffix(arn, string(w.Task)) {
			t.Errorf("the session is %+v", w)
		}
		if len(h.asked) != 1 || h.asked[0].Name != "ecs:ExecuteCommand" || h.asked[0].Resource != arn {
			t.Errorf("policies were asked of %+v", h.asked)
		}

		const disabled = "The execute command failed because execute command was not enabled when the task was run or the execute command agent isn’t running."
		for _, c := range []struct{ members, code, text string }{
			{`"task":"` + closed + `","interactive":true,"command":"sh"`, "InvalidParameterException", disabled},
			{`"task":"` + arn + `","interactive":false,"command":"sh"`, "InvalidParameterException", "Interactive is the only mode"},
			{`"task":"` + arn + `","interactive":true,"command":"'sh"`, "InvalidParameterException", "quotation mark"},
			{`"task":"` + arn + `","interactive":true,"command":"sh","container":"side"`, "InvalidParameterException", "'side'"},
			{`"task":"` + strings.Repeat("0", 32) + `","interactive":true,"command":"sh"`, "InvalidParameterException", "does not exist"},
			{`"task":"` + arn + `","interactive":true,"command":"sh","cluster":"none"`, "ClusterNotFoundException", "Cluster not found."},
			{`"task":"` + arn + `","command":"sh"`, "InvalidParameterException", "interactive"},
		} {
			h.refuse("ExecuteCommand", "{"+c.members+"}", c.code, c.text)
		}
		g.err = fault.New(fault.Conflict, "container main does not run")
		h.refuse("ExecuteCommand", `{"task":"`+arn+`","interactive":true,"command":"sh"}`, "TargetNotConnectedException", "The execute command failed due to an internal error. Try again later.")
		g.err = nil
		h.do("StopTask", `{"task":"`+arn+`"}`)
		settle(5 * time.Minute)
		h.refuse("ExecuteCommand", `{"task":"`+arn+`","interactive":true,"command":"sh"}`, "InvalidParameterException", disabled)
	})
}

// Ensure the tasks of a service are for ExecuteCommand if the service is, and that it needs a
// role then.
func TestExecuteCommandOfServices(t *testing.T) {
	serving(t, func(t *testing.T, h *host) {
		h.register("job", "sleep 1h", `,"taskRoleArn":"arn:aws:iam::111122223333:role/job"`)
		h.register("plain", "sleep 1h")
		const service = `{"desiredCount":1,"enableExecuteCommand":true,` + network + `,"serviceName":`
		h.refuse("CreateService", service+`"plain","taskDefinition":"plain"}`, "InvalidParameterException", "a valid taskRoleArn is not being used")
		h.do("CreateService", service+`"job","taskDefinition":"job"}`)
		settle(5 * time.Minute)
		arns, _ := json.Marshal(h.do("ListTasks", `{"serviceName":"job"}`)["taskArns"])
		if made := only(t, h.do("DescribeTasks", `{"tasks":`+string(arns)+`}`)); made["enableExecuteCommand"] != true {
			t.Errorf("the service's task is %v", made)
		}
	})
}
