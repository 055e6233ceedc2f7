package ecs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Ensure a cluster is described as AWS describes it, from the cradle to the grave.
func TestCluster(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		const arn = "arn:aws:ecs:eu-central-1:111122223333:cluster/web"
		same(t, h.do("CreateCluster", `{"clusterName":"web","tags":[{"key":"team","value":"a"}],"settings":[{"name":"containerInsights","value":"enhanced"}],
			"configuration":{"executeCommandConfiguration":{"logging":"OVERRIDE","logConfiguration":{"cloudWatchLogGroupName":"sessions"}}},
			"capacityProviders":["FARGATE","FARGATE_SPOT"],"defaultCapacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":2}],
			"serviceConnectDefaults":{"namespace":"inside"}}`), `{"cluster":{"clusterArn":"`+arn+`","clusterName":"web","status":"ACTIVE",
			"registeredContainerInstancesCount":0,"runningTasksCount":0,"pendingTasksCount":0,"activeServicesCount":0,"statistics":[],
			"tags":[{"key":"team","value":"a"}],"settings":[{"name":"containerInsights","value":"enhanced"}],
			"configuration":{"executeCommandConfiguration":{"logging":"OVERRIDE","logConfiguration":{"cloudWatchLogGroupName":"sessions"}}},
			"capacityProviders":["FARGATE","FARGATE_SPOT"],"defaultCapacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":2,"base":0}],
			"serviceConnectDefaults":{"namespace":"inside"}}}`)
		same(t, h.do("DescribeClusters", `{"clusters":["web","`+arn+`x","gone"]}`), `{"clusters":[{"clusterArn":"`+arn+`","clusterName":"web","status":"ACTIVE",
			"registeredContainerInstancesCount":0,"runningTasksCount":0,"pendingTasksCount":0,"activeServicesCount":0,"statistics":[],"tags":[],"settings":[],
			"capacityProviders":["FARGATE","FARGATE_SPOT"],"defaultCapacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":2,"base":0}],
			"serviceConnectDefaults":{"namespace":"inside"}}],
			"failures":[{"arn":"`+arn+`x","reason":"MISSING"},{"arn":"arn:aws:ecs:eu-central-1:111122223333:cluster/gone","reason":"MISSING"}]}`)

		again := h.do("CreateCluster", `{"clusterName":"web","tags":[{"key":"other","value":"b"}]}`)["cluster"].(object)
		same(t, again["tags"], `[{"key":"team","value":"a"}]`)

		h.do("UpdateClusterSettings", `{"cluster":"web","settings":[{"name":"containerInsights","value":"disabled"}]}`)
		updated := h.do("UpdateCluster", `{"cluster":"`+arn+`","serviceConnectDefaults":{"namespace":"outside"}}`)["cluster"].(object)
		same(t, updated["settings"], `[{"name":"containerInsights","value":"disabled"}]`)
		same(t, updated["serviceConnectDefaults"], `{"namespace":"outside"}`)
		put := h.do("PutClusterCapacityProviders", `{"cluster":"web","capacityProviders":[],"defaultCapacityProviderStrategy":[]}`)["cluster"].(object)
		same(t, put["capacityProviders"], `[]`)
		same(t, put["defaultCapacityProviderStrategy"], `[]`)

		h.register("sleep", "sleep 1h")
		arns := h.run(`"taskDefinition":"sleep","cluster":"web"`)
		settle(10 * time.Second)
		full := h.do("DescribeClusters", `{"clusters":["web"],"include":["STATISTICS","TAGS","SETTINGS","CONFIGURATIONS","ATTACHMENTS"]}`)
		one := list(full, "clusters")[0].(object)
		if one["runningTasksCount"] != 1.0 {
			t.Errorf("%v", one)
		}
		same(t, one["statistics"], `[{"name":"runningEC2TasksCount","value":"0"},{"name":"runningFargateTasksCount","value":"1"},
			{"name":"pendingEC2TasksCount","value":"0"},{"name":"pendingFargateTasksCount","value":"0"},{"name":"activeEC2ServiceCount","value":"0"},
			{"name":"activeFargateServiceCount","value":"0"},{"name":"drainingEC2ServiceCount","value":"0"},{"name":"drainingFargateServiceCount","value":"0"}]`)

		h.refuse("DeleteCluster", `{"cluster":"web"}`, "ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
		h.do("StopTask", `{"cluster":"web","task":"`+arns[0]+`"}`)
		settle(time.Minute)
		if got := h.do("DeleteCluster", `{"cluster":"web"}`)["cluster"].(object); got["status"] != "INACTIVE" {
			t.Errorf("%v", got)
		}
		if got := list(h.do("DescribeClusters", `{"clusters":["web"]}`), "clusters")[0].(object); got["status"] != "INACTIVE" {
			t.Errorf("%v", got)
		}
		same(t, h.do("ListClusters", `{}`), `{"clusterArns":["arn:aws:ecs:eu-central-1:111122223333:cluster/default"]}`)
		for _, op := range []string{"DeleteCluster", "UpdateCluster", "ListTasks", "ListTagsForResource"} {
			body := `{"cluster":"web"}`
			if op == "ListTagsForResource" {
				body = `{"resourceArn":"` + arn + `"}`
			}
			h.refuse(op, body, "ClusterNotFoundException", "Cluster not found.")
		}
		if got := h.do("CreateCluster", `{"clusterName":"web"}`)["cluster"].(object); got["status"] != "ACTIVE" || len(list(got, "tags")) != 0 {
			t.Errorf("made anew: %v", got)
		}
	})
}

