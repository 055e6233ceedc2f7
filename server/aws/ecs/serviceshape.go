package ecs

import (
	"context"
	"encoding/json"
	"slices"

	"berth/server/aws/wire"
	"berth/service"
	"berth/task"
)

// deploymentConfiguration is DeploymentConfiguration.
type deploymentConfiguration struct {
	Breaker        *circuitBreaker   `json:"deploymentCircuitBreaker,omitempty"`
	Maximum        *int              `json:"maximumPercent,omitempty"`
	MinimumHealthy *int              `json:"minimumHealthyPercent,omitempty"`
	Alarms         *deploymentAlarms `json:"alarms,omitempty"`
	Strategy       string            `json:"strategy,omitempty" enum:"ROLLING,BLUE_GREEN,LINEAR,CANARY"`
	BakeTime       *int              `json:"bakeTimeInMinutes,omitempty"`
	Hooks          *[]lifecycleHook  `json:"lifecycleHooks,omitempty"`
	Linear         json.RawMessage   `json:"linearConfiguration,omitempty"`
	Canary         json.RawMessage   `json:"canaryConfiguration,omitempty"`
	EarlySuccess   *earlySuccess     `json:"earlySuccessCriteria,omitempty"`
}

// circuitBreaker is DeploymentCircuitBreaker.
type circuitBreaker struct {
	Enable         *bool      `json:"enable" required:"true"`
	Rollback       *bool      `json:"rollback" required:"true"`
	ResetOnHealthy *bool      `json:"resetOnHealthyTask,omitempty"`
	Threshold      *threshold `json:"thresholdConfiguration,omitempty"`
}

// threshold is ThresholdConfiguration.
type threshold struct {
	Type  string `json:"type" required:"true" enum:"COUNT,BOUNDED_PERCENT,UNBOUNDED_PERCENT"`
	Value *int   `json:"value" required:"true"`
}

// deploymentAlarms is DeploymentAlarms.
type deploymentAlarms struct {
	Names    []string `json:"alarmNames" required:"true"`
	Enable   *bool    `json:"enable" required:"true"`
	Rollback *bool    `json:"rollback" required:"true"`
}

// lifecycleHook is DeploymentLifecycleHook, which Berth refuses.
type lifecycleHook = json.RawMessage

// earlySuccess is DeploymentEarlySuccessCriteria.
type earlySuccess struct {
	Enable         *bool  `json:"enable" required:"true"`
	HealthyPercent *int   `json:"healthyPercent,omitempty" min:"0" max:"100"`
	CleanUp        string `json:"sourceServiceRevisionCleanup,omitempty" enum:"BLOCKING,DEFERRED"`
}

// honoured refuses what Berth does not do.
func (d *deploymentConfiguration) honoured() error {
	switch {
	case d == nil:
		return nil
	case d.Strategy != "" && d.Strategy != "ROLLING":
		return wire.Errorf(unsupported, "Berth deploys with the strategy ROLLING only, not %s.", d.Strategy)
	case d.Linear != nil:
		return wire.Errorf(invalid, "linearConfiguration can only be used with the LINEAR deployment strategy.")
	case d.Canary != nil:
		return wire.Errorf(invalid, "canaryConfiguration can only be used with the CANARY deployment strategy.")
	case d.BakeTime != nil && *d.BakeTime != 0:
		return wire.Errorf(unsupported, "Berth does not wait after a deployment: bakeTimeInMinutes can only be 0.")
	case d.Hooks != nil && len(*d.Hooks) > 0:
		return wire.Errorf(unsupported, "Berth has no lifecycle hooks of deployments: lifecycleHooks can only be empty.")
	case d.Alarms != nil && (*d.Alarms.Enable || *d.Alarms.Rollback):
		return wire.Errorf(unsupported, "Berth has no CloudWatch alarms: those of a deployment cannot be enabled.")
	case d.EarlySuccess != nil && *d.EarlySuccess.Enable:
		return wire.Errorf(unsupported, "Berth has no early success of deployments: earlySuccessCriteria cannot be enabled.")
	}
	return nil
}

// change returns what d says, which may be nil.
func (d *deploymentConfiguration) change() (ch service.ConfigurationChange) {
	if d == nil {
		return ch
	}
	ch.MinimumHealthy, ch.Maximum = d.MinimumHealthy, d.Maximum
	if b := d.Breaker; b != nil {
		ch.Enable, ch.Rollback, ch.ResetOnHealthy = b.Enable, b.Rollback, b.ResetOnHealthy
		if b.Threshold != nil {
			kind := service.ThresholdType(b.Threshold.Type)
			ch.Type, ch.Value = &kind, b.Threshold.Value
		}
	}
	return ch
}

