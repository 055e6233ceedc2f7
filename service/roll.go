package service

import (
	"slices"
)

// roll goes from the deployments that there are to the primary one alone.
func (d *draft) roll() {
	p := d.Primary()
	if p == nil {
		return
	}
	d.begin(p)
	b := d.Configuration.Breaker
	if p.State == InProgress && (d.tripped || b.Enable && p.Failed >= b.Threshold(d.Desired)) {
		d.trip(p)
		p = d.Primary()
	}
	least, most := d.Configuration.Bounds(d.Desired)
	c := d.count()
	d.replaceSick(c)
	if p.State != Failed {
		d.stopOld(c, least)
	}
	d.scale(p, c, least, most)
	if d.Rollout != nil && !d.Rollout.Status.Ended() {
		stage := stageScaleUp
		if c.healthy >= d.Desired {
			stage = stageCleanUp
		}
		failures := d.Rollout.Failures
		if d.Rollout.Status == RolloutInProgress {
			failures = p.Failed
		}
		if d.Rollout.Stage != stage || d.Rollout.Failures != failures {
			d.Rollout.Stage, d.Rollout.Failures, d.Rollout.UpdatedAt, d.changed = stage, failures, d.now, true
		}
	}
	d.forget()
	d.settle(d.Primary())
}

// forget drops deployments that are replaced. The number of the last order of one that may
// come back is kept: it must not be given out twice.
func (d *draft) forget() {
	d.Deployments = slices.DeleteFunc(d.Deployments, func(o Deployment) bool {
		gone := o.Rank != Primary && len(o.Members) == 0
		if gone && d.Completed != nil && d.Completed.ID == o.ID {
			done := *d.Completed
			done.Ordered = o.Ordered
			d.Completed = &done
		}
		d.changed = d.changed || gone
		return gone
	})
}

// census is the tasks of a service as they are now.
type census struct {
	good    []sight // of the primary deployment, that are or may become healthy
	old     []sight // of the others, the oldest deployment first
	ill     []sight // of the primary deployment, that were healthy and are to be replaced
	newSick []sight // of the primary deployment, that never were healthy
	oldSick []sight
	healthy int // of good
	kept    int // of old: healthy
	total   int // all that are live, less those that are stopped
}

