package service

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/task"
)

// batch is how many tasks are ordered at once, so that a large service is not one large write
// and others have their turn.
const batch = 10

// draft is a service while it is decided what becomes of it.
type draft struct {
	Service
	world
	newID   func() string
	events  []Event
	ended   []Rollout // besides Service.Rollout
	changed bool
	wake    time.Time // when to look again though nothing has happened; zero: not at all
	tripped bool      // so many tasks of the primary deployment failed that the breaker trips
}

// until notes that something may change at that time.
func (d *draft) until(at time.Time) {
	if d.wake.IsZero() || at.Before(d.wake) {
		d.wake = at
	}
}

// plan decides what a service calls for: what has become of its tasks is noted, and some are
// ordered or chosen to be stopped. Nothing of it is done yet. Every order of s is submitted.
func plan(s Service, w world, newID func() string) *draft {
	d := &draft{Service: s.clone(), world: w, newID: newID}
	if d.Status == Inactive {
		return d
	}
	d.observe()
	switch {
	case d.Status == Draining:
		d.drain()
	case d.Controller == External:
		d.external()
	default:
		d.roll()
	}
	return d
}

// observe notes what has become of tasks, and forgets those that have ended.
func (d *draft) observe() {
	for i := range d.Deployments {
		p := &d.Deployments[i]
		d.note(&p.Fleet, p.Template, p.HealthChecked, i == 0 && p.State == InProgress)
	}
	for i := range d.TaskSets {
		t := &d.TaskSets[i]
		d.note(&t.Fleet, t.Template, t.HealthChecked, false)
	}
}

// note observes one fleet. If counting, tasks that fail count for the circuit breaker.
func (d *draft) note(f *Fleet, tm Template, checked, counting bool) {
	var registered []task.ID
	var left []Member
	for i := range f.Members {
		m := &f.Members[i]
		v := d.look(m, tm, checked, d.grace(), d.until)
		if ran := !v.task.StartedAt.IsZero(); ran && !m.Ran {
			m.Ran, d.changed = true, true
			f.Tries, f.NotTill = 0, time.Time{}
			if v.where == running {
				registered = append(registered, m.Task)
			}
		}
		if v.healthy && !m.Healthy {
			m.Healthy, d.changed = true, true
			if counting && d.Configuration.Breaker.ResetOnHealthy {
				f.Failed = 0
			}
		}
		if v.where != ended {
			left = append(left, *m)
			continue
		}
		d.changed, d.Steady = true, false
		if v.failed() {
			d.failure(f, m.N, m.Ran, counting)
		}
	}
	f.Members = left
	if len(registered) > 0 {
		for _, lb := range tm.LoadBalancers {
			d.say(Event{}, "(service %s) registered %d targets in (target-group %s)", d.Name, len(registered), lb.TargetGroupARN)
		}
	}
}

// failed reports whether a task that has ended counts as a failure: it ended by itself before
// it was ever healthy (ECS API, Deployment.failedTasks). One that is stopped because of its
// checks was counted when that was decided.
func (v sight) failed() bool {
	byItself := v.task.StopCode == task.FailedToStart || v.task.StopCode == task.EssentialExited
	return byItself && v.Stop == "" && !v.Healthy
}

// failure counts a task that failed, order n of f.
func (d *draft) failure(f *Fleet, n int, ran, counting bool) {
	d.changed = true
	if counting {
		f.Failed++
		b := d.Configuration.Breaker
		d.tripped = d.tripped || b.Enable && f.Failed >= b.Threshold(d.Desired)
	}
	if ran || n <= f.Round {
		return // Others of its round have failed before.
	}
	f.Tries++
	f.Round, f.NotTill = f.Ordered, d.now.Add(backoff(f.Tries))
	if f.Tries == impairedAfter {
		d.say(Event{Name: "SERVICE_TASK_START_IMPAIRED", Level: "WARN"},
			"(service %s) is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.", d.Name)
	}
}

