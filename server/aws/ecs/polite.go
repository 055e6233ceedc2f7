package ecs

import (
	"context"
	"encoding/json"

	"berth/server/aws/wire"
	"berth/task"
)

// What is here answers for operations that only make sense where there are instances,
// their agents, daemons or gateways. There are none, so lists of them are empty, none of
// them is found, and none can be made.

// politeOperations are those operations.
func politeOperations() []wire.Operation {
	const (
		noInstance   = "The referenced container instance was not found."
		noTarget     = "The specified target wasn't found: Berth has no container instances."
		noGateway    = "The specified gateway wasn't found: Berth has no gateways."
		noDaemon     = "The specified daemon wasn't found: Berth has no daemons."
		noDefinition = "Unable to describe daemon task definition."
		noExpress    = "Service not found."
		noProvider   = "The specified capacity provider does not exist. Specify a valid name or ARN and try again."
		noRoute      = "The specified gateway route wasn't found: Berth has no gateways."
		onlyFargate  = "Berth has the capacity providers FARGATE and FARGATE_SPOT only: others cannot be made or changed."
		noneMade     = "Berth runs tasks as Fargate does and has no "
		agents       = "This operation is used by the Amazon ECS agent only, and Berth has no container instances."
	)
	return []wire.Operation{
		empty("ListContainerInstances", "containerInstanceArns", func(*listInstancesIn) error { return nil }),
		empty("ListAttributes", "attributes", func(*listAttributesIn) error { return nil }),
		empty("ListDaemons", "daemonSummariesList", func(*listDaemonsIn) error { return nil }),
		empty("ListDaemonTaskDefinitions", "daemonTaskDefinitions", func(*listDaemonDefinitionsIn) error { return nil }),
		empty("ListDaemonDeployments", "daemonDeployments", func(*listDaemonDeploymentsIn) error {
			return wire.Errorf(invalid, noDaemon)
		}),
		empty("ListGateways", "gateways", func(*listGatewaysIn) error { return nil }),
		empty("ListGatewayRoutes", "gatewayRoutes", func(*listRoutesIn) error { return nil }),
		empty("ListGatewayClusterAssociations", "gatewayClusterAssociations", func(*listAssociationsIn) error { return nil }),

		absent("DescribeContainerInstances", "containerInstances", func(in *describeInstancesIn) ([]string, error) { return in.Instances, nil }),
		absent("UpdateContainerInstancesState", "containerInstances", func(in *updateInstancesIn) ([]string, error) { return in.Instances, nil }),
		absent("StartTask", "tasks", func(in *startTaskIn) ([]string, error) { return in.Instances, task.ValidateTags(in.Tags) }),
		absent("DescribeDaemonDeployments", "daemonDeployments", func(in *describeDaemonDeploymentsIn) ([]string, error) { return in.ARNs, nil }),
		absent("DescribeDaemonRevisions", "daemonRevisions", func(in *describeDaemonRevisionsIn) ([]string, error) { return in.ARNs, nil }),

		refused("CreateCapacityProvider", unsupported, onlyFargate, "name"),
		refused("UpdateCapacityProvider", unsupported, onlyFargate, "name"),
		refused("DeleteCapacityProvider", invalid, noProvider, "capacityProvider"),

		refused("DeregisterContainerInstance", invalid, noInstance, "containerInstance"),
		refused("UpdateContainerAgent", invalid, noInstance, "containerInstance"),
		refused("PutAttributes", "TargetNotFoundException", noTarget, "attributes"),
		refused("DeleteAttributes", "TargetNotFoundException", noTarget, "attributes"),
		refused("RegisterContainerInstance", client, agents),
		refused("DiscoverPollEndpoint", client, agents),
		refused("SubmitAttachmentStateChanges", client, agents, "attachments"),
		refused("SubmitContainerStateChange", client, agents),
		refused("SubmitTaskStateChange", client, agents),

		refused("RegisterDaemonTaskDefinition", client, noneMade+"daemons.", "family", "containerDefinitions"),
		refused("DescribeDaemonTaskDefinition", client, noDefinition, "daemonTaskDefinition"),
		refused("DeleteDaemonTaskDefinition", client, noDefinition, "daemonTaskDefinition"),
		refused("CreateDaemon", unsupported, noneMade+"daemons.", "daemonName", "daemonTaskDefinitionArn", "capacityProviderArns"),
		refused("DescribeDaemon", "DaemonNotFoundException", noDaemon, "daemonArn"),
		refused("UpdateDaemon", "DaemonNotFoundException", noDaemon, "daemonArn", "daemonTaskDefinitionArn", "capacityProviderArns"),
		refused("DeleteDaemon", "DaemonNotFoundException", noDaemon, "daemonArn"),

		refused("CreateExpressGatewayService", unsupported, noneMade+"Express Gateway services.", "infrastructureRoleArn"),
		refused("DescribeExpressGatewayService", noResource, noExpress, "serviceArn"),
		refused("UpdateExpressGatewayService", noService, noExpress, "serviceArn"),
		refused("DeleteExpressGatewayService", noService, noExpress, "serviceArn"),

		refused("CreateGateway", unsupported, noneMade+"gateways.", "name", "infrastructureRoleArn", "configuration"),
		refused("DescribeGateway", gatewayNotFound, noGateway, "gateway"),
		refused("DescribeGatewayResources", gatewayNotFound, noGateway, "gateway"),
		refused("UpdateGateway", gatewayNotFound, noGateway, "gateway"),
		refused("DeleteGateway", gatewayNotFound, noGateway, "gateway"),
		refused("AssociateGatewayWithCluster", gatewayNotFound, noGateway, "gateway", "cluster"),
		refused("DisassociateGatewayFromCluster", gatewayNotFound, noGateway, "gateway", "cluster"),
		refused("DescribeGatewayRoute", noResource, noRoute, "gatewayRouteArn"),
	}
}

