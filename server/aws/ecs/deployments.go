package ecs

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"berth/access"
	"berth/server/aws/wire"
	"berth/service"
	"berth/task"
)

// ServiceHistory knows what services were and are. See service.Archive.
type ServiceHistory interface {
	Services(ctx context.Context, f service.Filter, limit int, after service.ID) ([]service.Service, error)
	Service(ctx context.Context, id service.ID) (service.Service, error)
	Rollouts(ctx context.Context, arns []string) ([]service.Rollout, error)
	RolloutsOf(ctx context.Context, id service.ID, f service.RolloutFilter, limit int, after string) ([]service.Rollout, error)
	Revisions(ctx context.Context, arns []string) ([]service.Revision, error)
}

func (s *server) deploymentOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("ListServiceDeployments", s.listServiceDeployments, wire.On(s.onListDeployments)),
		wire.Op("DescribeServiceDeployments", s.describeServiceDeployments, wire.Resources(func(_ wire.Call, in *describeRolloutsIn) []string { return in.ARNs })),
		wire.Op("DescribeServiceRevisions", s.describeServiceRevisions, wire.Resources(func(_ wire.Call, in *describeRevisionsIn) []string { return in.ARNs })),
		wire.Op("StopServiceDeployment", s.stopServiceDeployment, wire.Resources(func(_ wire.Call, in *stopRolloutIn) []string { return []string{in.ARN} })),
		wire.Op("ContinueServiceDeployment", s.continueServiceDeployment, wire.Resources(func(_ wire.Call, in *continueRolloutIn) []string { return []string{in.ARN} })),
	}
}

type listRolloutsIn struct {
	page
	Service   string   `json:"service" required:"true"`
	Cluster   string   `json:"cluster,omitempty"`
	Status    []string `json:"status,omitempty"`
	CreatedAt *struct {
		Before *wire.Time `json:"before,omitempty"`
		After  *wire.Time `json:"after,omitempty"`
	} `json:"createdAt,omitempty"`
}

type listRolloutsOut struct {
	Deployments []rolloutBrief `json:"serviceDeployments"`
	NextToken   string         `json:"nextToken,omitempty"`
}

// rolloutBrief is ServiceDeploymentBrief.
type rolloutBrief struct {
	ARN        string    `json:"serviceDeploymentArn"`
	Service    string    `json:"serviceArn"`
	Cluster    string    `json:"clusterArn"`
	StartedAt  wire.Time `json:"startedAt,omitzero"`
	CreatedAt  wire.Time `json:"createdAt"`
	FinishedAt wire.Time `json:"finishedAt,omitzero"`
	Target     string    `json:"targetServiceRevisionArn"`
	Status     string    `json:"status"`
	Reason     string    `json:"statusReason,omitempty"`
}

// Limits of these operations (ECS API).
const (
	usualRollouts = 20
	mostRollouts  = 20 // described at once
	mostRevisions = 20
)

var rolloutStatuses = []string{"PENDING", "SUCCESSFUL", "STOPPED", "STOP_REQUESTED", "IN_PROGRESS", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"}

func (s *server) listServiceDeployments(ctx context.Context, c wire.Call, in *listRolloutsIn) (*listRolloutsOut, error) {
	r, name, err := s.serviceIn(ctx, c, in.Cluster, in.Service)
	if err != nil {
		return nil, err
	}
	var f service.RolloutFilter
	for _, status := range in.Status {
		if !slices.Contains(rolloutStatuses, status) {
			return nil, wire.Errorf(invalid, "status can contain %s only, not %.80s.", strings.Join(rolloutStatuses, ", "), status)
		}
		f.Status = append(f.Status, service.RolloutStatus(status))
	}
	if at := in.CreatedAt; at != nil {
		f.Before, f.After = timeOf(at.Before), timeOf(at.After)
	}
	limit, err := in.size(usualRollouts)
	if err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	v, err := s.Services.Named(ctx, r, name)
	if err != nil {
		return nil, serviceFault(err)
	}
	all, err := s.History.RolloutsOf(ctx, v.ID, f, limit+1, after)
	if err != nil {
		return nil, err
	}
	out := &listRolloutsOut{Deployments: []rolloutBrief{}}
	if len(all) > limit {
		all = all[:limit]
		out.NextToken = tokenOf(all[limit-1].ARN)
	}
	for _, d := range all {
		out.Deployments = append(out.Deployments, rolloutBrief{
			d.ARN, v.ARN(), v.Realm.ClusterARN(), wire.At(d.StartedAt), wire.At(d.CreatedAt), wire.At(d.FinishedAt), d.Target, string(d.Status), d.Reason,
		})
	}
	return out, nil
}

func timeOf(t *wire.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// after returns what the token of a page says was the last of the page before.
func (p page) after() (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(p.NextToken)
	last, ok := strings.CutPrefix(string(b), tokenMark)
	if err != nil || p.NextToken != "" && !ok {
		return "", wire.Errorf(invalid, "Invalid token.")
	}
	return last, nil
}

// tokenMark tells tokens of these lists from whatever else may be sent.
const tokenMark = "berth1-services:"

func tokenOf(last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenMark + last))
}