// count takes the census.
func (d *draft) count() *census {
	c := new(census)
	for i := range slices.Backward(d.Deployments) {
		o := &d.Deployments[i]
		vs := d.sights(&o.Fleet, o.Template, o.HealthChecked)
		firstToGo(vs)
		for _, v := range vs {
			if !v.live() {
				continue
			}
			c.total++
			switch {
			case i > 0 && v.sick != "":
				c.oldSick = append(c.oldSick, v)
			case i > 0:
				c.old = append(c.old, v)
				if v.healthy {
					c.kept++
				}
			case v.sick == "":
				c.good = append(c.good, v)
				if v.healthy {
					c.healthy++
				}
			case v.Healthy:
				c.ill = append(c.ill, v)
			default:
				c.newSick = append(c.newSick, v)
			}
		}
	}
	// What does not help is stopped before what does, whatever deployment it is of.
	slices.SortStableFunc(c.old, func(a, b sight) int { return rank(a.healthy) - rank(b.healthy) })
	return c
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// replaceSick stops tasks that fail their checks. One of the primary deployment that was
// healthy is replaced first, if there may be so many tasks (ECS API,
// DeploymentConfiguration.maximumPercent).
func (d *draft) replaceSick(c *census) {
	p := d.Primary()
	stop := slices.Concat(c.newSick, c.oldSick)
	_, most := d.Configuration.Bounds(d.Desired)
	switch {
	case c.healthy >= d.Desired || p.State == Failed:
		stop = append(stop, c.ill...)
		c.ill = nil
	case len(c.ill) > 0 && len(c.good) < d.Desired && c.total-len(stop) >= most:
		stop = append(stop, c.ill[0])
		c.ill = c.ill[1:]
	}
	if p.State == InProgress {
		p.Failed += len(stop) - len(c.oldSick) // Those end by no fault of this deployment.
	}
	c.total -= len(stop)
	d.stop(d.who(), stop, sickness)
}

// stopOld stops tasks of deployments that are being replaced, as many as the healthy ones
// that there must be allow. c is as it is after that.
func (d *draft) stopOld(c *census, least int) {
	p := d.Primary()
	surplus := len(c.old) + c.healthy - least
	stop := d.stoppable(c.old, surplus, c.healthy+c.kept-least)
	for _, v := range stop {
		c.kept -= rank(v.healthy)
	}
	c.total -= len(stop)
	d.stop(d.who(), stop, scaling(p.ID))
}

// scale brings the primary deployment to the desired count, if there may be so many tasks.
func (d *draft) scale(p *Deployment, c *census, least, most int) {
	if surplus := len(c.good) - d.Desired; surplus > 0 {
		firstToGo(c.good)
		d.stop(d.who(), d.stoppable(c.good, surplus, c.healthy+c.kept-least), scaling(p.ID))
		return
	}
	if p.State == Failed {
		return
	}
	want := d.Desired - len(c.good)
	room := most - c.total
	if want > 0 && room <= 0 && d.stuck(c) && !p.Blocked {
		p.Blocked = true
		d.say(Event{Name: "SERVICE_TASK_CONFIGURATION_FAILURE", Level: "WARN"},
			"(service %s) was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again.", d.Name)
	}
	d.order(&p.Fleet, min(want, room), d.Desired, p.Template.Providers, d.tags(p.DefinitionTags))
}

// stuck reports whether nothing of the service is about to change.
func (d *draft) stuck(c *census) bool {
	members := 0
	for _, f := range d.fleets() {
		members += len(f.Members)
	}
	return members == c.total && c.healthy == len(c.good) && c.kept == len(c.old) && c.total == len(c.good)+len(c.old)
}

// begin notes that a deployment is being worked on.
func (d *draft) begin(p *Deployment) {
	r := d.Rollout
	if r == nil || r.Deployment != p.ID || r.Status != RolloutPending {
		return
	}
	r.Status, r.StartedAt, r.UpdatedAt, d.changed = RolloutInProgress, d.now, d.now, true
	d.say(Event{Name: "SERVICE_DEPLOYMENT_IN_PROGRESS", Level: "INFO", Deployment: p.ID, Reason: p.Reason}, "")
}

// settle notes that the service has what it is to have.
func (d *draft) settle(p *Deployment) {
	if len(d.Deployments) > 1 || p.State == Failed {
		return
	}
	healthy := 0
	for _, v := range d.sights(&p.Fleet, p.Template, p.HealthChecked) {
		if v.live() && !v.healthy || v.live() && v.sick != "" {
			return
		}
		healthy += rank(v.live())
	}
	if healthy != d.Desired {
		return
	}
	if p.State == InProgress {
		d.complete(p)
	}
	if !d.Steady {
		d.Steady, d.changed = true, true
		d.say(Event{Name: "SERVICE_STEADY_STATE", Level: "INFO"}, "(service %s) has reached a steady state.", d.Name)
	}
}

// complete notes that a deployment is through.
func (d *draft) complete(p *Deployment) {
	if r := d.Rollout; r != nil && !r.Status.Ended() {
		r.Status, r.Stage = RolloutSuccessful, stageCleanUp
		if p.RollingBack {
			r.Status = RollbackSuccessful
		}
		if r.Monitor == monitoring {
			r.Monitor = monitorDone
		}
		r.FinishedAt, r.UpdatedAt = d.now, d.now
	}
	p.State, p.Reason, p.UpdatedAt, p.RollingBack, p.Blocked, d.changed = Completed, completedText(p.ID), d.now, false, false, true
	done := *p
	done.Fleet = Fleet{Ordered: p.Ordered}
	d.Completed = &done
	d.say(Event{Name: "SERVICE_DEPLOYMENT_COMPLETED", Level: "INFO", Deployment: p.ID, Reason: p.Reason}, "(service %s) (deployment %s) deployment completed.", d.Name, p.ID)
}

// trip ends a deployment of which too many tasks failed.
func (d *draft) trip(p *Deployment) {
	p.State, p.Reason, p.UpdatedAt, d.changed = Failed, trippedText, d.now, true
	d.say(Event{Name: "SERVICE_DEPLOYMENT_FAILED", Level: "ERROR", Deployment: p.ID, Reason: "ECS deployment circuit breaker: task failed to start."},
		"(service %s) (deployment %s) deployment failed: tasks failed to start.", d.Name, p.ID)
	r := d.Rollout
	if r != nil {
		r.Failures, r.UpdatedAt = p.Failed, d.now
		if !p.RollingBack {
			r.Monitor = monitorTripped
		}
	}
	switch back := d.Configuration.Breaker.Rollback && d.canGoBack(); {
	case back:
		d.goBack(circuitBreakerReason, rolledBackReason)
	case r != nil && p.RollingBack:
		r.Status, r.Reason, r.FinishedAt = RollbackFailed, rollbackFailedReason, d.now
	case r != nil:
		r.Status, r.Reason, r.StoppedAt, r.FinishedAt = RolloutStopped, rolloutWithoutRollback, d.now, d.now
	}
}

// canGoBack reports whether there is an earlier deployment that completed.
func (d *draft) canGoBack() bool {
	p := d.Primary()
	return p != nil && d.Completed != nil && d.Completed.ID != p.ID
}

// goBack makes the last deployment that completed the primary one again. Its tasks that are
// still there stay.
func (d *draft) goBack(why, reason string) {
	p := d.Primary()
	p.Rank = Secondary
	back := *d.Completed
	if i := slices.IndexFunc(d.Deployments, func(o Deployment) bool { return o.ID == back.ID }); i >= 0 {
		back = d.Deployments[i]
		d.Deployments = slices.Delete(d.Deployments, i, i+1)
	}
	back.Rank, back.State, back.Reason, back.RollingBack, back.UpdatedAt = Primary, InProgress, rollingBackText(back.ID), true, d.now
	back.Failed, back.Tries = 0, 0
	d.Deployments = slices.Insert(d.Deployments, 0, back)
	d.Template, d.Steady, d.changed = back.Template, false, true
	if r := d.Rollout; r != nil {
		r.Status, r.Reason, r.UpdatedAt = RollbackInProgress, reason, d.now
		r.Rollback = &Rollback{Reason: why, StartedAt: d.now, Revision: back.Revision}
	}
	d.say(Event{Name: "SERVICE_DEPLOYMENT_IN_PROGRESS", Level: "INFO", Deployment: back.ID, Reason: back.Reason},
		"(service %s) rolling back to deployment %s.", d.Name, back.ID)
}
