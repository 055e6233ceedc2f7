package rest

import (
	"context"

	"berth/access"
	"berth/fault"
	"berth/server/api"
	"berth/task"
)

type registerIn struct {
	Body task.Definition
}

// decode lets package task read the definition, so that a definition is refused
// with the same words wherever it comes from.
func (in *registerIn) decode(body []byte) (err error) {
	in.Body, err = task.ParseDefinition(body)
	return err
}

func (s *server) register(ctx context.Context, in *registerIn) (*task.Definition, error) {
	if err := s.permitRoles(ctx, in.Body.TaskRoleARN, in.Body.ExecutionRoleARN); err != nil {
		return nil, err
	}
	d, err := s.Definitions.Register(ctx, access.From(ctx).Realm(), in.Body)
	return &d, err
}

type definitionsIn struct {
	FamilyPrefix string `query:"familyPrefix" doc:"Only families that begin so"`
	Status       string `query:"status" enum:"ACTIVE,INACTIVE,DELETE_IN_PROGRESS" doc:"ACTIVE if left out"`
	Sort         string `query:"sort" enum:"ASC,DESC" doc:"By family and revision; ASC if left out"`
	pageIn
}

// pageIn selects a page.
type pageIn struct {
	Limit     int    `query:"limit" minimum:"1" maximum:"100" doc:"At most this many; 100 if left out"`
	NextToken string `query:"nextToken" doc:"The nextToken of the page before"`
}

// limitMax is the largest page, as in the ECS API.
const limitMax = 100

func (p pageIn) limit() int {
	if p.Limit == 0 {
		return limitMax
	}
	return p.Limit
}

func (s *server) definitions(ctx context.Context, in *definitionsIn) (*api.DefinitionPage, error) {
	status := in.Status
	if status == "" {
		status = "ACTIVE"
	}
	ds, next, err := s.Definitions.Definitions(ctx, DefinitionFilter{
		In:           access.From(ctx).Realm(),
		FamilyPrefix: in.FamilyPrefix, Status: status, Descending: in.Sort == "DESC",
		Limit: in.limit(), Token: in.NextToken,
	})
	return &api.DefinitionPage{TaskDefinitions: some(ds), NextToken: next}, err
}

type definitionIn struct {
	Name string `path:"name" doc:"A family, which means its latest ACTIVE revision, or family:revision, or an ARN"`
}

func (s *server) definition(ctx context.Context, in *definitionIn) (*task.Definition, error) {
	d, err := s.Definitions.Definition(ctx, access.From(ctx).Realm(), in.Name)
	return &d, err
}

func (s *server) deregister(ctx context.Context, in *definitionIn) (*task.Definition, error) {
	if !namesRevision(in.Name) {
		return nil, errNoRevision(in.Name)
	}
	d, err := s.Definitions.Deregister(ctx, access.From(ctx).Realm(), in.Name)
	return &d, err
}

type tagDefinitionIn struct {
	definitionIn
	Body api.TagList
}

func (s *server) tagDefinition(ctx context.Context, in *tagDefinitionIn) (*task.Definition, error) {
	if !namesRevision(in.Name) {
		return nil, errNoRevision(in.Name)
	}
	if in.Body.Tags == nil {
		return nil, fault.At("tags", "it is missing; an empty list takes all tags away")
	}
	if err := task.ValidateTags(in.Body.Tags); err != nil {
		return nil, err
	}
	d, err := s.Definitions.SetDefinitionTags(ctx, access.From(ctx).Realm(), in.Name, in.Body.Tags)
	return &d, err
}

func errNoRevision(name string) error {
	return fault.At("name", "%q does not say which revision; write family:revision", name)
}

// some returns list, or an empty list for nil: JSON has no use for null here.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
