package ecs

import (
	"context"

	"berth/access"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

func (s *server) definitionOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("RegisterTaskDefinition", s.registerTaskDefinition, wire.On(s.onRegister)),
		wire.Op("DeregisterTaskDefinition", s.deregisterTaskDefinition, wire.On(s.onDefinition)),
		wire.Op("DeleteTaskDefinitions", s.deleteTaskDefinitions, wire.On(s.onDefinitions)),
		wire.Op("DescribeTaskDefinition", s.describeTaskDefinition),
		wire.Op("ListTaskDefinitions", s.listTaskDefinitions),
		wire.Op("ListTaskDefinitionFamilies", s.listTaskDefinitionFamilies),
	}
}

// registerTaskDefinitionIn is RegisterTaskDefinitionRequest: package task knows all its
// members, and refuses those that only answers have.
type registerTaskDefinitionIn struct{ task.Definition }

type definitionOut struct {
	Definition definitionShape `json:"taskDefinition"`
	Tags       []task.Tag      `json:"tags,omitempty"`
}

// registerTaskDefinition registers a revision. What is wrong with one is a ClientException.
func (s *server) registerTaskDefinition(ctx context.Context, c wire.Call, in *registerTaskDefinitionIn) (*definitionOut, error) {
	d, err := in.Definition.Accepted()
	if err != nil {
		return nil, as(client, err)
	}
	d.RegisteredBy = c.Identity.ARN
	if d, err = s.Definitions.Register(ctx, c.Realm(), d); err != nil {
		return nil, as(client, err)
	}
	return &definitionOut{Definition: describeDefinition(d), Tags: d.Tags}, nil
}

type definitionIn struct {
	Definition string `json:"taskDefinition" required:"true"`
}

func (s *server) deregisterTaskDefinition(ctx context.Context, c wire.Call, in *definitionIn) (*definitionOut, error) {
	_, revision, err := task.ParseDefinitionRef(in.Definition)
	switch {
	case err != nil:
		return nil, as(invalid, err)
	case revision == 0:
		return nil, wire.Errorf(client, "Revision is missing.")
	}
	d, err := s.Definitions.Deregister(ctx, c.Realm(), in.Definition)
	switch {
	case notFound(err):
		return nil, wire.Errorf(client, "The specified task definition does not exist.")
	case err != nil:
		return nil, as(client, err)
	}
	return &definitionOut{Definition: describeDefinition(d)}, nil
}

type deleteTaskDefinitionsIn struct {
	Definitions []string `json:"taskDefinitions" required:"true"`
}

type deleteTaskDefinitionsOut struct {
	Definitions []definitionShape `json:"taskDefinitions"`
	Failures    []Failure         `json:"failures"`
}

// maxDeleted is how many definitions can be deleted at once (ECS API).
const maxDeleted = 10

func (s *server) deleteTaskDefinitions(ctx context.Context, c wire.Call, in *deleteTaskDefinitionsIn) (*deleteTaskDefinitionsOut, error) {
	switch n := len(in.Definitions); {
	case n == 0:
		return nil, wire.Errorf(invalid, "size of TaskDefinition references list must be greater than 0")
	case n > maxDeleted:
		return nil, wire.Errorf(invalid, "Size of TaskDefinition references list cannot exceed %d", maxDeleted)
	}
	out := &deleteTaskDefinitionsOut{Definitions: []definitionShape{}, Failures: []Failure{}}
	for _, ref := range in.Definitions {
		var d task.Definition
		_, revision, err := task.ParseDefinitionRef(ref)
		if err == nil && revision == 0 {
			err = fault.At("taskDefinition", "Revision is missing.")
		}
		if err == nil {
			d, err = s.Definitions.DeleteDefinition(ctx, c.Realm(), ref)
		}
		switch fault.KindOf(err) {
		case fault.Invalid:
			out.Failures = append(out.Failures, Failure{ARN: ref, Reason: "The specified task definition identifier is invalid. Specify a valid name or ARN and try again."})
		case fault.NotFound:
			out.Failures = append(out.Failures, Failure{ARN: ref, Reason: "The specified task definition does not exist. Specify a valid account, family, revision and try again."})
		case fault.Conflict:
			out.Failures = append(out.Failures, Failure{ARN: ref, Reason: "The specified task definition is still in ACTIVE status. Please deregister the target and try again."})
		default:
			if err != nil {
				return nil, err
			}
			out.Definitions = append(out.Definitions, describeDefinition(d))
		}
	}
	return out, nil
}

type describeTaskDefinitionIn struct {
	definitionIn
	Include []string `json:"include,omitempty"`
}