// Ensure the default cluster is there without being made, and takes both capacity providers.
func TestDefaultCluster(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		same(t, h.do("DescribeClusters", `{}`), `{"clusters":[{"clusterArn":"arn:aws:ecs:eu-central-1:111122223333:cluster/default","clusterName":"default",
			"status":"ACTIVE","registeredContainerInstancesCount":0,"runningTasksCount":0,"pendingTasksCount":0,"activeServicesCount":0,"statistics":[],"tags":[],
			"settings":[],"capacityProviders":["FARGATE","FARGATE_SPOT"],"defaultCapacityProviderStrategy":[]}],"failures":[]}`)
		made := h.do("CreateCluster", `{"tags":[{"key":"a","value":"b"}]}`)["cluster"].(object)
		same(t, made["tags"], `[{"key":"a","value":"b"}]`)
		same(t, made["capacityProviders"], `["FARGATE","FARGATE_SPOT"]`)
		again := h.do("CreateCluster", `{"clusterName":"default"}`)["cluster"].(object)
		same(t, again["tags"], `[{"key":"a","value":"b"}]`)
	})
}

// Ensure lists of clusters come in pages of any size, each cluster once, and only those of
// the account and region.
func TestListClusters(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		for i := range 7 {
			h.do("CreateCluster", fmt.Sprintf(`{"clusterName":"c%d"}`, i))
		}
		for _, size := range []int{1, 3, 8, 100} {
			var all []string
			for token := ""; ; {
				page := h.do("ListClusters", fmt.Sprintf(`{"maxResults":%d%s}`, size, token))
				for _, arn := range list(page, "clusterArns") {
					all = append(all, arn.(string)[strings.LastIndexByte(arn.(string), '/')+1:])
				}
				next, more := page["nextToken"].(string)
				if !more {
					break
				}
				token = fmt.Sprintf(`,"nextToken":%q`, next)
			}
			if got := strings.Join(all, " "); got != "c0 c1 c2 c3 c4 c5 c6 default" {
				t.Errorf("pages of %d: %s", size, got)
			}
		}
		h.region = "us-west-2"
		same(t, h.do("ListClusters", `{}`), `{"clusterArns":["arn:aws:ecs:us-west-2:111122223333:cluster/default"]}`)
		h.refuse("DescribeTasks", `{"cluster":"c1","tasks":["`+strings.Repeat("0", 32)+`"]}`, "ClusterNotFoundException", "Cluster not found.")
		h.refuse("ListClusters", `{"maxResults":0}`, "InvalidParameterException", "maxResults")
		h.refuse("ListClusters", `{"maxResults":101}`, "InvalidParameterException", "maxResults")
		h.refuse("ListClusters", `{"nextToken":"x"}`, "InvalidParameterException", "token")
	})
}

func TestClusterIsRefused(t *testing.T) {
	on(t, func(t *testing.T, h *host) {
		for body, text := range map[string]string{
			`{"clusterName":"a b"}`:                                                                                              "Cluster name must have at most 255",
			`{"clusterName":"` + strings.Repeat("a", 256) + `"}`:                                                                 "Cluster name must have at most 255",
			`{"settings":[{"name":"other","value":"enabled"}]}`:                                                                  "enum value set: [containerInsights]",
			`{"settings":[{"name":"containerInsights","value":"on"}]}`:                                                           "Invalid cluster setting value",
			`{"capacityProviders":["mine"]}`:                                                                                     "The specified capacity provider 'mine' was not found",
			`{"capacityProviders":["FARGATE","FARGATE"]}`:                                                                        "is there twice",
			`{"clusterName":"x","defaultCapacityProviderStrategy":[{"capacityProvider":"FARGATE","weight":1}]}`:                  "not associated with the cluster",
			`{"capacityProviders":["FARGATE"],"defaultCapacityProviderStrategy":[{"capacityProvider":"FARGATE"}]}`:               "weight value greater than zero",
			`{"capacityProviders":["FARGATE"],"defaultCapacityProviderStrategy":[{"weight":1}]}`:                                 "Member must not be null",
			`{"capacityProviders":["FARGATE"],"defaultCapacityProviderStrategy":[{"capacityProvider":"FARGATE","weight":1001}]}`: "less than or equal to 1000",
			`{"configuration":{"executeCommandConfiguration":{"logging":"ALL"}}}`:                                                "must be NONE, DEFAULT or OVERRIDE",
			`{"configuration":{"executeCommandConfiguration":{"logging":"OVERRIDE"}}}`:                                           "logConfiguration must be given with logging OVERRIDE",
			`{"configuration":{"managedStorageConfiguration":{"kmsKeyId":"k"}}}`:                                                 "does not encrypt",
			`{"serviceConnectDefaults":{}}`:                                                                                      "Member must not be null",
			`{"tags":[{"key":"aws:x","value":""}]}`:                                                                              "the prefix aws: is reserved",
			`{"tags":[{"key":"a","value":""},{"key":"a"}]}`:                                                                      "is there twice",
			`{"name":"x"}`: "name: unknown field",
		} {
			h.refuse("CreateCluster", body, "InvalidParameterException", text)
		}
		h.refuse("UpdateClusterSettings", `{"cluster":"default"}`, "InvalidParameterException", "Member must not be null")
		h.refuse("UpdateClusterSettings", `{"cluster":"default","settings":[]}`, "InvalidParameterException", "settings cannot be empty")
		h.refuse("PutClusterCapacityProviders", `{"cluster":"default","capacityProviders":["FARGATE"]}`, "InvalidParameterException", "defaultCapacityProviderStrategy")
		h.refuse("UpdateCluster", `{"cluster":"none"}`, "ClusterNotFoundException", "Cluster not found.")
		h.refuse("UpdateCluster", `{"cluster":"a:b"}`, "InvalidParameterException", "not a valid cluster name")
		h.refuse("DescribeClusters", `{"include":["ALL"]}`, "InvalidParameterException", "include")
	})
}