func (d *draft) grace() time.Duration { return time.Duration(d.Grace) * time.Second }

// say adds an event.
func (d *draft) say(e Event, format string, args ...any) {
	e.ID, e.Service, e.ARN, e.At, e.Message = d.newID(), d.ID, d.Service.ARN(), d.now, fmt.Sprintf(format, args...)
	d.events = append(d.events, e)
	d.changed = true
}

// who begins the text of most events.
func (d *draft) who() string { return "(service " + d.Name + ")" }

// sights returns the members of a fleet as they are now.
func (d *draft) sights(f *Fleet, tm Template, checked bool) []sight {
	all := make([]sight, len(f.Members))
	for i := range f.Members {
		all[i] = d.look(&f.Members[i], tm, checked, d.grace(), d.until)
	}
	return all
}

// order writes down n more tasks of a fleet. of returns what makes them, by whose tags.
func (d *draft) order(f *Fleet, n, want int, providers []task.CapacityProvider, tags []task.Tag) {
	if n <= 0 {
		return
	}
	if d.now.Before(f.NotTill) {
		d.until(f.NotTill)
		return
	}
	have := make(map[string]int)
	for _, m := range f.Members {
		if m.Stop == "" {
			have[m.Provider]++
		}
	}
	shares := task.Share(providers, want)
	for range min(n, batch) {
		f.Ordered++
		m := Member{N: f.Ordered, Provider: lacking(shares, have), Order: &Order{Tags: tags, Managed: d.managed(), Exec: d.Exec}}
		have[m.Provider]++
		f.Members = append(f.Members, m)
	}
	d.changed, d.Steady = true, false
}

// lacking returns the capacity provider that has not as many tasks as it is to have.
func lacking(shares []string, have map[string]int) string {
	want := make(map[string]int)
	for _, p := range shares {
		if want[p]++; want[p] > have[p] {
			return p
		}
	}
	if len(shares) == 0 {
		return ""
	}
	return shares[len(shares)-1]
}

// stop writes down that tasks are to be stopped.
func (d *draft) stop(who string, vs []sight, reason func(sight) string) {
	var names, groups []string
	served := make(map[string]int) // by target group
	draining := 0
	for _, v := range vs {
		v.Member.Stop = reason(v)
		names = append(names, "(task "+string(v.Task)+")")
		if v.where != running || len(v.balancers) == 0 {
			continue
		}
		draining++
		for _, lb := range v.balancers {
			if served[lb.TargetGroupARN]++; served[lb.TargetGroupARN] == 1 {
				groups = append(groups, lb.TargetGroupARN)
			}
		}
	}
	if len(vs) == 0 {
		return
	}
	d.changed, d.Steady = true, false
	for _, g := range groups {
		d.say(Event{}, "(service %s) deregistered %d targets in (target-group %s)", d.Name, served[g], g)
	}
	if draining > 0 {
		d.say(Event{}, "(service %s) has begun draining connections on %d tasks.", d.Name, draining)
	}
	d.say(Event{}, "%s has stopped %d running tasks: %s.", who, len(vs), strings.Join(names, " "))
}

func sickness(v sight) string { return v.sick }

func scaling(id string) func(sight) string {
	return func(sight) string { return "Scaling activity initiated by (deployment " + id + ")" }
}

// firstToGo sorts tasks: those that are to be replaced, those that do not run, those that are
// not healthy yet, and then the rest, each with the youngest first.
func firstToGo(vs []sight) {
	class := func(v sight) int {
		switch {
		case v.sick != "":
			return 0
		case v.where == waiting:
			return 1
		case !v.healthy:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(vs, func(a, b sight) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), cmp.Compare(b.N, a.N))
	})
}

