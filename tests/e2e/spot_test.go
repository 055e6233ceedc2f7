//go:build e2e

package e2e

import (
	"net/http"
	"testing"
	"time"
)

// Ensure an interrupted task is warned by an event and by SIGTERM, has its notice, also if
// the server dies meanwhile, and is billed at the price of Spot.
func TestSpot(t *testing.T) {
	s := start(t, "--spot-notice", "8s")
	run := func(definition, strategy string) aTask {
		var out struct{ Tasks []aTask }
		if code := s.call("POST", "/api/v1/tasks", `{"taskDefinition":`+definition+strategy+`}`, &out); code != http.StatusCreated {
			t.Fatalf("run: %d", code)
		}
		return out.Tasks[0]
	}
	const spot = `,"capacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":1}]`
	stubborn := run(definition("stubborn", "256", "512", "", "ignore", "TERM"), spot)
	heedful := run(definition("heedful", "256", "512", "", "trap", "TERM"), spot)
	own := run(definition("own", "256", "512", "", "trap", "TERM"), "")
	for _, id := range []string{stubborn.id(), heedful.id(), own.id()} {
		s.until(id, "RUNNING", 20*time.Second)
		s.eventually(10*time.Second, "the program listens for signals", func() error {
			if len(s.logs(id)) == 0 {
				return http.ErrNoLocation
			}
			return nil
		})
	}
	var warned aTask
	for _, id := range []string{stubborn.id(), heedful.id()} {
		if code := s.call("POST", "/api/v1/tasks/"+id+"/interrupt", "", &warned); code != http.StatusOK || warned.DesiredStatus != "STOPPED" {
			t.Fatalf("interrupt: %d, %+v", code, warned)
		}
	}
	if code := s.call("POST", "/api/v1/tasks/"+own.id()+"/interrupt", "", nil); code != http.StatusConflict {
		t.Errorf("interrupting a task on demand: %d", code)
	}
	s.until(stubborn.id(), "STOPPING", 10*time.Second)
	time.Sleep(time.Second) // of the notice
	s.kill()
	s.run()
	for id, code := range map[string]int{stubborn.id(): 137, heedful.id(): 0} {
		got := s.until(id, "STOPPED", 30*time.Second)
		if got.StopCode != "SpotInterruption" || got.StoppedReason != "Your Spot Task was interrupted." || got.code("main") != code {
			t.Errorf("%s: %s %q %d, want code %d", id, got.StopCode, got.StoppedReason, got.code("main"), code)
		}
		if lasted := got.ExecutionStoppedAt.Sub(got.StoppingAt); code == 137 && (lasted < 8*time.Second || lasted > 12*time.Second) {
			t.Errorf("the notice lasted %v, want 8 s", lasted)
		}
		s.checkBill(got)
	}
	s.call("POST", "/api/v1/tasks/"+own.id()+"/stop", "{}", nil)
	s.checkBill(s.until(own.id(), "STOPPED", 20*time.Second))
}