type describeTaskDefinitionOut struct {
	Definition definitionShape `json:"taskDefinition"`
	Tags       *[]task.Tag     `json:"tags,omitempty"` // only if they were asked for, and then also if there are none
}

func (s *server) describeTaskDefinition(ctx context.Context, c wire.Call, in *describeTaskDefinitionIn) (*describeTaskDefinitionOut, error) {
	include, err := included(in.Include, "TAGS")
	if err != nil {
		return nil, err
	}
	d, err := s.Definitions.Definition(ctx, c.Realm(), in.Definition)
	switch {
	case notFound(err):
		return nil, wire.Errorf(client, "Unable to describe task definition.")
	case err != nil:
		return nil, as(invalid, err)
	}
	out := &describeTaskDefinitionOut{Definition: describeDefinition(d)}
	if include["TAGS"] {
		tags := some(d.Tags)
		out.Tags = &tags
	}
	return out, nil
}

type listTaskDefinitionsIn struct {
	FamilyPrefix string `json:"familyPrefix,omitempty"`
	Status       string `json:"status,omitempty" enum:"ACTIVE,INACTIVE,DELETE_IN_PROGRESS"`
	Sort         string `json:"sort,omitempty" enum:"ASC,DESC"`
	page
}

type listTaskDefinitionsOut struct {
	ARNs      []string `json:"taskDefinitionArns"`
	NextToken string   `json:"nextToken,omitempty"`
}

// listTaskDefinitions lists revisions. familyPrefix is the full name of a family, whatever
// its name says (ECS API, ListTaskDefinitions).
func (s *server) listTaskDefinitions(ctx context.Context, c wire.Call, in *listTaskDefinitionsIn) (*listTaskDefinitionsOut, error) {
	f := DefinitionFilter{In: c.Realm(), Family: in.FamilyPrefix, Status: in.Status, Descending: in.Sort == "DESC", Token: in.NextToken}
	var err error
	if f.Limit, err = in.size(maxPage); err != nil {
		return nil, err
	}
	if f.Status == "" {
		f.Status = task.Active
	}
	ds, next, err := s.Definitions.Definitions(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &listTaskDefinitionsOut{ARNs: []string{}, NextToken: next}
	for _, d := range ds {
		out.ARNs = append(out.ARNs, d.ARN)
	}
	return out, nil
}

type listFamiliesIn struct {
	FamilyPrefix string `json:"familyPrefix,omitempty"`
	Status       string `json:"status,omitempty" enum:"ACTIVE,INACTIVE,ALL"`
	page
}

type listFamiliesOut struct {
	Families  []string `json:"families"`
	NextToken string   `json:"nextToken,omitempty"`
}

func (s *server) listTaskDefinitionFamilies(ctx context.Context, c wire.Call, in *listFamiliesIn) (*listFamiliesOut, error) {
	limit, err := in.size(maxPage)
	if err != nil {
		return nil, err
	}
	names, next, err := s.Definitions.Families(ctx, c.Realm(), in.FamilyPrefix, in.Status, limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &listFamiliesOut{some(names), next}, nil
}

// onRegister, onDefinition and onDefinitions say which definitions the calls touch.

func (s *server) onRegister(ctx context.Context, c wire.Call, in *registerTaskDefinitionIn) ([]access.Action, error) {
	r := c.Realm().InCluster("")
	all := []access.Action{{Resource: "*", Context: about(r, nil, in.Tags)}}
	all = append(all, access.PassRoles(r.Account, in.TaskRoleARN, in.ExecutionRoleARN)...)
	return s.tagging(ctx, c, all, "RegisterTaskDefinition", "*", r, in.Tags), nil
}

func (s *server) onDefinition(ctx context.Context, c wire.Call, in *definitionIn) ([]access.Action, error) {
	return s.definitionsTouched(ctx, c, in.Definition), nil
}

func (s *server) onDefinitions(ctx context.Context, c wire.Call, in *deleteTaskDefinitionsIn) ([]access.Action, error) {
	return s.definitionsTouched(ctx, c, in.Definitions...), nil
}

// definitionsTouched returns an action on each definition that exists.
func (s *server) definitionsTouched(ctx context.Context, c wire.Call, refs ...string) []access.Action {
	var all []access.Action
	for _, ref := range refs[:min(len(refs), maxDeleted)] {
		if d, err := s.Definitions.Definition(ctx, c.Realm(), ref); err == nil {
			all = append(all, access.Action{Resource: d.ARN, Context: about(d.Realm(), d.Tags, nil)})
		}
	}
	return all
}
