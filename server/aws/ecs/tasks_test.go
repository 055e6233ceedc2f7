package ecs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/fault"
	"berth/task"
)

// only returns the one task of an answer.
func only(t *testing.T, o object) object {
	t.Helper()
	if n := len(list(o, "tasks")); n != 1 {
		t.Fatalf("%d tasks: %v", n, o)
	}
	return list(o, "tasks")[0].(object)
}

// mask replaces what differs from run to run in a task by a word for it, so that the rest
// can be compared whole.
func mask(o object, started time.Time) any {
	b, _ := json.Marshal(o)
	text := string(b)
	id := o["taskArn"].(string)
	text = strings.ReplaceAll(text, id[strings.LastIndexByte(id, '/')+1:], "ID")
	var v any
	_ = json.Unmarshal([]byte(text), &v)
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				switch k {
				case "containerArn":
					v[k] = e.(string)[:strings.LastIndexByte(e.(string), '/')] + "/UUID"
				case "id", "attachmentId":
					v[k] = "ATTACHMENT"
				case "version":
					delete(v, k)
				default:
					if at, ok := e.(float64); ok && strings.HasSuffix(k, "At") {
						if at < float64(started.Unix()) || at > float64(started.Unix())+3600 {
							v[k] = fmt.Sprint("not a time of this test: ", at)
						} else {
							v[k] = "TIME"
						}
						continue
					}
					v[k] = walk(e)
				}
			}
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
			if len(v) == 5 {
				if eni, ok := v[1].(map[string]any); ok && eni["name"] == "networkInterfaceId" {
					eni["value"] = eni["value"].(string)[:4] + "ENI"
				}
			}
		}
		return v
	}
	return walk(v)
}

