package service

import (
	"fmt"

	"berth/fault"
)

// Configuration says how a service goes from one deployment to the next (ECS API,
// DeploymentConfiguration, of strategy ROLLING).
type Configuration struct {
	MinimumHealthy int // per cent of the desired count, 0 to 100
	Maximum        int // per cent of the desired count, 100 or more
	Breaker        Breaker
}

// Breaker is the deployment circuit breaker (ECS API, DeploymentCircuitBreaker).
type Breaker struct {
	Enable         bool
	Rollback       bool // to the last deployment that completed
	ResetOnHealthy bool // a task that becomes healthy lets failures count from 0 again
	Type           ThresholdType
	Value          int
}

// ThresholdType says what a breaker's Value means (ECS API, thresholdConfiguration).
type ThresholdType string

// Types of thresholds.
const (
	BoundedPercent   ThresholdType = "BOUNDED_PERCENT"   // per cent of the desired count, but at least 3 and at most 200
	UnboundedPercent ThresholdType = "UNBOUNDED_PERCENT" // per cent of the desired count, at least 1
	Count            ThresholdType = "COUNT"             // of tasks
)

// Bounds of a breaker's threshold (ECS API, ServiceDeploymentCircuitBreaker.threshold).
const (
	leastFailures = 3
	mostFailures  = 200
)

// Default is what a service has that says nothing (ECS API, DeploymentConfiguration).
func Default() Configuration {
	return Configuration{MinimumHealthy: 100, Maximum: 200, Breaker: Breaker{ResetOnHealthy: true, Type: BoundedPercent, Value: 50}}
}

// Validate reports the first thing wrong with c.
func (c Configuration) Validate() error {
	const at = "deploymentConfiguration."
	b := c.Breaker
	switch {
	case c.MinimumHealthy < 0:
		return fault.At(at+"minimumHealthyPercent", "minimumHealthyPercent must be non-negative")
	case c.MinimumHealthy > 100:
		return fault.At(at+"minimumHealthyPercent", "minimumHealthyPercent must be at most 100")
	case c.Maximum < 100:
		return fault.At(at+"maximumPercent", "maximumPercent must be at least 100")
	case c.MinimumHealthy == 100 && c.Maximum == 100:
		return fault.At(at+"maximumPercent", "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments")
	case b.Type != BoundedPercent && b.Type != UnboundedPercent && b.Type != Count:
		return fault.At(at+"deploymentCircuitBreaker.thresholdConfiguration.type", "must be one of BOUNDED_PERCENT, UNBOUNDED_PERCENT, COUNT, not %q", b.Type)
	case b.Value < 1:
		return fault.At(at+"deploymentCircuitBreaker.thresholdConfiguration.value", "must be at least 1, not %d", b.Value)
	case b.Type == BoundedPercent && b.Value > 100:
		return fault.At(at+"deploymentCircuitBreaker.thresholdConfiguration.value", "must be at most 100 for %s, not %d", b.Type, b.Value)
	}
	return nil
}

// Bounds returns how many healthy tasks there must be at least while a deployment goes on,
// and how many tasks there may be at most: per cent of the desired count, rounded up and
// down (ECS API, DeploymentConfiguration).
func (c Configuration) Bounds(desired int) (least, most int) {
	return ceil(desired*c.MinimumHealthy, 100), desired * c.Maximum / 100
}

// Threshold returns how many tasks have to fail in a row for the breaker to trip.
func (b Breaker) Threshold(desired int) int {
	switch b.Type {
	case Count:
		return b.Value
	case UnboundedPercent:
		return max(1, ceil(desired*b.Value, 100))
	}
	return min(max(ceil(desired*b.Value, 100), leastFailures), mostFailures)
}

func ceil(a, b int) int { return (a + b - 1) / b }

// Texts of AWS, for events and reasons (ECS developer guide, "Amazon ECS service event
// messages"; ECS API, Deployment.rolloutStateReason).
func inProgressText(id string) string { return fmt.Sprintf("ECS deployment %s in progress.", id) }
func completedText(id string) string  { return fmt.Sprintf("ECS deployment %s completed.", id) }

const (
	trippedText  = "ECS deployment circuit breaker: tasks failed to start."
	stoppedText  = "ECS deployment stopped by user."
	replacedText = "Service deployment was replaced by a later one."
)

func rollingBackText(id string) string {
	return fmt.Sprintf("ECS deployment circuit breaker: rolling back to deploymentId %s.", id)
}