const gatewayNotFound = "GatewayNotFoundException"

// anything is an input of which only the required members are looked at.
type anything map[string]json.RawMessage

// refused is an operation that can only fail.
func refused(name, code, text string, required ...string) wire.Operation {
	return wire.Op(name, func(_ context.Context, _ wire.Call, in *anything) (*wire.None, error) {
		for _, member := range required {
			if len((*in)[member]) == 0 {
				return nil, wire.Errorf(invalid, "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", member)
			}
		}
		return nil, wire.Errorf(code, "%s", text)
	})
}

// empty is an operation that lists things of which there are none.
func empty[In any](name, member string, check func(*In) error) wire.Operation {
	return wire.Op(name, func(_ context.Context, _ wire.Call, in *In) (*map[string]any, error) {
		if err := check(in); err != nil {
			return nil, err
		}
		return &map[string]any{member: []string{}}, nil
	})
}

// absent is an operation on things by their names, none of which exists.
func absent[In any](name, member string, names func(*In) ([]string, error)) wire.Operation {
	return wire.Op(name, func(_ context.Context, _ wire.Call, in *In) (*map[string]any, error) {
		all, err := names(in)
		if err != nil {
			return nil, as(invalid, err)
		}
		if len(all) == 0 {
			return nil, wire.Errorf(invalid, "The list of what to find cannot be empty.")
		}
		failures := []Failure{}
		for _, name := range all {
			failures = append(failures, Failure{ARN: name, Reason: missing})
		}
		return &map[string]any{member: []string{}, "failures": failures}, nil
	})
}

type listInstancesIn struct {
	Cluster string `json:"cluster,omitempty"`
	Filter  string `json:"filter,omitempty"`
	page
	Status string `json:"status,omitempty" enum:"ACTIVE,DRAINING,REGISTERING,DEREGISTERING,REGISTRATION_FAILED"`
}

type listAttributesIn struct {
	Cluster    string `json:"cluster,omitempty"`
	TargetType string `json:"targetType" required:"true" enum:"container-instance"`
	Name       string `json:"attributeName,omitempty"`
	Value      string `json:"attributeValue,omitempty"`
	page
}

type listDaemonsIn struct {
	ClusterARN string   `json:"clusterArn,omitempty"`
	Providers  []string `json:"capacityProviderArns,omitempty"`
	page
}

type listDaemonDefinitionsIn struct {
	FamilyPrefix string `json:"familyPrefix,omitempty"`
	Family       string `json:"family,omitempty"`
	Revision     string `json:"revision,omitempty" enum:"LAST_REGISTERED"`
	Status       string `json:"status,omitempty" enum:"ACTIVE,DELETE_IN_PROGRESS,ALL"`
	Sort         string `json:"sort,omitempty" enum:"ASC,DESC"`
	page
}

// span is CreatedAt: a time from and to.
type span struct {
	After  wire.Time `json:"after,omitzero"`
	Before wire.Time `json:"before,omitzero"`
}

type listDaemonDeploymentsIn struct {
	DaemonARN string   `json:"daemonArn" required:"true"`
	Status    []string `json:"status,omitempty"`
	CreatedAt *span    `json:"createdAt,omitempty"`
	page
}

type listGatewaysIn struct {
	Names  []string `json:"names,omitempty"`
	Status []string `json:"status,omitempty"`
	page
}

type listRoutesIn struct {
	Gateway  string   `json:"gateway,omitempty"`
	Cluster  string   `json:"cluster,omitempty"`
	Service  string   `json:"service,omitempty"`
	PortName string   `json:"serviceContainerPortName,omitempty"`
	Status   []string `json:"status,omitempty"`
	page
}

type listAssociationsIn struct {
	Gateway string   `json:"gateway,omitempty"`
	Cluster string   `json:"cluster,omitempty"`
	Status  []string `json:"status,omitempty"`
	page
}

type describeInstancesIn struct {
	Cluster   string   `json:"cluster,omitempty"`
	Instances []string `json:"containerInstances" required:"true"`
	Include   []string `json:"include,omitempty"`
}

type updateInstancesIn struct {
	Cluster   string   `json:"cluster,omitempty"`
	Instances []string `json:"containerInstances" required:"true"`
	Status    string   `json:"status" required:"true" enum:"ACTIVE,DRAINING,REGISTERING,DEREGISTERING,REGISTRATION_FAILED"`
}

// startTaskIn is StartTaskRequest as far as an answer depends on it.
type startTaskIn struct {
	Cluster       string                `json:"cluster,omitempty"`
	Instances     []string              `json:"containerInstances" required:"true"`
	ManagedTags   *bool                 `json:"enableECSManagedTags,omitempty"`
	EnableExec    *bool                 `json:"enableExecuteCommand,omitempty"`
	Group         string                `json:"group,omitempty"`
	Network       *networkConfiguration `json:"networkConfiguration,omitempty"`
	Overrides     task.Overrides        `json:"overrides,omitempty"`
	PropagateTags string                `json:"propagateTags,omitempty" enum:"TASK_DEFINITION,SERVICE,NONE"`
	ReferenceID   string                `json:"referenceId,omitempty"`
	StartedBy     string                `json:"startedBy,omitempty"`
	Tags          []task.Tag            `json:"tags,omitempty"`
	Definition    string                `json:"taskDefinition" required:"true"`
	Volumes       []volumeConfiguration `json:"volumeConfigurations,omitempty"`
}

type describeDaemonDeploymentsIn struct {
	ARNs []string `json:"daemonDeploymentArns" required:"true"`
}

type describeDaemonRevisionsIn struct {
	ARNs []string `json:"daemonRevisionArns" required:"true"`
}