// Ensure a task is described as AWS describes one on Fargate, whole, when it was just made,
// while it runs and when it has stopped.
func TestTask(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		began := time.Now()
		h.register("job", "sleep 1h", `,"tags":[{"key":"from","value":"definition"}]`)
		const common = `"attributes":[{"name":"ecs.cpu-architecture","value":"x86_64"}],"availabilityZone":"eu-central-1a","capacityProviderName":"FARGATE_SPOT",
			"clusterArn":"arn:aws:ecs:eu-central-1:111122223333:cluster/default","cpu":"256","createdAt":"TIME","enableExecuteCommand":false,
			"ephemeralStorage":{"sizeInGiB":20},"fargateEphemeralStorage":{"sizeInGiB":20},"group":"jobs","healthStatus":"UNKNOWN","launchType":"FARGATE","memory":"512",
			"overrides":{"containerOverrides":[{"name":"main","environment":[{"name":"A","value":"1"}]}],"inferenceAcceleratorOverrides":[]},
			"platformFamily":"Linux","platformVersion":"1.4.0","startedBy":"me",
			"taskArn":"arn:aws:ecs:eu-central-1:111122223333:task/default/ID","taskDefinitionArn":"arn:aws:ecs:eu-central-1:111122223333:task-definition/job:1",`
		const container = `"containerArn":"arn:aws:ecs:eu-central-1:111122223333:container/default/ID/UUID","taskArn":"arn:aws:ecs:eu-central-1:111122223333:task/default/ID",
			"name":"main","image":"demo","cpu":"0","healthStatus":"UNKNOWN","networkBindings":[],`
		made := only(t, h.do("RunTask", `{"taskDefinition":"job","capacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":1}],
			"group":"jobs","startedBy":"me","tags":[{"key":"a","value":"b"}],"propagateTags":"TASK_DEFINITION","enableECSManagedTags":true,"referenceId":"x","platformVersion":"LATEST",
			"overrides":{"containerOverrides":[{"name":"main","environment":[{"name":"A","value":"1"}]}]},`+network+`}`))
		same(t, mask(made, began), `{`+common+`"attachments":[],"desiredStatus":"RUNNING","lastStatus":"PROVISIONING",
			"tags":[{"key":"from","value":"definition"},{"key":"a","value":"b"},{"key":"aws:ecs:clusterName","value":"default"}],
			"containers":[{`+container+`"lastStatus":"PENDING","networkInterfaces":[]}]}`)

		settle(10 * time.Second)
		arn := made["taskArn"].(string)
		running := only(t, h.do("DescribeTasks", `{"tasks":["`+arn+`"]}`))
		const eni = `"attachments":[{"id":"ATTACHMENT","type":"ElasticNetworkInterface","status":"%s","details":[{"name":"subnetId","value":"subnet-1"},
			{"name":"networkInterfaceId","value":"eni-ENI"},{"name":"macAddress","value":"%s"},{"name":"privateDnsName","value":"ip-%s.eu-central-1.compute.internal"},{"name":"privateIPv4Address","value":"%s"}]}],`
		var mac, ip string
		for _, d := range running["attachments"].([]any)[0].(object)["details"].([]any) {
			switch d.(object)["name"] {
			case "macAddress":
				mac = d.(object)["value"].(string)
			case "privateIPv4Address":
				ip = d.(object)["value"].(string)
			}
		}
		digest := `"imageDigest":"sha256:` + strings.Repeat("0", 64) + `",`
		runtimeID := running["containers"].([]any)[0].(object)["runtimeId"].(string)
		there := digest + `"runtimeId":"` + runtimeID + `","networkInterfaces":[{"attachmentId":"ATTACHMENT","privateIpv4Address":"` + ip + `"}],`
		there = strings.ReplaceAll(there, arn[strings.LastIndexByte(arn, '/')+1:], "ID")
		same(t, mask(running, began), `{`+common+fmt.Sprintf(eni, "ATTACHED", mac, strings.ReplaceAll(ip, ".", "-"), ip)+
			`"connectivity":"CONNECTED","connectivityAt":"TIME","desiredStatus":"RUNNING","lastStatus":"RUNNING","pullStartedAt":"TIME","pullStoppedAt":"TIME","startedAt":"TIME",
			"tags":[],"containers":[{`+container+there+`"lastStatus":"RUNNING"}]}`)

		stopping := h.do("StopTask", `{"task":"`+arn+`","reason":"enough"}`)["task"].(object)
		if stopping["desiredStatus"] != "STOPPED" || stopping["stoppedReason"] != "enough" || stopping["stopCode"] != "UserInitiated" {
			t.Errorf("%v", stopping)
		}
		settle(time.Minute)
		stopped := only(t, h.do("DescribeTasks", `{"tasks":["`+arn[strings.LastIndexByte(arn, '/')+1:]+`"],"include":["TAGS"]}`))
		code := stopped["containers"].([]any)[0].(object)["exitCode"]
		if code == nil {
			t.Error("a stopped container has no exit code")
		}
		same(t, mask(stopped, began), `{`+common+fmt.Sprintf(eni, "DELETED", mac, strings.ReplaceAll(ip, ".", "-"), ip)+
			`"connectivityAt":"TIME","desiredStatus":"STOPPED","lastStatus":"STOPPED","pullStartedAt":"TIME","pullStoppedAt":"TIME","startedAt":"TIME",
			"stoppingAt":"TIME","executionStoppedAt":"TIME","stoppedAt":"TIME","stopCode":"UserInitiated","stoppedReason":"enough",
			"tags":[{"key":"from","value":"definition"},{"key":"a","value":"b"},{"key":"aws:ecs:clusterName","value":"default"}],
			"containers":[{`+container+there+fmt.Sprintf(`"exitCode":%v,`, code)+`"lastStatus":"STOPPED"}]}`)
	})
}

