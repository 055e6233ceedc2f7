package task

import (
	"strconv"
	"strings"

	"github.com/google/uuid"

	"berth/fault"
)

// Realm is the account, region and cluster that things belong to. ARNs are made
// and read here and nowhere else; their forms are those of the ECS developer
// guide, "Amazon Resource Names".
type Realm struct {
	Region  string
	Account string // 12 digits
	Cluster string
}

// DefaultCluster is the cluster of whoever names none (ECS API). It exists in every
// account and region without being made.
const DefaultCluster = "default"

func (r Realm) arn(resource string) string {
	return "arn:aws:ecs:" + r.Region + ":" + r.Account + ":" + resource
}

// ClusterARN returns the ARN of the realm's cluster.
func (r Realm) ClusterARN() string { return r.arn("cluster/" + r.Cluster) }

// TaskARN returns the ARN of a task.
func (r Realm) TaskARN(id ID) string { return r.arn("task/" + r.Cluster + "/" + string(id)) }

// DefinitionARN returns the ARN of a revision of a definition.
func (r Realm) DefinitionARN(family string, revision int) string {
	return r.arn("task-definition/" + family + ":" + strconv.Itoa(revision))
}

// containerARN returns the ARN of a container. It follows from the task's ID and
// the container's name, so making it again makes the same.
func (r Realm) containerARN(id ID, name string) string {
	u := uuid.NewSHA1(uuid.NameSpaceOID, []byte(string(id)+"/"+name))
	return r.arn("container/" + r.Cluster + "/" + string(id) + "/" + u.String())
}

// ParseDefinitionRef reads a family, a family:revision or an ARN of one.
// revision is 0 if ref names none.
func ParseDefinitionRef(ref string) (family string, revision int, err error) {
	name := ref
	if strings.HasPrefix(ref, "arn:") {
		_, after, ok := strings.Cut(ref, ":task-definition/")
		if !ok {
			return "", 0, fault.At("taskDefinition", "%q is not the ARN of a task definition", ref)
		}
		name = after
	}
	family, rev, numbered := strings.Cut(name, ":")
	if !validName(family) {
		return "", 0, fault.At("taskDefinition", "%q names no task definition: write family, family:revision or an ARN", ref)
	}
	if !numbered {
		return family, 0, nil
	}
	revision, err = strconv.Atoi(rev)
	if err != nil || revision < 1 {
		return "", 0, fault.At("taskDefinition", "Invalid revision number. Number: %s", rev)
	}
	return family, revision, nil
}
