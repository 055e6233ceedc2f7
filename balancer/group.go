package balancer

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"time"

	"berth/fault"
	"berth/task"
)

// Protocol is what a group and its health checks speak.
type Protocol string

// The protocols.
const (
	HTTP Protocol = "HTTP" // requests are shared out, also those of one connection
	TCP  Protocol = "TCP"  // connections are shared out
)

// TargetGroup is a target group and its listener, in the terms of Elastic Load Balancing. Its
// targets are the tasks that name it in their LoadBalancers.
type TargetGroup struct {
	ARN      string   `json:"targetGroupArn" doc:"Given by the server"`
	Name     string   `json:"targetGroupName"`
	Protocol Protocol `json:"protocol" enum:"HTTP,TCP"`
	Port     int      `json:"port" doc:"Of targets that do not say; those of tasks do"`

	ListenPort  int   `json:"listenPort" doc:"The port of this host that leads to the targets; 0 if none does"`
	HealthCheck Check `json:"healthCheck"`

	// DeregistrationDelay is how long what a target was sent may take when its task ends.
	DeregistrationDelay task.Seconds `json:"deregistrationDelaySeconds"`

	CreatedAt time.Time `json:"createdAt"`

	VPC  string     `json:"vpcId,omitempty" doc:"Kept"`
	Tags []task.Tag `json:"tags,omitempty"`
}

// Check says how targets are looked after.
type Check struct {
	Protocol  Protocol     `json:"protocol" enum:"HTTP,TCP" doc:"HTTP asks for the path; TCP connects"`
	Path      string       `json:"path,omitempty" doc:"Of HTTP"`
	Port      int          `json:"port,omitempty" doc:"0: the one that the target is sent to"`
	Interval  task.Seconds `json:"intervalSeconds"`
	Timeout   task.Seconds `json:"timeoutSeconds"`
	Healthy   int          `json:"healthyThresholdCount" doc:"Checks in a row that an unhealthy target has to pass; a new one passes one"`
	Unhealthy int          `json:"unhealthyThresholdCount" doc:"Checks in a row that a healthy target has to fail"`
	Matcher   string       `json:"matcher,omitempty" doc:"Codes of HTTP that pass, as in 200-299,401"`
}

// Defaults are those of Elastic Load Balancing (API, CreateTargetGroup), but for the matcher,
// which is that of its network load balancers: a redirect shows that a program is alive.
const (
	defaultInterval  task.Seconds = 30
	defaultTimeout   task.Seconds = 5
	defaultHealthy                = 5
	defaultUnhealthy              = 2
	defaultMatcher                = "200-399"

	// DefaultDelay is the deregistration delay of a group that does not say.
	DefaultDelay task.Seconds = 300
)

// Limits of a group. An interval can be shorter than AWS's 5 s, and one check can be enough.
const (
	maxInterval  task.Seconds = 300
	maxTimeout   task.Seconds = 120
	maxThreshold              = 10
	maxDelay     task.Seconds = 3600
	maxPath                   = 1024
)

// WithDefaults returns g with what it leaves open; a delay of 0 is one.
func (g TargetGroup) WithDefaults() TargetGroup {
	g.Protocol = cmp.Or(g.Protocol, HTTP)
	h := &g.HealthCheck
	h.Protocol = cmp.Or(h.Protocol, g.Protocol)
	h.Interval = cmp.Or(h.Interval, defaultInterval)
	h.Timeout = cmp.Or(h.Timeout, min(defaultTimeout, h.Interval))
	h.Healthy, h.Unhealthy = cmp.Or(h.Healthy, defaultHealthy), cmp.Or(h.Unhealthy, defaultUnhealthy)
	if h.Protocol == HTTP {
		h.Path, h.Matcher = cmp.Or(h.Path, "/"), cmp.Or(h.Matcher, defaultMatcher)
	}
	return g
}