// Ensure tasks that do not exist are failures, and what names no task is refused in ECS's
// words.
func TestDescribeTasks(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		h.register("job", "sleep 1h")
		h.do("CreateCluster", `{"clusterName":"other"}`)
		arn := h.run(`"taskDefinition":"job"`)[0]
		elsewhere := h.run(`"taskDefinition":"job","cluster":"other"`)[0]
		id := elsewhere[strings.LastIndexByte(elsewhere, '/')+1:]
		none := strings.Repeat("0", 32)
		got := h.do("DescribeTasks", `{"tasks":["`+none+`","`+arn+`","`+id+`","zz`+none[2:]+`"]}`)
		if only(t, got)["taskArn"] != arn {
			t.Errorf("%v", got)
		}
		at := `arn:aws:ecs:eu-central-1:111122223333:task/default/`
		same(t, got["failures"], `[{"arn":"`+at+none+`","reason":"MISSING"},{"arn":"`+at+id+`","reason":"MISSING"},{"arn":"`+at+"zz"+none[2:]+`","reason":"MISSING"}]`)
		for body, text := range map[string]string{
			`{"tasks":[]}`:                    "Tasks cannot be empty.",
			`{}`:                              "Member must not be null",
			`{"tasks":["None"]}`:              "taskId length should be one of [32,36]",
			`{"tasks":[""]}`:                  "taskId length should be one of [32,36]",
			`{"tasks":["a/b/c"]}`:             "Unexpected number of separators",
			`{"tasks":["` + elsewhere + `"]}`: "Identifier is for cluster other. Your cluster is default",
			`{"tasks":["arn:aws:ecs:eu-central-1:1:cluster/x"]}`: "Invalid identifier",
			`{"tasks":["` + arn + `"],"include":["ALL"]}`:        "include",
			`{"tasks":["` + strings.Repeat(`x","`, 100) + `x"]}`: "more than 100",
		} {
			h.refuse("DescribeTasks", body, "InvalidParameterException", text)
		}
		h.refuse("DescribeTasks", `{"cluster":"none","tasks":["`+none+`"]}`, "ClusterNotFoundException", "Cluster not found.")
		h.refuse("StopTask", `{"task":"`+none+`"}`, "InvalidParameterException", "The referenced task was not found.")
		h.refuse("StopTask", `{"task":"`+id+`"}`, "InvalidParameterException", "The referenced task was not found.")
		h.refuse("StopTask", `{"task":"`+arn+`","reason":"`+strings.Repeat("x", 256)+`"}`, "InvalidParameterException", "255")

		h.account = "444455556666" // Another's tasks do not exist.
		if got := h.do("DescribeTasks", `{"tasks":["`+arn[strings.LastIndexByte(arn, '/')+1:]+`"]}`); len(list(got, "failures")) != 1 {
			t.Errorf("%v", got)
		}
	})
}

// Ensure lists of tasks go by every filter, and come in pages.
func TestListTasks(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		h.register("a", "sleep 1h")
		h.register("b", "sleep 1h")
		a := h.run(`"taskDefinition":"a","count":3,"startedBy":"x"`)
		b := h.run(`"taskDefinition":"b","count":2`)
		settle(10 * time.Second)
		h.do("StopTask", `{"task":"`+b[0]+`"}`)
		settle(time.Minute)
		check := func(body string, want ...string) {
			t.Helper()
			var got []string
			for _, arn := range list(h.do("ListTasks", body), "taskArns") {
				got = append(got, arn.(string))
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", body, got, want)
			}
		}
		check(`{}`, append(slices.Clone(a), b[1])...)
		check(`{"family":"a"}`, a...)
		check(`{"family":"b","desiredStatus":"STOPPED"}`, b[0])
		check(`{"desiredStatus":"PENDING"}`)
		check(`{"startedBy":"x"}`, a...)
		check(`{"startedBy":"x","desiredStatus":"STOPPED"}`)
		check(`{"launchType":"FARGATE","family":"b"}`, b[1])
		check(`{"launchType":"EC2"}`)
		check(`{"serviceName":"web"}`)
		check(`{"daemonName":"d"}`)
		check(`{"containerInstance":"` + strings.Repeat("0", 32) + `"}`)
		var all []string
		for token := ""; ; {
			page := h.do("ListTasks", `{"maxResults":2`+token+`}`)
			for _, arn := range list(page, "taskArns") {
				all = append(all, arn.(string))
			}
			next, more := page["nextToken"].(string)
			if !more {
				break
			}
			token = fmt.Sprintf(`,"nextToken":%q`, next)
		}
		if slices.Sort(all); len(slices.Compact(all)) != 4 {
			t.Errorf("pages: %v", all)
		}
		h.refuse("ListTasks", `{"startedBy":"x","family":"a"}`, "InvalidParameterException", "must be the only filter")
		h.refuse("ListTasks", `{"desiredStatus":"GONE"}`, "InvalidParameterException", "enum value set")
		h.refuse("ListTasks", `{"nextToken":"x"}`, "InvalidParameterException", "token")
		h.refuse("ListTasks", `{"maxResults":101}`, "InvalidParameterException", "between 1 and 100")
		h.refuse("ListTasks", `{"cluster":"none"}`, "ClusterNotFoundException", "Cluster not found.")
	})
}

