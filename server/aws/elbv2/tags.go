package elbv2

import (
	"context"
	"slices"
	"strings"

	"berth/balancer"
	"berth/server/aws/wire"
	"berth/task"
)

type describeTagsIn struct {
	ResourceArns []string `json:"ResourceArns" required:"true" max:"20"`
}

type addTagsIn struct {
	ResourceArns []string `json:"ResourceArns" required:"true"`
	Tags         []tag    `json:"Tags" required:"true"`
}

type removeTagsIn struct {
	ResourceArns []string `json:"ResourceArns" required:"true"`
	TagKeys      []string `json:"TagKeys" required:"true"`
}

type tagged struct {
	ResourceArn string    `xml:"ResourceArn"`
	Tags        list[tag] `xml:"Tags"`
}

type describeTagsOut struct {
	TagDescriptions list[tagged] `xml:"TagDescriptions"`
}

func (s *server) describeTags(ctx context.Context, c wire.Call, in *describeTagsIn) (*describeTagsOut, error) {
	out := &describeTagsOut{}
	for _, arn := range in.ResourceArns {
		tags, err := s.retag(ctx, c.Realm(), arn, nil)
		if err != nil {
			return nil, err
		}
		out.TagDescriptions.add(tagged{arn, listOf(tagsOut(tags)...)})
	}
	return out, nil
}

func (s *server) addTags(ctx context.Context, c wire.Call, in *addTagsIn) (*wire.None, error) {
	return nil, s.retagAll(ctx, c.Realm(), in.ResourceArns, func(tags []task.Tag) []task.Tag {
		for _, t := range in.Tags {
			tags = append(slices.DeleteFunc(tags, func(known task.Tag) bool { return known.Key == t.Key }), task.Tag(t))
		}
		return tags
	})
}

func (s *server) removeTags(ctx context.Context, c wire.Call, in *removeTagsIn) (*wire.None, error) {
	return nil, s.retagAll(ctx, c.Realm(), in.ResourceArns, func(tags []task.Tag) []task.Tag {
		return slices.DeleteFunc(tags, func(known task.Tag) bool { return slices.Contains(in.TagKeys, known.Key) })
	})
}

// maxTags is how many tags a thing can have (Elastic Load Balancing API, AddTags).
const maxTags = 50

func (s *server) retagAll(ctx context.Context, in task.Realm, arns []string, f func([]task.Tag) []task.Tag) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	for _, arn := range arns {
		if _, err := s.retag(ctx, in, arn, f); err != nil {
			return err
		}
	}
	return nil
}

// retag changes the tags of the thing of that ARN, unless f is nil, and returns them.
func (s *server) retag(ctx context.Context, in task.Realm, arn string, f func([]task.Tag) []task.Tag) ([]task.Tag, error) {
	next := func(tags []task.Tag) ([]task.Tag, error) {
		if f == nil {
			return tags, nil
		}
		tags = f(slices.Clone(tags))
		if len(tags) > maxTags {
			return nil, wire.Errorf("TooManyTags", "'%s' can have %d tags at most", arn, maxTags)
		}
		return tags, task.ValidateTags(tags)
	}
	if strings.Contains(arn, ":targetgroup/") {
		g, err := s.Groups.Group(ctx, in, arn)
		if err != nil {
			return nil, err
		}
		if g.Tags, err = next(g.Tags); err != nil || f == nil {
			return g.Tags, err
		}
		_, err = s.Groups.PutGroup(ctx, in, g)
		return g.Tags, err
	}
	var l balancer.LoadBalancer
	var tags *[]task.Tag
	var err error
	if strings.Contains(arn, ":listener/") {
		var i int
		if l, i, err = s.listener(ctx, in, arn); err == nil {
			l.Listeners = slices.Clone(l.Listeners)
			tags = &l.Listeners[i].Tags
		}
	} else if l, err = s.loadBalancer(ctx, in, arn); err == nil {
		tags = &l.Tags
	}
	if err != nil {
		return nil, err
	}
	if *tags, err = next(*tags); err != nil || f == nil {
		return *tags, err
	}
	return *tags, s.Book.PutLoadBalancer(ctx, in, l)
}
