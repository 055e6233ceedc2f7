package ecs

import (
	"context"
	"slices"
	"strings"

	"berth/access"
	"berth/cluster"
	"berth/server/aws/wire"
	"berth/task"
)

func (s *server) tagOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("TagResource", s.tagResource, wire.On(s.onTag)),
		wire.Op("UntagResource", s.untagResource, wire.On(s.onUntag)),
		wire.Op("ListTagsForResource", s.listTagsForResource, wire.On(s.onListTags)),
	}
}

// maxTags is how many tags a resource can have (ECS API, TagResource).
const maxTags = 50

// tagged is a kind of things that have tags.
type tagged struct {
	// tags returns what a thing of that ARN has.
	tags func(ctx context.Context, c wire.Call, a arn) ([]task.Tag, error)

	// tag sets tags on it and takes away those of some keys.
	tag func(ctx context.Context, c wire.Call, a arn, set []task.Tag, remove []string) error
}

// kinds are the things that have tags, by what their ARNs call them.
func (s *server) kinds() map[string]tagged {
	return map[string]tagged{
		"cluster":           {s.clusterTags, s.tagCluster},
		"task":              {s.taskTags, s.tagTask},
		"task-definition":   {s.definitionTags, s.tagDefinition},
		"capacity-provider": {s.providerTags, s.tagProvider},
		"service":           {s.serviceTags, s.tagService},
		"task-set":          {s.taskSetTags, s.tagTaskSet},
	}
}

// resource finds what an ARN names. What is of another account or region is not found.
func (s *server) resource(c wire.Call, ref string) (tagged, arn, error) {
	a, ok := parseARN(ref)
	if !ok {
		return tagged{}, a, wire.Errorf(invalid, "Invalid identifier: %.200s is not an ARN of a resource of Amazon ECS.", ref)
	}
	kind, ok := s.kinds()[a.kind]
	switch {
	case !ok && slices.Contains([]string{"container-instance"}, a.kind):
		return kind, a, noSuchResource()
	case !ok:
		return kind, a, wire.Errorf(invalid, "Invalid identifier: resources of the kind %.80s have no tags.", a.kind)
	case !a.of(c.Realm()):
		return kind, a, noSuchResource()
	}
	return kind, a, nil
}

func noSuchResource() error {
	return wire.Errorf(noResource, "The specified resource is not found. Specify a valid resource and try again.")
}

type tagResourceIn struct {
	ARN  string     `json:"resourceArn" required:"true"`
	Tags []task.Tag `json:"tags" required:"true"`
}

func (s *server) tagResource(ctx context.Context, c wire.Call, in *tagResourceIn) (*wire.None, error) {
	kind, a, err := s.resource(c, in.ARN)
	if err != nil {
		return nil, err
	}
	if err := task.ValidateTags(in.Tags); err != nil {
		return nil, as(invalid, err)
	}
	have, err := kind.tags(ctx, c, a)
	if err != nil {
		return nil, err
	}
	if n := countTags(have, in.Tags); n > maxTags {
		return nil, wire.Errorf(limitExceeded, "A resource has at most %d tags, and this one would have %d.", maxTags, n)
	}
	return nil, kind.tag(ctx, c, a, in.Tags, nil)
}

// countTags returns how many tags of users there are in have and set together: those that
// AWS makes do not count.
func countTags(have, set []task.Tag) int {
	keys := make(map[string]bool)
	for _, t := range slices.Concat(have, set) {
		if !strings.HasPrefix(t.Key, "aws:") {
			keys[t.Key] = true
		}
	}
	return len(keys)
}

type untagResourceIn struct {
	ARN  string   `json:"resourceArn" required:"true"`
	Keys []string `json:"tagKeys" required:"true"`
}

func (s *server) untagResource(ctx context.Context, c wire.Call, in *untagResourceIn) (*wire.None, error) {
	kind, a, err := s.resource(c, in.ARN)
	if err != nil {
		return nil, err
	}
	for _, key := range in.Keys {
		if !task.ValidTagKey(key) {
			return nil, wire.Errorf(invalid, "A tag's key has 1 to 128 letters, numbers, spaces and _ . : / = + - @.")
		}
		if strings.HasPrefix(strings.ToLower(key), "aws:") {
			return nil, wire.Errorf(invalid, "Tags with the prefix aws: cannot be taken away.")
		}
	}
	if _, err := kind.tags(ctx, c, a); err != nil {
		return nil, err
	}
	return nil, kind.tag(ctx, c, a, nil, in.Keys)
}

type listTagsIn struct {
	ARN string `json:"resourceArn" required:"true"`
}

type listTagsOut struct {
	Tags []task.Tag `json:"tags"`
}

// listTagsForResource lists tags. What does not exist is InvalidParameterException: the
// model has no ResourceNotFoundException for it.
func (s *server) listTagsForResource(ctx context.Context, c wire.Call, in *listTagsIn) (*listTagsOut, error) {
	kind, a, err := s.resource(c, in.ARN)
	var tags []task.Tag
	if err == nil {
		tags, err = kind.tags(ctx, c, a)
	}
	if e, ok := err.(*wire.Error); ok && e.Code == noResource {
		return nil, &wire.Error{Code: invalid, Message: e.Message, Err: e.Err}
	}
	if err != nil {
		return nil, err
	}
	return &listTagsOut{some(tags)}, nil
}

