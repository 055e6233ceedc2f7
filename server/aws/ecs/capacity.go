package ecs

import (
	"context"
	"slices"

	"berth/cluster"
	"berth/server/aws/wire"
	"berth/task"
)

func (s *server) capacityOperations() []wire.Operation {
	return []wire.Operation{wire.Op("DescribeCapacityProviders", s.describeCapacityProviders)}
}

type describeProvidersIn struct {
	Providers []string `json:"capacityProviders,omitempty"`
	Cluster   string   `json:"cluster,omitempty"`
	Include   []string `json:"include,omitempty"`
	page
}

type describeProvidersOut struct {
	Providers []providerShape `json:"capacityProviders"`
	Failures  []Failure       `json:"failures"`
	NextToken string          `json:"nextToken,omitempty"`
}

// providerShape is CapacityProvider of the ECS API.
type providerShape struct {
	ARN    string     `json:"capacityProviderArn"`
	Name   string     `json:"name"`
	Status string     `json:"status"`
	Tags   []task.Tag `json:"tags"`
	Type   string     `json:"type"`
}

// usualProviders is how many capacity providers a page has (ECS API).
const usualProviders = 10

// describeCapacityProviders describes AWS's own capacity providers, which every account
// has; with a cluster, those that it takes.
func (s *server) describeCapacityProviders(ctx context.Context, c wire.Call, in *describeProvidersIn) (*describeProvidersOut, error) {
	if _, err := included(in.Include, "TAGS"); err != nil {
		return nil, err
	}
	limit, err := in.sizeUpTo(usualProviders, usualProviders)
	if err != nil {
		return nil, err
	}
	if len(in.Providers) > maxDescribed {
		return nil, wire.Errorf(invalid, "capacityProviders cannot have more than %d entries.", maxDescribed)
	}
	known := cluster.Providers()
	if in.Cluster != "" {
		_, where, err := s.in(ctx, c, in.Cluster)
		if err != nil {
			return nil, err
		}
		known = where.CapacityProviders
	}
	out := &describeProvidersOut{Providers: []providerShape{}, Failures: []Failure{}}
	names := known
	if len(in.Providers) > 0 {
		names = nil
		for _, ref := range in.Providers {
			name := ref
			if a, ok := parseARN(ref); ok && a.kind == "capacity-provider" && a.of(c.Realm()) {
				name = a.rest
			}
			if slices.Contains(known, name) {
				names = append(names, name)
				continue
			}
			out.Failures = append(out.Failures, Failure{ARN: providerARN(c, ref), Reason: missing})
		}
	}
	names, out.NextToken, err = in.cut(names, limit)
	for _, name := range names {
		out.Providers = append(out.Providers, providerShape{
			ARN: providerARN(c, name), Name: name, Status: "ACTIVE", Tags: []task.Tag{}, Type: name,
		})
	}
	return out, err
}

// providerARN returns ref as the ARN of a capacity provider.
func providerARN(c wire.Call, ref string) string {
	if _, ok := parseARN(ref); ok {
		return ref
	}
	return "arn:aws:ecs:" + c.Identity.Region + ":" + c.Identity.Account + ":capacity-provider/" + ref
}
