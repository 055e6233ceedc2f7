package ecs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/access"
	"berth/task"
)

// Ensure tags are set, listed and taken away on everything that has them.
func TestTags(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		h.do("CreateCluster", `{"clusterName":"web"}`)
		definition := h.register("job", "sleep 1h")
		run := h.run(`"taskDefinition":"job","cluster":"web","enableECSManagedTags":true`)[0]
		const cluster = "arn:aws:ecs:eu-central-1:111122223333:cluster/web"
		for _, arn := range []string{cluster, definition, run} {
			managed := ""
			if arn == run {
				managed = `{"key":"aws:ecs:clusterName","value":"web"},`
			}
			for range 2 { // Repeating it changes nothing.
				same(t, h.do("TagResource", `{"resourceArn":"`+arn+`","tags":[{"key":"a","value":"1"},{"key":"b","value":"2"}]}`), `{}`)
			}
			h.do("TagResource", `{"resourceArn":"`+arn+`","tags":[{"key":"a","value":"3"}]}`)
			same(t, h.do("ListTagsForResource", `{"resourceArn":"`+arn+`"}`), `{"tags":[`+managed+`{"key":"a","value":"3"},{"key":"b","value":"2"}]}`)
			same(t, h.do("UntagResource", `{"resourceArn":"`+arn+`","tagKeys":["a","none"]}`), `{}`)
			same(t, h.do("ListTagsForResource", `{"resourceArn":"`+arn+`"}`), `{"tags":[`+managed+`{"key":"b","value":"2"}]}`)

			var many []string
			for i := range 50 {
				many = append(many, fmt.Sprintf(`{"key":"k%d","value":""}`, i))
			}
			h.refuse("TagResource", `{"resourceArn":"`+arn+`","tags":[`+strings.Join(many, ",")+`]}`, "LimitExceededException", "at most 50")
			h.do("TagResource", `{"resourceArn":"`+arn+`","tags":[`+strings.Join(many[1:], ",")+`]}`)
			h.refuse("TagResource", `{"resourceArn":"`+arn+`","tags":[{"key":"aws:x","value":""}]}`, "InvalidParameterException", "reserved")
			h.refuse("TagResource", `{"resourceArn":"`+arn+`"}`, "InvalidParameterException", "Member must not be null")
			h.refuse("UntagResource", `{"resourceArn":"`+arn+`","tagKeys":["aws:ecs:clusterName"]}`, "InvalidParameterException", "aws:")
		}
		const at = "arn:aws:ecs:eu-central-1:111122223333:"
		for _, c := range []struct{ arn, code string }{
			{at + "cluster/none", "ClusterNotFoundException"},
			{at + "task/web/" + strings.Repeat("0", 32), "ResourceNotFoundException"},
			{at + "task/none/" + strings.Repeat("0", 32), "ClusterNotFoundException"},
			{at + "task-definition/none:1", "ResourceNotFoundException"},
			{at + "task-definition/job", "InvalidParameterException"},
			{at + "container-instance/web/" + strings.Repeat("0", 32), "ResourceNotFoundException"},
			{at + "capacity-provider/FARGATE", "InvalidParameterException"},
			{at + "capacity-provider/mine", "ResourceNotFoundException"},
			{at + "daemon/x", "InvalidParameterException"},
			{strings.Replace(cluster, "eu-central-1", "us-east-1", 1), "ResourceNotFoundException"},
			{strings.Replace(cluster, "111122223333", "444455556666", 1), "ResourceNotFoundException"},
			{"web", "InvalidParameterException"},
		} {
			h.refuse("TagResource", `{"resourceArn":"`+c.arn+`","tags":[{"key":"a","value":"1"}]}`, c.code, "")
			h.refuse("UntagResource", `{"resourceArn":"`+c.arn+`","tagKeys":["a"]}`, c.code, "")
			if strings.HasSuffix(c.arn, "/FARGATE") {
				same(t, h.do("ListTagsForResource", `{"resourceArn":"`+c.arn+`"}`), `{"tags":[]}`)
			} else if c.code == "ResourceNotFoundException" { // which ListTagsForResource does not have
				h.refuse("ListTagsForResource", `{"resourceArn":"`+c.arn+`"}`, "InvalidParameterException", "")
			} else {
				h.refuse("ListTagsForResource", `{"resourceArn":"`+c.arn+`"}`, c.code, "")
			}
		}
		h.do("StopTask", `{"cluster":"web","task":"`+run+`"}`)
		settle(time.Minute)
		h.refuse("TagResource", `{"resourceArn":"`+run+`","tags":[{"key":"b","value":"1"}]}`, "InvalidParameterException", "The specified task is stopped. Specify a running task and try again.")
	})
}