// Ensure every member of RunTask is honoured or refused in ECS's words.
func TestRunTaskIsRefused(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		h.register("job", "sleep 1h")
		gone := h.register("gone", "sleep 1h")
		h.do("DeregisterTaskDefinition", `{"taskDefinition":"gone:1"}`)
		h.do("CreateCluster", `{"clusterName":"bare"}`)
		h.do("CreateCluster", `{"clusterName":"lost"}`)
		h.do("DeleteCluster", `{"cluster":"lost"}`)
		const job = `{"taskDefinition":"job",`
		const spot = `"capacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":1}],`
		for _, c := range []struct{ body, code, text string }{
			{`{` + network + `}`, "InvalidParameterException", "Member must not be null"},
			{`{"taskDefinition":"job"}`, "InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified."},
			{`{"taskDefinition":"job","networkConfiguration":{}}`, "InvalidParameterException", "Network Configuration must be provided"},
			{`{"taskDefinition":"job","networkConfiguration":{"awsvpcConfiguration":{"subnets":[]}}}`, "InvalidParameterException", "subnets can not be empty."},
			{`{"taskDefinition":"job","networkConfiguration":{"awsvpcConfiguration":{"subnets":["` + strings.Repeat(`s","`, 16) + `s"]}}}`, "InvalidParameterException", "at most 16"},
			{`{"taskDefinition":"job","networkConfiguration":{"awsvpcConfiguration":{"subnets":["s"],"securityGroups":["1","2","3","4","5","6"]}}}`, "InvalidParameterException", "at most 5"},
			{`{"taskDefinition":"job","networkConfiguration":{"awsvpcConfiguration":{"subnets":["s"],"securityGroups":["sg-x"]}}}`, "InvalidParameterException",
				"Error retrieving security group information for [sg-x]: The security group 'sg-x' does not exist (ErrorCode: InvalidGroup.NotFound)"},
			{`{"taskDefinition":"job","networkConfiguration":{"awsvpcConfiguration":{"subnets":["s"],"assignPublicIp":"YES"}}}`, "InvalidParameterException", "enum value set: [ENABLED, DISABLED]"},
			{job + `"count":0,` + network + `}`, "InvalidParameterException", "between 1 and 10"},
			{job + `"count":11,` + network + `}`, "InvalidParameterException", "between 1 and 10"},
			{job + `"launchType":"FARGATE",` + spot + network + `}`, "InvalidParameterException", "Specifying both a launch type and capacity provider strategy is not supported"},
			{job + `"launchType":"EC2",` + network + `}`, "InvalidParameterException", "No Container Instances were found in your cluster."},
			{job + `"launchType":"EXTERNAL",` + network + `}`, "InvalidParameterException", "No Container Instances were found in your cluster."},
			{job + `"launchType":"EC2","platformVersion":"1.4.0",` + network + `}`, "InvalidParameterException", "The platform version must be null when specifying an EC2 launch type"},
			{job + `"launchType":"SPOT",` + network + `}`, "InvalidParameterException", "enum value set"},
			{job + `"platformVersion":"2.0.0",` + network + `}`, "PlatformUnknownException", "The specified platform does not exist"},
			{job + `"placementConstraints":[{"type":"distinctInstance"}],` + network + `}`, "InvalidParameterException", "Placement constraints are not supported"},
			{job + `"placementStrategy":[{"type":"spread","field":"host"}],` + network + `}`, "InvalidParameterException", "Placement strategies are not supported"},
			{job + `"propagateTags":"SERVICE",` + network + `}`, "InvalidParameterException", "propagateTags"},
			{job + `"volumeConfigurations":[{"name":"v"}],` + network + `}`, "InvalidParameterException", "The volume name 'v' in your request does not have a matching volume in your Task Definition"},
			{job + `"volumeConfigurations":[{"name":"v","managedEBSVolume":{}}],` + network + `}`, "InvalidParameterException", "roleArn"},
			{job + `"cluster":"bare",` + spot + network + `}`, "InvalidParameterException", "capacity provider that is not associated with the cluster"},
			{job + `"cluster":"lost",` + network + `}`, "ClusterNotFoundException", "Cluster not found."},
			{job + `"cluster":"arn:aws:ecs:us-east-1:111122223333:cluster/default",` + network + `}`, "ClusterNotFoundException", "Cluster not found."},
			{job + `"capacityProviderStrategy":[{"capacityProvider":"mine","weight":1}],` + network + `}`, "InvalidParameterException", "The specified capacity provider 'mine' was not found."},
			{job + `"capacityProviderStrategy":[{"capacityProvider":"FARGATE"}],` + network + `}`, "InvalidParameterException", "weight value greater than zero"},
			{job + `"group":"service:x",` + network + `}`, "InvalidParameterException", "Invalid namespace for group"},
			{job + `"startedBy":"a b",` + network + `}`, "InvalidParameterException", "startedBy has at most 128"},
			{job + `"clientToken":"` + strings.Repeat("x", 65) + `",` + network + `}`, "InvalidParameterException", "clientToken has at most 64"},
			{job + `"tags":[{"key":"aws:a","value":"b"}],` + network + `}`, "InvalidParameterException", "the prefix aws: is reserved"},
			{job + `"overrides":{"containerOverrides":[{"name":"x"}]},` + network + `}`, "InvalidParameterException", "Override for container named x is not a container in the TaskDefinition."},
			{job + `"overrides":{"cpu":"300"},` + network + `}`, "InvalidParameterException", "No Fargate configuration exists for given values: 300 CPU, 512 memory."},
			{job + `"overrides":{"size":"300"},` + network + `}`, "InvalidParameterException", "overrides.size: unknown field"},
			{job + `"overrides":{"containerOverrides":[{"name":"main","environment":[{"name":"A","value":"` + strings.Repeat("x", 8192) + `"}]}]},` + network + `}`, "InvalidParameterException", "at most 8192"},
			{`{"taskDefinition":"nothing",` + network + `}`, "ClientException", "TaskDefinition not found."},
			{`{"taskDefinition":"gone:1",` + network + `}`, "ClientException", "TaskDefinition is inactive"},
			{`{"taskDefinition":"` + gone + `",` + network + `}`, "ClientException", "TaskDefinition is inactive"},
			{`{"taskDefinition":"gone",` + network + `}`, "ClientException", "TaskDefinition not found."},
			{`{"taskDefinition":"job:x",` + network + `}`, "InvalidParameterException", "Invalid revision number. Number: x"},
			{job + `"extra":1,` + network + `}`, "InvalidParameterException", "extra: unknown field"},
			{`{"taskDefinition":7}`, "SerializationException", "must be a string"},
		} {
			h.refuse("RunTask", c.body, c.code, c.text)
		}
		if arns := list(h.do("ListTasks", `{}`), "taskArns"); len(arns) > 0 {
			t.Errorf("refused runs left tasks: %v", arns)
		}
	})
}