// drain stops everything, and says that nothing is left when that is so.
func (d *draft) drain() {
	left := 0
	for i := range d.Deployments {
		p := &d.Deployments[i]
		d.stopAll(&p.Fleet, p.Template, p.HealthChecked, p.ID)
		left += len(p.Members)
	}
	for i := range d.TaskSets {
		t := &d.TaskSets[i]
		d.stopAll(&t.Fleet, t.Template, t.HealthChecked, t.ID)
		left += len(t.Members)
	}
	if left == 0 {
		d.Status, d.InactiveAt, d.changed = Inactive, d.now, true
		d.Deployments, d.TaskSets, d.Completed = nil, nil, nil
	}
}

func (d *draft) stopAll(f *Fleet, tm Template, checked bool, id string) {
	var vs []sight
	for _, v := range d.sights(f, tm, checked) {
		if v.live() {
			vs = append(vs, v)
		}
	}
	d.stop(d.who(), vs, scaling(id))
}

// external brings every task set to its share of the desired count.
func (d *draft) external() {
	for i := range d.TaskSets {
		t := &d.TaskSets[i]
		who := fmt.Sprintf("(service %s, taskSet %s)", d.Name, t.ID)
		want := t.Want(d.Desired)
		var live, sick []sight
		healthy := 0
		for _, v := range d.sights(&t.Fleet, t.Template, t.HealthChecked) {
			switch {
			case !v.live():
			case v.sick != "":
				sick = append(sick, v)
			default:
				live = append(live, v)
				if v.healthy {
					healthy++
				}
			}
		}
		d.stop(who, sick, sickness)
		if surplus := len(live) - want; surplus > 0 {
			firstToGo(live)
			d.stop(who, d.stoppable(live, surplus, surplus), scaling(t.ID))
		}
		d.order(&t.Fleet, want-len(live), want, t.Template.Providers, d.tags(t.DefinitionTags))
		steady := len(t.Members) == want && healthy == want
		if steady != t.Steady {
			t.Steady, t.SteadyAt, d.changed = steady, d.now, true
			if steady {
				d.say(Event{Name: "TASKSET_STEADY_STATE", Level: "INFO"}, "%s has reached a steady state.", who)
			}
		}
	}
	gone := func(t TaskSet) bool { return t.Rank == SetLeaving && len(t.Members) == 0 }
	if slices.ContainsFunc(d.TaskSets, gone) {
		d.TaskSets, d.changed = slices.DeleteFunc(d.TaskSets, gone), true
	}
}

// Want is how many tasks a set is to have of those that its service wants, rounded up (ECS
// API, TaskSet.computedDesiredCount).
func (t TaskSet) Want(desired int) int {
	if t.Rank == SetLeaving {
		return 0
	}
	hundredths := int(t.Scale*100 + 0.5)
	return ceil(desired*hundredths, 100*100)
}

// stoppable returns at most n of vs, in their order, that are not protected, and at most spare
// of them that are healthy.
func (d *draft) stoppable(vs []sight, n, spare int) []sight {
	var all []sight
	for _, v := range vs {
		if len(all) >= n || v.healthy && spare <= 0 {
			break
		}
		if !v.task.ProtectedAt(d.now) {
			all = append(all, v)
			spare -= rank(v.healthy)
		}
	}
	return all
}

// tags returns what the next tasks are tagged with.
func (d *draft) tags(ofDefinition []task.Tag) []task.Tag {
	var all []task.Tag
	switch d.Propagate {
	case PropagateService:
		all = slices.Clone(d.Tags)
	case PropagateDefinition:
		all = slices.Clone(ofDefinition)
	}
	return all
}

// managed returns the tags that ECS itself puts on the tasks of services, if it is to (ECS
// developer guide, "Tagging Amazon ECS resources").
func (d *draft) managed() []task.Tag {
	if !d.ManagedTags {
		return nil
	}
	return []task.Tag{{Key: "aws:ecs:clusterName", Value: d.Realm.Cluster}, {Key: "aws:ecs:serviceName", Value: d.Name}}
}

// What tasks are tagged with (ECS API, PropagateTags).
const (
	PropagateNone       = "NONE"
	PropagateService    = "SERVICE"
	PropagateDefinition = "TASK_DEFINITION"
)
