package task

import (
	"slices"
	"strings"
	"time"
)

// States of health (ECS API, HealthStatus).
const (
	Healthy   = "HEALTHY"
	Unhealthy = "UNHEALTHY"
	Unknown   = "UNKNOWN"
)

// Verdict is what the checks of a container have come to.
type Verdict struct {
	Status   string    // Healthy, Unhealthy or Unknown; empty: there are no checks
	Since    time.Time // when it became that, on the task's time line; zero: it never was anything else
	ExitCode int       // if Unhealthy, of the check that made it that: 1 to 255, or NoExitCode
}

// NoExitCode stands for the exit code of a check that took too long or could not be run, as
// in Docker.
const NoExitCode = -1

// HealthPlan is how a container's health is checked: its HealthCheck with the defaults
// filled in. A check that ends with 0 within Timeout passes, any other fails. The first
// comes Interval after the start, and each next one Interval after the one before.
// Retries failures in a row make the container unhealthy, one that passes healthy; until
// one has passed, failures within StartPeriod do not count.
type HealthPlan struct {
	Command     []string
	Interval    time.Duration
	Timeout     time.Duration
	StartPeriod time.Duration
	Retries     int
}

// healthPlan returns how to check, nil for not at all. A command is a list that begins
// with CMD, or CMD-SHELL and a line for the shell, or NONE (Docker's HEALTHCHECK).
func healthPlan(h *HealthCheck) *HealthPlan {
	if h == nil {
		return nil
	}
	p := HealthPlan{
		Command: h.Command, Interval: seconds(h.Interval, 30*time.Second), Timeout: seconds(h.Timeout, 5*time.Second),
		StartPeriod: seconds(h.StartPeriod, 0), Retries: or(h.Retries, 3),
	}
	switch h.Command[0] {
	case "NONE":
		return nil
	case "CMD":
		p.Command = h.Command[1:]
	case "CMD-SHELL":
		p.Command = []string{"/bin/sh", "-c", strings.Join(h.Command[1:], " ")}
	}
	if len(p.Command) == 0 {
		return nil
	}
	return &p
}

// RestartPlan says when a container that has ended is started anew: its RestartPolicy
// with the default filled in.
type RestartPlan struct {
	Ignored []int         // exit codes that mean: it is done
	Period  time.Duration // it must have run that long
}

// defaultRestartPeriod is ECS's (ECS API, ContainerRestartPolicy).
const defaultRestartPeriod = 300 * time.Second

// On reports whether p has a container started anew.
func (p *RestartPolicy) On() bool { return p != nil && p.Enabled != nil && *p.Enabled }

func restartPlan(p *RestartPolicy) *RestartPlan {
	if !p.On() {
		return nil
	}
	return &RestartPlan{Ignored: p.IgnoredExitCodes, Period: seconds(p.RestartAttemptPeriod, defaultRestartPeriod)}
}

// Restarts reports whether a container that was started then and ended so is to be
// started anew.
func (p ContainerPlan) Restarts(started time.Time, exit Exit) bool {
	return p.Restart != nil && !started.IsZero() && exit.At.Sub(started) >= p.Restart.Period && !slices.Contains(p.Restart.Ignored, exit.Code)
}

// Restarting reports whether c has ended and is to be started anew, in the run that
// RestartCount says.
func (c Container) Restarting() bool { return c.LastStatus == Pending && c.RestartCount > 0 }

// health is that of a task (ECS API, HealthCheck): of its essential containers the worst.
func health(containers []Container) string {
	all := Healthy
	essential := false
	for _, c := range containers {
		if !c.Essential {
			continue
		}
		essential = true
		switch {
		case c.Health == Unhealthy:
			return Unhealthy
		case c.Health != Healthy:
			all = Unknown
		}
	}
	if !essential {
		return Unknown
	}
	return all
}