// Ensure account settings are those of the model, that what is set for one counts more than
// what is set for all, and that nothing here is promised that is not kept.
func TestAccountSettings(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		const root, ann = "arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/ann"
		value := func(name, principal, effective string) any {
			t.Helper()
			all := list(h.do("ListAccountSettings", `{"name":"`+name+`","principalArn":"`+principal+`","effectiveSettings":`+effective+`}`), "settings")
			if len(all) == 0 {
				return nil
			}
			return all[0].(object)["value"]
		}
		check := func(name, principal, effective string, want any) {
			t.Helper()
			if got := value(name, principal, effective); got != want {
				t.Errorf("%s of %s, effective %s: %v, want %v", name, principal, effective, got, want)
			}
		}
		same(t, h.do("ListAccountSettings", `{}`), `{"settings":[]}`)
		first := h.do("ListAccountSettings", `{"effectiveSettings":true}`)
		rest := h.do("ListAccountSettings", `{"effectiveSettings":true,"nextToken":"`+fmt.Sprint(first["nextToken"])+`"}`)
		if n, m := len(list(first, "settings")), len(list(rest, "settings")); n != 10 || m != 1 || rest["nextToken"] != nil {
			t.Errorf("%d and %d settings", n, m)
		}
		same(t, list(first, "settings")[1], `{"name":"taskLongArnFormat","value":"enabled","principalArn":"`+root+`","type":"user"}`)
		same(t, list(first, "settings")[8], `{"name":"guardDutyActivate","value":"off","principalArn":"`+root+`","type":"aws_managed"}`)

		check("containerInsights", ann, "true", "disabled")
		same(t, h.do("PutAccountSettingDefault", `{"name":"containerInsights","value":"enhanced"}`),
			`{"setting":{"name":"containerInsights","value":"enhanced","principalArn":"`+root+`","type":"user"}}`)
		check("containerInsights", ann, "true", "enhanced")
		check("containerInsights", ann, "false", nil)
		check("containerInsights", root, "false", "enhanced")
		h.do("PutAccountSetting", `{"name":"containerInsights","value":"enabled","principalArn":"`+ann+`"}`)
		check("containerInsights", ann, "true", "enabled")
		check("containerInsights", root, "true", "enhanced")
		made := h.do("CreateCluster", `{"clusterName":"insight"}`)["cluster"].(object)
		same(t, made["settings"], `[{"name":"containerInsights","value":"enhanced"}]`)
		same(t, h.do("DeleteAccountSetting", `{"name":"containerInsights","principalArn":"`+ann+`"}`),
			`{"setting":{"name":"containerInsights","value":"enhanced","principalArn":"`+ann+`","type":"user"}}`)
		h.do("DeleteAccountSetting", `{"name":"containerInsights"}`)
		check("containerInsights", ann, "true", "disabled")

		for name, values := range map[string]string{
			"awsvpcTrunking": "enabled disabled", "fargateTaskRetirementWaitPeriod": "0 7 14", "tagResourceAuthorization": "on off",
			"defaultLogDriverMode": "blocking non-blocking", "fargateEventWindows": "enabled disabled", "fargateFIPSMode": "disabled",
			"serviceLongArnFormat": "enabled", "taskLongArnFormat": "enabled", "containerInstanceLongArnFormat": "enabled",
		} {
			for v := range strings.FieldsSeq(values) {
				h.do("PutAccountSetting", `{"name":"`+name+`","value":"`+v+`"}`)
			}
			h.refuse("PutAccountSetting", `{"name":"`+name+`","value":"maybe"}`, "InvalidParameterException", "Invalid value")
		}
		for _, name := range []string{"taskLongArnFormat", "serviceLongArnFormat", "containerInstanceLongArnFormat"} {
			h.refuse("PutAccountSettingDefault", `{"name":"`+name+`","value":"disabled"}`, "InvalidParameterException", "ARNs of the long format only")
		}
		h.refuse("PutAccountSetting", `{"name":"fargateFIPSMode","value":"enabled"}`, "InvalidParameterException", "FIPS")
		h.refuse("PutAccountSetting", `{"name":"guardDutyActivate","value":"on"}`, "InvalidParameterException", "managed by AWS")
		h.refuse("PutAccountSetting", `{"name":"other","value":"on"}`, "InvalidParameterException", "Invalid account setting name")
		h.refuse("PutAccountSetting", `{"name":"awsvpcTrunking"}`, "InvalidParameterException", "Member must not be null")
		h.refuse("PutAccountSetting", `{"name":"awsvpcTrunking","value":"enabled","principalArn":"arn:aws:iam::444455556666:user/x"}`, "InvalidParameterException", "not of this account")
		h.refuse("ListAccountSettings", `{"value":"on"}`, "InvalidParameterException", "only be given together with the name")
		h.refuse("ListAccountSettings", `{"maxResults":11}`, "InvalidParameterException", "between 1 and 10")
		h.refuse("ListAccountSettings", `{"effectiveSettings":true,"nextToken":"x"}`, "InvalidParameterException", "Invalid token.")
		h.region = "us-east-1"
		check("defaultLogDriverMode", root, "false", nil)
	})
}