// Ensure tasks that never fit are failures, and that the strategy of the cluster holds where
// a run has none.
func TestRunTask(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		h.register("job", "sleep 1h")
		got := h.do("RunTask", `{"taskDefinition":"job","overrides":{"cpu":"16384","memory":"32768"},`+network+`}`)
		same(t, got["tasks"], `[]`)
		f := list(got, "failures")[0].(object)
		if f["reason"] != "RESOURCE:CPU" || f["detail"] == "" || f["arn"] != nil {
			t.Errorf("%v", f)
		}
		h.do("CreateCluster", `{"clusterName":"spot","capacityProviders":["FARGATE","FARGATE_SPOT"],
			"defaultCapacityProviderStrategy":[{"capacityProvider":"FARGATE","base":1,"weight":0},{"capacityProvider":"FARGATE_SPOT","weight":1}]}`)
		count := func(body string) map[any]int {
			n := make(map[any]int)
			for _, one := range list(h.do("RunTask", `{`+body+network+`}`), "tasks") {
				n[one.(object)["capacityProviderName"]]++
			}
			return n
		}
		if n := count(`"taskDefinition":"job","cluster":"spot","count":3,`); n["FARGATE"] != 1 || n["FARGATE_SPOT"] != 2 {
			t.Errorf("the cluster's strategy: %v", n)
		}
		if n := count(`"taskDefinition":"job","cluster":"spot","count":2,"launchType":"FARGATE",`); n[nil] != 2 {
			t.Errorf("a launch type beside the cluster's strategy: %v", n)
		}
		if n := count(`"taskDefinition":"job","count":10,`); n[nil] != 10 {
			t.Errorf("the default cluster: %v", n)
		}
	})
}