// configurationOf is the inverse of change, with everything that AWS shows.
func configurationOf(c service.Configuration) deploymentConfiguration {
	no, zero, none := false, 0, []lifecycleHook{}
	return deploymentConfiguration{
		Maximum: &c.Maximum, MinimumHealthy: &c.MinimumHealthy, Strategy: "ROLLING", BakeTime: &zero, Hooks: &none,
		Alarms: &deploymentAlarms{Names: []string{}, Enable: &no, Rollback: &no},
		Breaker: &circuitBreaker{
			Enable: &c.Breaker.Enable, Rollback: &c.Breaker.Rollback, ResetOnHealthy: &c.Breaker.ResetOnHealthy,
			Threshold: &threshold{Type: string(c.Breaker.Type), Value: &c.Breaker.Value},
		},
	}
}

// deploymentController is DeploymentController.
type deploymentController struct {
	Type string `json:"type" required:"true" enum:"ECS,CODE_DEPLOY,EXTERNAL"`
}

// loadBalancer is LoadBalancer.
type loadBalancer struct {
	TargetGroup   string          `json:"targetGroupArn,omitempty"`
	Name          string          `json:"loadBalancerName,omitempty"`
	ContainerName string          `json:"containerName,omitempty"`
	ContainerPort int             `json:"containerPort,omitempty"`
	Advanced      json.RawMessage `json:"advancedConfiguration,omitempty"`
}

func balancers(all []loadBalancer) []task.LoadBalancer {
	var out []task.LoadBalancer
	for _, l := range all {
		out = append(out, task.LoadBalancer{TargetGroupARN: l.TargetGroup, ContainerName: l.ContainerName, ContainerPort: l.ContainerPort})
	}
	return out
}

func balancersOf(all []task.LoadBalancer) []loadBalancer {
	out := []loadBalancer{}
	for _, l := range all {
		out = append(out, loadBalancer{TargetGroup: l.TargetGroupARN, ContainerName: l.ContainerName, ContainerPort: l.ContainerPort})
	}
	return out
}

// serviceRegistry is ServiceRegistry.
type serviceRegistry struct {
	ARN           string `json:"registryArn,omitempty"`
	Port          int    `json:"port,omitempty"`
	ContainerName string `json:"containerName,omitempty"`
	ContainerPort int    `json:"containerPort,omitempty"`
}

func registries(all []serviceRegistry) []service.Registry {
	var out []service.Registry
	for _, r := range all {
		out = append(out, service.Registry(r))
	}
	return out
}

func registriesOf(all []service.Registry) []serviceRegistry {
	out := []serviceRegistry{}
	for _, r := range all {
		out = append(out, serviceRegistry(r))
	}
	return out
}

// serviceConnect is ServiceConnectConfiguration.
type serviceConnect struct {
	Enabled   *bool                   `json:"enabled" required:"true"`
	Namespace string                  `json:"namespace,omitempty"`
	Services  []serviceConnectService `json:"services,omitempty"`
	Log       *connectLog             `json:"logConfiguration,omitempty"`
	AccessLog json.RawMessage         `json:"accessLogConfiguration,omitempty"`
	Container json.RawMessage         `json:"containerConfigurations,omitempty"`
}

// connectLog is LogConfiguration.
type connectLog struct {
	Driver  string             `json:"logDriver" required:"true" enum:"json-file,syslog,journald,gelf,fluentd,awslogs,splunk,awsfirelens"`
	Options map[string]string  `json:"options,omitempty"`
	Secrets []connectLogSecret `json:"secretOptions,omitempty"`
}

// connectLogSecret is Secret.
type connectLogSecret struct {
	Name string `json:"name" required:"true"`
	From string `json:"valueFrom" required:"true"`
}

// raw returns what is kept of l, which may be nil: nobody writes such a log here, and the
// service shows it as it was given.
func (l *connectLog) raw() json.RawMessage {
	if l == nil {
		return nil
	}
	b, err := json.Marshal(l)
	if err != nil { // It is made of strings.
		return nil
	}
	return b
}

// serviceConnectService is ServiceConnectService.
type serviceConnectService struct {
	PortName      string                `json:"portName" required:"true"`
	DiscoveryName string                `json:"discoveryName,omitempty"`
	ClientAliases []serviceConnectAlias `json:"clientAliases,omitempty"`
	IngressPort   *int                  `json:"ingressPortOverride,omitempty"`
	Timeout       json.RawMessage       `json:"timeout,omitempty"`
	TLS           json.RawMessage       `json:"tls,omitempty"`
}

// serviceConnectAlias is ServiceConnectClientAlias.
type serviceConnectAlias struct {
	Port        *int            `json:"port" required:"true" min:"0" max:"65535"`
	DNSName     string          `json:"dnsName,omitempty"`
	TestTraffic json.RawMessage `json:"testTrafficRules,omitempty"`
}

