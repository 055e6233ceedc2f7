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
	Cluster string // empty where only the account and region matter
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

// Realm returns where t is.
func (t Task) Realm() Realm {
	r := realmOf(t.ARN, "task/")
	r.Cluster, _, _ = strings.Cut(r.Cluster, "/")
	return r
}

// Realm returns the account and region of d, which must be registered.
func (d Definition) Realm() Realm {
	r := realmOf(d.ARN, "task-definition/")
	r.Cluster = ""
	return r
}

// realmOf reads an ARN of ECS, arn:aws:ecs:REGION:ACCOUNT:KIND/NAME; the name is taken for
// the cluster. Another text is nowhere.
func realmOf(arn, kind string) Realm {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return Realm{}
	}
	name, ok := strings.CutPrefix(parts[5], kind)
	if !ok {
		return Realm{}
	}
	return Realm{Region: parts[3], Account: parts[4], Cluster: name}
}

// InCluster returns the realm of that cluster in r's account and region.
func (r Realm) InCluster(name string) Realm {
	r.Cluster = name
	return r
}

// DefinitionRef reads the name of a definition in r: a family, a family:revision, or an
// ARN of one. An ARN of another account or region is fault.NotFound. revision is 0 if ref
// names none.
func (r Realm) DefinitionRef(ref string) (family string, revision int, err error) {
	family, revision, err = ParseDefinitionRef(ref)
	if err != nil || !strings.HasPrefix(ref, "arn:") {
		return family, revision, err
	}
	if at := realmOf(ref, "task-definition/"); at.Account != r.Account || at.Region != r.Region {
		return "", 0, NoDefinition(ref)
	}
	return family, revision, nil
}

// NoDefinition is the error of a definition that does not exist, in the ECS API's words.
func NoDefinition(ref string) error {
	return &fault.Error{Kind: fault.NotFound, Field: "taskDefinition", Msg: "Unable to describe task definition. No task definition " + ref}
}

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
