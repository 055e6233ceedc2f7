package notice

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// ContentType is the media type of [Event] (CloudEvents 1.0, HTTP binding, structured mode).
const ContentType = "application/cloudevents+json"

// Event is a notice as others read it: a CloudEvents 1.0 event in JSON. Source and ID
// together are never those of another notice.
type Event struct {
	SpecVersion     string          `json:"specversion" enum:"1.0" doc:"Of CloudEvents"`
	ID              string          `json:"id" doc:"The same whenever this is told, in the header webhook-id too"`
	Source          string          `json:"source" doc:"The server: urn:berth:REGION:ACCOUNT:INSTANCE"`
	Type            string          `json:"type" doc:"As in berth.budget.threshold"`
	Subject         string          `json:"subject" doc:"As in budget/NAME"`
	Time            time.Time       `json:"time" doc:"When it happened"`
	DataContentType string          `json:"datacontenttype" enum:"application/json"`
	Data            json.RawMessage `json:"data" doc:"A reason, in a sentence; what else, the type says"`
}

// Event returns n as others read it. source is the server that tells.
func (n Notice) Event(source string) Event {
	return Event{
		SpecVersion: "1.0", ID: n.ID, Source: source, Type: n.Type, Subject: n.Subject,
		Time: n.At.UTC(), DataContentType: "application/json", Data: n.Data,
	}
}

// KeySize is how many bytes the key of signatures has; Standard Webhooks allows 24 to 64.
const KeySize = 32

// KeyText is a key as receivers are given it (Standard Webhooks 1.0, "Signature scheme").
func KeyText(key []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(key) }

// Sign returns the value of the header webhook-signature of a delivery: an HMAC-SHA256
// of the ID, the time in seconds since 1970, and the body (Standard Webhooks 1.0).
func Sign(key []byte, id string, at time.Time, body []byte) string {
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%s.%s.", id, strconv.FormatInt(at.Unix(), 10))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}
