package task

import (
	"slices"
	"strings"
	"time"

	"berth/fault"
)

// Transition is one step in a task's life. The functions below are the only way
// to make one, so a step that makes no sense cannot be written down.
type Transition struct {
	from   []Status // empty: from wherever nexts allows
	to     Status
	at     time.Time
	clock  Instant
	code   string
	reason string

	network    *Network
	eni        string            // attachment ID of network
	images     map[string]string // container name → digest reference
	containers map[string]Outcome
	health     map[string]Verdict // container name → what its checks have come to
	usage      *Counters
}

// Outcome is what became known of one container.
type Outcome struct {
	RuntimeID string    // set when it was started
	StartedAt time.Time // zero if it was not started
	Exit      *Exit     // how it ended; nil if it has not, or nobody knows
	Ended     bool      // it ended; implied by Exit
	Reason    string    // why it ended or could not start, for the user; may be empty
	Restart   bool      // it ended and is to be started anew
}

// Provisioned says that the task has capacity, a cgroup and a network, and that
// the pull of its images begins now. If the host restarted while the task waited
// for this, its time line is anchored anew.
func Provisioned(t Task, now Instant, n Network, eni string) Transition {
	at := t.Time(now)
	clock := t.Clock
	if !clock.SameBoot(now) {
		clock = Instant{Wall: at, Boot: now.Boot, BootID: now.BootID}
	}
	return Transition{to: Pending, at: at, clock: clock, network: &n, eni: eni}
}

// Pulled says that the images are here. images maps container names to digest
// references, name@digest.
func Pulled(at time.Time, images map[string]string) Transition {
	return Transition{to: Activating, at: at, images: images}
}

// Started says that every container that can run now, runs. Some may have ended
// already.
func Started(at time.Time, containers map[string]Outcome) Transition {
	return Transition{from: []Status{Activating}, to: Running, at: at, containers: containers}
}

// Waiting says what became of containers while others still wait for them.
func Waiting(at time.Time, containers map[string]Outcome) Transition {
	return Transition{from: []Status{Activating}, to: Activating, at: at, containers: containers}
}

// Knowing is tr with what has become known of the health of containers before it: container
// names with what the checks of each have come to. Of a container that has ended nothing more is
// learned. It goes with any step, for what a step ends may not be looked at again.
func (tr Transition) Knowing(health map[string]Verdict) Transition {
	tr.health = health
	return tr
}

// Observed says what became of containers while the task goes on running.
func Observed(at time.Time, containers map[string]Outcome) Transition {
	return Transition{from: []Status{Running}, to: Running, at: at, containers: containers}
}

// GaveUp says that the task ends before it ever ran, and why.
func GaveUp(t Task, at time.Time, code, reason string, containers map[string]Outcome) Transition {
	to := Deprovisioning
	if t.LastStatus == Activating {
		to = Stopping // Some of its containers may run.
	}
	return Transition{to: to, at: at, code: code, reason: reason, containers: containers}
}

// Quit says that a running task has to end: because an essential container
// ended, or time ran out, or the user asked, or the runner lost it.
func Quit(at time.Time, code, reason string, containers map[string]Outcome) Transition {
	return Transition{to: Deactivating, at: at, code: code, reason: reason, containers: containers}
}

// Deactivated says that no load balancer knows the task any more.
func Deactivated(at time.Time) Transition { return Transition{to: Stopping, at: at} }

// Ended says that no process of the task is left. usage is the last reading of
// its counters, nil if there is nothing to read.
func Ended(at time.Time, containers map[string]Outcome, usage *Counters) Transition {
	return Transition{to: Deprovisioning, at: at, containers: containers, usage: usage}
}

// Removed says that nothing of the task is left on the host.
func Removed(at time.Time) Transition { return Transition{to: Stopped, at: at} }

