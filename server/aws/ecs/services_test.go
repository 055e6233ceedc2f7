package ecs_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/service"
	"berth/task"
)

// serving runs f with a fresh host that also keeps services.
func serving(t *testing.T, f func(t *testing.T, h *host)) {
	on(t, func(t *testing.T, h *host) {
		n := 0
		s := service.New(service.Config{
			Tasks: h.runner, Journal: h.store, Book: h.store, Log: zap.NewNop(), Now: time.Now,
			NewID:     func() string { return string(task.NewID()) },
			NewNumber: func() string { n++; return fmt.Sprintf("1%018d", n) },
		})
		h.config.Services, h.config.History = s, h.store
		h.serve()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		f(t, h)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// serve creates a service and returns it.
func (h *host) service(body string) object {
	h.t.Helper()
	return h.do("CreateService", `{`+network+`,`+body+`}`)["service"].(object)
}

func (h *host) describe(name string) object {
	h.t.Helper()
	all := list(h.do("DescribeServices", fmt.Sprintf(`{"services":[%q],"include":["TAGS"]}`, name)), "services")
	if len(all) != 1 {
		h.t.Fatalf("%d services are %s", len(all), name)
	}
	return all[0].(object)
}

// without returns o without what differs each time.
func without(o object, members ...string) object {
	c := object{}
	for k, v := range o {
		c[k] = v
	}
	for _, m := range members {
		delete(c, m)
	}
	return c
}

// Ensure a service looks as AWS describes it, from its first moment to its last.
func TestServiceLife(t *testing.T) {
	serving(t, func(t *testing.T, h *host) {
		arn := h.register("web", "sleep 24h")
		v := h.service(`"serviceName":"web","taskDefinition":"web","desiredCount":2,"launchType":"FARGATE","tags":[{"key":"team","value":"a"}],"enableECSManagedTags":true,"propagateTags":"SERVICE"`)
		configuration := `{"maximumPercent":200,"minimumHealthyPercent":100,"strategy":"ROLLING","bakeTimeInMinutes":0,"lifecycleHooks":[],
			"alarms":{"alarmNames":[],"enable":false,"rollback":false},
			"deploymentCircuitBreaker":{"enable":false,"rollback":false,"resetOnHealthyTask":true,"thresholdConfiguration":{"type":"BOUNDED_PERCENT","value":50}}}`
		where := `{"awsvpcConfiguration":{"subnets":["subnet-1"],"assignPublicIp":"DISABLED"}}`
		same(t, without(v, "createdAt", "currentServiceDeployment", "deployments", "currentServiceRevisions"), `{
			"serviceArn":"arn:aws:ecs:eu-central-1:111122223333:service/default/web","serviceName":"web",
			"clusterArn":"arn:aws:ecs:eu-central-1:111122223333:cluster/default","loadBalancers":[],"serviceRegistries":[],"status":"ACTIVE",
			"desiredCount":2,"runningCount":0,"pendingCount":0,"launchType":"FARGATE","platformVersion":"LATEST","platformFamily":"Linux",
			"taskDefinition":"`+arn+`","deploymentConfiguration":`+configuration+`,
			"roleArn":"arn:aws:iam::111122223333:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS","events":[],"placementConstraints":[],"placementStrategy":[],
			"networkConfiguration":`+where+`,"healthCheckGracePeriodSeconds":0,"schedulingStrategy":"REPLICA","deploymentController":{"type":"ECS"},
			"tags":[{"key":"team","value":"a"}],"createdBy":"arn:aws:iam::111122223333:root","enableECSManagedTags":true,"propagateTags":"SERVICE",
			"enableExecuteCommand":false,"availabilityZoneRebalancing":"ENABLED","resourceManagementType":"CUSTOMER"}`)
		settle(2 * time.Minute)
		v = h.describe("web")
		d := list(v, "deployments")
		if v["runningCount"] != 2.0 || v["pendingCount"] != 0.0 || len(d) != 1 {
			t.Errorf("it has %v running, %v pending, %d deployments", v["runningCount"], v["pendingCount"], len(d))
		}
		id := d[0].(object)["id"].(string)
		same(t, without(d[0].(object), "createdAt", "updatedAt"), `{"id":"`+id+`","status":"PRIMARY","taskDefinition":"`+arn+`","desiredCount":2,"pendingCount":0,
			"runningCount":2,"failedTasks":0,"launchType":"FARGATE","platformVersion":"1.4.0","platformFamily":"Linux","networkConfiguration":`+where+`,
			"rolloutState":"COMPLETED","rolloutStateReason":"ECS deployment `+id+` completed."}`)
		var said []string
		for _, e := range list(v, "events") {
			said = append(said, e.(object)["message"].(string))
		}
		if len(said) != 3 || said[0] != "(service web) has reached a steady state." || said[1] != "(service web) (deployment "+id+") deployment completed." ||
			!strings.HasPrefix(said[2], "(service web) has started 2 tasks: (task ") {
			t.Errorf("its events are %q", said)
		}
		tasks := list(h.do("ListTasks", `{"serviceName":"web"}`), "taskArns")
		if len(tasks) != 2 {
			t.Fatalf("its tasks are %v", tasks)
		}
		one := list(h.do("DescribeTasks", fmt.Sprintf(`{"tasks":[%q],"include":["TAGS"]}`, tasks[0])), "tasks")[0].(object)
		same(t, object{"group": one["group"], "startedBy": one["startedBy"], "tags": one["tags"]}, `{"group":"service:web","startedBy":"`+id+`",
			"tags":[{"key":"team","value":"a"},{"key":"aws:ecs:clusterName","value":"default"},{"key":"aws:ecs:serviceName","value":"web"}]}`)
		h.refuse("RunTask", `{`+network+`,"taskDefinition":"web","group":"service:web"}`, "InvalidParameterException", "Invalid namespace for group")

		next := h.register("web", "sleep 48h")
		if got := h.do("UpdateService", `{"service":"web","taskDefinition":"web"}`)["service"].(object); got["taskDefinition"] != next || len(list(got, "deployments")) != 2 {
			t.Errorf("updated to %v with %d deployments", got["taskDefinition"], len(list(got, "deployments")))
		}
		h.do("UpdateService", `{"service":"web","taskDefinition":"web"}`) // the same again is no new deployment
		settle(5 * time.Minute)
		rollouts := list(h.do("ListServiceDeployments", `{"service":"web","maxResults":1}`), "serviceDeployments")
		if all := list(h.do("ListServiceDeployments", `{"service":"web","status":["SUCCESSFUL"]}`), "serviceDeployments"); len(all) != 2 || len(rollouts) != 1 {
			t.Errorf("it had %v deployments", all)
		}
		rollout := rollouts[0].(object)["serviceDeploymentArn"].(string)
		if want := "arn:aws:ecs:eu-central-1:111122223333:service-deployment/default/web/"; !strings.HasPrefix(rollout, want) {
			t.Errorf("its deployment is %s", rollout)
		}
		described := list(h.do("DescribeServiceDeployments", fmt.Sprintf(`{"serviceDeploymentArns":[%q,"%sx"]}`, rollout, rollout)), "serviceDeployments")[0].(object)
		same(t, without(described, "createdAt", "startedAt", "finishedAt", "updatedAt", "sourceServiceRevisions", "targetServiceRevision"), `{
			"serviceDeploymentArn":"`+rollout+`","serviceArn":"arn:aws:ecs:eu-central-1:111122223333:service/default/web",
			"clusterArn":"arn:aws:ecs:eu-central-1:111122223333:cluster/default","status":"SUCCESSFUL","lifecycleStage":"CLEAN_UP","deploymentConfiguration":`+configuration+`,
			"deploymentCircuitBreaker":{"status":"DISABLED","failureCount":0,"threshold":3},"alarms":{"status":"DISABLED"}}`)
		revision := described["targetServiceRevision"].(object)["arn"].(string)
		r := list(h.do("DescribeServiceRevisions", fmt.Sprintf(`{"serviceRevisionArns":[%q]}`, revision)), "serviceRevisions")[0].(object)
		same(t, without(r, "createdAt"), `{"serviceRevisionArn":"`+revision+`","serviceArn":"arn:aws:ecs:eu-central-1:111122223333:service/default/web",
			"clusterArn":"arn:aws:ecs:eu-central-1:111122223333:cluster/default","taskDefinition":"`+next+`","launchType":"FARGATE","platformVersion":"1.4.0",
			"platformFamily":"Linux","loadBalancers":[],"serviceRegistries":[],"networkConfiguration":`+where+`,"containerImages":[{"containerName":"main","image":"demo"}],"guardDutyEnabled":false}`)

		h.refuse("DeleteService", `{"service":"web"}`, "InvalidParameterException", "The service cannot be stopped while it is scaled above 0.")
		h.refuse("DeleteCluster", `{"cluster":"default"}`, "ClusterContainsServicesException", "")
		if got := h.do("DeleteService", `{"service":"web","force":true}`)["service"].(object); got["status"] != "DRAINING" || got["desiredCount"] != 0.0 {
			t.Errorf("deleted as %v wanting %v", got["status"], got["desiredCount"])
		}
		if all := list(h.do("ListServices", `{}`), "serviceArns"); len(all) != 0 {
			t.Errorf("listed while it drains: %v", all)
		}
		settle(5 * time.Minute)
		if got := h.describe("web"); got["status"] != "INACTIVE" || got["runningCount"] != 0.0 || len(list(got, "deployments")) != 0 {
			t.Errorf("it is %v with %v running", got["status"], got["runningCount"])
		}
		h.refuse("DeleteService", `{"service":"web","force":true}`, "ServiceNotFoundException", "Service not found.")
		h.refuse("UpdateService", `{"service":"web","desiredCount":1}`, "ServiceNotActiveException", "Service was not ACTIVE.")
	})
}

// Ensure what AWS refuses of services is refused in its words, and what Berth does not do with
// a reason.
func TestServiceRefusals(t *testing.T) {
	serving(t, func(t *testing.T, h *host) {
		h.register("web", "sleep 24h")
		inactive := h.register("gone", "sleep 24h")
		h.do("DeregisterTaskDefinition", fmt.Sprintf(`{"taskDefinition":%q}`, inactive))
		h.service(`"serviceName":"taken","taskDefinition":"web","desiredCount":0,"clientToken":"once"`)
		if got := h.service(`"serviceName":"taken","taskDefinition":"web","desiredCount":0,"clientToken":"once"`); got["serviceName"] != "taken" {
			t.Errorf("the same again is %v", got["serviceName"])
		}
		const usual = `"serviceName":"s","taskDefinition":"web","desiredCount":1`
		for _, c := range []struct{ body, code, text string }{
			{`"serviceName":"taken","taskDefinition":"web","desiredCount":0`, "InvalidParameterException", "Creation of service was not idempotent."},
			{`"serviceName":"taken","taskDefinition":"web","desiredCount":1,"clientToken":"once"`, "InvalidParameterException", "Creation of service was not idempotent."},
			{`"serviceName":"s","desiredCount":1`, "InvalidParameterException", "TaskDefinition can not be blank."},
			{`"serviceName":"s","taskDefinition":"web"`, "InvalidParameterException", "DesiredCount is required"},
			{`"serviceName":"s","taskDefinition":"nothing","desiredCount":1`, "ClientException", "TaskDefinition not found."},
			{`"serviceName":"s","taskDefinition":"` + inactive + `","desiredCount":1`, "ClientException", "TaskDefinition is inactive"},
			{`"serviceName":"s s","taskDefinition":"web","desiredCount":1`, "InvalidParameterException", "Service name must contain only"},
			{`"serviceName":"s","taskDefinition":"web","deploymentController":{"type":"EXTERNAL"}`, "InvalidParameterException", "TaskDefinition must be blank"},
			{usual + `,"cluster":"nowhere"`, "ClusterNotFoundException", "Cluster not found."},
			{usual + `,"launchType":"FARGATE","capacityProviderStrategy":[{"capacityProvider":"FARGATE","weight":1}]`, "InvalidParameterException", "Specifying both a launch type and capacity provider strategy is not supported"},
			{usual + `,"capacityProviderStrategy":[{"capacityProvider":"FARGATE"}]`, "InvalidParameterException", "There are no capacity providers in the capacity provider strategy with a weight value greater than zero"},
			{usual + `,"launchType":"EC2","platformVersion":"LATEST"`, "InvalidParameterException", "The platform version must be null when specifying an EC2 launch type"},
			{usual + `,"platformVersion":"9.9.9"`, "PlatformUnknownException", ""},
			{usual + `,"deploymentConfiguration":{"maximumPercent":100,"minimumHealthyPercent":100}`, "InvalidParameterException", "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments"},
			{usual + `,"deploymentConfiguration":{"minimumHealthyPercent":101}`, "InvalidParameterException", "minimumHealthyPercent must be at most 100"},
			{usual + `,"deploymentConfiguration":{"strategy":"BLUE_GREEN"}`, "UnsupportedFeatureException", "ROLLING only"},
			{usual + `,"deploymentConfiguration":{"lifecycleHooks":[{"targetType":"PAUSE"}]}`, "UnsupportedFeatureException", "lifecycle hooks"},
			{usual + `,"deploymentConfiguration":{"alarms":{"alarmNames":["a"],"enable":true,"rollback":true}}`, "UnsupportedFeatureException", "CloudWatch alarms"},
			{usual + `,"deploymentController":{"type":"CODE_DEPLOY"}`, "UnsupportedFeatureException", "CodeDeploy"},
			{usual + `,"schedulingStrategy":"DAEMON"`, "InvalidParameterException", "don't support the DAEMON scheduling strategy"},
			{usual + `,"loadBalancers":[{"loadBalancerName":"x","containerName":"main","containerPort":80}]`, "InvalidParameterException", "Classic Load Balancers are not supported with Fargate"},
			{usual + `,"loadBalancers":[{"targetGroupArn":"arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/x/0123456789abcdef","containerName":"other","containerPort":80}]`, "InvalidParameterException", "The container other does not exist in the task definition."},
			{usual + `,"serviceRegistries":[{"registryArn":"a"},{"registryArn":"b"}]`, "InvalidParameterException", "service registries can have at most 1 items"},
			{usual + `,"placementConstraints":[{"type":"distinctInstance"}]`, "InvalidParameterException", "Placement constraints are not supported"},
			{usual + `,"volumeConfigurations":[{"name":"x"}]`, "UnsupportedFeatureException", "EBS"},
			{usual + `,"propagateTags":"ALL"`, "InvalidParameterException", "enum value set"},
			{usual + `,"serviceConnectConfiguration":{"enabled":true,"services":[{"portName":"nothing"}]}`, "InvalidParameterException", "The portName 'nothing' is not defined"},
		} {
			h.refuse("CreateService", `{`+network+`,`+c.body+`}`, c.code, c.text)
		}
		h.refuse("CreateService", `{`+usual+`}`, "InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified.")
		h.refuse("DescribeServices", `{"services":[]}`, "InvalidParameterException", "Services cannot be empty.")
		h.refuse("DescribeServices", `{"services":["1","2","3","4","5","6","7","8","9","10","11"]}`, "InvalidParameterException", "more than 10")
		h.refuse("DescribeServices", `{"services":["arn:aws:ecs:eu-central-1:111122223333:service/other/taken"]}`, "InvalidParameterException", "Identifier is for cluster other. Your cluster is default")
		h.refuse("UpdateService", `{"service":"nothing"}`, "ServiceNotFoundException", "Service not found.")
		h.refuse("ListServiceDeployments", `{"service":"nothing"}`, "ServiceNotFoundException", "Service not found.")
		h.refuse("ListServices", `{"maxResults":101}`, "InvalidParameterException", "maxResults")
		h.refuse("ListServices", `{"nextToken":"nonsense"}`, "InvalidParameterException", "Invalid token.")
		h.refuse("StopServiceDeployment", `{"serviceDeploymentArn":"arn:aws:ecs:eu-central-1:111122223333:service-deployment/default/taken/x"}`, "ServiceDeploymentNotFoundException", "")
		h.refuse("ContinueServiceDeployment", `{"hookId":"x","serviceDeploymentArn":"arn:aws:ecs:eu-central-1:111122223333:service-deployment/default/taken/x"}`, "ServiceDeploymentNotFoundException", "")
		h.refuse("CreateTaskSet", `{"cluster":"default","service":"taken","taskDefinition":"web"}`, "InvalidParameterException", "Task sets cannot be used with a service that has the ECS deployment controller.")
		same(t, h.do("DescribeServices", `{"services":["nothing"]}`), `{"services":[],"failures":[{"arn":"arn:aws:ecs:eu-central-1:111122223333:service/default/nothing","reason":"MISSING"}]}`)
		h.account = "999999999999"
		h.serve()
		same(t, h.do("ListServices", `{}`), `{"serviceArns":[]}`)
		h.refuse("DeleteService", `{"service":"taken"}`, "ServiceNotFoundException", "Service not found.")
	})
}

// Ensure services are listed ten at a time, each once, and by namespace.
func TestServicePages(t *testing.T) {
	serving(t, func(t *testing.T, h *host) {
		h.register("web", "sleep 24h")
		for i := range 23 {
			more := ""
			if i < 3 {
				more = `,"serviceConnectConfiguration":{"enabled":true,"namespace":"ns"}`
			}
			h.service(fmt.Sprintf(`"serviceName":"s%02d","taskDefinition":"web","desiredCount":0%s`, i, more))
		}
		seen, pages := make(map[string]bool), 0
		for token := ""; ; pages++ {
			out := h.do("ListServices", fmt.Sprintf(`{"nextToken":%q}`, token))
			for _, arn := range list(out, "serviceArns") {
				seen[arn.(string)] = true
			}
			next, more := out["nextToken"].(string)
			if token = next; !more {
				break
			}
		}
		if len(seen) != 23 || pages != 2 {
			t.Errorf("%d services on %d pages", len(seen), pages+1)
		}
		if got := list(h.do("ListServicesByNamespace", `{"namespace":"ns"}`), "serviceArns"); len(got) != 3 {
			t.Errorf("%d are in the namespace", len(got))
		}
	})
}

// Ensure task sets run their share of what their service wants, and tags can be changed.
func TestTaskSets(t *testing.T) {
	serving(t, func(t *testing.T, h *host) {
		h.register("blue", "sleep 24h")
		h.register("green", "sleep 24h")
		v := h.do("CreateService", `{"serviceName":"web","desiredCount":3,"deploymentController":{"type":"EXTERNAL"}}`)["service"].(object)
		if len(list(v, "deployments")) != 0 || v["taskDefinition"] != nil {
			t.Errorf("created as %v", v)
		}
		set := func(family string, percent int) string {
			t.Helper()
			got := h.do("CreateTaskSet", fmt.Sprintf(`{%s,"cluster":"default","service":"web","taskDefinition":%q,"scale":{"value":%d,"unit":"PERCENT"},"externalId":"x"}`, network, family, percent))["taskSet"].(object)
			if want := "arn:aws:ecs:eu-central-1:111122223333:task-set/default/web/" + got["id"].(string); got["taskSetArn"] != want || got["status"] != "ACTIVE" {
				t.Errorf("the set is %v", got)
			}
			return got["id"].(string)
		}
		count := func(id string) string {
			t.Helper()
			got := list(h.do("DescribeTaskSets", fmt.Sprintf(`{"cluster":"default","service":"web","taskSets":[%q]}`, id)), "taskSets")[0].(object)
			return fmt.Sprintf("%v %v %v %v", got["status"], got["computedDesiredCount"], got["runningCount"], got["stabilityStatus"])
		}
		blue, green := set("blue", 100), set("green", 50)
		settle(2 * time.Minute)
		if b, g := count(blue), count(green); b != "ACTIVE 3 3 STEADY_STATE" || g != "ACTIVE 2 2 STEADY_STATE" {
			t.Errorf("blue is %s and green %s", b, g)
		}
		in := func(op, more string) {
			t.Helper()
			h.do(op, `{"cluster":"default","service":"web",`+more+`}`)
		}
		in("UpdateServicePrimaryTaskSet", fmt.Sprintf(`"primaryTaskSet":%q`, green))
		in("UpdateTaskSet", fmt.Sprintf(`"taskSet":%q,"scale":{"value":100,"unit":"PERCENT"}`, green))
		h.refuse("DeleteTaskSet", fmt.Sprintf(`{"cluster":"default","service":"web","taskSet":%q}`, blue), "InvalidParameterException", "scaled above 0")
		in("DeleteTaskSet", fmt.Sprintf(`"taskSet":%q,"force":true`, blue))
		settle(2 * time.Minute)
		if g := count(green); g != "PRIMARY 3 3 STEADY_STATE" {
			t.Errorf("green is %s", g)
		}
		if got := h.do("DescribeTaskSets", fmt.Sprintf(`{"cluster":"default","service":"web","taskSets":[%q]}`, blue)); len(list(got, "failures")) != 1 {
			t.Errorf("blue is still there: %v", got)
		}
		h.refuse("UpdateTaskSet", fmt.Sprintf(`{"cluster":"default","service":"web","taskSet":%q,"scale":{"value":1}}`, blue), "TaskSetNotFoundException", "does not exist")
		for _, arn := range []string{"arn:aws:ecs:eu-central-1:111122223333:service/default/web", "arn:aws:ecs:eu-central-1:111122223333:task-set/default/web/" + green} {
			h.do("TagResource", fmt.Sprintf(`{"resourceArn":%q,"tags":[{"key":"a","value":"1"},{"key":"b","value":"2"}]}`, arn))
			h.do("UntagResource", fmt.Sprintf(`{"resourceArn":%q,"tagKeys":["a"]}`, arn))
			same(t, h.do("ListTagsForResource", fmt.Sprintf(`{"resourceArn":%q}`, arn)), `{"tags":[{"key":"b","value":"2"}]}`)
		}
		h.do("DeleteService", `{"service":"web","force":true}`)
		settle(2 * time.Minute)
		if got := h.describe("web"); got["status"] != "INACTIVE" {
			t.Errorf("it is %v", got["status"])
		}
	})
}
