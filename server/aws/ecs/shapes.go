package ecs

import (
	"cmp"
	"encoding/base64"
	"slices"

	"berth/server/aws/wire"
	"berth/task"
)

// What several operations have in common. Names are those of the ECS API's model.

// strategyItem is CapacityProviderStrategyItem.
type strategyItem struct {
	Provider string `json:"capacityProvider" required:"true"`
	Weight   int    `json:"weight" min:"0" max:"1000"`
	Base     int    `json:"base" min:"0" max:"100000"`
}

// providers returns a strategy as tasks know it.
func providers(items []strategyItem) []task.CapacityProvider {
	var all []task.CapacityProvider
	for _, i := range items {
		all = append(all, task.CapacityProvider{Name: i.Provider, Weight: i.Weight, Base: i.Base})
	}
	return all
}

// strategy is the inverse of providers. It is never nil.
func strategy(all []task.CapacityProvider) []strategyItem {
	items := []strategyItem{}
	for _, p := range all {
		items = append(items, strategyItem{Provider: p.Name, Weight: p.Weight, Base: p.Base})
	}
	return items
}

// networkConfiguration is NetworkConfiguration.
type networkConfiguration struct {
	AWSVPC *awsvpcConfiguration `json:"awsvpcConfiguration,omitempty"`
}

// awsvpcConfiguration is AwsVpcConfiguration.
type awsvpcConfiguration struct {
	Subnets        []string `json:"subnets" required:"true"`
	SecurityGroups []string `json:"securityGroups,omitempty"`
	AssignPublicIP string   `json:"assignPublicIp,omitempty" enum:"ENABLED,DISABLED"`
}

// Limits of a task's network (ECS API, AwsVpcConfiguration).
const (
	maxSubnets        = 16
	maxSecurityGroups = 5
)

// network returns n as tasks know it. Every task on Fargate has a network of its own, so
// there must be one.
func network(n *networkConfiguration) (*task.NetworkConfiguration, error) {
	if n == nil || n.AWSVPC == nil {
		return nil, wire.Errorf(invalid, "Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	}
	switch v := n.AWSVPC; {
	case len(v.Subnets) == 0:
		return nil, wire.Errorf(invalid, "subnets can not be empty.")
	case len(v.Subnets) > maxSubnets:
		return nil, wire.Errorf(invalid, "subnets can have at most %d items.", maxSubnets)
	case len(v.SecurityGroups) > maxSecurityGroups:
		return nil, wire.Errorf(invalid, "securityGroups can have at most %d items.", maxSecurityGroups)
	default:
		return &task.NetworkConfiguration{AWSVPC: task.AWSVPC{
			Subnets: v.Subnets, SecurityGroups: v.SecurityGroups, AssignPublicIP: v.AssignPublicIP,
		}}, nil
	}
}

// placementConstraint is PlacementConstraint.
type placementConstraint struct {
	Type       string `json:"type,omitempty" enum:"distinctInstance,memberOf"`
	Expression string `json:"expression,omitempty"`
}

// placementStrategy is PlacementStrategy.
type placementStrategy struct {
	Type  string `json:"type,omitempty" enum:"random,spread,binpack"`
	Field string `json:"field,omitempty"`
}

// page is how operations that list ask for a page.
type page struct {
	MaxResults *int   `json:"maxResults,omitempty"`
	NextToken  string `json:"nextToken,omitempty"`
}

// maxPage is the largest page of any list (ECS API, maxResults of ListTasks and others).
const maxPage = 100

// size returns how many things the page has; usual if the request does not say.
func (p page) size(usual int) (int, error) { return p.sizeUpTo(usual, maxPage) }

// sizeUpTo is size for lists with smaller pages.
func (p page) sizeUpTo(usual, most int) (int, error) {
	if p.MaxResults == nil {
		return usual, nil
	}
	if n := *p.MaxResults; n < 1 || n > most {
		return 0, wire.Errorf(invalid, "maxResults must be between 1 and %d.", most)
	}
	return *p.MaxResults, nil
}

// cut returns the page of a list that is whole in memory, and the token of the next page: it
// names the last that was returned.
func (p page) cut(names []string, limit int) ([]string, string, error) {
	if p.NextToken != "" {
		last, err := base64.RawURLEncoding.DecodeString(p.NextToken)
		i := slices.Index(names, string(last))
		if err != nil || i < 0 {
			return nil, "", wire.Errorf(invalid, "Invalid token.")
		}
		names = names[i+1:]
	}
	if len(names) <= limit {
		return names, "", nil
	}
	names = names[:limit]
	return names, base64.RawURLEncoding.EncodeToString([]byte(names[limit-1])), nil
}

// some returns list, or an empty list for nil: what AWS always sends is never null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// value returns what p points to, or otherwise.
func value[T comparable](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return cmp.Or(*p, otherwise)
}
