package api

import (
	"time"

	"berth/billing/anomaly"
)

// AnomalyList is the hours of a range in which something cost more than expected.
type AnomalyList struct {
	From      time.Time         `json:"from"`
	To        time.Time         `json:"to"`
	Currency  string            `json:"currency"`
	Anomalies []anomaly.Anomaly `json:"anomalies" doc:"The latest first"`
}
