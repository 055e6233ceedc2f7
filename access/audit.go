package access

import (
	"encoding/json"
	"strings"
	"time"
)

// Record is one entry of the audit log, in the shape of CloudTrail's events (CloudTrail user
// guide, "CloudTrail record contents").
type Record struct {
	Seq       int64     `json:"seq" doc:"Position in the log, from 1"`
	EventID   string    `json:"eventID" doc:"The request's ID"`
	EventTime time.Time `json:"eventTime" doc:"When the call began"`
	Source    string    `json:"eventSource" doc:"ecs.amazonaws.com and the like, or berth for Berth's own API"`
	Name      string    `json:"eventName" doc:"The operation"`
	Account   string    `json:"recipientAccountId"`
	Region    string    `json:"awsRegion"`
	Identity  Who       `json:"userIdentity"`
	Address   string    `json:"sourceIPAddress,omitempty"`
	Agent     string    `json:"userAgent,omitempty"`
	Resources []string  `json:"resources,omitempty" doc:"ARNs"`

	Parameters   json.RawMessage `json:"requestParameters,omitempty" doc:"What was asked for, without what is confidential"`
	ErrorCode    string          `json:"errorCode,omitempty" doc:"Left out if it was done"`
	ErrorMessage string          `json:"errorMessage,omitempty"`
}

// Who is the userIdentity of a Record.
type Who struct {
	Type string `json:"type" enum:"Root,IAMUser,AssumedRole,Admin,Unknown"`
	ID   string `json:"principalId,omitempty"`
	ARN  string `json:"arn,omitempty"`
	Key  string `json:"accessKeyId,omitempty"`
	Name string `json:"userName,omitempty"`
}

// WhoOf describes an Identity for the audit log.
func WhoOf(i Identity) Who {
	w := Who{Type: "IAMUser", ID: i.UserID, ARN: i.ARN, Key: i.Key, Name: i.UserName()}
	switch {
	case i.Account == "":
		w.Type = "Unknown"
	case i.ARN == Root(i.Account):
		w.Type = "Root"
	case i.RoleName() != "":
		w.Type = "AssumedRole"
	}
	return w
}

// maxParameters is how many bytes of what was asked for a Record keeps.
const maxParameters = 16 << 10

// hidden are members of requests whose values nobody may read later, by their names in
// lower case, since Query services begin them with a capital: the environments of containers
// may hold passwords, options of log drivers the tokens of their services, messages what
// they like. Commands are shown.
var hidden = map[string]bool{
	"environment": true, "value": true, "secret": true, "secretaccesskey": true, "password": true, "logevents": true,
	"options": true, "token": true, "tokenvalue": true, "sessiontoken": true, "webidentitytoken": true, "samlassertion": true,
	"authorization": true,
}

// Parameters returns what a Record keeps of a request: its JSON with what is confidential
// replaced; nothing if it is too large.
func Parameters(in any) json.RawMessage {
	b, err := json.Marshal(in)
	if err != nil {
		return nil
	}
	var tree any
	if json.Unmarshal(b, &tree) != nil {
		return nil
	}
	b, err = json.Marshal(redact(tree))
	if err != nil || len(b) > maxParameters || string(b) == "{}" {
		return nil
	}
	return b
}

func redact(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			switch {
			case e == nil: // An absent member is not worth a line.
			case hidden[strings.ToLower(name)]:
				out[name] = "HIDDEN"
			default:
				out[name] = redact(e)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = redact(e)
		}
		return out
	}
	return v
}