// Apply returns t after tr. It is the only way a task changes state; t itself
// is not changed. A step that t's state does not allow is a fault.Conflict.
func (t Task) Apply(tr Transition) (Task, error) {
	if !slices.Contains(nexts[t.LastStatus], tr.to) || len(tr.from) > 0 && !slices.Contains(tr.from, t.LastStatus) {
		return t, fault.New(fault.Conflict, "task %s cannot go from %s to %s", t.ID, t.LastStatus, tr.to)
	}
	t = t.Clone()
	from := t.LastStatus
	t.LastStatus = tr.to
	t.Version++
	if t.StopCode == "" {
		t.StopCode, t.StoppedReason = tr.code, tr.reason
	}
	t.note(tr)
	if from == tr.to {
		return t, nil
	}
	switch tr.to {
	case Pending:
		t.PullStartedAt, t.Clock = tr.at, tr.clock
	case Activating:
		t.PullStoppedAt = tr.at
	case Running:
		t.StartedAt = tr.at
		t.Connectivity, t.ConnectivityAt = "CONNECTED", tr.at
	case Deactivating:
		t.StoppingAt, t.DesiredStatus = tr.at, Stopped
	case Stopping:
		if t.StoppingAt.IsZero() {
			t.StoppingAt, t.DesiredStatus = tr.at, Stopped
		}
	case Deprovisioning:
		if t.StoppingAt.IsZero() {
			t.StoppingAt, t.DesiredStatus = tr.at, Stopped
		}
		t.ExecutionStoppedAt = tr.at
		t.stopContainers()
		t.attach("DETACHING")
	case Stopped:
		t.StoppedAt = tr.at
		t.Connectivity = ""
		t.attach("DELETED")
	}
	return t, nil
}

// note takes over what tr says about the task's parts.
func (t *Task) note(tr Transition) {
	if n := tr.network; n != nil && n.IPv4 != "" {
		t.Attachments = append(t.Attachments, Attachment{
			ID: tr.eni, Type: "ElasticNetworkInterface", Status: "ATTACHED",
			Details: []KeyValuePair{{"macAddress", n.MAC}, {"privateIPv4Address", n.IPv4}},
		})
		for i := range t.Containers {
			t.Containers[i].NetworkInterfaces = []NetworkInterface{{AttachmentID: tr.eni, IPv4: n.IPv4}}
			t.Containers[i].bind(n.Published)
		}
	}
	if tr.usage != nil {
		t.Usage = tr.usage
	}
	for i := range t.Containers {
		c := &t.Containers[i]
		if ref, ok := tr.images[c.Name]; ok {
			c.ImageRef = ref
			_, c.ImageDigest, _ = strings.Cut(ref, "@")
		}
		if v, ok := tr.health[c.Name]; ok && c.LastStatus != Stopped {
			c.judge(v)
		}
		if o, ok := tr.containers[c.Name]; ok {
			c.take(o, tr.at)
		}
	}
	t.Health = health(t.Containers)
}

// judge notes v. Its parts say what was when the status last changed; a container that is
// healthy again keeps the exit code that it was unhealthy by (ECS agent, SetHealthStatus).
func (c *Container) judge(v Verdict) {
	if c.Health == v.Status {
		return
	}
	c.Health, c.HealthSince = v.Status, v.Since
	if v.Status == Unhealthy {
		c.HealthExitCode = v.ExitCode
	}
}

// take notes o, which became known at that time. What is known already is not changed: how
// a container ended is told once.
func (c *Container) take(o Outcome, at time.Time) {
	if c.LastStatus == Stopped {
		return
	}
	if o.Restart {
		c.judge(Verdict{Status: Unknown, Since: at})
		c.LastStatus, c.StartedAt = Pending, time.Time{}
		c.RestartCount++
		return
	}
	if !o.StartedAt.IsZero() && c.StartedAt.IsZero() {
		c.RuntimeID, c.StartedAt, c.LastStatus = o.RuntimeID, o.StartedAt, Running
	}
	if c.Reason == "" {
		c.Reason = o.Reason
	}
	if o.Ended {
		c.LastStatus = Stopped
	}
	if o.Exit != nil {
		code := o.Exit.Code
		c.ExitCode, c.ExitedAt, c.LastStatus = &code, o.Exit.At, Stopped
		if o.Exit.OOMKilled && code != 0 {
			c.Reason = ReasonOutOfMemory
		}
	}
}

// stopContainers writes down that no container is left.
func (t *Task) stopContainers() {
	for i := range t.Containers {
		t.Containers[i].LastStatus = Stopped
	}
}

// attach notes the state of the task's network interface.
func (t *Task) attach(status string) {
	for i := range t.Attachments {
		t.Attachments[i].Status = status
	}
}

// AskStop returns t with the wish that it ends. The first wish counts; a task
// that is on its way out stays as it is, and changed is false.
func (t Task) AskStop(code, reason string) (asked Task, changed bool) {
	if t.DesiredStatus == Stopped {
		return t, false
	}
	t = t.Clone()
	t.DesiredStatus = Stopped
	t.Version++
	t.StopCode, t.StoppedReason = code, reason
	return t, true
}
