package ecs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Ensure a definition is described with everything that AWS fills in: a client that compares
// it with what it sent finds no difference that AWS would not show.
func TestDefinition(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		now := float64(time.Now().UnixMilli()) / 1000
		const arn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:1"
		want := fmt.Sprintf(`{"taskDefinitionArn":%q,"family":"web","revision":1,"status":"ACTIVE","networkMode":"awsvpc","cpu":"256","memory":"512",
			"executionRoleArn":"arn:aws:iam::111122223333:role/exec","taskRoleArn":"arn:aws:iam::111122223333:role/task",
			"compatibilities":["EC2","FARGATE"],"requiresCompatibilities":["FARGATE"],"placementConstraints":[],"enableFaultInjection":false,
			"registeredAt":%v,"registeredBy":"arn:aws:iam::111122223333:root","volumes":[{"name":"scratch","host":{}}],
			"runtimePlatform":{"operatingSystemFamily":"LINUX"},
			"requiresAttributes":[{"name":"com.amazonaws.ecs.capability.docker-remote-api.1.18"},{"name":"com.amazonaws.ecs.capability.docker-remote-api.1.19"},
				{"name":"com.amazonaws.ecs.capability.docker-remote-api.1.24"},{"name":"com.amazonaws.ecs.capability.ecr-auth"},
				{"name":"com.amazonaws.ecs.capability.logging-driver.awslogs"},{"name":"com.amazonaws.ecs.capability.task-iam-role"},
				{"name":"ecs.capability.container-health-check"},{"name":"ecs.capability.container-ordering"},{"name":"ecs.capability.execution-role-awslogs"},
				{"name":"ecs.capability.execution-role-ecr-pull"},{"name":"ecs.capability.secrets.asm.environment-variables"},{"name":"ecs.capability.task-eni"}],
			"containerDefinitions":[
				{"name":"app","image":"111122223333.dkr.ecr.eu-central-1.amazonaws.com/app:1","cpu":0,"essential":true,"environment":[],"mountPoints":[],"volumesFrom":[],
				 "systemControls":[],"portMappings":[{"containerPort":80,"hostPort":80,"protocol":"tcp"}],
				 "secrets":[{"name":"S","valueFrom":"arn:aws:secretsmanager:eu-central-1:111122223333:secret:s-AbCdEf"}],
				 "healthCheck":{"command":["CMD","true"],"interval":30,"timeout":5,"retries":3},
				 "logConfiguration":{"logDriver":"awslogs","options":{"awslogs-group":"g","awslogs-region":"eu-central-1","awslogs-stream-prefix":"p"}},
				 "dependsOn":[{"containerName":"init","condition":"SUCCESS"}]},
				{"name":"init","image":"demo","cpu":0,"essential":false,"environment":[],"mountPoints":[{"sourceVolume":"scratch","containerPath":"/s"}],"volumesFrom":[],
				 "systemControls":[],"portMappings":[]}]}`, arn, now)
		registered := h.do("RegisterTaskDefinition", `{"family":"web","requiresCompatibilities":["FARGATE"],"cpu":".25 vCPU","memory":"0.5GB","networkMode":"awsvpc",
			"executionRoleArn":"arn:aws:iam::111122223333:role/exec","taskRoleArn":"arn:aws:iam::111122223333:role/task","volumes":[{"name":"scratch"}],
			"runtimePlatform":{"operatingSystemFamily":"LINUX"},"tags":[{"key":"a","value":"b"}],
			"containerDefinitions":[{"name":"app","image":"111122223333.dkr.ecr.eu-central-1.amazonaws.com/app:1","portMappings":[{"containerPort":80}],
				"secrets":[{"name":"S","valueFrom":"arn:aws:secretsmanager:eu-central-1:111122223333:secret:s-AbCdEf"}],"healthCheck":{"command":["CMD","true"]},
				"logConfiguration":{"logDriver":"awslogs","options":{"awslogs-group":"g","awslogs-region":"eu-central-1","awslogs-stream-prefix":"p"}},
				"dependsOn":[{"containerName":"init","condition":"SUCCESS"}]},
				{"name":"init","image":"demo","essential":false,"mountPoints":[{"sourceVolume":"scratch","containerPath":"/s"}]}]}`)
		same(t, registered["taskDefinition"], want)
		same(t, registered["tags"], `[{"key":"a","value":"b"}]`)
		for _, ref := range []string{"web", "web:1", arn} {
			same(t, h.do("DescribeTaskDefinition", `{"taskDefinition":"`+ref+`"}`), `{"taskDefinition":`+want+`}`)
		}
		same(t, h.do("DescribeTaskDefinition", `{"taskDefinition":"web","include":["TAGS"]}`), `{"taskDefinition":`+want+`,"tags":[{"key":"a","value":"b"}]}`)
		h.register("bare", "exit")
		same(t, h.do("DescribeTaskDefinition", `{"taskDefinition":"bare","include":["TAGS"]}`)["tags"], `[]`)
	})
}

