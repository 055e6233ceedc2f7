package autoscaling

import (
	"context"
	"slices"
	"strings"

	"berth/fault"
	"berth/scaling"
	"berth/server/aws/wire"
	"berth/task"
)

type suspended struct {
	In        *bool `json:"DynamicScalingInSuspended,omitempty"`
	Out       *bool `json:"DynamicScalingOutSuspended,omitempty"`
	Scheduled *bool `json:"ScheduledScalingSuspended,omitempty"`
}

type targetIn struct{ which }

type registerIn struct {
	which
	Min       *int              `json:"MinCapacity"`
	Max       *int              `json:"MaxCapacity"`
	Role      string            `json:"RoleARN" max:"1600"`
	Suspended *suspended        `json:"SuspendedState"`
	Tags      map[string]string `json:"Tags"`
}

type registerOut struct {
	ARN string `json:"ScalableTargetARN"`
}

// mostTags is how many tags a target has (Application Auto Scaling API, TagResource).
const mostTags = 50

// register makes a target, or changes what is named of it.
func (s *service) register(ctx context.Context, c wire.Call, in *registerIn) (*registerOut, error) {
	r, err := in.which.in(c.Realm())
	if err != nil {
		return nil, err
	}
	if _, err := s.Services.Desired(ctx, r); fault.KindOf(err) == fault.NotFound {
		return nil, fault.New(fault.Invalid, "ECS service doesn't exist: %s", r.ID())
	} else if err != nil {
		return nil, err
	}
	t, err := s.Book.EditScalableTarget(ctx, r, func(old *scaling.Target) (scaling.Target, error) {
		if old != nil {
			if len(in.Tags) > 0 {
				return scaling.Target{}, fault.New(fault.Invalid, "Tags can only be given when a scalable target is registered; use TagResource")
			}
			return in.apply(*old)
		}
		if in.Min == nil || in.Max == nil {
			return scaling.Target{}, fault.New(fault.Invalid, "MinCapacity and MaxCapacity must be given when a scalable target is registered")
		}
		t := scaling.Target{Resource: r, ID: strings.ReplaceAll(s.NewID(), "-", ""), CreatedAt: s.Now(), Tags: in.Tags,
			RoleARN: "arn:aws:iam::" + r.Realm.Account + ":role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"}
		return in.apply(t)
	})
	if err != nil {
		return nil, err
	}
	return &registerOut{t.ARN()}, nil
}

// apply returns t as in wants it.
func (in *registerIn) apply(t scaling.Target) (scaling.Target, error) {
	if in.Min != nil {
		t.Min = *in.Min
	}
	if in.Max != nil {
		t.Max = *in.Max
	}
	if in.Role != "" {
		t.RoleARN = in.Role
	}
	if p := in.Suspended; p != nil {
		for _, each := range []struct {
			from *bool
			to   *bool
		}{{p.In, &t.Suspended.In}, {p.Out, &t.Suspended.Out}, {p.Scheduled, &t.Suspended.Scheduled}} {
			if each.from != nil {
				*each.to = *each.from
			}
		}
	}
	switch {
	case t.Min < 0 || t.Max < 0:
		return t, fault.New(fault.Invalid, "Minimum and maximum capacity must not be negative")
	case t.Min > t.Max:
		return t, fault.New(fault.Invalid, "Maximum capacity cannot be less than minimum capacity")
	}
	return t, checkTags(t.Tags)
}

func (s *service) deregister(ctx context.Context, c wire.Call, in *targetIn) (*wire.None, error) {
	r, err := in.which.in(c.Realm())
	if err != nil {
		return nil, err
	}
	return nil, s.Book.DeregisterScalableTarget(ctx, r)
}

// listIn selects targets.
type listIn struct {
	Namespace string `json:"ServiceNamespace" required:"true"`
	Dimension string `json:"ScalableDimension"`
	page
}

type targetsIn struct {
	listIn
	Resources []string `json:"ResourceIds" max:"50"`
}

type target struct {
	Namespace string    `json:"ServiceNamespace"`
	Resource  string    `json:"ResourceId"`
	Dimension string    `json:"ScalableDimension"`
	Min       int       `json:"MinCapacity"`
	Max       int       `json:"MaxCapacity"`
	Role      string    `json:"RoleARN"`
	Created   wire.Time `json:"CreationTime"`
	Suspended suspended `json:"SuspendedState"`
	ARN       string    `json:"ScalableTargetARN"`
}