type describeRolloutsIn struct {
	ARNs []string `json:"serviceDeploymentArns" required:"true"`
}

type describeRolloutsOut struct {
	Deployments []rolloutShape `json:"serviceDeployments"`
	Failures    []Failure      `json:"failures"`
}

// rolloutShape is ServiceDeployment.
type rolloutShape struct {
	rolloutTimes
	ARN           string                  `json:"serviceDeploymentArn"`
	Service       string                  `json:"serviceArn"`
	Cluster       string                  `json:"clusterArn"`
	Source        []revisionSummary       `json:"sourceServiceRevisions"`
	Target        revisionSummary         `json:"targetServiceRevision"`
	Status        string                  `json:"status"`
	Reason        string                  `json:"statusReason,omitempty"`
	Stage         string                  `json:"lifecycleStage,omitempty"`
	Configuration deploymentConfiguration `json:"deploymentConfiguration"`
	Rollback      *rollbackShape          `json:"rollback,omitempty"`
	Breaker       breakerShape            `json:"deploymentCircuitBreaker"`
	Alarms        alarmsShape             `json:"alarms"`
}

type rolloutTimes struct {
	CreatedAt  wire.Time `json:"createdAt"`
	StartedAt  wire.Time `json:"startedAt,omitzero"`
	FinishedAt wire.Time `json:"finishedAt,omitzero"`
	StoppedAt  wire.Time `json:"stoppedAt,omitzero"`
	UpdatedAt  wire.Time `json:"updatedAt"`
}

// revisionSummary is ServiceRevisionSummary.
type revisionSummary struct {
	currentRevision
	Test       float64 `json:"requestedTestTrafficWeight"`
	Production float64 `json:"requestedProductionTrafficWeight"`
}

// rollbackShape is Rollback.
type rollbackShape struct {
	Reason    string    `json:"reason"`
	StartedAt wire.Time `json:"startedAt"`
	Revision  string    `json:"serviceRevisionArn"`
}

// breakerShape is ServiceDeploymentCircuitBreaker.
type breakerShape struct {
	Status    string `json:"status"`
	Failures  int    `json:"failureCount"`
	Threshold int    `json:"threshold"`
}

// alarmsShape is ServiceDeploymentAlarms.
type alarmsShape struct {
	Status string `json:"status"`
}

func (s *server) describeServiceDeployments(ctx context.Context, c wire.Call, in *describeRolloutsIn) (*describeRolloutsOut, error) {
	if err := arnsOf(in.ARNs, "service-deployment", mostRollouts); err != nil {
		return nil, err
	}
	found, err := s.History.Rollouts(ctx, owned(c, in.ARNs))
	if err != nil {
		return nil, err
	}
	out := &describeRolloutsOut{Deployments: []rolloutShape{}, Failures: []Failure{}}
	for _, ref := range in.ARNs {
		i := slices.IndexFunc(found, func(r service.Rollout) bool { return r.ARN == ref })
		if i < 0 {
			out.Failures = append(out.Failures, Failure{ARN: ref, Reason: missing})
			continue
		}
		v, err := s.History.Service(ctx, found[i].Service)
		if err != nil {
			return nil, err
		}
		d, err := s.Services.Describe(ctx, v)
		if err != nil {
			return nil, err
		}
		out.Deployments = append(out.Deployments, describeRollout(d, found[i]))
	}
	return out, nil
}

