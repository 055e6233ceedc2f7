package autoscaling

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"berth/fault"
	"berth/scaling"
	"berth/server/aws/wire"
)

type metricSpec struct {
	Type  string `json:"PredefinedMetricType" required:"true"`
	Label string `json:"ResourceLabel,omitempty" min:"1" max:"1023"`
}

type tracking struct {
	Target     *float64        `json:"TargetValue" required:"true"`
	Predefined *metricSpec     `json:"PredefinedMetricSpecification,omitempty"`
	Customized json.RawMessage `json:"CustomizedMetricSpecification,omitempty"`
	Out        *int            `json:"ScaleOutCooldown,omitempty"`
	In         *int            `json:"ScaleInCooldown,omitempty"`
	DisableIn  *bool           `json:"DisableScaleIn,omitempty"`
}

type policyIn struct {
	Name string `json:"PolicyName" required:"true" min:"1" max:"256"`
	which
	Type       string          `json:"PolicyType" enum:"StepScaling,TargetTrackingScaling,PredictiveScaling"`
	Step       json.RawMessage `json:"StepScalingPolicyConfiguration"`
	Tracking   *tracking       `json:"TargetTrackingScalingPolicyConfiguration"`
	Predictive json.RawMessage `json:"PredictiveScalingPolicyConfiguration"`
}

type alarm struct {
	Name string `json:"AlarmName"`
	ARN  string `json:"AlarmARN"`
}

type policyOut struct {
	ARN    string  `json:"PolicyARN"`
	Alarms []alarm `json:"Alarms"`
}

// mostPolicies is how many policies a target has (Application Auto Scaling quotas).
const mostPolicies = 50

// tracked is the type of policies that there are.
const tracked = "TargetTrackingScaling"

func alarms(p scaling.Policy) []alarm {
	var all []alarm
	for _, a := range []scaling.Alarm{scaling.High, scaling.Low} {
		if a == scaling.Low && p.DisableScaleIn {
			continue
		}
		name, arn := p.Alarm(a)
		all = append(all, alarm{name, arn})
	}
	return all
}