// Ensure the same token with the same request is the same tasks, whatever became of the
// definition, and with another request is a conflict that names them.
func TestClientToken(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		h.register("job", "sleep 1h")
		const body = `{"taskDefinition":"job","clientToken":"once","count":2,"propagateTags":"TASK_DEFINITION",` + network + `}`
		first := h.do("RunTask", body)
		h.do("TagResource", `{"resourceArn":"arn:aws:ecs:eu-central-1:111122223333:task-definition/job:1","tags":[{"key":"new","value":""}]}`)
		h.do("DeregisterTaskDefinition", `{"taskDefinition":"job:1"}`)
		again := h.do("RunTask", body)
		var arns []string
		for i, one := range list(first, "tasks") {
			arns = append(arns, one.(object)["taskArn"].(string))
			if got := list(again, "tasks")[i].(object)["taskArn"]; got != arns[i] {
				t.Errorf("task %d is another: %v", i, got)
			}
		}
		status, answer := h.send("RunTask", `{"taskDefinition":"job","clientToken":"once",`+network+`}`)
		var e object
		if err := json.Unmarshal([]byte(answer), &e); err != nil || status != 400 || e["__type"] != "ConflictException" {
			t.Fatalf("%d %s", status, answer)
		}
		want, _ := json.Marshal(arns)
		same(t, e["resourceIds"], string(want))

		h.region = "us-east-1" // Tokens are of an account and region.
		h.register("job", "sleep 1h")
		if got := h.do("RunTask", body); len(list(got, "tasks")) != 2 || list(got, "tasks")[0].(object)["taskArn"] == arns[0] {
			t.Errorf("%v", got)
		}
	})
}

// Ensure refusals for want of money, of a quota and of patience are the model's own.
func TestRunTaskLimits(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		h.register("job", "sleep 1h")
		const body = `{"taskDefinition":"job",` + network + `}`
		refusing := &refuser{Runner: h.config.Tasks}
		h.config.Tasks = refusing
		h.serve()
		refusing.err = fault.New(fault.OverBudget, "budget team is used up")
		h.refuse("RunTask", body, "BlockedException", "Your account is currently blocked. budget team is used up")
		refusing.err = fault.New(fault.Exhausted, "You've reached the limit on the number of vCPUs you can run concurrently")
		got := h.do("RunTask", body)
		same(t, got, `{"tasks":[],"failures":[{"reason":"You've reached the limit on the number of vCPUs you can run concurrently"}]}`)
		refusing.err = fault.New(fault.Unavailable, "the disk is full")
		if status, answer := h.send("RunTask", body); status != 500 || !strings.Contains(answer, "ServerException") {
			t.Errorf("%d %s", status, answer)
		}
		refusing.err = fmt.Errorf("a secret cause")
		if status, answer := h.send("RunTask", body); status != 500 || !strings.Contains(answer, "ServerException") || strings.Contains(answer, "secret") {
			t.Errorf("%d %s", status, answer)
		}
		var launched [][2]any
		h.config.Launch = func(_ task.Realm, spot bool, n int) error {
			launched = append(launched, [2]any{spot, n})
			return fault.New(fault.Throttled, "Rate exceeded")
		}
		h.serve()
		h.refuse("RunTask", body, "ThrottlingException", "Rate exceeded")
		if len(launched) != 1 || launched[0] != [2]any{false, 1} {
			t.Errorf("%v", launched)
		}
	})
}