func describeRollout(d service.Described, r service.Rollout) rolloutShape {
	summary := func(arn string) revisionSummary {
		out := revisionSummary{currentRevision: currentRevision{ARN: arn}}
		for _, p := range d.Deployments {
			if p.Revision == arn {
				n := p.Count(d.Tasks)
				out.Running, out.Pending, out.Requested = n.Running, n.Pending, p.Wanted()
				if p.Rank == service.Primary {
					out.Requested = d.Desired
				}
			}
		}
		return out
	}
	out := rolloutShape{
		rolloutTimes: rolloutTimes{wire.At(r.CreatedAt), wire.At(r.StartedAt), wire.At(r.FinishedAt), wire.At(r.StoppedAt), wire.At(r.UpdatedAt)},
		ARN:          r.ARN, Service: d.ARN(), Cluster: d.Realm.ClusterARN(), Source: []revisionSummary{}, Target: summary(r.Target),
		Status: string(r.Status), Reason: r.Reason, Stage: r.Stage, Configuration: configurationOf(r.Configuration),
		Breaker: breakerShape{r.Monitor, r.Failures, r.Threshold}, Alarms: alarmsShape{"DISABLED"},
	}
	for _, arn := range r.Source {
		out.Source = append(out.Source, summary(arn))
	}
	if b := r.Rollback; b != nil {
		out.Rollback = &rollbackShape{b.Reason, wire.At(b.StartedAt), b.Revision}
	}
	return out
}

// arnsOf checks a list of ARNs of one kind.
func arnsOf(arns []string, kind string, most int) error {
	switch {
	case len(arns) == 0:
		return wire.Errorf(invalid, "The list of ARNs cannot be empty.")
	case len(arns) > most:
		return wire.Errorf(invalid, "The list of ARNs cannot have more than %d elements.", most)
	}
	for _, ref := range arns {
		if a, ok := parseARN(ref); !ok || a.kind != kind {
			return wire.Errorf(invalid, "Invalid identifier: %.200s is not the ARN of a %s.", ref, strings.ReplaceAll(kind, "-", " "))
		}
	}
	return nil
}

// owned returns those ARNs that are of the caller's account and region.
func owned(c wire.Call, arns []string) []string {
	var all []string
	for _, ref := range arns {
		if a, ok := parseARN(ref); ok && a.of(c.Realm()) {
			all = append(all, ref)
		}
	}
	return all
}

type describeRevisionsIn struct {
	ARNs []string `json:"serviceRevisionArns" required:"true"`
}

type describeRevisionsOut struct {
	Revisions []revisionShape `json:"serviceRevisions"`
	Failures  []Failure       `json:"failures"`
}

// revisionShape is ServiceRevision.
type revisionShape struct {
	ARN           string                `json:"serviceRevisionArn"`
	Service       string                `json:"serviceArn"`
	Cluster       string                `json:"clusterArn"`
	Definition    string                `json:"taskDefinition"`
	Strategy      []strategyItem        `json:"capacityProviderStrategy,omitempty"`
	LaunchType    string                `json:"launchType,omitempty"`
	Platform      string                `json:"platformVersion"`
	Family        string                `json:"platformFamily"`
	LoadBalancers []loadBalancer        `json:"loadBalancers"`
	Registries    []serviceRegistry     `json:"serviceRegistries"`
	Network       *networkConfiguration `json:"networkConfiguration,omitempty"`
	Images        []imageShape          `json:"containerImages"`
	GuardDuty     bool                  `json:"guardDutyEnabled"`
	Connect       *connectShape         `json:"serviceConnectConfiguration,omitempty"`
	CreatedAt     wire.Time             `json:"createdAt"`
}

