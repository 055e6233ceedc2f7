package ecs

import (
	"context"
	"slices"
	"strconv"

	"berth/access"
	"berth/cluster"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

func (s *server) clusterOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateCluster", s.createCluster, wire.On(s.onCreateCluster)),
		wire.Op("UpdateCluster", s.updateCluster, wire.On(func(ctx context.Context, c wire.Call, in *updateClusterIn) ([]access.Action, error) {
			return s.onClusters(ctx, c, in.Cluster), nil
		})),
		wire.Op("UpdateClusterSettings", s.updateClusterSettings, wire.On(func(ctx context.Context, c wire.Call, in *clusterSettingsIn) ([]access.Action, error) {
			return s.onClusters(ctx, c, in.Cluster), nil
		})),
		wire.Op("PutClusterCapacityProviders", s.putClusterCapacityProviders, wire.On(func(ctx context.Context, c wire.Call, in *clusterProvidersIn) ([]access.Action, error) {
			return s.onClusters(ctx, c, in.Cluster), nil
		})),
		wire.Op("DeleteCluster", s.deleteCluster, wire.On(func(ctx context.Context, c wire.Call, in *clusterIn) ([]access.Action, error) {
			return s.onClusters(ctx, c, in.Cluster), nil
		})),
		wire.Op("DescribeClusters", s.describeClusters, wire.On(func(ctx context.Context, c wire.Call, in *describeClustersIn) ([]access.Action, error) {
			return s.onClusters(ctx, c, in.Clusters...), nil
		})),
		wire.Op("ListClusters", s.listClusters),
	}
}

// setting is ClusterSetting.
type setting struct {
	Name  string `json:"name,omitempty" enum:"containerInsights"`
	Value string `json:"value,omitempty"`
}

// serviceConnectDefaults is ClusterServiceConnectDefaults, and as a request.
type serviceConnectDefaults struct {
	Namespace string `json:"namespace" required:"true"`
}

type createClusterIn struct {
	Name              string                  `json:"clusterName,omitempty"`
	Tags              []task.Tag              `json:"tags,omitempty"`
	Settings          []setting               `json:"settings,omitempty"`
	Configuration     *cluster.Configuration  `json:"configuration,omitempty"`
	CapacityProviders []string                `json:"capacityProviders,omitempty"`
	Strategy          []strategyItem          `json:"defaultCapacityProviderStrategy,omitempty"`
	Connect           *serviceConnectDefaults `json:"serviceConnectDefaults,omitempty"`
}

type clusterOut struct {
	Cluster clusterShape `json:"cluster"`
}

// clusterShape is Cluster of the ECS API.
type clusterShape struct {
	ARN               string                  `json:"clusterArn"`
	Name              string                  `json:"clusterName"`
	Configuration     *cluster.Configuration  `json:"configuration,omitempty"`
	Status            string                  `json:"status"`
	Instances         int                     `json:"registeredContainerInstancesCount"`
	Running           int                     `json:"runningTasksCount"`
	Pending           int                     `json:"pendingTasksCount"`
	Services          int                     `json:"activeServicesCount"`
	Statistics        []task.KeyValuePair     `json:"statistics"`
	Tags              []task.Tag              `json:"tags"`
	Settings          []setting               `json:"settings"`
	CapacityProviders []string                `json:"capacityProviders"`
	Strategy          []strategyItem          `json:"defaultCapacityProviderStrategy"`
	Connect           *serviceConnectDefaults `json:"serviceConnectDefaults,omitempty"`
}