func TestCapacityProviders(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		const at = "arn:aws:ecs:eu-central-1:111122223333:capacity-provider/"
		provider := func(name string) string {
			return `{"capacityProviderArn":"` + at + name + `","name":"` + name + `","status":"ACTIVE","tags":[],"type":"` + name + `"}`
		}
		same(t, h.do("DescribeCapacityProviders", `{}`), `{"capacityProviders":[`+provider("FARGATE")+`,`+provider("FARGATE_SPOT")+`],"failures":[]}`)
		same(t, h.do("DescribeCapacityProviders", `{"capacityProviders":["`+at+`FARGATE_SPOT","mine"],"include":["TAGS"]}`),
			`{"capacityProviders":[`+provider("FARGATE_SPOT")+`],"failures":[{"arn":"`+at+`mine","reason":"MISSING"}]}`)
		page := h.do("DescribeCapacityProviders", `{"maxResults":1}`)
		same(t, h.do("DescribeCapacityProviders", `{"maxResults":1,"nextToken":"`+fmt.Sprint(page["nextToken"])+`"}`), `{"capacityProviders":[`+provider("FARGATE_SPOT")+`],"failures":[]}`)
		h.do("CreateCluster", `{"clusterName":"bare"}`)
		same(t, h.do("DescribeCapacityProviders", `{"cluster":"bare"}`), `{"capacityProviders":[],"failures":[]}`)
		h.refuse("DescribeCapacityProviders", `{"cluster":"none"}`, "ClusterNotFoundException", "Cluster not found.")
	})
}

// Ensure a task of a service is protected for as long as was asked for, and another is not
// at all.
func TestTaskProtection(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		h.register("job", "sleep 9h")
		alone := h.run(`"taskDefinition":"job"`)[0]
		d, err := h.store.Definition(t.Context(), task.Realm{Account: h.account, Region: h.region}, "job")
		if err != nil {
			t.Fatal(err)
		}
		// A task of a service, as services make them.
		r := task.Run{Realm: task.Realm{Account: h.account, Region: h.region, Cluster: "default"}, Definition: "job", Group: "service:web"}
		made, err := task.Tasks(d, r, task.NewID, task.Instant{Wall: time.Now(), BootID: "boot"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.Create(t.Context(), made, nil, "", ""); err != nil {
			t.Fatal(err)
		}
		served := made[0].ARN
		settle(10 * time.Second)
		none := "arn:aws:ecs:eu-central-1:111122223333:task/default/" + strings.Repeat("0", 32)
		failures := `[{"arn":"` + none + `","reason":"MISSING"},{"arn":"` + alone + `","reason":"TASK_NOT_VALID","detail":"The task is not part of a service."}]`
		all := `"cluster":"default","tasks":["` + served + `","` + alone + `","` + none + `"]`

		free := `{"taskArn":"` + served + `","protectionEnabled":false}`
		same(t, h.do("GetTaskProtection", `{`+all+`}`), `{"protectedTasks":[`+free+`],"failures":`+failures+`}`)
		until := float64(time.Now().Add(time.Hour).UnixMilli()) / 1000
		held := fmt.Sprintf(`{"taskArn":%q,"protectionEnabled":true,"expirationDate":%v}`, served, until)
		same(t, h.do("UpdateTaskProtection", `{`+all+`,"protectionEnabled":true,"expiresInMinutes":60}`), `{"protectedTasks":[`+held+`],"failures":`+failures+`}`)
		same(t, h.do("GetTaskProtection", `{"cluster":"default"}`), `{"protectedTasks":[`+held+`],"failures":[]}`)
		settle(time.Hour)
		same(t, h.do("GetTaskProtection", `{"cluster":"default"}`), `{"protectedTasks":[`+free+`],"failures":[]}`)
		usual := h.do("UpdateTaskProtection", `{"cluster":"default","tasks":["`+served+`"],"protectionEnabled":true}`)
		if got := list(usual, "protectedTasks")[0].(object)["expirationDate"]; got != float64(time.Now().Add(2*time.Hour).UnixMilli())/1000 {
			t.Errorf("%v", usual)
		}
		same(t, h.do("UpdateTaskProtection", `{"cluster":"default","tasks":["`+served+`"],"protectionEnabled":false}`), `{"protectedTasks":[`+free+`],"failures":[]}`)
		for body, text := range map[string]string{
			`{"cluster":"default","tasks":["x"]}`:                                                            "Member must not be null",
			`{"cluster":"default","protectionEnabled":true}`:                                                 "Member must not be null",
			`{"cluster":"default","tasks":[],"protectionEnabled":true}`:                                      "Tasks cannot be empty.",
			`{"cluster":"default","tasks":["` + strings.Repeat(`x","`, 10) + `x"],"protectionEnabled":true}`: "more than 10",
			`{"cluster":"default","tasks":["x"],"protectionEnabled":true,"expiresInMinutes":0}`:              "between 1 and 2880",
			`{"cluster":"default","tasks":["x"],"protectionEnabled":true,"expiresInMinutes":2881}`:           "between 1 and 2880",
		} {
			h.refuse("UpdateTaskProtection", body, "InvalidParameterException", text)
		}
		h.refuse("GetTaskProtection", `{}`, "InvalidParameterException", "Member must not be null")
		h.refuse("GetTaskProtection", `{"cluster":"none"}`, "ClusterNotFoundException", "")
	})
}