// imageShape is ContainerImage.
type imageShape struct {
	Container string `json:"containerName"`
	Image     string `json:"image"`
}

func (s *server) describeServiceRevisions(ctx context.Context, c wire.Call, in *describeRevisionsIn) (*describeRevisionsOut, error) {
	if err := arnsOf(in.ARNs, "service-revision", mostRevisions); err != nil {
		return nil, err
	}
	found, err := s.History.Revisions(ctx, owned(c, in.ARNs))
	if err != nil {
		return nil, err
	}
	out := &describeRevisionsOut{Revisions: []revisionShape{}, Failures: []Failure{}}
	for _, ref := range in.ARNs {
		i := slices.IndexFunc(found, func(r service.Revision) bool { return r.ARN == ref })
		if i < 0 {
			out.Failures = append(out.Failures, Failure{ARN: ref, Reason: missing})
			continue
		}
		r, tm := found[i], found[i].Template
		one := revisionShape{
			ARN: r.ARN, Service: service.Service{Realm: r.Realm, Name: r.Name}.ARN(), Cluster: r.Realm.ClusterARN(), Definition: tm.Definition,
			LaunchType: tm.LaunchType, Platform: platformVersion, Family: "Linux", LoadBalancers: balancersOf(tm.LoadBalancers), Registries: registriesOf(tm.Registries),
			Network: networkOf(tm.Network), Images: []imageShape{}, Connect: connectOf(tm.ServiceConnect), CreatedAt: wire.At(r.CreatedAt),
		}
		if len(tm.Providers) > 0 {
			one.Strategy = strategy(tm.Providers)
		}
		for _, i := range r.Images {
			one.Images = append(one.Images, imageShape(i))
		}
		out.Revisions = append(out.Revisions, one)
	}
	return out, nil
}

type stopRolloutIn struct {
	ARN  string `json:"serviceDeploymentArn" required:"true"`
	Type string `json:"stopType,omitempty" enum:"ABORT,ROLLBACK"`
}

type rolloutOut struct {
	ARN string `json:"serviceDeploymentArn"`
}

func (s *server) stopServiceDeployment(ctx context.Context, c wire.Call, in *stopRolloutIn) (*rolloutOut, error) {
	if err := arnsOf([]string{in.ARN}, "service-deployment", 1); err != nil {
		return nil, err
	}
	if len(owned(c, []string{in.ARN})) == 0 {
		return nil, serviceFault(service.ErrNoRollout)
	}
	if in.Type == "ABORT" {
		return nil, wire.Errorf(unsupported, "The stop type ABORT is not supported: a service deployment can be stopped with ROLLBACK.")
	}
	if err := s.Services.StopRollout(ctx, in.ARN); err != nil {
		if e := as("ConflictException", err); !notFound(err) {
			return nil, e
		}
		return nil, serviceFault(err)
	}
	return &rolloutOut{in.ARN}, nil
}

type continueRolloutIn struct {
	ARN    string `json:"serviceDeploymentArn" required:"true"`
	Hook   string `json:"hookId" required:"true"`
	Action string `json:"action,omitempty" enum:"ROLLBACK,CONTINUE"`
}

// continueServiceDeployment finds no deployment that waits: Berth refuses lifecycle hooks.
func (s *server) continueServiceDeployment(ctx context.Context, c wire.Call, in *continueRolloutIn) (*rolloutOut, error) {
	if err := arnsOf([]string{in.ARN}, "service-deployment", 1); err != nil {
		return nil, err
	}
	found, err := s.History.Rollouts(ctx, owned(c, []string{in.ARN}))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, serviceFault(service.ErrNoRollout)
	}
	return nil, wire.Errorf(unsupported, "The service deployment has no lifecycle hook that waits: Berth has no lifecycle hooks of deployments.")
}

func (s *server) onListDeployments(ctx context.Context, c wire.Call, in *listRolloutsIn) ([]access.Action, error) {
	return s.onService(ctx, c, in.Cluster, in.Service, []task.Tag(nil))
}
