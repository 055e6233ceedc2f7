package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// State is how a target is (Elastic Load Balancing API, TargetHealth).
type State string

// The states of a target.
const (
	Initial   State = "initial"   // nobody knows yet; it gets nothing
	Healthy   State = "healthy"   //
	Unhealthy State = "unhealthy" // it gets nothing
	Draining  State = "draining"  // it gets nothing new
)

// The reasons of states, with what they say (Elastic Load Balancing API, TargetHealth).
const (
	initialChecking = "Elb.InitialHealthChecking"
	codeMismatch    = "Target.ResponseCodeMismatch"
	timedOut        = "Target.Timeout"
	failedChecks    = "Target.FailedHealthChecks"
	leaving         = "Target.DeregistrationInProgress"
)

// health is what the checks of a target have come to.
type health struct {
	State       State
	Reason      string // empty while healthy
	Description string
	Since       time.Time

	row int // checks in a row that speak for another state
}

func newHealth(at time.Time) health {
	return health{State: Initial, Reason: initialChecking, Description: "Initial health checks in progress", Since: at}
}

// finding is what one check found: an empty reason if it was passed.
type finding struct{ reason, text string }

// after returns h after one more check. A new target becomes healthy with the first check
// that it passes. It is given time for as many checks as a healthy one may fail, however
// often it was looked at meanwhile.
func (h health) after(f finding, at time.Time, by Check) health {
	passed := f.reason == ""
	switch {
	case h.State == Healthy && passed:
		h.row = 0
		return h
	case h.State == Unhealthy && !passed:
		h.row, h.Reason, h.Description = 0, f.reason, f.text // the latest one
		return h
	}
	h.row++
	switch {
	case h.State == Initial && passed,
		h.State == Unhealthy && h.row >= by.Healthy:
		return health{State: Healthy, Since: at}
	case h.State == Initial && at.Sub(h.Since) >= seconds(by.Interval)*time.Duration(by.Unhealthy),
		h.State == Healthy && h.row >= by.Unhealthy:
		return health{State: Unhealthy, Reason: f.reason, Description: f.text, Since: at}
	}
	return h
}

// eager is how often a new target is looked at, so that nobody waits for it longer than it
// takes to start.
const eager = time.Second

// pause returns how long to wait before the next check.
func (h health) pause(by Check) time.Duration {
	if h.State == Initial {
		return min(eager, seconds(by.Interval))
	}
	return seconds(by.Interval)
}

// look checks a target once.
func (b *Balancer) look(ctx context.Context, by Check, host string, port int) finding {
	ctx, cancel := context.WithTimeout(ctx, seconds(by.Timeout))
	defer cancel()
	if by.Port != 0 {
		port = by.Port
	}
	address := net.JoinHostPort(host, strconv.Itoa(port))
	var err error
	code := 0
	if by.Protocol == TCP {
		var c net.Conn
		if c, err = b.Dial(ctx, address); err == nil {
			c.Close()
		}
	} else {
		code, err = b.get(ctx, address, by.Path)
	}
	switch {
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return finding{timedOut, "Request timed out"}
	case err != nil:
		return finding{failedChecks, "Health checks failed"}
	case by.Protocol == HTTP && !by.accepts(code):
		return finding{codeMismatch, fmt.Sprintf("Health checks failed with these codes: [%d]", code)}
	}
	return finding{}
}

func (h Check) accepts(code int) bool {
	all, err := parseMatcher(h.Matcher)
	return err == nil && all.match(code)
}

// get asks for a path and returns the code of the answer.
func (b *Balancer) get(ctx context.Context, address, path string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "ELB-HealthChecker/2.0") // Programs keep it out of their logs.
	resp, err := b.checks.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