// createCluster makes a cluster. One that is there already is returned as it is, whatever
// else the request says, as ECS does.
func (s *server) createCluster(ctx context.Context, c wire.Call, in *createClusterIn) (*clusterOut, error) {
	name := in.Name
	if name == "" {
		name = task.DefaultCluster
	}
	if !clusterName.MatchString(name) {
		return nil, wire.Errorf(invalid, "Cluster name must have at most 255 letters, numbers, hyphens and underscores.")
	}
	insights, err := s.effective(ctx, c, containerInsights)
	if err != nil {
		return nil, err
	}
	fresh, err := cluster.New(name, s.Now().UTC())
	if err != nil {
		return nil, err
	}
	if name == task.DefaultCluster && in.CapacityProviders == nil {
		fresh.CapacityProviders = cluster.Providers()
	}
	fresh.Settings[0].Value = insights
	fresh.Tags = some(in.Tags)
	if fresh, err = with(fresh, in.Settings, in.Configuration, in.Connect, in.CapacityProviders, in.Strategy); err != nil {
		return nil, as(invalid, err)
	}
	r := c.Realm().InCluster(name)
	made, err := s.Clusters.ChangeCluster(ctx, r, func(old cluster.Cluster) (cluster.Cluster, error) {
		// The default cluster is there before anybody makes it, and then the first who does
		// says how it is to be.
		if old.Status == cluster.Active && !old.CreatedAt.IsZero() {
			return old, nil
		}
		return fresh, nil
	})
	if err != nil {
		return nil, as(invalid, err)
	}
	return s.described(ctx, r, made, everything)
}

// with returns c with what a request sets; nil is what it leaves as it is.
func with(c cluster.Cluster, settings []setting, conf *cluster.Configuration, connect *serviceConnectDefaults, providerNames []string, items []strategyItem) (cluster.Cluster, error) {
	for _, v := range settings {
		i := slices.IndexFunc(c.Settings, func(have cluster.Setting) bool { return have.Name == v.Name })
		if i < 0 {
			c.Settings = append(slices.Clone(c.Settings), cluster.Setting{Name: v.Name, Value: v.Value})
			continue
		}
		c.Settings = slices.Clone(c.Settings)
		c.Settings[i].Value = v.Value
	}
	if conf != nil {
		if err := keyless(conf); err != nil {
			return c, err
		}
		c.Configuration = conf
	}
	if connect != nil {
		c.Namespace = connect.Namespace
	}
	if providerNames != nil {
		c.CapacityProviders = providerNames
	}
	if items != nil {
		if err := (task.Run{Definition: "any", Providers: providers(items)}).Validate(); err != nil {
			return c, err
		}
		c.DefaultStrategy = providers(items)
	}
	for i, p := range c.CapacityProviders {
		if slices.Contains(c.CapacityProviders[:i], p) {
			return c, fault.At("capacityProviders", "The capacity provider '%s' is there twice.", p)
		}
	}
	if err := associated(c, c.DefaultStrategy); err != nil {
		return c, err
	}
	return c, c.Validate()
}

// keyless refuses keys of KMS: nothing here would encrypt with them, and who names one
// counts on it.
func keyless(conf *cluster.Configuration) error {
	m, e := conf.ManagedStorage, conf.ExecuteCommand
	if m != nil && (m.KMSKeyID != "" || m.EphemeralKMSKeyID != "") || e != nil && e.KMSKeyID != "" {
		return wire.Errorf(invalid, "Berth does not encrypt with keys of KMS: leave kmsKeyId and fargateEphemeralStorageKmsKeyId out.")
	}
	return nil
}

type updateClusterIn struct {
	Cluster       string                  `json:"cluster" required:"true"`
	Settings      []setting               `json:"settings,omitempty"`
	Configuration *cluster.Configuration  `json:"configuration,omitempty"`
	Connect       *serviceConnectDefaults `json:"serviceConnectDefaults,omitempty"`
}

func (s *server) updateCluster(ctx context.Context, c wire.Call, in *updateClusterIn) (*clusterOut, error) {
	return s.changed(ctx, c, in.Cluster, func(old cluster.Cluster) (cluster.Cluster, error) {
		return with(old, in.Settings, in.Configuration, in.Connect, nil, nil)
	})
}

type clusterSettingsIn struct {
	Cluster  string    `json:"cluster" required:"true"`
	Settings []setting `json:"settings" required:"true"`
}

func (s *server) updateClusterSettings(ctx context.Context, c wire.Call, in *clusterSettingsIn) (*clusterOut, error) {
	if len(in.Settings) == 0 {
		return nil, wire.Errorf(invalid, "settings cannot be empty.")
	}
	return s.changed(ctx, c, in.Cluster, func(old cluster.Cluster) (cluster.Cluster, error) {
		return with(old, in.Settings, nil, nil, nil, nil)
	})
}

