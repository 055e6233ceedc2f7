package service

import (
	"context"
	"errors"
	"reflect"

	"berth/fault"
	"berth/task"
)

// Change is what is to be another about a service. What is nil stays (ECS API,
// UpdateService).
type Change struct {
	Desired        *int
	Definition     *string
	Providers      *[]task.CapacityProvider // empty: none, but LaunchType FARGATE
	Network        *task.NetworkConfiguration
	Platform       *string
	LoadBalancers  *[]task.LoadBalancer
	Registries     *[]Registry
	ServiceConnect *Connect
	Force          bool // forceNewDeployment
	Configuration  ConfigurationChange
	Grace          *int
	Exec           *bool
	ManagedTags    *bool
	Propagate      *string
	Rebalancing    *string
}

// Update changes a service, which begins a new deployment if its tasks are to be others than
// they are. A service that does not exist is ErrNoService, one that was deleted ErrNotActive.
// Repeating it changes nothing more, but with Force it deploys again.
func (s *Scheduler) Update(ctx context.Context, r task.Realm, name string, ch Change) (Service, error) {
	return s.edit(ctx, r, name, func(d *draft) (News, error) {
		if err := d.take(ch); err != nil {
			return News{}, err
		}
		tm := d.Template
		if ch.Definition != nil {
			tm.Definition = *ch.Definition
		}
		set(&tm.Platform, ch.Platform)
		set(&tm.LoadBalancers, ch.LoadBalancers)
		set(&tm.Registries, ch.Registries)
		if ch.Network != nil {
			tm.Network = ch.Network
		}
		if ch.ServiceConnect != nil {
			tm.ServiceConnect = ch.ServiceConnect
		}
		if ch.Providers != nil {
			tm.Providers, tm.LaunchType = *ch.Providers, ""
			if len(tm.Providers) == 0 {
				tm.LaunchType = "FARGATE"
			}
		}
		if err := validateRest(d.Grace, d.Propagate, d.Rebalancing, tm); err != nil {
			return News{}, err
		}
		if d.Controller == External {
			if ch.Definition != nil || ch.Force || ch.Network != nil || ch.Platform != nil || ch.LoadBalancers != nil || ch.Registries != nil || ch.Providers != nil {
				return News{}, fault.New(fault.Invalid, "Unable to update task definition, network configuration, load balancers or platform version of a service with an EXTERNAL deployment controller. Create a new task set instead.")
			}
			return News{}, nil
		}
		before := d.Template
		resolved := tm
		if ch.Definition != nil || !same(tm, before) || d.Exec && ch.Exec != nil {
			var err error
			if resolved, _, err = s.resolve(ctx, d.Service, tm); err != nil {
				return News{}, err
			}
		}
		if d.Primary() != nil {
			d.Primary().UpdatedAt = d.now
		}
		// Another strategy is for tasks that are started from now on (ECS API, UpdateService).
		before.Providers, before.LaunchType = resolved.Providers, resolved.LaunchType
		if !ch.Force && same(resolved, before) {
			d.Template = resolved
			if p := d.Primary(); p != nil {
				p.Template.Providers, p.Template.LaunchType = resolved.Providers, resolved.LaunchType
			}
			return News{}, nil
		}
		revision, err := s.deploy(ctx, d, resolved)
		return News{Revisions: []Revision{revision}}, err
	})
}

// same reports whether tasks of both templates are the same.
func same(a, b Template) bool {
	norm := func(t Template) Template {
		if len(t.Providers) == 0 {
			t.Providers = nil
		}
		if len(t.LoadBalancers) == 0 {
			t.LoadBalancers = nil
		}
		if len(t.Registries) == 0 {
			t.Registries = nil
		}
		return t
	}
	return reflect.DeepEqual(norm(a), norm(b))
}

// take takes over what does not make tasks others than they are.
func (d *draft) take(ch Change) error {
	if ch.Desired != nil {
		if err := validateCount(*ch.Desired); err != nil {
			return err
		}
		d.desire(*ch.Desired)
	}
	d.Configuration = ch.Configuration.apply(d.Configuration)
	set(&d.Grace, ch.Grace)
	set(&d.Exec, ch.Exec)
	set(&d.ManagedTags, ch.ManagedTags)
	set(&d.Propagate, ch.Propagate)
	set(&d.Rebalancing, ch.Rebalancing)
	if p := d.Primary(); p != nil {
		p.Blocked = false
	}
	return d.Configuration.Validate()
}

func (d *draft) desire(n int) {
	if n != d.Desired {
		d.Desired, d.Steady = n, false
		if p := d.Primary(); p != nil {
			p.UpdatedAt = d.now
		}
	}
}

