package throttle

// Kinds of calls, as AWS's documentation calls them.
const (
	clusterModify         = "cluster modify"
	clusterRead           = "cluster read"
	definitionModify      = "task definition modify"
	definitionRead        = "task definition read"
	definitionDelete      = "task definition delete"
	capacityModify        = "capacity provider modify"
	capacityRead          = "capacity provider read"
	tagModify             = "tag modify"
	tagRead               = "tag read"
	settingModify         = "setting modify"
	settingRead           = "setting read"
	clusterResourceModify = "cluster resource modify"
	clusterResourceRead   = "cluster resource read"
	agentModify           = "agent modify"
	serviceModify         = "cluster service resource modify"
	serviceRead           = "cluster service resource read"
	deployments           = "service deployment"
	revisions             = "service revision"
	protections           = "task protection"
	byNamespace           = "list services by namespace"

	runTask        = "Fargate RunTask"
	launchOnDemand = "Fargate On-Demand launch"
	launchSpot     = "Fargate Spot launch"
)

// Rates are AWS's, by kind.
var Rates = map[string]Rate{
	clusterModify: {20, 1}, clusterRead: {50, 20},
	definitionModify: {20, 1}, definitionRead: {50, 20}, definitionDelete: {5, 1},
	capacityModify: {10, 1}, capacityRead: {50, 20},
	tagModify: {20, 10}, tagRead: {50, 20},
	settingModify: {10, 1}, settingRead: {50, 20},
	clusterResourceModify: {100, 40}, clusterResourceRead: {100, 20},
	agentModify:   {200, 120},
	serviceModify: {50, 5}, serviceRead: {100, 20},
	deployments: {50, 20}, revisions: {50, 20},
	protections: {200, 80},
	byNamespace: {10, 1},

	runTask:        {20, 20},
	launchOnDemand: {100, 20}, launchSpot: {100, 20},
}

// operations says of which kind calls of an operation are.
var operations = map[string]string{
	"CreateCluster": clusterModify, "DeleteCluster": clusterModify, "UpdateCluster": clusterModify, "UpdateClusterSettings": clusterModify,
	"DescribeClusters": clusterRead, "ListClusters": clusterRead,

	"RegisterTaskDefinition": definitionModify, "DeregisterTaskDefinition": definitionModify,
	"DescribeTaskDefinition": definitionRead, "ListTaskDefinitions": definitionRead, "ListTaskDefinitionFamilies": definitionRead,
	"DeleteTaskDefinitions": definitionDelete,

	"CreateCapacityProvider": capacityModify, "DeleteCapacityProvider": capacityModify, "UpdateCapacityProvider": capacityModify,
	"PutClusterCapacityProviders": capacityModify, "DescribeCapacityProviders": capacityRead,

	"TagResource": tagModify, "UntagResource": tagModify, "ListTagsForResource": tagRead,

	"PutAccountSetting": settingModify, "PutAccountSettingDefault": settingModify, "DeleteAccountSetting": settingModify,
	"ListAccountSettings": settingRead,

	"RunTask": clusterResourceModify, "StartTask": clusterResourceModify, "StopTask": clusterResourceModify, "ExecuteCommand": clusterResourceModify,
	"PutAttributes": clusterResourceModify, "DeleteAttributes": clusterResourceModify,
	"DeregisterContainerInstance": clusterResourceModify, "UpdateContainerInstancesState": clusterResourceModify,
	"DescribeTasks": clusterResourceRead, "ListTasks": clusterResourceRead, "DescribeContainerInstances": clusterResourceRead,
	"ListContainerInstances": clusterResourceRead, "ListAttributes": clusterResourceRead,

	"RegisterContainerInstance": agentModify, "DiscoverPollEndpoint": agentModify, "UpdateContainerAgent": agentModify,
	"SubmitAttachmentStateChanges": agentModify, "SubmitContainerStateChange": agentModify, "SubmitTaskStateChange": agentModify,

	"CreateService": serviceModify, "UpdateService": serviceModify, "DeleteService": serviceModify, "CreateTaskSet": serviceModify,
	"UpdateTaskSet": serviceModify, "DeleteTaskSet": serviceModify, "UpdateServicePrimaryTaskSet": serviceModify,
	"DescribeServices": serviceRead, "ListServices": serviceRead, "DescribeTaskSets": serviceRead,

	"DescribeServiceDeployments": deployments, "ListServiceDeployments": deployments, "StopServiceDeployment": deployments,
	"ContinueServiceDeployment": deployments, "DescribeServiceRevisions": revisions,

	"GetTaskProtection": protections, "UpdateTaskProtection": protections,
	"ListServicesByNamespace": byNamespace,
}

// kindOf returns of which kind calls of an operation are. Of those that AWS does not name
// the rate is that of services.
func kindOf(operation string) string {
	if kind, ok := operations[operation]; ok {
		return kind
	}
	return serviceRead
}
