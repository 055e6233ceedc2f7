package metadata

import (
	"context"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"berth/fault"
	"berth/roles"
	"berth/task"
)

// Roles has the credentials of roles.
type Roles interface {
	// Credentials returns credentials of a role for a session of that name. Errors of
	// kind fault.Invalid are final: the role cannot be assumed.
	Credentials(ctx context.Context, role, session string) (roles.Credentials, error)
}

type credentialsAnswer struct {
	Role       string `json:"RoleArn"`
	AccessKey  string `json:"AccessKeyId"`
	SecretKey  string `json:"SecretAccessKey"`
	Token      string `json:"Token"`
	Expiration string `json:"Expiration"`
}

// credentialsError has the agent's codes, which the SDKs show.
type credentialsError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Status  int    `json:"HTTPErrorCode"`
}

// credentials is GET /v2/credentials/ID.
func (e *endpoint) credentials(c *gin.Context) {
	id := strings.TrimPrefix(c.Param("id"), "/")
	if id == "" {
		refuseCredentials(c, http.StatusBadRequest, "NoIdInRequest", "No Credential ID in the request")
		return
	}
	a, err := e.from(c)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		e.failed(c, err)
		refuseCredentials(c, http.StatusInternalServerError, "InternalServerError", "the server could not find out who asks")
		return
	}
	role := task.Role(a.definition, a.task)
	if err != nil || role == "" || subtle.ConstantTimeCompare([]byte(id), []byte(e.Names.credentials(a.task.ID))) == 0 {
		refuseCredentials(c, http.StatusBadRequest, "InvalidIdInRequest", "Credentials not found")
		return
	}
	if e.Roles == nil {
		refuseCredentials(c, http.StatusBadRequest, "NoCredentialsAssociated",
			"this Berth server has no credentials for roles; start it with --task-credentials or --sts-endpoint")
		return
	}
	if e.Account != "" && a.task.Realm().Account != e.Account {
		refuseCredentials(c, http.StatusBadRequest, "NoCredentialsAssociated", "the credentials that this Berth server has are not for tasks of account "+a.task.Realm().Account)
		return
	}
	got, err := e.Roles.Credentials(c.Request.Context(), role, string(a.task.ID))
	switch {
	case fault.KindOf(err) == fault.Invalid:
		refuseCredentials(c, http.StatusBadRequest, "NoCredentialsAssociated", fault.Message(err))
	case err != nil:
		e.failed(c, err)
		refuseCredentials(c, http.StatusServiceUnavailable, "CredentialsUninitialized", "the credentials of role "+role+" cannot be had now")
	default:
		e.Log.Info("credentials given", zap.String("task", string(a.task.ID)), zap.String("role", role), zap.Time("until", got.Expiration))
		write(c, http.StatusOK, credentialsAnswer{
			Role: role, AccessKey: got.AccessKeyID, SecretKey: got.SecretAccessKey, Token: got.Token,
			Expiration: got.Expiration.UTC().Format(time.RFC3339),
		})
	}
}

func refuseCredentials(c *gin.Context, status int, code, message string) {
	write(c, status, credentialsError{Code: code, Message: "CredentialsV2Request: " + message, Status: status})
}
