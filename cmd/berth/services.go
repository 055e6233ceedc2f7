package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/runner"
	"berth/server/aws/ecs"
	"berth/service"
	"berth/store"
	"berth/task"
)

// newServices returns what keeps services. targets is what a load balancer says of tasks; nil
// if there is none.
func newServices(st *store.Store, tasks *runner.Runner, targets service.Targets, log *zap.Logger) *service.Scheduler {
	return service.New(service.Config{
		Tasks: tasks, Journal: st, Book: st, Targets: targets, Log: log, Now: time.Now,
		NewID: func() string { return string(task.NewID()) }, NewNumber: newNumber,
	})
}

// newNumber returns 19 digits at random, as deployments have in their IDs.
func newNumber() string {
	const least = 1_000_000_000_000_000_000
	n, err := rand.Int(rand.Reader, big.NewInt(8*least))
	if err != nil {
		panic(fmt.Sprintf("read random numbers: %v", err)) // crypto/rand: it never is.
	}
	return fmt.Sprint(least + n.Int64())
}

// serveServices lets ECS answer for services too.
func serveServices(c *ecs.Config, services *service.Scheduler, st *store.Store) {
	c.Services, c.History = services, st
	c.HasService = func(ctx context.Context, in task.Realm, name string) (bool, error) {
		_, err := services.Named(ctx, in, name)
		if fault.KindOf(err) == fault.NotFound && err != nil {
			return false, nil
		}
		return err == nil, err
	}
}
