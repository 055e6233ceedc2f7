package task

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"berth/fault"
)

// whole is a definition that Fargate takes, as a JSON object to change.
func whole() map[string]any {
	return map[string]any{
		"family": "app", "networkMode": "awsvpc", "requiresCompatibilities": []any{"FARGATE"}, "cpu": "256", "memory": "512",
		"containerDefinitions": []any{map[string]any{"name": "web", "image": "nginx"}},
	}
}

// with returns whole with one thing set; path is like containerDefinitions.0.cpu.
func with(t testing.TB, pairs ...any) []byte {
	t.Helper()
	d := whole()
	for i := 0; i < len(pairs); i += 2 {
		var at any = d
		keys := strings.Split(pairs[i].(string), ".")
		for j, k := range keys {
			last := j == len(keys)-1
			switch v := at.(type) {
			case map[string]any:
				if last {
					v[k] = pairs[i+1]
				} else if at = v[k]; at == nil {
					at = map[string]any{}
					v[k] = at
				}
			case []any:
				var n int
				fmt.Sscan(k, &n)
				at = v[n]
			}
		}
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const role = "arn:aws:iam::000000000000:role/x"

// Ensure what Fargate refuses is refused in AWS's words, at the right field. The
// texts are those that the ECS API was seen to answer with.
func TestRefusals(t *testing.T) {
	c := "containerDefinitions.0."
	at := "containerDefinitions[0]."
	two := []any{map[string]any{"name": "a", "image": "i"}, map[string]any{"name": "b", "image": "i"}}
	for _, tt := range []struct {
		name  string
		def   []byte
		field string
		text  string
	}{
		{"bad pair", with(t, "memory", "4096"), "memory", "No Fargate configuration exists for given values: 256 CPU, 4096 memory. See the Amazon ECS documentation for the valid values."},
		{"bad cpu", with(t, "cpu", "lots"), "cpu", "Invalid 'cpu' setting for task."},
		{"no cpu", with(t, "cpu", nil), "cpu", "Fargate requires that 'cpu' be defined at the task level."},
		{"no memory", with(t, "memory", nil), "memory", "Fargate requires that 'memory' be defined at the task level."},
		{"bridge", with(t, "networkMode", "bridge"), "networkMode", "Fargate only supports network mode ‘awsvpc’."},
		{"no network mode", with(t, "networkMode", nil), "networkMode", "Fargate only supports network mode ‘awsvpc’."},
		{"awslogs without role", with(t, c+"logConfiguration", map[string]any{"logDriver": "awslogs"}), at + "logConfiguration.logDriver", "Fargate requires task definition to have execution role ARN to support log driver awslogs."},
		{"ECR without role", with(t, c+"image", "123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1"), at + "image", "Fargate requires task definition to have execution role ARN to support ECR images."},
		{"secrets without role", with(t, c+"secrets", []any{map[string]any{"name": "A", "valueFrom": "b"}}), at + "secrets", "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."},
		{"pidMode host", with(t, "pidMode", "host"), "pidMode", "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is 'task'."},
		{"GPU", with(t, c+"resourceRequirements", []any{map[string]any{"type": "GPU", "value": "1"}}), at + "resourceRequirements[0].type", "Tasks using the Fargate launch type do not support GPU resource requirements"},
		{"ipcMode", with(t, "ipcMode", "host"), "ipcMode", "Fargate compatible task definitions do not support ipcMode"},
		{"constraints", with(t, "placementConstraints", []any{map[string]any{"type": "memberOf"}}), "placementConstraints", "Fargate compatible task definitions do not support constraints"},
		{"devices", with(t, c+"linuxParameters", map[string]any{"devices": []any{map[string]any{"hostPath": "/dev/kvm"}}}), at + "linuxParameters.devices", "Fargate compatible task definitions do not support devices"},
		{"maxSwap", with(t, c+"linuxParameters", map[string]any{"maxSwap": 1}), at + "linuxParameters.maxSwap", "Fargate compatible task definitions do not support maxSwap"},
		{"sharedMemorySize", with(t, c+"linuxParameters", map[string]any{"sharedMemorySize": 1}), at + "linuxParameters.sharedMemorySize", "Fargate compatible task definitions do not support sharedMemorySize"},
		{"capability", with(t, c+"linuxParameters", map[string]any{"capabilities": map[string]any{"add": []any{"SYS_ADMIN"}}}), at + "linuxParameters.capabilities.add[0]", `Fargate compatible task definitions support adding the capability SYS_PTRACE only, not "SYS_ADMIN"`},
		{"security options", with(t, c+"dockerSecurityOptions", []any{"x"}), at + "dockerSecurityOptions", "Fargate compatible task definitions do not support dockerSecurityOptions"},
		{"privileged", with(t, c+"privileged", true), at + "privileged", "Fargate compatible task definitions do not support privileged"},
		{"docker volume", with(t, "volumes", []any{map[string]any{"name": "v", "dockerVolumeConfiguration": map[string]any{}}}), "volumes[0].dockerVolumeConfiguration", "Fargate compatible task definitions do not support dockerVolumeConfiguration"},
		{"host path", with(t, "volumes", []any{map[string]any{"name": "v", "host": map[string]any{"sourcePath": "/etc"}}}), "volumes[0].host.sourcePath", "Fargate compatible task definitions do not support sourcePath"},
		{"accelerators", with(t, "inferenceAccelerators", []any{map[string]any{"deviceName": "a", "deviceType": "b"}}), "inferenceAccelerators", "Unsupported field 'inferenceAccelerators'"},
		{"DNS", with(t, c+"dnsServers", []any{"1.1.1.1"}), at + "dnsServers", "DNS servers are not supported on container when networkMode=awsvpc"},
		{"host port", with(t, c+"portMappings", []any{map[string]any{"containerPort": 80, "hostPort": 8080}}), at + "portMappings[0].hostPort", "When networkMode=awsvpc, the host ports and container ports in port mappings must match."},
		{"log driver", with(t, c+"logConfiguration", map[string]any{"logDriver": "syslog"}), at + "logConfiguration.logDriver", "syslog is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]"},
		{"firelens", with(t, c+"logConfiguration", map[string]any{"logDriver": "awsfirelens"}), at + "logConfiguration.logDriver", "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be specified"},
		{"container memory", with(t, c+"memory", 1024), at + "memory", "The 'memory' setting for container 'web' is greater than for the task."},
		{"container cpu", with(t, c+"cpu", 512), at + "cpu", "The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value"},
		{"depends on essential", with(t, "containerDefinitions", two, "containerDefinitions.1.dependsOn", []any{map[string]any{"containerName": "a", "condition": "SUCCESS"}}), "containerDefinitions[1].dependsOn[0].condition", "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container"},
		{"depends on health", with(t, "containerDefinitions", two, "containerDefinitions.1.dependsOn", []any{map[string]any{"containerName": "a", "condition": "HEALTHY"}}), "containerDefinitions[1].dependsOn[0].condition", "A dependency container with HEALTHY condition must have health check configured"},
		{"depends on itself", with(t, c+"dependsOn", []any{map[string]any{"containerName": "web", "condition": "START"}}), "containerDefinitions[0].dependsOn", "There is a cycle in the container dependencies."},
		{"firelens without type", with(t, c+"firelensConfiguration", map[string]any{"options": map[string]any{}}), at + "firelensConfiguration.type", "must be one of fluentd, fluentbit"},
		{"registry without credentials", with(t, c+"repositoryCredentials", map[string]any{}), at + "repositoryCredentials.credentialsParameter", "should not be null or empty."},
		{"S3 Files without file system", with(t, "volumes", []any{map[string]any{"name": "v", "s3filesVolumeConfiguration": map[string]any{}}}), "volumes[0].s3filesVolumeConfiguration.fileSystemArn", "should not be null or empty."},
		{"FSx without authorization", with(t, "volumes", []any{map[string]any{"name": "v", "fsxWindowsFileServerVolumeConfiguration": map[string]any{"fileSystemId": "fs-1", "rootDirectory": "/"}}}), "volumes[0].fsxWindowsFileServerVolumeConfiguration.authorizationConfig", "should not be null or empty."},
		{"proxy of another kind", with(t, "proxyConfiguration", map[string]any{"type": "ENVOY", "containerName": "web"}), "proxyConfiguration.type", `must be one of APPMESH, not "ENVOY"`},
		{"tag with a strange key", with(t, "tags", []any{map[string]any{"key": "a<b", "value": "v"}}), "tags[0].key", "a tag has letters, numbers, spaces and _ . : / = + - @ only"},
		{"tag with a strange value", with(t, "tags", []any{map[string]any{"key": "a", "value": "v\n"}}), "tags[0].value", "a tag has letters, numbers, spaces and _ . : / = + - @ only"},
		{"ulimit", with(t, c+"ulimits", []any{map[string]any{"name": "nofile", "softLimit": 2, "hardLimit": 1}}), at + "ulimits[0].softLimit", "Soft limit exceeds hard limit for ulimit nofile"},
		{"negative ulimit", with(t, c+"ulimits", []any{map[string]any{"name": "nofile", "softLimit": -5, "hardLimit": 1}}), at + "ulimits[0].softLimit", "must be 0 or more, or -1 for unlimited, not -5"},
		{"negative hard ulimit", with(t, c+"ulimits", []any{map[string]any{"name": "core", "softLimit": -1, "hardLimit": -2}}), at + "ulimits[0].hardLimit", "must be 0 or more, or -1 for unlimited, not -2"},
		{"unlimited above a limit", with(t, c+"ulimits", []any{map[string]any{"name": "core", "softLimit": -1, "hardLimit": 0}}), at + "ulimits[0].softLimit", "Soft limit exceeds hard limit for ulimit core"},
		{"the host's kernel", with(t, c+"systemControls", []any{map[string]any{"namespace": "kernel.core_pattern", "value": "|/x"}}), at + "systemControls[0].namespace", "must be one of kernel.msgmax, kernel.msgmnb, kernel.msgmni, kernel.sem, kernel.shmall, kernel.shmmax, kernel.shmmni, kernel.shm_rmid_forced, or begin with fs.mqueue. or net., not \"kernel.core_pattern\""},
		{"a step upwards", with(t, c+"systemControls", []any{map[string]any{"namespace": "net/../vm/panic_on_oom", "value": "1"}}), at + "systemControls[0].namespace", "must be one of kernel.msgmax, kernel.msgmnb, kernel.msgmni, kernel.sem, kernel.shmall, kernel.shmmax, kernel.shmmni, kernel.shm_rmid_forced, or begin with fs.mqueue. or net., not \"net/../vm/panic_on_oom\""},
		{"two lines", with(t, c+"systemControls", []any{map[string]any{"namespace": "net.core.somaxconn", "value": "1\n2"}}), at + "systemControls[0].value", "must be one line and not empty"},
		{"the host's network", with(t, c+"systemControls", []any{map[string]any{"namespace": "net.ipv4.tcp_mem", "value": "1 2 3"}}), at + "systemControls[0].namespace", "net.ipv4.tcp_mem can only be set for the host as a whole: a container does not have it for itself"},
		{"with slashes", with(t, c+"systemControls", []any{map[string]any{"namespace": "net/core/bpf_jit_enable", "value": "1"}}), at + "systemControls[0].namespace", "net/core/bpf_jit_enable can only be set for the host as a whole: a container does not have it for itself"},
		{"only shown", with(t, c+"systemControls", []any{map[string]any{"namespace": "net.core.rmem_max", "value": "1"}}), at + "systemControls[0].namespace", "net.core.rmem_max can only be set for the host as a whole: a container does not have it for itself"},
		{"the host's neighbours", with(t, c+"systemControls", []any{map[string]any{"namespace": "net.ipv4.neigh.default.gc_thresh3", "value": "1"}}), at + "systemControls[0].namespace", "net.ipv4.neigh.default.gc_thresh3 can only be set for the host as a whole: a container does not have it for itself"},
		{"small disk", with(t, "ephemeralStorage", map[string]any{"sizeInGiB": 20}), "ephemeralStorage.sizeInGiB", "EphemeralStorage size should be at least 21"},
		{"large disk", with(t, "ephemeralStorage", map[string]any{"sizeInGiB": 201}), "ephemeralStorage.sizeInGiB", "EphemeralStorage size should be at most 200"},
		{"no name", with(t, c+"name", ""), at + "name", "Container.name should not be null or empty."},
		{"no image", with(t, c+"image", nil), at + "image", "Container.image should not be null or empty."},
		{"small Windows", with(t, "runtimePlatform", map[string]any{"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}), "memory", "No Fargate configuration exists for given values: 256 CPU, 512 memory. See the Amazon ECS documentation for the valid values."},
		{"EFS", with(t, "volumes", []any{map[string]any{"name": "v", "efsVolumeConfiguration": map[string]any{"fileSystemId": "fs-1", "authorizationConfig": map[string]any{"iam": "ENABLED"}}}}), "volumes[0].efsVolumeConfiguration.transitEncryption", "EFS IAM authorization requires TransitEncryption to be enabled"},
		{"unmounted", with(t, "volumes", []any{map[string]any{"name": "v", "configuredAtLaunch": true}}), "volumes[0].name", "Volumes [v] are not referenced by any of the containers"},
		{"no containers", with(t, "containerDefinitions", []any{}), "containerDefinitions", "Container list cannot be empty."},
		{"nothing essential", with(t, c+"essential", false), "containerDefinitions", "A task definition must have at least one essential container."},
		{"EC2 only", with(t, "requiresCompatibilities", []any{"EC2"}), "requiresCompatibilities", "must include FARGATE: Berth runs tasks as Fargate does"},
		{"unknown field", with(t, c+"portMapings", []any{}), at + "portMapings", "unknown field; did you mean portMappings?"},
		{"wrong type", with(t, "cpu", 256), "cpu", "must be a string, not a number"},
		{"answer's field", with(t, "taskDefinitionArn", "x"), "taskDefinitionArn", "is set by the server when the definition is registered; take it out"},
		{"stop timeout", with(t, c+"stopTimeout", 121), at + "stopTimeout", "must be from 2 to 120 seconds on Fargate, not 121"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseDefinition(tt.def)
			if fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != tt.field || fault.Message(err) != tt.text {
				t.Errorf("got  %s: %s\nwant %s: %s", fault.FieldOf(err), fault.Message(err), tt.field, tt.text)
			}
		})
	}
}

// Ensure a user by number is one that there can be.
func TestUsers(t *testing.T) {
	for user, ok := range map[string]bool{
		"": true, "app": true, "0": true, "1000:1000": true, "app:0": true, "4294967294": true, "0:4294967294": true, "user-1": true, "007": true, "-x": true,
		"-1": false, "0:-1": false, "4294967295": false, "app:4294967295": false, "4294967296": false, "18446744073709551616": false,
		"+1": false, "a\nb": false, "a\x00": false, "a\u0085": false,
	} {
		_, err := ParseDefinition(with(t, "containerDefinitions.0.user", user))
		if ok != (err == nil) || !ok && fault.FieldOf(err) != "containerDefinitions[0].user" {
			t.Errorf("%q: %v", user, err)
		}
	}
	_, err := ParseDefinition(with(t, "containerDefinitions.0.user", "app:4294967295"))
	if want := "4294967295 is no ID of a user or a group: they are from 0 to 4294967294"; fault.Message(err) != want {
		t.Errorf("%v; want %s", err, want)
	}
}

// Ensure no name and no role has a line break in it, or another control character.
func TestControlCharacters(t *testing.T) {
	c, at := "containerDefinitions.0.", "containerDefinitions[0]."
	for _, bad := range []string{"A\nB", "A\r", "\tA", "A\x00", "A\x1b[2J", "A\x7f", "A\u0085"} {
		env := []any{map[string]any{"name": bad, "value": "x"}}
		secrets := []any{map[string]any{"name": bad, "valueFrom": "a"}}
		for field, def := range map[string][]byte{
			at + "secrets[0].name":     with(t, "executionRoleArn", role, c+"secrets", secrets),
			at + "environment[0].name": with(t, c+"environment", env),
			"taskRoleArn":              with(t, "taskRoleArn", bad),
			"executionRoleArn":         with(t, "executionRoleArn", bad),
		} {
			_, err := ParseDefinition(def)
			if fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != field || !strings.Contains(fault.Message(err), "control characters") {
				t.Errorf("%q: %v; want %s", bad, err, field)
			}
		}
		for field, o := range map[string]Overrides{
			"overrides.taskRoleArn":                               {TaskRoleARN: bad},
			"overrides.executionRoleArn":                          {ExecutionRoleARN: bad},
			"overrides.containerOverrides[0].environment[0].name": {Containers: []ContainerOverride{{Name: "web", Environment: []KeyValuePair{{Name: bad}}}}},
		} {
			if err := (Run{Definition: "app", Overrides: o}).Validate(); fault.FieldOf(err) != field {
				t.Errorf("%q: %v; want %s", bad, err, field)
			}
		}
	}
	if _, err := ParseDefinition(with(t, c+"environment", []any{map[string]any{"name": "A", "value": "two\nlines"}})); err != nil {
		t.Errorf("a value of two lines: %v", err)
	}
}

// Ensure values that can mean nothing are refused when a definition is registered, at their
// fields, and those beside them are taken.
func TestConstraints(t *testing.T) {
	c, at := "containerDefinitions.0.", "containerDefinitions[0]."
	port := func(p any, protocol ...string) map[string]any {
		m := map[string]any{"containerPort": p}
		if _, ok := p.(string); ok {
			m = map[string]any{"containerPortRange": p}
		}
		if len(protocol) > 0 {
			m["protocol"] = protocol[0]
		}
		return m
	}
	two := func(a, b []any) []byte {
		return with(t, "containerDefinitions", []any{map[string]any{"name": "a", "image": "i", "portMappings": a}, map[string]any{"name": "b", "image": "i", "portMappings": b}})
	}
	efs := func(pairs ...any) []byte {
		v := map[string]any{"fileSystemId": "fs-12345678"}
		for i := 0; i < len(pairs); i += 2 {
			v[pairs[i].(string)] = pairs[i+1]
		}
		return with(t, "volumes", []any{map[string]any{"name": "v", "efsVolumeConfiguration": v}})
	}
	policy := func(pairs ...any) []byte {
		p := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			p[pairs[i].(string)] = pairs[i+1]
		}
		return with(t, c+"restartPolicy", p)
	}
	health := func(command ...any) []byte { return with(t, c+"healthCheck", map[string]any{"command": command}) }
	const v, check = "volumes[0].efsVolumeConfiguration.", "healthCheck.command"
	for _, tt := range []struct {
		name  string
		def   []byte
		field string // empty: taken
		text  string // part of it
	}{
		{"EFS", efs("rootDirectory", "/a/b", "transitEncryption", "DISABLED", "transitEncryptionPort", 65535), "", ""},
		{"EFS, encrypted", efs("transitEncryption", "ENABLED", "transitEncryptionPort", 0, "authorizationConfig", map[string]any{"iam": "ENABLED", "accessPointId": "fsap-1"}, "rootDirectory", "/"), "", ""},
		{"long ID", efs("fileSystemId", "fs-"+strings.Repeat("0123456789abcdef", 2)), "", ""},
		{"encryption", efs("transitEncryption", "enabled"), v + "transitEncryption", "must be one of ENABLED, DISABLED"},
		{"encryption's port", efs("transitEncryptionPort", 65536), v + "transitEncryptionPort", "from 0 to 65535, not 65536"},
		{"negative port", efs("transitEncryptionPort", -1), v + "transitEncryptionPort", "from 0 to 65535, not -1"},
		{"no ID", efs("fileSystemId", ""), v + "fileSystemId", "should not be null or empty."},
		{"odd ID", efs("fileSystemId", "12345678"), v + "fileSystemId", "as in fs-12345678"},
		{"ID with a step upwards", efs("fileSystemId", "fs-12345678/../x"), v + "fileSystemId", "as in fs-12345678"},
		{"ARN for an ID", efs("fileSystemId", "arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-12345678"), v + "fileSystemId", "as in fs-12345678"},
		{"relative root", efs("rootDirectory", "a"), v + "rootDirectory", "absolute"},
		{"long root", efs("rootDirectory", "/"+strings.Repeat("a", 4096)), v + "rootDirectory", "4096"},
		{"IAM", efs("authorizationConfig", map[string]any{"iam": "yes"}), v + "authorizationConfig.iam", "must be one of ENABLED, DISABLED"},
		{"root of an access point", efs("rootDirectory", "/a", "authorizationConfig", map[string]any{"accessPointId": "fsap-1"}), v + "rootDirectory", "access point"},

		{"policy", policy("enabled", false, "ignoredExitCodes", []any{0, 255}), "", ""},
		{"policy without a word", policy(), at + "restartPolicy.enabled", "should not be null."},
		{"policy that is not said to be on", policy("restartAttemptPeriod", 60), at + "restartPolicy.enabled", "should not be null."},
		{"exit code 256", policy("enabled", true, "ignoredExitCodes", []any{1, 256}), at + "restartPolicy.ignoredExitCodes[1]", "from 0 to 255, not 256"},
		{"negative exit code", policy("enabled", true, "ignoredExitCodes", []any{-1}), at + "restartPolicy.ignoredExitCodes[0]", "from 0 to 255, not -1"},

		{"ports", two([]any{port(80), port(80, "udp"), port("8000-8010")}, []any{port(81), port("8011-8020"), port("8000-8010", "udp")}), "", ""},
		{"port and ports", with(t, c+"portMappings", []any{map[string]any{"containerPort": 80, "containerPortRange": "80-81"}}), at + "portMappings[0].containerPortRange", "beside containerPort"},
		{"shared port", two([]any{port(80)}, []any{port(81), port(80, "tcp")}), "containerDefinitions[1].portMappings[1].containerPort", "TCP host port '80' is mapped multiple times in task."},
		{"port twice", two([]any{port(53, "udp"), port(53, "udp")}, nil), "containerDefinitions[0].portMappings[1].containerPort", "UDP host port '53' is mapped multiple times in task."},
		{"port in a range", two([]any{port("8000-8010")}, []any{port(8005)}), "containerDefinitions[1].portMappings[0].containerPort", "TCP host port '8005' is mapped multiple times in task."},
		{"ranges", two([]any{port("8000-8010")}, []any{port("8010-8020")}), "containerDefinitions[1].portMappings[0].containerPortRange", "TCP host port '8010' is mapped multiple times in task."},

		{"check", health("CMD", "true"), "", ""},
		{"check by a shell", health("CMD-SHELL", "exit", "0"), "", ""},
		{"no check", health("NONE"), "", ""},
		{"check without a form", health("/check"), "", ""},
		{"check of nothing", health(), at + check, "should not be null or empty."},
		{"CMD alone", health("CMD"), at + check, "needs a program"},
		{"CMD and nothing", health("CMD", ""), at + check, "needs a program"},
		{"CMD-SHELL alone", health("CMD-SHELL"), at + check, "needs a command"},
		{"CMD-SHELL and nothing", health("CMD-SHELL", " "), at + check, "needs a command"},
		{"an empty word", health(""), at + check + "[0]", "must be CMD"},
	} {
		_, err := ParseDefinition(tt.def)
		switch {
		case tt.field == "" && err == nil:
		case tt.field == "" || fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != tt.field || !strings.Contains(fault.Message(err), tt.text):
			t.Errorf("%s: got %q at %q, want %q at %q", tt.name, fault.Message(err), fault.FieldOf(err), tt.text, tt.field)
		}
	}
}

// Ensure text that is no JSON object is refused with its place.
func TestMalformed(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "not JSON at line 1, column 1",
		"{\n  \"family\": x}":             "line 2",
		`{"family":"a"} {}`:               "more after the end",
		`{"family":"a","family":"b"}`:     "twice",
		`[]`:                              "must be an object, not an array",
		`{"containerDefinitions":[null]}`: "must not be null",
	} {
		_, err := ParseDefinition([]byte(text))
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseDefinition(with(t, "containerDefinitions.0.command", []any{strings.Repeat("x", 65<<10)})); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("65 KiB: %v", err)
	}
}

// Ensure Fargate has 77 sizes and takes no other.
func TestSizes(t *testing.T) {
	all := Sizes()
	if len(all) != 77 {
		t.Fatalf("%d sizes, want 77", len(all))
	}
	for _, s := range all {
		got, err := ParseSize(itoa(s.CPU), itoa(s.Memory))
		if err != nil || got != s {
			t.Errorf("%v: %v, %v", s, got, err)
		}
		for _, off := range []Size{{s.CPU, s.Memory + 1}, {s.CPU, s.Memory - 1}, {s.CPU + 1, s.Memory}, {s.CPU, s.Memory + 512}, {s.CPU * 2, s.Memory}} {
			if _, err := ParseSize(itoa(off.CPU), itoa(off.Memory)); (err == nil) != slices.Contains(all, off) {
				t.Errorf("%v: %v", off, err)
			}
		}
	}
}

// Ensure every spelling of a size is understood, and nothing else.
func TestSpellings(t *testing.T) {
	for _, cpu := range []string{"256", ".25 vCPU", "0.25 vcpu", ".25vCPU", "0.250 VCPU", " 256 "} {
		for _, memory := range []string{"512", ".5 GB", "0.5GB", "0.5 gb", ".50 Gb"} {
			if s, err := ParseSize(cpu, memory); err != nil || s != (Size{256, 512}) {
				t.Errorf("%q, %q: %v, %v", cpu, memory, s, err)
			}
		}
	}
	if s, err := ParseSize("1 vCPU", "2 GB"); err != nil || s != (Size{1024, 2048}) {
		t.Errorf("1 vCPU, 2 GB: %v, %v", s, err)
	}
	for _, bad := range []string{"", "vCPU", "-256", "256.5", "1e3", "0x100", ".3333 vCPU", "1 GB", "1 vCPUs", "99999999999999999999", "１"} {
		if _, err := ParseSize(bad, "512"); err == nil {
			t.Errorf("cpu %q was understood", bad)
		}
	}
}

// Ensure the definitions in AWS's documentation pass as they are written there.
func TestDocumented(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d definitions, %v", len(files), err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseDefinition(raw); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// Ensure a definition is returned as the ECS API returns it.
func TestNormalised(t *testing.T) {
	d, err := ParseDefinition(with(t, "cpu", ".25 vCPU", "memory", "0.5 GB", "containerDefinitions.0.portMappings", []any{map[string]any{"containerPort": 80}}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"family":"app","networkMode":"awsvpc","containerDefinitions":[{"name":"web","image":"nginx","cpu":0,` +
		`"portMappings":[{"containerPort":80,"hostPort":80,"protocol":"tcp"}],"essential":true,"environment":[],"mountPoints":[],` +
		`"volumesFrom":[],"systemControls":[]}],"volumes":[],"placementConstraints":[],"requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Ensure a run's overrides reach the plan, and only fitting ones do.
func TestPlan(t *testing.T) {
	d, err := ParseDefinition(with(t, "cpu", "512", "memory", "1024",
		"containerDefinitions", []any{
			map[string]any{"name": "app", "image": "i", "command": []any{"a"}, "environment": []any{
				map[string]any{"name": "X", "value": "1"}, map[string]any{"name": "Y", "value": "2"}},
				"dependsOn": []any{map[string]any{"containerName": "side", "condition": "START"}}},
			map[string]any{"name": "side", "image": "i", "essential": false},
		}))
	if err != nil {
		t.Fatal(err)
	}
	cpu := 256
	r := Run{Definition: "app", Overrides: Overrides{CPU: "1 vCPU", Memory: "2 GB", Containers: []ContainerOverride{
		{Name: "app", Command: []string{"b"}, CPU: &cpu, Environment: []KeyValuePair{{"Y", "3"}, {"Z", "4"}}}}}}
	tk, err := New(d, r, NewID(), Instant{})
	if err != nil {
		t.Fatal(err)
	}
	if tk.Size() != (Size{1024, 2048}) || tk.Containers[0].CPU != "256" || tk.Group != "family:app" {
		t.Errorf("size %v, container cpu %s, group %s", tk.Size(), tk.Containers[0].CPU, tk.Group)
	}
	p := Plan(d, tk)
	if len(p) != 2 || p[0].Name != "side" || p[1].Name != "app" {
		t.Fatalf("order %v", p)
	}
	if got := p[1]; !slices.Equal(got.Env, []string{"X=1", "Y=3", "Z=4"}) || !slices.Equal(got.Command, []string{"b"}) || got.StopTimeout != DefaultStopTimeout {
		t.Errorf("plan %+v", got)
	}
	r.Overrides.Containers[0].Name = "other"
	if _, err := New(d, r, NewID(), Instant{}); fault.FieldOf(err) != "overrides.containerOverrides[0].name" {
		t.Errorf("override of no container: %v", err)
	}
}

// FuzzParseDefinition feeds the decoder and the validator anything. What is
// refused is the user's fault; what is taken survives being written and read
// again, and can be run or is refused for a reason.
func FuzzParseDefinition(f *testing.F) {
	f.Add(with(f))
	f.Add([]byte(`{"containerDefinitions":[{"dependsOn":[{"containerName":"a"}]}]}`))
	f.Add([]byte("\x00{\"\\ud800\":1e999}"))
	files, _ := filepath.Glob("testdata/*.json")
	for _, name := range files {
		if raw, err := os.ReadFile(name); err == nil {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := ParseDefinition(raw)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
				t.Fatalf("kind %v: %v", k, err)
			}
			return
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseDefinition(b)
		if err != nil && fault.KindOf(err) != fault.TooLarge {
			t.Fatalf("not taken again: %v\n%s", err, b)
		}
		if err == nil && !reflect.DeepEqual(d, again) {
			t.Fatalf("changed:\n%+v\n%+v", d, again)
		}
		r := Run{Definition: d.Family}
		if err := Unsupported(d, r, "X86_64"); err != nil {
			return
		}
		tk, err := New(d, r, NewID(), Instant{})
		if err != nil {
			t.Fatalf("valid and cannot run: %v", err)
		}
		if len(Plan(d, tk)) != len(d.ContainerDefinitions) {
			t.Fatal("containers missing from the plan")
		}
	})
}

// Ensure no task can ask for what its CPU limit would not hold.
func TestRealTime(t *testing.T) {
	for hard, want := range map[int]string{0: "", 1: "taskDefinition.containerDefinitions[0].ulimits[0]", -1: "taskDefinition.containerDefinitions[0].ulimits[0]"} {
		d, err := ParseDefinition(with(t, "containerDefinitions.0.ulimits", []any{map[string]any{"name": "rtprio", "softLimit": 0, "hardLimit": hard}}))
		if err != nil {
			t.Fatal(err)
		}
		if err := Unsupported(d, Run{}, "X86_64"); fault.FieldOf(err) != want || (err != nil) != (want != "") {
			t.Errorf("rtprio up to %d: %v", hard, err)
		}
	}
}