type targetsOut struct {
	Targets []target `json:"ScalableTargets"`
	Next    string   `json:"NextToken,omitempty"`
}

func (s *service) targets(ctx context.Context, c wire.Call, in *targetsIn) (*targetsOut, error) {
	if err := only(in.Namespace, in.Dimension); err != nil {
		return nil, err
	}
	plans, err := s.Book.ScalingPlansOf(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	var all []target
	for _, p := range plans {
		t := p.Target
		if len(in.Resources) > 0 && !slices.Contains(in.Resources, t.Resource.ID()) {
			continue
		}
		all = append(all, target{
			scaling.Namespace, t.Resource.ID(), scaling.Dimension, t.Min, t.Max, t.RoleARN, wire.At(t.CreatedAt),
			suspended{&t.Suspended.In, &t.Suspended.Out, &t.Suspended.Scheduled}, t.ARN(),
		})
	}
	var out targetsOut
	out.Targets, out.Next, err = cut(in.page, all)
	return &out, err
}

type tagIn struct {
	ARN  string            `json:"ResourceARN" required:"true" min:"1" max:"1011"`
	Tags map[string]string `json:"Tags" required:"true"`
}

type untagIn struct {
	ARN  string   `json:"ResourceARN" required:"true" min:"1" max:"1011"`
	Keys []string `json:"TagKeys" required:"true" max:"200"`
}

type tagsIn struct {
	ARN string `json:"ResourceARN" required:"true" min:"1" max:"1011"`
}

type tagsOut struct {
	Tags map[string]string `json:"Tags"`
}

// byARN returns the target of that ARN.
func (s *service) byARN(ctx context.Context, in task.Realm, arn string) (scaling.Target, error) {
	plans, err := s.Book.ScalingPlansOf(ctx, in)
	if err != nil {
		return scaling.Target{}, err
	}
	for _, p := range plans {
		if p.Target.ARN() == arn {
			return p.Target, nil
		}
	}
	return scaling.Target{}, &wire.Error{Code: "ResourceNotFoundException", Message: "The specified resource doesn't exist: " + arn, Members: map[string]any{"ResourceName": arn}}
}

// retag changes the tags of a target.
func (s *service) retag(ctx context.Context, c wire.Call, arn string, f func(tags map[string]string)) error {
	t, err := s.byARN(ctx, c.Realm(), arn)
	if err != nil {
		return err
	}
	_, err = s.Book.EditScalableTarget(ctx, t.Resource, func(old *scaling.Target) (scaling.Target, error) {
		if old == nil || old.ID != t.ID {
			return t, fault.New(fault.NotFound, "The scalable target is gone")
		}
		tags := make(map[string]string)
		for key, v := range old.Tags {
			tags[key] = v
		}
		f(tags)
		next := *old
		next.Tags = tags
		return next, checkTags(tags)
	})
	return err
}

func checkTags(tags map[string]string) error {
	if len(tags) > mostTags {
		return &wire.Error{Code: "TooManyTagsException", Message: "A scalable target can have 50 tags"}
	}
	for key, v := range tags {
		if err := task.ValidateTags([]task.Tag{{Key: key, Value: v}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) tag(ctx context.Context, c wire.Call, in *tagIn) (*wire.None, error) {
	return nil, s.retag(ctx, c, in.ARN, func(tags map[string]string) {
		for key, v := range in.Tags {
			tags[key] = v
		}
	})
}

func (s *service) untag(ctx context.Context, c wire.Call, in *untagIn) (*wire.None, error) {
	return nil, s.retag(ctx, c, in.ARN, func(tags map[string]string) {
		for _, key := range in.Keys {
			delete(tags, key)
		}
	})
}

func (s *service) tags(ctx context.Context, c wire.Call, in *tagsIn) (*tagsOut, error) {
	t, err := s.byARN(ctx, c.Realm(), in.ARN)
	if err != nil {
		return nil, err
	}
	if t.Tags == nil {
		t.Tags = map[string]string{}
	}
	return &tagsOut{t.Tags}, nil
}