func (s *server) clusterTags(ctx context.Context, c wire.Call, a arn) ([]task.Tag, error) {
	_, found, err := s.in(ctx, c, a.rest)
	return found.Tags, err
}

func (s *server) tagCluster(ctx context.Context, c wire.Call, a arn, set []task.Tag, remove []string) error {
	_, err := s.change(ctx, c, a.rest, func(old cluster.Cluster) (cluster.Cluster, error) {
		old.Tags = task.MergeTags(old.Tags, set, remove)
		return old, nil
	})
	return err
}

// taskOf returns the task of an ARN.
func (s *server) taskOf(ctx context.Context, c wire.Call, a arn) (task.Task, error) {
	name, ref, long := strings.Cut(a.rest, "/")
	if !long {
		name, ref = task.DefaultCluster, name
	}
	r, _, err := s.in(ctx, c, name)
	if err != nil {
		return task.Task{}, err
	}
	found, _, err := s.find(ctx, r, []string{ref})
	if err == nil && len(found) == 0 {
		err = wire.Errorf(noResource, "The specified task is not found. Specify a valid task and try again.")
	}
	if err != nil {
		return task.Task{}, err
	}
	return found[0], nil
}

func (s *server) taskTags(ctx context.Context, c wire.Call, a arn) ([]task.Tag, error) {
	t, err := s.taskOf(ctx, c, a)
	return t.Tags, err
}

func (s *server) tagTask(ctx context.Context, c wire.Call, a arn, set []task.Tag, remove []string) error {
	t, err := s.taskOf(ctx, c, a)
	if err != nil {
		return err
	}
	_, err = s.Journal.Tag(ctx, t.ID, set, remove)
	return as(invalid, err)
}

// definitionTags returns the tags of a definition, of which the ARN must name the revision.
func (s *server) definitionTags(ctx context.Context, c wire.Call, a arn) ([]task.Tag, error) {
	if _, revision, err := task.ParseDefinitionRef(a.rest); err != nil || revision == 0 {
		return nil, wire.Errorf(invalid, "Invalid identifier: the ARN of a task definition names its family and revision.")
	}
	d, err := s.Definitions.Definition(ctx, c.Realm(), a.rest)
	if notFound(err) {
		return nil, wire.Errorf(noResource, "The specified task definition is not found. Specify a valid task definition and try again.")
	}
	return d.Tags, err
}

func (s *server) tagDefinition(ctx context.Context, c wire.Call, a arn, set []task.Tag, remove []string) error {
	_, err := s.Definitions.TagDefinition(ctx, c.Realm(), a.rest, set, remove)
	return as(invalid, err)
}

// providerTags are none: the capacity providers are AWS's own.
func (s *server) providerTags(_ context.Context, _ wire.Call, a arn) ([]task.Tag, error) {
	if !slices.Contains(cluster.Providers(), a.rest) {
		return nil, wire.Errorf(noResource, "The specified capacity provider is not found. Specify a valid capacity provider and try again.")
	}
	return nil, nil
}

func (s *server) tagProvider(context.Context, wire.Call, arn, []task.Tag, []string) error {
	return wire.Errorf(invalid, "The capacity providers FARGATE and FARGATE_SPOT cannot be tagged.")
}

func (s *server) onTag(ctx context.Context, c wire.Call, in *tagResourceIn) ([]access.Action, error) {
	return s.onResource(ctx, c, in.ARN, in.Tags), nil
}

func (s *server) onUntag(ctx context.Context, c wire.Call, in *untagResourceIn) ([]access.Action, error) {
	all := s.onResource(ctx, c, in.ARN, nil)
	for i := range all {
		all[i].Context["aws:TagKeys"] = in.Keys
	}
	return all, nil
}

func (s *server) onListTags(ctx context.Context, c wire.Call, in *listTagsIn) ([]access.Action, error) {
	return s.onResource(ctx, c, in.ARN, nil), nil
}

func (s *server) onResource(ctx context.Context, c wire.Call, ref string, request []task.Tag) []access.Action {
	kind, a, err := s.resource(c, ref)
	if err != nil {
		return nil // The operation says what is wrong.
	}
	have, err := kind.tags(ctx, c, a)
	if err != nil {
		have = nil
	}
	return []access.Action{{Resource: ref, Context: about(task.Realm{}, have, request)}}
}

// tagging adds to what a call does that it tags what it makes, which needs a permission of
// its own unless the account has set tagResourceAuthorization to off (ECS developer guide,
// "Tagging authorization").
func (s *server) tagging(ctx context.Context, c wire.Call, all []access.Action, creates, resource string, r task.Realm, tags []task.Tag) []access.Action {
	if len(tags) == 0 {
		return all
	}
	v, err := s.effective(ctx, c, tagResourceAuthorization)
	if err != nil || v != "on" {
		return all
	}
	keys := about(r, nil, tags)
	keys["ecs:CreateAction"] = []string{creates}
	return append(all, access.Action{Name: "ecs:TagResource", Resource: resource, Context: keys})
}