type clusterProvidersIn struct {
	Cluster           string         `json:"cluster" required:"true"`
	CapacityProviders []string       `json:"capacityProviders" required:"true"`
	Strategy          []strategyItem `json:"defaultCapacityProviderStrategy" required:"true"`
}

func (s *server) putClusterCapacityProviders(ctx context.Context, c wire.Call, in *clusterProvidersIn) (*clusterOut, error) {
	return s.changed(ctx, c, in.Cluster, func(old cluster.Cluster) (cluster.Cluster, error) {
		return with(old, nil, nil, nil, in.CapacityProviders, in.Strategy)
	})
}

// change replaces an ACTIVE cluster by what f makes of it.
func (s *server) change(ctx context.Context, c wire.Call, ref string, f func(cluster.Cluster) (cluster.Cluster, error)) (cluster.Cluster, error) {
	r, err := realmOf(c, ref)
	if err != nil {
		return cluster.Cluster{}, err
	}
	next, err := s.Clusters.ChangeCluster(ctx, r, func(old cluster.Cluster) (cluster.Cluster, error) {
		if old.Status != cluster.Active {
			return old, clusterNotFound()
		}
		return f(old)
	})
	if fault.KindOf(err) == fault.NotFound {
		return next, clusterNotFound()
	}
	return next, as(invalid, err)
}

// changed changes a cluster and describes it.
func (s *server) changed(ctx context.Context, c wire.Call, ref string, f func(cluster.Cluster) (cluster.Cluster, error)) (*clusterOut, error) {
	next, err := s.change(ctx, c, ref, f)
	if err != nil {
		return nil, err
	}
	r, err := realmOf(c, ref)
	if err != nil {
		return nil, err
	}
	return s.described(ctx, r, next, everything)
}

type clusterIn struct {
	Cluster string `json:"cluster" required:"true"`
}