// Ensure operations for what Fargate does not have answer politely: with empty lists, with
// failures, or with an error that their part of the model has.
func TestPolite(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		for _, c := range []struct{ op, body, want string }{
			{"ListContainerInstances", `{"status":"ACTIVE"}`, `{"containerInstanceArns":[]}`},
			{"ListAttributes", `{"targetType":"container-instance"}`, `{"attributes":[]}`},
			{"ListDaemons", `{}`, `{"daemonSummariesList":[]}`},
			{"ListDaemonTaskDefinitions", `{"sort":"ASC"}`, `{"daemonTaskDefinitions":[]}`},
			{"ListGateways", `{"maxResults":5}`, `{"gateways":[]}`},
			{"ListGatewayRoutes", `{}`, `{"gatewayRoutes":[]}`},
			{"ListGatewayClusterAssociations", `{}`, `{"gatewayClusterAssociations":[]}`},
			{"DescribeContainerInstances", `{"containerInstances":["x"]}`, `{"containerInstances":[],"failures":[{"arn":"x","reason":"MISSING"}]}`},
			{"UpdateContainerInstancesState", `{"containerInstances":["x"],"status":"DRAINING"}`, `{"containerInstances":[],"failures":[{"arn":"x","reason":"MISSING"}]}`},
			{"StartTask", `{"containerInstances":["x"],"taskDefinition":"y","overrides":{"cpu":"256"}}`, `{"tasks":[],"failures":[{"arn":"x","reason":"MISSING"}]}`},
			{"DescribeDaemonDeployments", `{"daemonDeploymentArns":["x"]}`, `{"daemonDeployments":[],"failures":[{"arn":"x","reason":"MISSING"}]}`},
			{"DescribeDaemonRevisions", `{"daemonRevisionArns":["x"]}`, `{"daemonRevisions":[],"failures":[{"arn":"x","reason":"MISSING"}]}`},
		} {
			same(t, h.do(c.op, c.body), c.want)
		}
		for _, c := range []struct{ op, body, code string }{
			{"CreateCapacityProvider", `{"name":"x","autoScalingGroupProvider":{"autoScalingGroupArn":"y"}}`, "UnsupportedFeatureException"},
			{"CreateCapacityProvider", `{}`, "InvalidParameterException"},
			{"CreateCapacityProvider", `{"name":null}`, "InvalidParameterException"},
			{"DeleteCapacityProvider", `{"capacityProvider":"FARGATE"}`, "InvalidParameterException"},
			{"RegisterContainerInstance", `{}`, "ClientException"},
			{"PutAttributes", `{"attributes":[]}`, "TargetNotFoundException"},
			{"DescribeDaemon", `{"daemonArn":"x"}`, "DaemonNotFoundException"},
			{"CreateExpressGatewayService", `{"infrastructureRoleArn":"x"}`, "UnsupportedFeatureException"},
			{"DescribeGateway", `{"gateway":"x"}`, "GatewayNotFoundException"},
			{"SubmitTaskStateChange", `{}`, "ClientException"},
			{"DiscoverPollEndpoint", `{}`, "ClientException"},
			{"DescribeContainerInstances", `{"containerInstances":[]}`, "InvalidParameterException"},
			{"ListAttributes", `{}`, "InvalidParameterException"},
		} {
			h.refuse(c.op, c.body, c.code, "")
		}
	})
}

