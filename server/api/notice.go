package api

import (
	"encoding/json"
	"net/url"
	"time"

	"berth/notice"
)

// Notice is something that the server tells people of.
type Notice struct {
	Seq      notice.Seq      `json:"seq" doc:"Its position: later ones have higher numbers, with gaps"`
	ID       string          `json:"id" doc:"Of what happened; the same wherever it is told"`
	At       time.Time       `json:"at" doc:"When it happened"`
	Type     string          `json:"type" doc:"As in berth.cost.anomaly"`
	Subject  string          `json:"subject" doc:"What it is about, as in budget/NAME"`
	Data     json.RawMessage `json:"data" doc:"A JSON object with a reason, in a sentence; what else, the type says"`
	Delivery *Delivery       `json:"delivery,omitempty" doc:"Left out if no webhook is told"`
}

// Delivery is how far the delivery of a notice to its webhook is.
type Delivery struct {
	Webhook       string         `json:"webhook" doc:"Scheme, host and port of its URL; the rest may be a secret"`
	Status        DeliveryStatus `json:"status" enum:"PENDING,DELIVERED,GIVEN_UP"`
	Attempts      int            `json:"attempts"`
	NextAttemptAt *time.Time     `json:"nextAttemptAt,omitempty"`
	DeliveredAt   *time.Time     `json:"deliveredAt,omitempty"`
	Failure       string         `json:"failure,omitempty" doc:"Why the last attempt failed"`
}

// DeliveryStatus is PENDING until a webhook has answered with 2xx or nothing more is tried.
type DeliveryStatus string

// The values of DeliveryStatus.
const (
	Pending   DeliveryStatus = "PENDING"
	Delivered DeliveryStatus = "DELIVERED"
	GivenUp   DeliveryStatus = "GIVEN_UP"
)

// NoticeList is a page of notices.
type NoticeList struct {
	Notices []Notice   `json:"notices" doc:"The oldest first"`
	Last    notice.Seq `json:"last" doc:"The end of all when this was read; what comes later is after it"`
}

// NewNotice returns a notice as the API tells it.
func NewNotice(r notice.Record) Notice {
	n := Notice{Seq: r.Seq, ID: r.ID, At: r.At, Type: r.Type, Subject: r.Subject, Data: r.Data}
	if r.Webhook == "" {
		return n
	}
	d := &Delivery{Status: GivenUp, Attempts: r.Attempts, Failure: r.Failure}
	if u, err := url.Parse(r.Webhook); err == nil {
		d.Webhook = u.Scheme + "://" + u.Host
	}
	switch {
	case !r.Delivered.IsZero():
		d.Status, d.DeliveredAt = Delivered, &r.Delivered
	case !r.Next.IsZero():
		d.Status, d.NextAttemptAt = Pending, &r.Next
	}
	n.Delivery = d
	return n
}
