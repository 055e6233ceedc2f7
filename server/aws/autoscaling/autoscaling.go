// Package autoscaling is Application Auto Scaling's API over package scaling: services of
// ECS, by target tracking.
package autoscaling

import (
	"context"
	"encoding/base64"
	"strconv"
	"time"

	"berth/access"
	"berth/fault"
	"berth/scaling"
	"berth/server/aws/wire"
	"berth/task"
)

// Book keeps targets, policies and activities. What it does not find is fault.NotFound.
type Book interface {
	EditScalableTarget(ctx context.Context, r scaling.Resource, f func(old *scaling.Target) (scaling.Target, error)) (scaling.Target, error)
	DeregisterScalableTarget(ctx context.Context, r scaling.Resource) error
	EditScalingPolicy(ctx context.Context, r scaling.Resource, name string, f func(old *scaling.Policy) (scaling.Policy, error)) (scaling.Policy, error)
	RemoveScalingPolicy(ctx context.Context, r scaling.Resource, name string) error
	ScalingPlansOf(ctx context.Context, in task.Realm) ([]scaling.Plan, error)
	ScalingActivities(ctx context.Context, in task.Realm, resource string, before int64, limit int) (all []scaling.Activity, next int64, err error)
}

// Services knows services.
type Services interface {
	// Desired returns how many tasks a service wants, or fault.NotFound.
	Desired(ctx context.Context, r scaling.Resource) (int, error)
}

// Config is what New needs. All fields are required.
type Config struct {
	Book     Book
	Services Services
	Now      func() time.Time
	NewID    func() string // a UUID
}

type service struct{ Config }

// New returns the service.
func New(c Config) wire.Service {
	s := &service{c}
	return wire.Service{
		Name: "application-autoscaling", Protocol: wire.JSON, Target: "AnyScaleFrontendService", Version: "1.1",
		Invalid: "ValidationException", Code: code,
		Operations: []wire.Operation{
			wire.Op("RegisterScalableTarget", s.register, on[registerIn]()),
			wire.Op("DeregisterScalableTarget", s.deregister, on[targetIn]()),
			wire.Op("DescribeScalableTargets", s.targets),
			wire.Op("PutScalingPolicy", s.putPolicy, on[policyIn]()),
			wire.Op("DeleteScalingPolicy", s.deletePolicy, on[deletePolicyIn]()),
			wire.Op("DescribeScalingPolicies", s.policies),
			wire.Op("DescribeScalingActivities", s.activities),
			wire.Op("PutScheduledAction", s.putScheduled),
			wire.Op("DeleteScheduledAction", s.deleteScheduled),
			wire.Op("DescribeScheduledActions", s.scheduled),
			wire.Op("GetPredictiveScalingForecast", s.forecast),
			wire.Op("TagResource", s.tag),
			wire.Op("UntagResource", s.untag),
			wire.Op("ListTagsForResource", s.tags),
		},
	}
}

// code has the service's own words for faults.
func code(err error) (string, int) {
	switch fault.KindOf(err) {
	case fault.NotFound:
		return "ObjectNotFoundException", 400
	case fault.Conflict:
		return "ConcurrentUpdateException", 500
	case fault.Exhausted:
		return "LimitExceededException", 400
	case fault.Internal:
		return "InternalServiceException", 500
	}
	return "", 0
}

// which names a scalable target.
type which struct {
	Namespace string `json:"ServiceNamespace" required:"true" enum:"ecs,elasticmapreduce,ec2,appstream,dynamodb,rds,sagemaker,custom-resource,comprehend,lambda,cassandra,kafka,elasticache,neptune,workspaces"`
	Resource  string `json:"ResourceId" required:"true" min:"1" max:"1600"`
	Dimension string `json:"ScalableDimension" required:"true"`
}

func (w which) named() which { return w }

// in returns the resource that w names.
func (w which) in(realm task.Realm) (scaling.Resource, error) {
	if err := only(w.Namespace, w.Dimension); err != nil {
		return scaling.Resource{}, err
	}
	r, ok := scaling.ParseResource(realm, w.Resource)
	if !ok {
		return r, fault.New(fault.Invalid, "Unsupported service namespace, resource type or scalable dimension: a service is service/CLUSTER/NAME, not %s", w.Resource)
	}
	return r, nil
}

// only refuses what is not a service's count. An empty dimension is any.
func only(namespace, dimension string) error {
	if namespace != scaling.Namespace || dimension != "" && dimension != scaling.Dimension {
		return fault.New(fault.Invalid, "Unsupported service namespace, resource type or scalable dimension: Berth scales %s of %s and nothing else", scaling.Dimension, scaling.Namespace)
	}
	return nil
}

// on says for policies which service a call is about.
func on[In any, P interface {
	*In
	named() which
}]() wire.Option {
	return wire.On(func(_ context.Context, c wire.Call, in *In) ([]access.Action, error) {
		r, err := P(in).named().in(c.Realm())
		if err != nil {
			return nil, nil // The operation says what is wrong.
		}
		return []access.Action{{Resource: "*", Context: map[string][]string{
			"application-autoscaling:service-namespace":  {scaling.Namespace},
			"application-autoscaling:scalable-dimension": {scaling.Dimension},
			"ecs:service": {"arn:aws:ecs:" + r.Realm.Region + ":" + r.Realm.Account + ":" + r.ID()},
		}}}, nil
	})
}

// page is how much of a list somebody wants.
type page struct {
	Max   *int   `json:"MaxResults" min:"1" max:"50"`
	Token string `json:"NextToken"`
}

// most is how many are returned if nobody says (Application Auto Scaling API, MaxResults).
const most = 50

func (p page) limit() int {
	if p.Max != nil {
		return *p.Max
	}
	return most
}

// from returns the position that the page begins at.
func (p page) from() (int64, error) {
	if p.Token == "" {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(p.Token)
	if err == nil {
		var n int64
		if n, err = strconv.ParseInt(string(text), 10, 64); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, wire.Errorf("InvalidNextTokenException", "The next token is not valid")
}

func token(n int64) string {
	if n == 0 {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(n, 10)))
}

// cut returns p's part of all, and the token of the next one.
func cut[T any](p page, all []T) ([]T, string, error) {
	from, err := p.from()
	if err != nil {
		return nil, "", err
	}
	from = min(from, int64(len(all)))
	to := min(from+int64(p.limit()), int64(len(all)))
	next := ""
	if to < int64(len(all)) {
		next = token(to)
	}
	return append([]T{}, all[from:to]...), next, nil
}
