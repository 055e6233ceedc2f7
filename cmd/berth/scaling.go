package main

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"berth/eventbridge"
	"berth/fault"
	"berth/scaling"
	"berth/server/aws/autoscaling"
	"berth/server/aws/wire"
	"berth/service"
	"berth/store"
	"berth/task"
)

// counted lets the scaler change services.
type counted struct{ *service.Scheduler }

// Desired is part of scaling.Services.
func (c counted) Desired(ctx context.Context, r scaling.Resource) (int, error) {
	v, err := c.Named(ctx, r.Realm, r.Service)
	if err == nil && v.Status != service.Active {
		err = fault.New(fault.NotFound, "Service not found.")
	}
	return v.Desired, err
}

// SetDesired is part of scaling.Services.
func (c counted) SetDesired(ctx context.Context, r scaling.Resource, n int, reason string) error {
	_, err := c.Scheduler.SetDesired(ctx, r.Realm, r.Service, n, reason)
	return err
}

// newScaler returns what changes how many tasks services want, by what they use.
func newScaler(st *store.Store, services *service.Scheduler, log *zap.Logger) *scaling.Scaler {
	return scaling.New(scaling.Config{Book: st, Services: counted{services}, Meter: st, Log: log, Now: time.Now, NewID: uuid.NewString})
}

// newAutoscaling answers for Application Auto Scaling.
func newAutoscaling(st *store.Store, services *service.Scheduler) wire.Service {
	return autoscaling.New(autoscaling.Config{Book: st, Services: counted{services}, Now: time.Now, NewID: uuid.NewString})
}

// serviceFeed tells what happens to services in the words of package eventbridge.
type serviceFeed struct{ *store.Store }

// FollowServiceEvents is part of eventbridge.Services.
func (f serviceFeed) FollowServiceEvents(ctx context.Context, seq int64) iter.Seq2[eventbridge.ServiceEvent, error] {
	return func(yield func(eventbridge.ServiceEvent, error) bool) {
		for e, err := range f.FollowServices(ctx, seq) {
			if !yield(serviceEvent(e), err) || err != nil {
				return
			}
		}
	}
}

func serviceEvent(e service.Event) eventbridge.ServiceEvent {
	return eventbridge.ServiceEvent{
		Seq: e.Seq, ID: e.ID, Realm: realmOfService(e.ARN), Service: e.ARN, At: e.At,
		Name: e.Name, Level: e.Level, Deployment: e.Deployment, Reason: e.Reason,
	}
}

// realmOfService reads arn:aws:ecs:REGION:ACCOUNT:service/CLUSTER/NAME.
func realmOfService(arn string) (r task.Realm) {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		r.Region, r.Account = parts[3], parts[4]
		rest, _ := strings.CutPrefix(parts[5], "service/")
		r.Cluster, _, _ = strings.Cut(rest, "/")
	}
	return r
}