// Ensure policies are asked about what a call touches, with the cluster and the tags of the
// thing and of the request, and that tagging what is made needs a permission of its own.
func TestAuthorization(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		definition := h.register("job", "sleep 1h", `,"tags":[{"key":"team","value":"a"}]`)
		h.do("CreateCluster", `{"clusterName":"web","tags":[{"key":"stage","value":"test"}]}`)
		run := h.run(`"taskDefinition":"job","cluster":"web","tags":[{"key":"who","value":"ann"}]`)[0]
		const cluster = "arn:aws:ecs:eu-central-1:111122223333:cluster/web"
		for _, c := range []struct{ op, body, name, resource, key, value string }{
			{"RunTask", `{"taskDefinition":"job","cluster":"web","tags":[{"key":"k","value":"v"}],` + network + `}`, "ecs:RunTask", definition, "ecs:cluster", cluster},
			{"RunTask", `{"taskDefinition":"job","cluster":"web","tags":[{"key":"k","value":"v"}],` + network + `}`, "ecs:RunTask", definition, "aws:ResourceTag/team", "a"},
			{"RunTask", `{"taskDefinition":"job","cluster":"web","tags":[{"key":"k","value":"v"}],` + network + `}`, "ecs:TagResource", "arn:aws:ecs:eu-central-1:111122223333:task/web/*", "ecs:CreateAction", "RunTask"},
			{"StopTask", `{"cluster":"web","task":"` + run + `"}`, "ecs:StopTask", run, "aws:ResourceTag/who", "ann"},
			{"DescribeTasks", `{"cluster":"web","tasks":["` + run + `"]}`, "ecs:DescribeTasks", run, "ecs:cluster", cluster},
			{"ListTasks", `{"cluster":"web"}`, "ecs:ListTasks", "*", "ecs:cluster", cluster},
			{"DeleteCluster", `{"cluster":"web"}`, "ecs:DeleteCluster", cluster, "aws:ResourceTag/stage", "test"},
			{"UpdateCluster", `{"cluster":"web"}`, "ecs:UpdateCluster", cluster, "ecs:cluster", cluster},
			{"TagResource", `{"resourceArn":"` + cluster + `","tags":[{"key":"k","value":"v"}]}`, "ecs:TagResource", cluster, "aws:RequestTag/k", "v"},
			{"UntagResource", `{"resourceArn":"` + cluster + `","tagKeys":["k"]}`, "ecs:UntagResource", cluster, "aws:TagKeys", "k"},
			{"DeregisterTaskDefinition", `{"taskDefinition":"job:1"}`, "ecs:DeregisterTaskDefinition", definition, "aws:ResourceTag/team", "a"},
			{"CreateCluster", `{"clusterName":"web","tags":[{"key":"k","value":"v"}]}`, "ecs:TagResource", cluster, "aws:RequestTag/k", "v"},
			{"RegisterTaskDefinition", `{"family":"x","tags":[{"key":"k","value":"v"}]}`, "ecs:TagResource", "*", "ecs:CreateAction", "RegisterTaskDefinition"},
		} {
			h.deny = func(a access.Action) bool {
				return a.Name == c.name && a.Resource == c.resource && slices.Contains(a.Context[c.key], c.value)
			}
			h.asked = nil
			h.refuse(c.op, c.body, "AccessDeniedException", "is not authorized to perform: "+c.name)
			if t.Failed() {
				t.Fatalf("asked: %+v", h.asked)
			}
		}
		h.deny = func(a access.Action) bool { return a.Name == "ecs:TagResource" }
		h.do("PutAccountSettingDefault", `{"name":"tagResourceAuthorization","value":"off"}`)
		h.do("CreateCluster", `{"clusterName":"web2","tags":[{"key":"k","value":"v"}]}`)
	})
}