// Ensure what Fargate refuses in a definition is refused in its words, as ClientException.
func TestDefinitionIsRefused(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		const head = `{"family":"f","requiresCompatibilities":["FARGATE"],`
		const mode = `"networkMode":"awsvpc",`
		const size = `"cpu":"256","memory":"512",`
		with := func(container string) string {
			return head + mode + size + `"containerDefinitions":[{"name":"main","image":"i"` + container + `}]}`
		}
		const one = `"containerDefinitions":[{"name":"main","image":"i"}]}`
		for _, c := range []struct{ body, text string }{
			{head + mode + `"cpu":"1024","memory":"1024",` + one, "No Fargate configuration exists for given values: 1024 CPU, 1024 memory. See the Amazon ECS documentation for the valid values."},
			{head + mode + `"cpu":"lots","memory":"512",` + one, "Invalid 'cpu' setting for task."},
			{head + mode + `"memory":"512",` + one, "Fargate requires that 'cpu' be defined at the task level."},
			{head + mode + `"cpu":"256",` + one, "Fargate requires that 'memory' be defined at the task level."},
			{head + size + one, "Fargate only supports network mode ‘awsvpc’."},
			{head + `"networkMode":"bridge",` + size + one, "Fargate only supports network mode ‘awsvpc’."},
			{head + mode + size + `"pidMode":"host",` + one, "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is 'task'."},
			{head + mode + size + `"ipcMode":"host",` + one, "Fargate compatible task definitions do not support ipcMode"},
			{head + mode + size + `"placementConstraints":[{"type":"memberOf"}],` + one, "Fargate compatible task definitions do not support constraints"},
			{head + mode + size + `"inferenceAccelerators":[{"deviceName":"a","deviceType":"b"}],` + one, "Unsupported field 'inferenceAccelerators'"},
			{head + mode + size + `"ephemeralStorage":{"sizeInGiB":20},` + one, "EphemeralStorage size should be at least 21"},
			{head + mode + size + `"ephemeralStorage":{"sizeInGiB":201},` + one, "at most 200"},
			{head + mode + size + `"containerDefinitions":[{"image":"i"}]}`, "Container.name should not be null or empty."},
			{head + mode + size + `"containerDefinitions":[{"name":"main"}]}`, "Container.image should not be null or empty."},
			{head + mode + size + `"containerDefinitions":[]}`, "Container list cannot be empty."},
			{with(`,"logConfiguration":{"logDriver":"awslogs"}`), "Fargate requires task definition to have execution role ARN to support log driver awslogs."},
			{head + mode + size + `"containerDefinitions":[{"name":"main","image":"111122223333.dkr.ecr.us-east-1.amazonaws.com/a"}]}`, "Fargate requires task definition to have execution role ARN to support ECR images."},
			{with(`,"secrets":[{"name":"A","valueFrom":"b"}]`), "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'"},
			{with(`,"resourceRequirements":[{"type":"GPU","value":"1"}]`), "Tasks using the Fargate launch type do not support GPU resource requirements"},
			{with(`,"linuxParameters":{"devices":[{"hostPath":"/dev/x"}]}`), "Fargate compatible task definitions do not support devices"},
			{with(`,"linuxParameters":{"maxSwap":1}`), "Fargate compatible task definitions do not support maxSwap"},
			{with(`,"linuxParameters":{"sharedMemorySize":1}`), "Fargate compatible task definitions do not support sharedMemorySize"},
			{with(`,"dockerSecurityOptions":["x"]`), "Fargate compatible task definitions do not support dockerSecurityOptions"},
			{with(`,"privileged":true`), "Fargate compatible task definitions do not support privileged"},
			{with(`,"dnsServers":["1.1.1.1"]`), "DNS servers are not supported on container when networkMode=awsvpc"},
			{with(`,"portMappings":[{"containerPort":80,"hostPort":81}]`), "When networkMode=awsvpc, the host ports and container ports in port mappings must match."},
			{with(`,"logConfiguration":{"logDriver":"syslog"}`), "syslog is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]"},
			{with(`,"logConfiguration":{"logDriver":"awsfirelens"}`), "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be specified"},
			{with(`,"memory":1024`), "The 'memory' setting for container 'main' is greater than for the task."},
			{with(`,"cpu":512`), "The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value"},
			{with(`,"ulimits":[{"name":"nofile","softLimit":2,"hardLimit":1}]`), "Soft limit exceeds hard limit for ulimit nofile"},
			{with(`,"essential":false`), "at least one essential container"},
			{with(`,"dependsOn":[{"containerName":"main","condition":"SUCCESS"}]`), "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container"},
			{with(`,"dependsOn":[{"containerName":"main","condition":"HEALTHY"}]`), "A dependency container with HEALTHY condition must have health check configured"},
			{head + mode + size + `"volumes":[{"name":"v","host":{"sourcePath":"/x"}}],` + one, "Fargate compatible task definitions do not support sourcePath"},
			{head + mode + size + `"volumes":[{"name":"v","dockerVolumeConfiguration":{}}],` + one, "Fargate compatible task definitions do not support dockerVolumeConfiguration"},
			{head + mode + size + `"volumes":[{"name":"v","configuredAtLaunch":true}],` + one, "Volumes [v] are not referenced by any of the containers"},
			{head + mode + size + `"volumes":[{"name":"v","efsVolumeConfiguration":{"fileSystemId":"fs-12345678","authorizationConfig":{"iam":"ENABLED"}}}],` + one, "EFS IAM authorization requires TransitEncryption to be enabled"},
			{`{` + mode + size + one, "Family should not be null or empty."},
			{head + mode + size + `"tags":[{"key":"aws:x","value":"y"}],` + one, "the prefix aws: is reserved"},
			{head + mode + size + `"revision":3,` + one, "is set by the server"},
			{with(`,"environment":[{"name":"A","value":"` + strings.Repeat("x", 65536) + `"}]`), "Max allowed length is '65536' bytes."},
		} {
			h.refuse("RegisterTaskDefinition", c.body, "ClientException", c.text)
		}
		h.refuse("RegisterTaskDefinition", with(`,"comand":["x"]`), "InvalidParameterException", "unknown field; did you mean command?")
		h.refuse("RegisterTaskDefinition", with(`,"command":"x"`), "SerializationException", "must be an array")
	})
}

