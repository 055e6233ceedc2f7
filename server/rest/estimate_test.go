package rest_test

import (
	"strings"
	"testing"
)

// Ensure an estimate tells of runs that were measured, of all terms and of a month, and
// that nothing was registered or run for it.
func TestEstimate(t *testing.T) {
	w := newWorld(t)
	const definition = `{"family":"measured","cpu":"256","memory":"512","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"containerDefinitions":[{"name":"main","image":"x"}]}`
	got := w.call("POST", "/estimates", `{"taskDefinition":`+definition+`,"runsPerDay":24}`)
	for _, want := range []string{
		`"source":"MEASURED","runs":2`, `"meteredSeconds":"32"`, `"billedSeconds":92`, `"billedSeconds":60`, `"capacityProvider":"FARGATE_SPOT","cpuArchitecture":"ARM64"`,
		`"for":"MINIMUM_TOPUP","seconds":"28"`,
	} {
		if got.Code != 200 || !strings.Contains(got.Body.String(), want) {
			t.Errorf("%d, want %s in %s", got.Code, want, got.Body)
		}
	}
	if after := w.call("GET", "/task-definitions", ""); strings.Contains(after.Body.String(), "measured") {
		t.Errorf("the definition was registered: %s", after.Body)
	}
	compose := w.call("POST", "/estimates", `{"compose":"services: {web: {image: x, deploy: {replicas: 2, resources: {limits: {cpus: '0.3', memory: 600M}}}}}"}`)
	if compose.Code != 200 || !strings.Contains(compose.Body.String(), `"kind":"SERVICE","count":2`) || !strings.Contains(compose.Body.String(), "rounded up") {
		t.Errorf("compose: %d %s", compose.Code, compose.Body)
	}
	for body, field := range map[string]string{
		`{}`: "", `{"taskDefinition":"x","compose":"y"}`: "", `{"compose":"services: {a: {cpus: 99}}"}`: "compose.services",
		`{"taskDefinition":` + definition + `,"region":"nowhere"}`: "region", `{"taskDefinition":` + definition + `,"runsPerDay":-1}`: "runsPerDay",
		`{"taskDefinition":` + definition + `,"cpuArchitecture":"MIPS"}`: "cpuArchitecture", `{"terraformPlan":{}}`: "terraformPlan",
	} {
		if got := w.call("POST", "/estimates", body); got.Code != 400 || !strings.Contains(got.Body.String(), field) {
			t.Errorf("%s: %d %s, want 400 for %q", body, got.Code, got.Body, field)
		}
	}
}
