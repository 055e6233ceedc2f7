package rest

import (
	"context"

	"berth/access"
	"berth/server/api"
	"berth/task"
)

type groupIn struct {
	Name string `path:"name" doc:"Name or ID of a security group"`
}

type putGroupIn struct {
	groupIn
	Body api.GroupRequest
}

func (s *server) groups(ctx context.Context, _ *none) (*api.GroupList, error) {
	all, err := s.Groups.Groups(ctx, access.From(ctx).Realm())
	return &api.GroupList{SecurityGroups: some(all)}, err
}

func (s *server) group(ctx context.Context, in *groupIn) (*task.SecurityGroup, error) {
	g, err := s.Groups.Group(ctx, access.From(ctx).Realm(), in.Name)
	return &g, err
}

// putGroup takes an ID for the name of a group that exists.
func (s *server) putGroup(ctx context.Context, in *putGroupIn) (*task.SecurityGroup, error) {
	name := in.Name
	if task.GroupID.MatchString(name) {
		g, err := s.Groups.Group(ctx, access.From(ctx).Realm(), name)
		if err != nil {
			return nil, err
		}
		name = g.Name
	}
	egress := in.Body.Egress
	if egress == nil {
		egress = task.Everything()
	}
	g, err := s.Groups.PutGroup(ctx, access.From(ctx).Realm(), task.SecurityGroup{
		Name: name, Description: in.Body.Description, Ingress: some(in.Body.Ingress), Egress: egress,
	})
	return &g, err
}

func (s *server) removeGroup(ctx context.Context, in *groupIn) (*none, error) {
	return nil, s.Groups.RemoveGroup(ctx, access.From(ctx).Realm(), in.Name)
}