// Ensure a revision goes from ACTIVE to INACTIVE to DELETE_IN_PROGRESS, and away when its
// last task has stopped.
func TestDeleteDefinitions(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		first, second := h.register("job", "sleep 1h"), h.register("job", "sleep 1h")
		arn := h.run(`"taskDefinition":"job:1"`)[0]
		settle(10 * time.Second)
		const active = "The specified task definition is still in ACTIVE status. Please deregister the target and try again."
		same(t, h.do("DeleteTaskDefinitions", `{"taskDefinitions":["`+first+`","job","job:9","x/y:1"]}`), `{"taskDefinitions":[],"failures":[
			{"arn":"`+first+`","reason":"`+active+`"},
			{"arn":"job","reason":"The specified task definition identifier is invalid. Specify a valid name or ARN and try again."},
			{"arn":"job:9","reason":"The specified task definition does not exist. Specify a valid account, family, revision and try again."},
			{"arn":"x/y:1","reason":"The specified task definition identifier is invalid. Specify a valid name or ARN and try again."}]}`)
		for range 2 { // Repeating it changes nothing.
			off := h.do("DeregisterTaskDefinition", `{"taskDefinition":"job:1"}`)["taskDefinition"].(object)
			if off["status"] != "INACTIVE" || off["deregisteredAt"] == nil {
				t.Errorf("%v", off)
			}
		}
		for range 2 {
			gone := h.do("DeleteTaskDefinitions", `{"taskDefinitions":["job:1"]}`)
			if d := list(gone, "taskDefinitions")[0].(object); d["status"] != "DELETE_IN_PROGRESS" || d["deleteRequestedAt"] == nil || len(list(gone, "failures")) > 0 {
				t.Errorf("%v", gone)
			}
		}
		same(t, h.do("ListTaskDefinitions", `{"status":"DELETE_IN_PROGRESS"}`), `{"taskDefinitionArns":["`+first+`"]}`)
		h.refuse("RunTask", `{"taskDefinition":"job:1",`+network+`}`, "ClientException", "TaskDefinition is inactive")
		if n, err := h.store.ForgetDefinitions(t.Context()); n != 0 || err != nil {
			t.Errorf("%d, %v: a task runs", n, err)
		}
		h.do("DescribeTaskDefinition", `{"taskDefinition":"job:1"}`)
		h.do("StopTask", `{"task":"`+arn+`"}`)
		settle(time.Minute)
		if n, err := h.store.ForgetDefinitions(t.Context()); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		h.refuse("DescribeTaskDefinition", `{"taskDefinition":"job:1"}`, "ClientException", "Unable to describe task definition.")
		same(t, h.do("ListTaskDefinitions", `{}`), `{"taskDefinitionArns":["`+second+`"]}`)
		if third := h.register("job", "exit"); !strings.HasSuffix(third, ":3") {
			t.Errorf("a revision was used twice: %s", third)
		}
		h.refuse("DeregisterTaskDefinition", `{"taskDefinition":"job"}`, "ClientException", "Revision is missing.")
		h.refuse("DeregisterTaskDefinition", `{"taskDefinition":"job:x"}`, "InvalidParameterException", "Invalid revision number. Number: x")
		h.refuse("DeregisterTaskDefinition", `{"taskDefinition":"job:9"}`, "ClientException", "does not exist")
		h.refuse("DeleteTaskDefinitions", `{"taskDefinitions":[]}`, "InvalidParameterException", "size of TaskDefinition references list must be greater than 0")
		h.refuse("DeleteTaskDefinitions", `{"taskDefinitions":["`+strings.Repeat(`a:1","`, 10)+`a:1"]}`, "InvalidParameterException", "Size of TaskDefinition references list cannot exceed 10")
		h.refuse("DescribeTaskDefinition", `{"taskDefinition":"a:1","include":["X"]}`, "InvalidParameterException", "include")
	})
}