// groupName is a target group's name (Elastic Load Balancing API, CreateTargetGroup).
var groupName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?$`)

// Validate reports the first thing wrong with g, which has its defaults.
func (g TargetGroup) Validate() error {
	h := g.HealthCheck
	switch {
	case !groupName.MatchString(g.Name):
		return fault.At("targetGroupName", "has 1 to 32 letters, digits and hyphens, and neither begins nor ends with a hyphen")
	case g.Protocol != HTTP && g.Protocol != TCP:
		return fault.At("protocol", "can be HTTP or TCP, not %q", g.Protocol)
	case g.Port < 1 || g.Port > 65535:
		return fault.At("port", "must be from 1 to 65535, not %d", g.Port)
	case g.ListenPort < 0 || g.ListenPort > 65535:
		return fault.At("listenPort", "must be from 1 to 65535, or 0 for none")
	case g.DeregistrationDelay < 0 || g.DeregistrationDelay > maxDelay:
		return fault.At("deregistrationDelaySeconds", "must be from 0 to %d, not %d", maxDelay, g.DeregistrationDelay)
	case h.Protocol != HTTP && h.Protocol != TCP:
		return fault.At("healthCheck.protocol", "can be HTTP or TCP, not %q", h.Protocol)
	case h.Protocol == TCP && h.Path+h.Matcher != "":
		return fault.At("healthCheck.path", "a check over TCP has neither path nor matcher")
	case h.Protocol == HTTP && (!strings.HasPrefix(h.Path, "/") || len(h.Path) > maxPath || strings.ContainsFunc(h.Path, func(c rune) bool { return c <= ' ' || c > '~' })):
		return fault.At("healthCheck.path", "begins with a slash and has at most %d visible ASCII characters", maxPath)
	case h.Port < 0 || h.Port > 65535:
		return fault.At("healthCheck.port", "must be from 1 to 65535, or 0 for the target's")
	case h.Interval < 1 || h.Interval > maxInterval:
		return fault.At("healthCheck.intervalSeconds", "must be from 1 to %d, not %d", maxInterval, h.Interval)
	case h.Timeout < 1 || h.Timeout > maxTimeout || h.Timeout > h.Interval:
		return fault.At("healthCheck.timeoutSeconds", "must be from 1 to %d and not above the interval of %d, not %d", maxTimeout, h.Interval, h.Timeout)
	case h.Healthy < 1 || h.Healthy > maxThreshold:
		return fault.At("healthCheck.healthyThresholdCount", "must be from 1 to %d, not %d", maxThreshold, h.Healthy)
	case h.Unhealthy < 1 || h.Unhealthy > maxThreshold:
		return fault.At("healthCheck.unhealthyThresholdCount", "must be from 1 to %d, not %d", maxThreshold, h.Unhealthy)
	}
	if h.Protocol == HTTP {
		if _, err := parseMatcher(h.Matcher); err != nil {
			return err
		}
	}
	return nil
}

// codes are ranges of status codes.
type codes [][2]int

func (c codes) match(code int) bool {
	for _, r := range c {
		if r[0] <= code && code <= r[1] {
			return true
		}
	}
	return false
}

// parseMatcher reads codes and ranges of them, from 200 to 499 (Elastic Load Balancing API,
// Matcher).
func parseMatcher(text string) (codes, error) {
	var all codes
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || from < 200 || to > 499 || from > to {
			return nil, fault.At("healthCheck.matcher", "has codes from 200 to 499, as in 200,202 or 200-299, not %q", text)
		}
		all = append(all, [2]int{from, to})
	}
	return all, nil
}

// ARN returns the ARN of a target group. id has 16 hex digits.
func ARN(in task.Realm, name, id string) string {
	return "arn:aws:elasticloadbalancing:" + in.Region + ":" + in.Account + ":targetgroup/" + name + "/" + id
}

// Realm returns the account and region of g.
func (g TargetGroup) Realm() task.Realm {
	if parts := strings.SplitN(g.ARN, ":", 6); len(parts) == 6 {
		return task.Realm{Region: parts[3], Account: parts[4]}
	}
	return task.Realm{}
}

// has reports whether t, which names g, can be its target: what belongs to another account
// or region never is.
func (g TargetGroup) has(t task.Task) bool {
	own, other := g.Realm(), t.Realm()
	return own.Account == other.Account && own.Region == other.Region
}

// NoGroup is the error of a group that does not exist, in the words of Elastic Load Balancing.
func NoGroup(ref string) error {
	return fault.New(fault.NotFound, "One or more target groups not found: %s", ref)
}
