package ecs

import (
	"context"
	"encoding/hex"
	"regexp"
	"strings"

	"berth/cluster"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

// arn is an ARN of ECS in parts: arn:PARTITION:ecs:REGION:ACCOUNT:KIND/REST.
type arn struct {
	region, account string
	kind            string // cluster, task, task-definition, service …
	rest            string // what follows the first slash
}

// parseARN reads an ARN of ECS. ok is false for anything else.
func parseARN(s string) (a arn, ok bool) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || !strings.HasPrefix(parts[1], "aws") || parts[2] != "ecs" {
		return arn{}, false
	}
	kind, rest, ok := strings.Cut(parts[5], "/")
	return arn{region: parts[3], account: parts[4], kind: kind, rest: rest}, ok && rest != ""
}

// of reports whether the ARN is in an account and region.
func (a arn) of(r task.Realm) bool { return a.region == r.Region && a.account == r.Account }

// clusterName is what can be a cluster's name (ECS API, CreateCluster).
var clusterName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// badCluster is said of what can be no name of a cluster.
func badCluster() error {
	return wire.Errorf(invalid, "Identifier is not a valid cluster name or ARN.")
}

// realmOf returns where the cluster is that ref names: a name or an ARN; "" is the default
// one. An ARN of another account or region names a cluster that does not exist here.
func realmOf(c wire.Call, ref string) (task.Realm, error) {
	r := c.Realm()
	switch {
	case ref == "":
		return r, nil
	case clusterName.MatchString(ref):
		return r.InCluster(ref), nil
	}
	a, ok := parseARN(ref)
	if !ok || a.kind != "cluster" || !clusterName.MatchString(a.rest) {
		return r, badCluster()
	}
	if !a.of(r) {
		return r, clusterNotFound()
	}
	return r.InCluster(a.rest), nil
}

// in returns the ACTIVE cluster that ref names, and where it is.
func (s *server) in(ctx context.Context, c wire.Call, ref string) (task.Realm, cluster.Cluster, error) {
	r, err := realmOf(c, ref)
	if err != nil {
		return r, cluster.Cluster{}, err
	}
	found, err := s.Clusters.Cluster(ctx, r)
	if fault.KindOf(err) == fault.NotFound || err == nil && found.Status != cluster.Active {
		return r, found, clusterNotFound()
	}
	return r, found, err
}

// taskID returns the ID of the task that ref names within r: 32 hex digits or an ARN of a
// task in the same cluster. The texts are ECS's.
func taskID(r task.Realm, ref string) (task.ID, error) {
	id := ref
	if strings.HasPrefix(ref, "arn:") {
		a, ok := parseARN(ref)
		if !ok || a.kind != "task" {
			return "", wire.Errorf(invalid, "Invalid identifier: Unexpected resource type.")
		}
		name, rest, long := strings.Cut(a.rest, "/")
		if id = rest; !long {
			id = name // ARNs had no cluster before 2018.
		} else if name != r.Cluster {
			return "", wire.Errorf(invalid, "Invalid identifier: Identifier is for cluster %s. Your cluster is %s", name, r.Cluster)
		}
		if !a.of(r) {
			return "", wire.Errorf(invalid, "Invalid identifier: Identifier is for account %s and region %s.", a.account, a.region)
		}
	} else if name, rest, ok := strings.Cut(ref, "/"); ok { // CLUSTER/ID, as the agent's logs have it
		if name != r.Cluster || strings.Contains(rest, "/") {
			return "", wire.Errorf(invalid, "Invalid identifier: Unexpected number of separators")
		}
		id = rest
	}
	if len(id) != 32 && len(id) != 36 {
		return "", wire.Errorf(invalid, "taskId length should be one of [32,36]")
	}
	if b, err := hex.DecodeString(id); err != nil || len(b) != 16 {
		return "", nil // the form of an ID, and none
	}
	return task.ID(strings.ToLower(id)), nil
}