// Ensure lists of revisions and families go by every filter, and come in pages.
func TestListDefinitions(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		for _, f := range []string{"web", "web", "web-old", "job", "zoo"} {
			h.register(f, "exit")
		}
		h.do("DeregisterTaskDefinition", `{"taskDefinition":"web-old:1"}`)
		h.do("DeregisterTaskDefinition", `{"taskDefinition":"web:1"}`)
		check := func(op, member, body string, want ...string) {
			t.Helper()
			for _, size := range []int{1, 2, 100} {
				var got []string
				for token := ""; ; {
					page := h.do(op, fmt.Sprintf(`{"maxResults":%d%s%s}`, size, token, body))
					for _, v := range list(page, member) {
						got = append(got, v.(string)[strings.LastIndexByte(v.(string), '/')+1:])
					}
					next, more := page["nextToken"].(string)
					if !more {
						break
					}
					token = fmt.Sprintf(`,"nextToken":%q`, next)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s %s in pages of %d: %v, want %v", op, body, size, got, want)
				}
			}
		}
		const revisions, families = "ListTaskDefinitions", "ListTaskDefinitionFamilies"
		check(revisions, "taskDefinitionArns", ``, "job:1", "web:2", "zoo:1")
		check(revisions, "taskDefinitionArns", `,"sort":"DESC"`, "zoo:1", "web:2", "job:1")
		check(revisions, "taskDefinitionArns", `,"status":"INACTIVE"`, "web:1", "web-old:1")
		check(revisions, "taskDefinitionArns", `,"familyPrefix":"web"`, "web:2")
		check(revisions, "taskDefinitionArns", `,"familyPrefix":"we"`)
		check(families, "families", ``, "job", "web", "web-old", "zoo")
		check(families, "families", `,"status":"ALL"`, "job", "web", "web-old", "zoo")
		check(families, "families", `,"status":"ACTIVE"`, "job", "web", "zoo")
		check(families, "families", `,"status":"INACTIVE"`, "web-old")
		check(families, "families", `,"familyPrefix":"we"`, "web", "web-old")
		h.refuse(revisions, `{"nextToken":"x"}`, "InvalidParameterException", "token")
		h.refuse(families, `{"status":"NONE"}`, "InvalidParameterException", "enum value set")
		h.region = "us-east-1"
		check(families, "families", ``)
	})
}
