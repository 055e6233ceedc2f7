package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"berth/fault"
	"berth/task"
)

// Request is the wish for a service: the CreateService request of the ECS API as far as it
// concerns Fargate.
type Request struct {
	Realm         task.Realm
	Name          string
	Definition    string // family, family:revision or ARN; empty for EXTERNAL
	Desired       int
	Controller    Controller
	Template      // but Definition
	Configuration ConfigurationChange
	Grace         int
	Tags          []task.Tag
	ManagedTags   bool
	Propagate     string
	Exec          bool
	Rebalancing   string
	Token         string `json:"-"` // at most 36 visible ASCII characters
	CreatedBy     string `json:"-"`
}

// ConfigurationChange is what is to be another than it is.
type ConfigurationChange struct {
	MinimumHealthy, Maximum          *int
	Enable, Rollback, ResetOnHealthy *bool
	Type                             *ThresholdType
	Value                            *int
}

// apply returns c with what is said.
func (ch ConfigurationChange) apply(c Configuration) Configuration {
	set(&c.MinimumHealthy, ch.MinimumHealthy)
	set(&c.Maximum, ch.Maximum)
	set(&c.Breaker.Enable, ch.Enable)
	set(&c.Breaker.Rollback, ch.Rollback)
	set(&c.Breaker.ResetOnHealthy, ch.ResetOnHealthy)
	set(&c.Breaker.Type, ch.Type)
	set(&c.Breaker.Value, ch.Value)
	return c
}

func set[T any](v *T, to *T) {
	if to != nil {
		*v = *to
	}
}