// edit changes a service that is ACTIVE, again if it changed meanwhile.
func (s *Scheduler) edit(ctx context.Context, r task.Realm, name string, f func(d *draft) (News, error)) (Service, error) {
	for {
		v, err := s.Named(ctx, r, name)
		if err != nil {
			return v, err
		}
		if v.Status != Active {
			return v, fault.Wrap(fault.Conflict, ErrNotActive, "Service was not ACTIVE.")
		}
		d := &draft{Service: v.clone(), world: world{now: s.Now()}, newID: s.NewID}
		news, err := f(d)
		if err != nil {
			return v, err
		}
		if err := s.write(ctx, d, news); !errors.Is(err, ErrStale) {
			return d.Service, err
		}
	}
}

// Named returns the newest service of that name; one that does not exist is ErrNoService.
func (s *Scheduler) Named(ctx context.Context, r task.Realm, name string) (Service, error) {
	v, err := s.Book.ServiceNamed(ctx, r, name)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return v, fault.Wrap(fault.NotFound, ErrNoService, "Service not found.")
	}
	return v, err
}

// SetDesired changes how many tasks a service wants, for the reason that is given, which
// becomes one of its events. Errors are those of Update.
func (s *Scheduler) SetDesired(ctx context.Context, r task.Realm, name string, n int, reason string) (Service, error) {
	return s.edit(ctx, r, name, func(d *draft) (News, error) {
		if err := validateCount(n); err != nil {
			return News{}, err
		}
		if n != d.Desired {
			d.say(Event{Name: "SERVICE_DESIRED_COUNT_UPDATED", Level: "INFO", Reason: reason}, "(service %s) updated desired count to %d: %s", d.Name, n, reason)
		}
		d.desire(n)
		return News{}, nil
	})
}

// Retag adds tags to a service and removes those of some keys. Tasks that there are keep
// theirs.
func (s *Scheduler) Retag(ctx context.Context, r task.Realm, name string, add []task.Tag, remove []string) (Service, error) {
	return s.edit(ctx, r, name, func(d *draft) (News, error) {
		d.Tags = task.MergeTags(d.Tags, add, remove)
		return News{}, task.ValidateTags(d.Tags)
	})
}

// Delete begins to end a service: it is DRAINING until its last task has stopped, and then
// INACTIVE. One that wants tasks is refused unless force. One that is DRAINING already is
// returned as it is; one that is INACTIVE or never was is ErrNoService.
func (s *Scheduler) Delete(ctx context.Context, r task.Realm, name string, force bool) (Service, error) {
	if v, err := s.Named(ctx, r, name); err != nil || v.Status == Draining {
		return v, err
	} else if v.Status == Inactive {
		return v, fault.Wrap(fault.NotFound, ErrNoService, "Service not found.")
	}
	return s.edit(ctx, r, name, func(d *draft) (News, error) {
		switch {
		case !force && d.Desired > 0:
			return News{}, fault.New(fault.Invalid, "The service cannot be stopped while it is scaled above 0.")
		case !force && len(d.TaskSets) > 0:
			return News{}, fault.New(fault.Invalid, "The service cannot be stopped while it has active task sets.")
		}
		d.Status, d.Desired, d.Steady = Draining, 0, false
		if r := d.Rollout; r != nil && !r.Status.Ended() {
			r.Status, r.Reason, r.StoppedAt, r.FinishedAt, r.UpdatedAt = RolloutStopped, "The service was deleted.", d.now, d.now, d.now
		}
		return News{}, nil
	})
}

// StopRollout stops a service deployment that has not ended and rolls the service back to
// the last deployment that completed. One that does not exist is ErrNoRollout; one that has
// ended, or that there is nothing to roll back from, is fault.Conflict. One that is rolling
// back already stays as it is.
func (s *Scheduler) StopRollout(ctx context.Context, arn string) error {
	found, err := s.Book.Rollouts(ctx, []string{arn})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fault.Wrap(fault.NotFound, ErrNoRollout, "The specified service deployment does not exist.")
	}
	v, err := s.Book.Service(ctx, found[0].Service)
	if err != nil {
		return err
	}
	_, err = s.edit(ctx, v.Realm, v.Name, func(d *draft) (News, error) {
		switch {
		case d.Rollout == nil || d.Rollout.ARN != arn || d.Rollout.Status.Ended():
			return News{}, fault.New(fault.Conflict, "The service deployment cannot be stopped because it is %s.", found[0].Status)
		case d.Rollout.Rollback != nil:
			return News{}, nil
		case !d.canGoBack():
			return News{}, fault.New(fault.Conflict, "The service deployment cannot be rolled back because there is no service revision that was deployed before it.")
		}
		p := d.Primary()
		p.State, p.Reason, p.UpdatedAt = Failed, stoppedText, d.now
		d.goBack("The service deployment was stopped.", rolledBackByUser)
		return News{}, nil
	})
	return err
}
