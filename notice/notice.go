// Package notice is what the server tells people of: that a budget is used up, that
// costs are not as they were. What happens to tasks is in the journal; a notice is for
// who does not look.
//
// A notice is kept with what it tells of, in one transaction, and its ID follows from
// that. So whoever tells may tell again, and it is told once. What is kept is read
// through the API, and delivered to a webhook if one is named: at least once, which is
// why it carries its ID there too.
package notice

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"berth/fault"
)

// Limits of a notice.
const (
	IDMax      = 128
	NameMax    = 512      // bytes of a type and of a subject
	DataMax    = 64 << 10 // bytes
	WebhookMax = 2048     // bytes of a URL
)

// Keep is how long notices are kept after what they tell of: a year, and a month to
// look back at it.
const Keep = 400 * 24 * time.Hour

// Notice is something that people are told.
type Notice struct {
	ID      string          // of what happened, see [ID]; the same for ever
	At      time.Time       // when it happened
	Type    string          // as in berth.budget.threshold; names are append-only
	Subject string          // what it is about, as in budget/NAME
	Data    json.RawMessage // a JSON object with a reason, in a sentence; what else, the type says
	Webhook string          // URL that is told, see [CheckWebhook]; empty: nobody is
}

// ID returns an ID for what parts tell of: the same for the same parts, another one
// for others. Parts are the type, the subject, and what makes this time different
// from the last one, as a period or an hour.
func ID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return "ntc_" + hex.EncodeToString(h.Sum(nil)[:16])
}

// Check says what is wrong with a notice, as an error that is not for users: who
// tells has made a mistake.
func (n Notice) Check() error {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	switch {
	case n.ID == "" || len(n.ID) > IDMax || strings.Trim(n.ID, letters) != "": // no dot: signatures are made of ID.TIME.BODY
		return fmt.Errorf("notice %q: the ID is not of 1 to %d letters, digits, _ and -", n.ID, IDMax)
	case n.At.IsZero():
		return fmt.Errorf("notice %s has no time", n.ID)
	case n.Type == "" || len(n.Type) > NameMax:
		return fmt.Errorf("notice %s has the type %q", n.ID, n.Type)
	case n.Subject == "" || len(n.Subject) > NameMax:
		return fmt.Errorf("notice %s has the subject %q", n.ID, n.Subject)
	case len(n.Data) > DataMax || !json.Valid(n.Data):
		return fmt.Errorf("notice %s: its %d bytes of data are not JSON of at most %d", n.ID, len(n.Data), DataMax)
	case n.Webhook != "":
		return CheckWebhook("webhook", n.Webhook)
	}
	return nil
}

// Seq is the position of a notice among all: later ones have higher ones. There may be
// gaps.
type Seq uint64

// Record is a notice that is kept, and what became of it.
type Record struct {
	Seq Seq
	Notice

	Attempts  int       // deliveries that were tried
	Next      time.Time // when the next is due; zero: none is
	Delivered time.Time // zero: not yet, or to nobody
	Failure   string    // of the last attempt; empty if there was none or it was answered well
}

// Query selects notices.
type Query struct {
	After   Seq    // only those behind it
	Type    string // only those whose type begins so; empty: all
	Subject string // only those about it; empty: all
	Limit   int    // at most so many; at least 1
}

// hidden stands for the path of a webhook, and what follows it.
const hidden = "/…"

// Shown is a webhook as others may see it, without what may be a secret.
func Shown(webhook string) string {
	u, err := url.Parse(webhook)
	if err != nil || webhook == "" {
		return ""
	}
	origin := u.Scheme + "://" + u.Host
	if strings.TrimSuffix(webhook, "/") == origin {
		return webhook
	}
	return origin + hidden
}

// Hidden reports whether a webhook is one that [Shown] has left something out of.
func Hidden(webhook string) bool { return strings.HasSuffix(webhook, hidden) }

// CheckWebhook refuses what is no URL that notices can be posted to: it must be absolute,
// http or https, of at most 2048 bytes, without user and fragment. at is the field that
// it came in.
func CheckWebhook(at, webhook string) error {
	if len(webhook) > WebhookMax {
		return fault.At(at, "a webhook can have %d bytes, and this has %d", WebhookMax, len(webhook))
	}
	u, err := url.Parse(webhook)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fault.At(at, "a webhook is the URL of something that takes a POST, as in https://example.com/costs")
	case u.User != nil:
		return fault.At(at, "a webhook cannot have a user or a password in its URL; deliveries are signed")
	case u.Fragment != "" || strings.Contains(webhook, "#"):
		return fault.At(at, "a webhook cannot have a fragment (#…), which would not be sent")
	}
	return nil
}