func (s *service) putPolicy(ctx context.Context, c wire.Call, in *policyIn) (*policyOut, error) {
	r, err := in.which.in(c.Realm())
	if err != nil {
		return nil, err
	}
	if in.Type != "" && in.Type != tracked || in.Step != nil || in.Predictive != nil {
		return nil, fault.New(fault.Invalid, "Berth has no CloudWatch alarms, so policies can only be of the type %s, not %s", tracked, orStep(in.Type))
	}
	if in.Tracking == nil && in.Type == "" {
		return nil, fault.New(fault.Invalid, "The policy type StepScaling, which is meant if none is given, is not supported; use %s", tracked)
	}
	plans, err := s.Book.ScalingPlansOf(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	for _, p := range plans {
		if p.Target.Resource == r && len(p.Policies) >= mostPolicies && !slices.ContainsFunc(p.Policies, func(o scaling.Policy) bool { return o.Name == in.Name }) {
			return nil, fault.New(fault.Exhausted, "A scalable target can have %d scaling policies", mostPolicies)
		}
	}
	p, err := s.Book.EditScalingPolicy(ctx, r, in.Name, func(old *scaling.Policy) (scaling.Policy, error) {
		p := scaling.Policy{Resource: r, Name: in.Name, CreatedAt: s.Now()}
		if old != nil {
			p = *old
			if in.Tracking == nil { // Nothing about it changes.
				return p, nil
			}
		} else {
			p.ID = s.NewID()
		}
		return in.Tracking.apply(p)
	})
	if err != nil {
		return nil, err
	}
	return &policyOut{p.ARN(), alarms(p)}, nil
}

func orStep(kind string) string {
	if kind == "" {
		return "StepScaling"
	}
	return kind
}

// apply returns p as t wants it.
func (t *tracking) apply(p scaling.Policy) (scaling.Policy, error) {
	switch {
	case t == nil:
		return p, fault.New(fault.Invalid, "TargetTrackingScalingPolicyConfiguration must be given")
	case t.Customized != nil || t.Predefined == nil:
		return p, fault.New(fault.Invalid, "Berth measures no metrics but its own: give a PredefinedMetricSpecification")
	case t.Predefined.Type != string(scaling.CPU) && t.Predefined.Type != string(scaling.Memory):
		return p, fault.New(fault.Invalid, "PredefinedMetricType can be %s or %s, not %s", scaling.CPU, scaling.Memory, t.Predefined.Type)
	case t.Predefined.Label != "":
		return p, fault.New(fault.Invalid, "ResourceLabel can only be given for ALBRequestCountPerTarget")
	case !(*t.Target > 0 && *t.Target <= 100_000):
		return p, fault.New(fault.Invalid, "TargetValue is a percentage above 0, not %v", *t.Target)
	}
	p.Metric, p.Target = scaling.Metric(t.Predefined.Type), *t.Target
	p.DisableScaleIn = t.DisableIn != nil && *t.DisableIn
	p.Out, p.In = nil, nil
	for _, each := range []struct {
		from *int
		to   **time.Duration
	}{{t.Out, &p.Out}, {t.In, &p.In}} {
		if each.from == nil {
			continue
		}
		if *each.from < 0 || *each.from > 24*3600 {
			return p, fault.New(fault.Invalid, "A cooldown is from 0 to 86400 seconds, not %d", *each.from)
		}
		d := time.Duration(*each.from) * time.Second
		*each.to = &d
	}
	return p, nil
}

type deletePolicyIn struct {
	Name string `json:"PolicyName" required:"true" min:"1" max:"1600"`
	which
}

func (s *service) deletePolicy(ctx context.Context, c wire.Call, in *deletePolicyIn) (*wire.None, error) {
	r, err := in.which.in(c.Realm())
	if err != nil {
		return nil, err
	}
	return nil, s.Book.RemoveScalingPolicy(ctx, r, in.Name)
}

type policiesIn struct {
	listIn
	Resource string   `json:"ResourceId" max:"1600"`
	Names    []string `json:"PolicyNames" max:"50"`
}

type policy struct {
	ARN       string    `json:"PolicyARN"`
	Name      string    `json:"PolicyName"`
	Namespace string    `json:"ServiceNamespace"`
	Resource  string    `json:"ResourceId"`
	Dimension string    `json:"ScalableDimension"`
	Type      string    `json:"PolicyType"`
	Tracking  tracking  `json:"TargetTrackingScalingPolicyConfiguration"`
	Alarms    []alarm   `json:"Alarms"`
	Created   wire.Time `json:"CreationTime"`
}

type policiesOut struct {
	Policies []policy `json:"ScalingPolicies"`
	Next     string   `json:"NextToken,omitempty"`
}

func (s *service) policies(ctx context.Context, c wire.Call, in *policiesIn) (*policiesOut, error) {
	if err := only(in.Namespace, in.Dimension); err != nil {
		return nil, err
	}
	plans, err := s.Book.ScalingPlansOf(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	var all []policy
	for _, plan := range plans {
		for _, p := range plan.Policies {
			if in.Resource != "" && in.Resource != p.Resource.ID() || len(in.Names) > 0 && !slices.Contains(in.Names, p.Name) {
				continue
			}
			t := tracking{Target: &p.Target, Predefined: &metricSpec{Type: string(p.Metric)}, Out: seconds(p.Out), In: seconds(p.In), DisableIn: &p.DisableScaleIn}
			all = append(all, policy{p.ARN(), p.Name, scaling.Namespace, p.Resource.ID(), scaling.Dimension, tracked, t, alarms(p), wire.At(p.CreatedAt)})
		}
	}
	var out policiesOut
	out.Policies, out.Next, err = cut(in.page, all)
	return &out, err
}

func seconds(d *time.Duration) *int {
	if d == nil {
		return nil
	}
	n := int(*d / time.Second)
	return &n
}

type activitiesIn struct {
	listIn
	Resource  string `json:"ResourceId" max:"1600"`
	NotScaled *bool  `json:"IncludeNotScaledActivities"`
}

type activity struct {
	ID          string    `json:"ActivityId"`
	Namespace   string    `json:"ServiceNamespace"`
	Resource    string    `json:"ResourceId"`
	Dimension   string    `json:"ScalableDimension"`
	Description string    `json:"Description"`
	Cause       string    `json:"Cause"`
	Start       wire.Time `json:"StartTime"`
	End         wire.Time `json:"EndTime,omitzero"`
	Status      string    `json:"StatusCode"`
	Message     string    `json:"StatusMessage,omitempty"`
}

type activitiesOut struct {
	Activities []activity `json:"ScalingActivities"`
	Next       string     `json:"NextToken,omitempty"`
}

func (s *service) activities(ctx context.Context, c wire.Call, in *activitiesIn) (*activitiesOut, error) {
	if err := only(in.Namespace, in.Dimension); err != nil {
		return nil, err
	}
	before, err := in.from()
	if err != nil {
		return nil, err
	}
	all, next, err := s.Book.ScalingActivities(ctx, c.Realm(), in.Resource, before, in.limit())
	if err != nil {
		return nil, err
	}
	out := activitiesOut{Activities: []activity{}, Next: token(next)}
	for _, a := range all {
		out.Activities = append(out.Activities, activity{
			a.ID, scaling.Namespace, a.Resource.ID(), scaling.Dimension, a.Description(), a.Cause, wire.At(a.Start), wire.At(a.End), string(a.Status), a.Message,
		})
	}
	return &out, nil
}