// Limits of a service (ECS API; Amazon ECS service quotas).
const (
	MaxDesired    = 5000
	maxBalancers  = 5
	maxRegistries = 1
	maxToken      = 36
	maxGrace      = 1<<31 - 1
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// notIdempotent is AWS's word for a service that is there already.
func notIdempotent() error {
	return fault.At("serviceName", "Creation of service was not idempotent.")
}

// Create makes a service. When it returns its tasks will run, even if the process dies right
// after. A token and request that made a service return that one; a name that is in use is
// fault.Invalid, as are the other things that are wrong with a request, with the field.
func (s *Scheduler) Create(ctx context.Context, r Request) (Service, error) {
	if r.Controller == "" {
		r.Controller = ECS
	}
	hash, err := hashOf(r)
	if err != nil {
		return Service{}, err
	}
	if err := r.validate(); err != nil {
		return Service{}, err
	}
	switch old, err := s.Book.ServiceNamed(ctx, r.Realm, r.Name); {
	case fault.KindOf(err) == fault.NotFound && err != nil:
	case err != nil:
		return Service{}, err
	case old.Status == Draining:
		return Service{}, fault.At("serviceName", "Unable to Start a service that is still Draining.")
	case old.Status == Active && r.Token != "" && old.Token == r.Token && old.Hash == hash:
		return old, nil
	case old.Status == Active:
		return Service{}, notIdempotent()
	}
	now := s.Now()
	v := Service{
		ID: ID(s.NewID()), Realm: r.Realm, Name: r.Name, Status: Active, Desired: r.Desired, Controller: r.Controller,
		Template: r.Template, Configuration: r.Configuration.apply(Default()), Grace: r.Grace, Tags: r.Tags,
		ManagedTags: r.ManagedTags, Propagate: r.Propagate, Exec: r.Exec, Rebalancing: r.Rebalancing,
		CreatedAt: now, CreatedBy: r.CreatedBy, Token: r.Token, Hash: hash,
	}
	d := &draft{Service: v, world: world{now: now}, newID: s.NewID, changed: true}
	d.Version = 0
	var news News
	if v.Controller == ECS {
		tm := r.Template
		tm.Definition = r.Definition
		revision, err := s.deploy(ctx, d, tm)
		if err != nil {
			return Service{}, err
		}
		news.Revisions = []Revision{revision}
	}
	if err := s.write(ctx, d, news); err != nil {
		if errors.Is(err, ErrStale) { // Somebody made one of that name at the same time.
			return Service{}, notIdempotent()
		}
		return Service{}, err
	}
	select {
	case s.fresh <- v.ID:
	case <-ctx.Done(): // The next Run finds it.
	}
	return d.Service, nil
}

// write writes a draft that a request made.
func (s *Scheduler) write(ctx context.Context, d *draft, n News) error {
	d.Version++
	n.Events, n.Rollouts = d.events, d.ended
	if d.Rollout != nil {
		n.Rollouts = append(n.Rollouts, *d.Rollout)
	}
	if err := s.Book.PutService(ctx, d.Service, n); err != nil {
		return err
	}
	s.rouse(d.key())
	return nil
}

func hashOf(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode request: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// validate reports the first thing wrong with r that does not depend on its definition.
func (r Request) validate() error {
	switch {
	case r.Name == "":
		return fault.At("serviceName", "Service name cannot be empty.")
	case !nameForm.MatchString(r.Name):
		return fault.At("serviceName", "Service name must contain only letters, numbers, hyphens and underscores and have at most 255 of them.")
	case r.Controller != ECS && r.Controller != External:
		return fault.At("deploymentController.type", "must be one of ECS, EXTERNAL, not %q", r.Controller)
	case r.Controller == External && r.Definition != "":
		return fault.At("taskDefinition", "TaskDefinition must be blank")
	case r.Controller == ECS && r.Definition == "":
		return fault.At("taskDefinition", "TaskDefinition can not be blank.")
	case badToken(r.Token):
		return fault.At("clientToken", "has at most %d visible ASCII characters", maxToken)
	}
	if err := validateCount(r.Desired); err != nil {
		return err
	}
	if err := validateRest(r.Grace, r.Propagate, r.Rebalancing, r.Template); err != nil {
		return err
	}
	if err := task.ValidateTags(r.Tags); err != nil {
		return err
	}
	return r.Configuration.apply(Default()).Validate()
}

func badToken(t string) bool {
	return len(t) > maxToken || slices.ContainsFunc([]byte(t), func(c byte) bool { return c < 33 || c > 126 })
}

func validateCount(n int) error {
	if n < 0 || n > MaxDesired {
		return fault.At("desiredCount", "must be from 0 to %d, not %d", MaxDesired, n)
	}
	return nil
}

func validateRest(grace int, propagate, rebalancing string, tm Template) error {
	switch {
	case grace < 0 || grace > maxGrace:
		return fault.At("healthCheckGracePeriodSeconds", "must be from 0 to %d, not %d", maxGrace, grace)
	case propagate != PropagateNone && propagate != PropagateService && propagate != PropagateDefinition:
		return fault.At("propagateTags", "must be one of SERVICE, TASK_DEFINITION, NONE, not %q", propagate)
	case rebalancing != "ENABLED" && rebalancing != "DISABLED":
		return fault.At("availabilityZoneRebalancing", "must be one of ENABLED, DISABLED, not %q", rebalancing)
	case len(tm.LoadBalancers) > maxBalancers:
		return fault.At("loadBalancers", "load balancers can have at most %d items", maxBalancers)
	case len(tm.Registries) > maxRegistries:
		return fault.At("serviceRegistries", "service registries can have at most %d items", maxRegistries)
	}
	for i, r := range tm.Registries {
		if r.ARN == "" {
			return fault.At(fmt.Sprintf("serviceRegistries[%d].registryArn", i), "should not be null or empty.")
		}
	}
	if c := tm.ServiceConnect; c != nil && c.Enabled {
		for i, p := range c.Services {
			if p.PortName == "" {
				return fault.At(fmt.Sprintf("serviceConnectConfiguration.services[%d].portName", i), "should not be null or empty.")
			}
			if len(p.ClientAliases) > 1 {
				return fault.At(fmt.Sprintf("serviceConnectConfiguration.services[%d].clientAliases", i), "has at most 1 item")
			}
		}
	}
	return nil
}

// resolve returns tm with the ARN of its definition, if a task can be made from it.
func (s *Scheduler) resolve(ctx context.Context, v Service, tm Template) (Template, task.Definition, error) {
	if tm.Network == nil || len(tm.Network.AWSVPC.Subnets) == 0 && tm.Network.AWSVPC.AssignPublicIP == "" && len(tm.Network.AWSVPC.SecurityGroups) == 0 {
		return tm, task.Definition{}, fault.At("networkConfiguration", "Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	}
	switch tm.Platform {
	case "", "LATEST", "1.4.0":
	default:
		return tm, task.Definition{}, fault.Wrap(fault.Invalid, ErrPlatform, "The specified platform version (%s) does not exist.", tm.Platform)
	}
	run := v.run("ecs-svc/0", tm, Member{})
	run.Token = ""
	run.Providers, run.LaunchType = tm.Providers, tm.LaunchType
	def, _, err := s.Tasks.Preview(ctx, run)
	if err != nil && fault.KindOf(err) != fault.Exhausted { // A host may grow.
		return tm, def, err
	}
	if def.Status != task.Active {
		return tm, def, fault.At("taskDefinition", "TaskDefinition is inactive")
	}
	if v.Exec && def.TaskRoleARN == "" {
		return tm, def, fault.At("enableExecuteCommand", "The service couldn't be created or updated because a valid taskRoleArn is not being used. "+
			"Specify a valid task role in your task definition and try again.")
	}
	if err := def.CheckLoadBalancers(tm.LoadBalancers); err != nil {
		return tm, def, err
	}
	if tm.ServiceConnect != nil {
		for i, p := range tm.ServiceConnect.Services {
			if !hasPort(def, p.PortName) {
				return tm, def, fault.At(fmt.Sprintf("serviceConnectConfiguration.services[%d].portName", i),
					"The portName '%s' is not defined in any container's portMappings in the task definition.", p.PortName)
			}
		}
	}
	tm.Definition = def.ARN
	return tm, def, nil
}

// ErrPlatform is the cause of an error about a platform version that there is none of.
var ErrPlatform = fault.New(fault.Invalid, "no such platform version")

func hasPort(def task.Definition, name string) bool {
	return slices.ContainsFunc(def.ContainerDefinitions, func(c task.ContainerDefinition) bool {
		return slices.ContainsFunc(c.PortMappings, func(p task.PortMapping) bool { return p.Name == name })
	})
}

// deploy adds a new primary deployment to a draft, and returns its revision.
func (s *Scheduler) deploy(ctx context.Context, d *draft, tm Template) (Revision, error) {
	tm, def, err := s.resolve(ctx, d.Service, tm)
	if err != nil {
		return Revision{}, err
	}
	prefix := d.Realm.Cluster + "/" + d.Name + "/"
	number := s.NewNumber()
	r := Revision{
		ARN: arn(d.Realm, "service-revision", prefix+number), Service: d.ID, Realm: d.Realm, Name: d.Name, Template: tm,
		CreatedAt: d.now,
	}
	for _, c := range def.ContainerDefinitions {
		r.Images = append(r.Images, Image{Container: c.Name, Image: c.Image})
	}
	var source []string
	for i := range d.Deployments {
		d.Deployments[i].Rank = Secondary
		source = append(source, d.Deployments[i].Revision)
	}
	p := Deployment{
		ID: "ecs-svc/" + number, Rank: Primary, Template: tm, Revision: r.ARN, State: InProgress, HealthChecked: healthChecked(def),
		DefinitionTags: def.Tags, CreatedAt: d.now, UpdatedAt: d.now,
	}
	p.Reason = inProgressText(p.ID)
	d.Deployments = slices.Insert(d.Deployments, 0, p)
	d.Template, d.Steady = tm, false
	if old := d.Rollout; old != nil && !old.Status.Ended() {
		old.Status, old.Reason, old.StoppedAt, old.FinishedAt, old.UpdatedAt = RolloutStopped, replacedText, d.now, d.now, d.now
		d.ended = append(d.ended, *old)
	}
	monitor := monitorDisabled
	if d.Configuration.Breaker.Enable {
		monitor = monitoring
	}
	d.Rollout = &Rollout{
		ARN: arn(d.Realm, "service-deployment", prefix+s.NewID()[:rolloutIDLength]), Service: d.ID, Deployment: p.ID, Source: source, Target: r.ARN,
		Status: RolloutPending, Stage: stageReconcile, CreatedAt: d.now, UpdatedAt: d.now, Configuration: d.Configuration,
		Monitor: monitor, Threshold: d.Configuration.Breaker.Threshold(d.Desired),
	}
	return r, nil
}

// healthChecked reports whether an essential container of d has a health check.
func healthChecked(d task.Definition) bool {
	return slices.ContainsFunc(d.ContainerDefinitions, func(c task.ContainerDefinition) bool {
		none := c.HealthCheck == nil || len(c.HealthCheck.Command) > 0 && c.HealthCheck.Command[0] == "NONE"
		return !none && (c.Essential == nil || *c.Essential)
	})
}
