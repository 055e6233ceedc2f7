package metadata

import (
	"crypto/hmac"
	"crypto/sha256"
	"slices"

	"github.com/google/uuid"

	"berth/task"
)

// Names makes the paths under which tasks ask. It makes the same ones in the next life
// of the server.
type Names struct {
	Secret []byte // nobody guesses the path of a task's credentials without it
}

// host is where tasks ask.
const host = "http://169.254.170.2"

// Environment returns the variables of a container of t, a task of d, as on Fargate: own,
// which are KEY=VALUE, and what the platform tells it. Its own regions come before the
// platform's; of the rest the platform's count.
func (n Names) Environment(d task.Definition, t task.Task, container string, own []string) []string {
	id := task.RuntimeID(t.ID, container)
	platform := []string{
		"AWS_EXECUTION_ENV=AWS_ECS_FARGATE",
		"ECS_CONTAINER_METADATA_URI=" + host + "/v3/" + id,
		"ECS_CONTAINER_METADATA_URI_V4=" + host + "/v4/" + id,
		"ECS_AGENT_URI=" + host + "/api/" + id,
	}
	if task.Role(d, t) != "" {
		platform = append(platform, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/"+n.credentials(t.ID))
	}
	regions := []string{"AWS_DEFAULT_REGION=" + t.Realm().Region, "AWS_REGION=" + t.Realm().Region}
	return slices.Concat(regions, own, platform)
}

// credentials is the ID under which the credentials of a task's role are.
func (n Names) credentials(id task.ID) string {
	mac := hmac.New(sha256.New, n.Secret)
	mac.Write([]byte("credentials/" + string(id)))
	return uuid.UUID(mac.Sum(nil)[:16]).String()
}