// honoured refuses what only a proxy beside each task could do: names are all that Service
// Connect is here.
func (c *serviceConnect) honoured() error {
	if c == nil {
		return nil
	}
	const text = "Berth's Service Connect is names without a proxy: %s cannot be used."
	if c.AccessLog != nil {
		return wire.Errorf(unsupported, text, "accessLogConfiguration")
	}
	if c.Container != nil {
		return wire.Errorf(unsupported, text, "containerConfigurations")
	}
	for _, s := range c.Services {
		switch {
		case s.IngressPort != nil:
			return wire.Errorf(unsupported, text, "ingressPortOverride")
		case s.Timeout != nil:
			return wire.Errorf(unsupported, text, "timeout")
		case s.TLS != nil:
			return wire.Errorf(unsupported, text, "tls")
		}
		for _, a := range s.ClientAliases {
			if a.TestTraffic != nil {
				return wire.Errorf(unsupported, text, "testTrafficRules")
			}
		}
	}
	return nil
}

// wish returns what c says, which may be nil; without a namespace it is that of the cluster.
func (c *serviceConnect) wish(namespace string) *service.Connect {
	if c == nil {
		return nil
	}
	out := &service.Connect{Enabled: *c.Enabled, Namespace: c.Namespace, Log: c.Log.raw()}
	if out.Namespace == "" && out.Enabled {
		out.Namespace = namespace
	}
	for _, s := range c.Services {
		one := service.ConnectService{PortName: s.PortName, DiscoveryName: s.DiscoveryName}
		for _, a := range s.ClientAliases {
			one.ClientAliases = append(one.ClientAliases, service.ConnectAlias{Port: *a.Port, DNSName: a.DNSName})
		}
		out.Services = append(out.Services, one)
	}
	return out
}

// connectResource is ServiceConnectServiceResource.
type connectResource struct {
	Name string `json:"discoveryName"`
	ARN  string `json:"discoveryArn,omitempty"`
}

func connectResources(c *service.Connect) []connectResource {
	var all []connectResource
	if c == nil || !c.Enabled {
		return nil
	}
	for _, s := range c.Services {
		name := s.DiscoveryName
		if name == "" {
			name = s.PortName
		}
		all = append(all, connectResource{Name: name})
	}
	return all
}

// honoured refuses what Berth does not do.
func (in *serviceIn) honoured() error {
	switch {
	case !nothing(in.Volumes):
		return wire.Errorf(unsupported, "Berth has no EBS volumes: volumeConfigurations cannot be used.")
	case !nothing(in.Lattice):
		return wire.Errorf(unsupported, "Berth has no VPC Lattice: vpcLatticeConfigurations cannot be used.")
	case !nothing(in.Gateways):
		return wire.Errorf(unsupported, "Berth has no gateways: gatewayConnectors cannot be used.")
	case !nothing(in.Monitoring):
		return wire.Errorf(unsupported, "Berth measures every second and has no other resolution: monitoring cannot be used.")
	case in.Controller != nil && in.Controller.Type == "CODE_DEPLOY":
		return wire.Errorf(unsupported, "Berth has no CodeDeploy: the deployment controller can be ECS or EXTERNAL.")
	}
	for _, l := range items(in.LoadBalancers) {
		switch {
		case l.Name != "":
			return wire.Errorf(invalid, "Classic Load Balancers are not supported with Fargate")
		case !nothing(l.Advanced):
			return wire.Errorf(unsupported, "Berth deploys with the strategy ROLLING only: advancedConfiguration cannot be used.")
		}
	}
	if err := in.Configuration.honoured(); err != nil {
		return err
	}
	return in.Connect.honoured()
}

// nothing reports whether JSON is absent or empty.
func nothing(b json.RawMessage) bool {
	return len(b) == 0 || slices.Contains([]string{"null", "[]", "{}"}, string(b))
}

// items returns what p points to, nothing for nil.
func items[T any](p *[]T) []T {
	if p == nil {
		return nil
	}
	return *p
}

// serviceNetwork is network, with what AWS says of a service that does not say.
func serviceNetwork(n *networkConfiguration) (*task.NetworkConfiguration, error) {
	out, err := network(n)
	if err == nil && out.AWSVPC.AssignPublicIP == "" {
		out.AWSVPC.AssignPublicIP = "DISABLED"
	}
	return out, err
}

func networkOf(n *task.NetworkConfiguration) *networkConfiguration {
	if n == nil {
		return nil
	}
	return &networkConfiguration{&awsvpcConfiguration{
		Subnets: some(n.AWSVPC.Subnets), SecurityGroups: some(n.AWSVPC.SecurityGroups), AssignPublicIP: n.AWSVPC.AssignPublicIP,
	}}
}

// serviceOut describes a service, with its tags if they are asked for.
func (s *server) serviceOut(ctx context.Context, v service.Service, tags bool) (*serviceOut, error) {
	d, err := s.Services.Describe(ctx, v)
	if err != nil {
		return nil, err
	}
	return &serviceOut{describeService(d, tags, s.Now())}, nil
}