func (s *server) deleteCluster(ctx context.Context, c wire.Call, in *clusterIn) (*clusterOut, error) {
	r, _, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	load, err := s.Clusters.Load(ctx, r)
	if err != nil {
		return nil, err
	}
	if load.Active+load.Leaving > 0 {
		return nil, wire.Errorf("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
	}
	gone, err := s.Clusters.DeleteCluster(ctx, r)
	switch fault.KindOf(err) {
	case fault.Conflict:
		return nil, &wire.Error{Code: "ClusterContainsTasksException", Message: "The Cluster cannot be deleted while Tasks are active.", Err: err}
	case fault.NotFound:
		return nil, clusterNotFound()
	}
	if err != nil {
		return nil, err
	}
	return s.described(ctx, r, gone, everything)
}

type describeClustersIn struct {
	Clusters []string `json:"clusters,omitempty"`
	Include  []string `json:"include,omitempty"`
}

type clustersOut struct {
	Clusters []clusterShape `json:"clusters"`
	Failures []Failure      `json:"failures"`
}

// everything is an include list of DescribeClusters with all that there is.
var everything = map[string]bool{"CONFIGURATIONS": true, "SETTINGS": true, "TAGS": true}

func (s *server) describeClusters(ctx context.Context, c wire.Call, in *describeClustersIn) (*clustersOut, error) {
	include, err := included(in.Include, "ATTACHMENTS", "CONFIGURATIONS", "SETTINGS", "STATISTICS", "TAGS")
	if err != nil {
		return nil, err
	}
	refs := in.Clusters
	switch n := len(refs); {
	case n == 0:
		refs = []string{task.DefaultCluster}
	case n > maxDescribed:
		return nil, wire.Errorf(invalid, "Clusters cannot have more than %d entries.", maxDescribed)
	}
	out := &clustersOut{Clusters: []clusterShape{}, Failures: []Failure{}}
	for _, ref := range refs {
		r, err := realmOf(c, ref)
		var found cluster.Cluster
		if e, ok := err.(*wire.Error); ok && e.Code == noCluster {
			out.Failures = append(out.Failures, Failure{ARN: ref, Reason: missing})
			continue
		}
		if err == nil {
			found, err = s.Clusters.Cluster(ctx, r)
		}
		if notFound(err) {
			out.Failures = append(out.Failures, Failure{ARN: r.ClusterARN(), Reason: missing})
			continue
		}
		if err != nil {
			return nil, err
		}
		one, err := s.described(ctx, r, found, include)
		if err != nil {
			return nil, err
		}
		out.Clusters = append(out.Clusters, one.Cluster)
	}
	return out, nil
}

// described returns a cluster as the ECS API describes it, with what include asks for.
func (s *server) described(ctx context.Context, r task.Realm, c cluster.Cluster, include map[string]bool) (*clusterOut, error) {
	load, err := s.Clusters.Load(ctx, r)
	if err != nil {
		return nil, err
	}
	shape := clusterShape{
		ARN: r.ClusterARN(), Name: c.Name, Status: c.Status, Running: load.Running, Pending: load.Pending, Services: load.Active,
		Statistics: []task.KeyValuePair{}, Tags: []task.Tag{}, Settings: []setting{},
		CapacityProviders: some(c.CapacityProviders), Strategy: strategy(c.DefaultStrategy),
	}
	if c.Namespace != "" {
		shape.Connect = &serviceConnectDefaults{c.Namespace}
	}
	if include["CONFIGURATIONS"] {
		shape.Configuration = c.Configuration
	}
	if include["TAGS"] {
		shape.Tags = some(c.Tags)
	}
	if include["SETTINGS"] {
		for _, v := range c.Settings {
			shape.Settings = append(shape.Settings, setting{v.Name, v.Value})
		}
	}
	if include["STATISTICS"] {
		for _, n := range []struct {
			name string
			n    int
		}{
			{"runningEC2TasksCount", 0}, {"runningFargateTasksCount", load.Running},
			{"pendingEC2TasksCount", 0}, {"pendingFargateTasksCount", load.Pending},
			{"activeEC2ServiceCount", 0}, {"activeFargateServiceCount", load.Active},
			{"drainingEC2ServiceCount", 0}, {"drainingFargateServiceCount", load.Leaving},
		} {
			shape.Statistics = append(shape.Statistics, task.KeyValuePair{Name: n.name, Value: strconv.Itoa(n.n)})
		}
	}
	return &clusterOut{shape}, nil
}

type listClustersOut struct {
	ARNs      []string `json:"clusterArns"`
	NextToken string   `json:"nextToken,omitempty"`
}

func (s *server) listClusters(ctx context.Context, c wire.Call, in *page) (*listClustersOut, error) {
	limit, err := in.size(maxPage)
	if err != nil {
		return nil, err
	}
	all, next, err := s.Clusters.Clusters(ctx, c.Realm(), limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &listClustersOut{ARNs: []string{}, NextToken: next}
	for _, one := range all {
		out.ARNs = append(out.ARNs, c.Realm().InCluster(one.Name).ClusterARN())
	}
	return out, nil
}

func (s *server) onCreateCluster(ctx context.Context, c wire.Call, in *createClusterIn) ([]access.Action, error) {
	name := in.Name
	if name == "" {
		name = task.DefaultCluster
	}
	r := c.Realm().InCluster(name)
	all := []access.Action{{Resource: "*", Context: about(r, nil, in.Tags)}}
	return s.tagging(ctx, c, all, "CreateCluster", r.ClusterARN(), r, in.Tags), nil
}

// onClusters says which clusters a call touches.
func (s *server) onClusters(ctx context.Context, c wire.Call, refs ...string) []access.Action {
	if len(refs) == 0 {
		refs = []string{task.DefaultCluster}
	}
	var all []access.Action
	for _, ref := range refs[:min(len(refs), maxDescribed)] {
		r, err := realmOf(c, ref)
		if err != nil {
			continue
		}
		found, err := s.Clusters.Cluster(ctx, r)
		if err != nil {
			found.Tags = nil
		}
		all = append(all, access.Action{Resource: r.ClusterARN(), Context: about(r, found.Tags, nil)})
	}
	return all
}
