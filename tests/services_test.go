package tests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/service"
	"berth/store/storetest"
	"berth/task"
)

// serviced is a host whose process also keeps services.
type serviced struct {
	*host
	scheduler *service.Scheduler
	end       func()
	numbers   atomic.Int64
}

func newServiced(t *testing.T, luck func(call string, id task.ID) error) *serviced {
	s := &serviced{host: newHost(t, luck)}
	s.serve()
	t.Cleanup(func() { s.end() })
	return s
}

func (s *serviced) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	s.scheduler = service.New(service.Config{
		Tasks: s.runner, Journal: s.store, Book: s.store, Log: zap.NewNop(), Now: time.Now,
		NewID: func() string { return string(task.NewID()) }, NewNumber: func() string { return fmt.Sprintf("%019d", s.numbers.Add(1)) },
	})
	done := make(chan struct{})
	go func(run func(context.Context) error) {
		defer close(done)
		for ctx.Err() == nil {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				s.t.Log("the scheduler gave up:", err)
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}(s.scheduler.Run)
	s.end = func() { cancel(); <-done }
}

// die ends the process and starts the next.
func (s *serviced) die(reboot bool) {
	s.end()
	if reboot {
		s.host.reboot()
	} else {
		s.host.crash()
		s.host.start()
	}
	s.serve()
}

func (s *serviced) register(family string, revision int, containers ...task.ContainerDefinition) string {
	s.t.Helper()
	d, err := s.store.Register(s.t.Context(), storetest.Realm, task.Definition{
		Family: family, CPU: "256", Memory: "512", NetworkMode: "awsvpc", ContainerDefinitions: containers, Tags: []task.Tag{{Key: "revision", Value: fmt.Sprint(revision)}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return d.ARN
}

// Ensure services have what they want and leave nothing behind whatever fails and whenever
// the process or the host dies, with the real store and the real runner.
func TestServices(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { services(t, seed) })
		})
	}
}

func services(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := newServiced(t, luck(seed))
	broken := main("exit", "1")
	definitions := []string{s.register("web", 1, main("sleep", "1h")), s.register("web", 2, main("sleep", "4m")), s.register("web", 3, broken)}
	try := func(f func() error) {
		t.Helper()
		for {
			err := f()
			if err == nil {
				return
			}
			if fault.KindOf(err) != fault.Unavailable {
				t.Fatal(err)
			}
		}
	}
	yes := true
	try(func() error {
		_, err := s.scheduler.Create(t.Context(), service.Request{
			Realm: storetest.Realm, Name: "web", Definition: definitions[0], Desired: 3, Propagate: service.PropagateDefinition, Rebalancing: "ENABLED", ManagedTags: true,
			Configuration: service.ConfigurationChange{Enable: &yes, Rollback: &yes},
			Template:      service.Template{LaunchType: "FARGATE", Network: &task.NetworkConfiguration{AWSVPC: task.AWSVPC{Subnets: []string{"subnet-1"}}}},
		})
		return err
	})
	update := func(ch service.Change) {
		t.Helper()
		try(func() error {
			_, err := s.scheduler.Update(t.Context(), storetest.Realm, "web", ch)
			return err
		})
	}
	for range 40 {
		switch p := rnd.IntN(100); {
		case p < 15:
			n := rnd.IntN(6)
			update(service.Change{Desired: &n})
		case p < 30:
			update(service.Change{Definition: &definitions[rnd.IntN(len(definitions))]})
		case p < 55:
			s.die(false)
		case p < 58:
			s.die(true)
		default:
			time.Sleep(time.Duration(rnd.IntN(90_000)) * time.Millisecond)
		}
	}
	n := 4
	update(service.Change{Desired: &n, Definition: &definitions[0], Force: true})
	if _, err := s.store.Deregister(t.Context(), storetest.Realm, definitions[0]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Minute) // Some tasks end meanwhile, and their definition is INACTIVE.

	v, err := s.store.ServiceNamed(t.Context(), storetest.Realm, "web")
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Deployments) != 1 || v.Deployments[0].State != service.Completed {
		t.Errorf("it is %+v", v.Deployments)
	}
	all, _, err := s.store.Unfinished(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[task.ID]bool)
	for _, id := range v.TaskIDs() {
		known[id] = true
	}
	live := 0
	for _, got := range all {
		if got.Group != "service:web" || !known[got.ID] {
			t.Errorf("task %s of %s is not the service's", got.ID, got.Group)
		}
		if got.DesiredStatus == task.Running {
			live++
		}
		if tags := fmt.Sprint(got.Tags); !strings.Contains(tags, "{aws:ecs:serviceName web}") || !strings.Contains(tags, "{revision 1}") {
			t.Errorf("task %s has the tags %s", got.ID, tags)
		}
	}
	if live != n {
		t.Errorf("%d tasks run, want %d", live, n)
	}
	try(func() error {
		_, err := s.scheduler.Delete(t.Context(), storetest.Realm, "web", true)
		return err
	})
	s.die(false)
	time.Sleep(10 * time.Minute)
	if v, err := s.store.ServiceNamed(t.Context(), storetest.Realm, "web"); err != nil || v.Status != service.Inactive {
		t.Errorf("it is %s, %v", v.Status, err)
	}
	if all, _, err := s.store.Unfinished(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%d tasks are left, %v", len(all), err)
	}
	if left := s.fake.Leftovers(); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}
