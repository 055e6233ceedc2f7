package estimate

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/billing"
	"berth/fault"
)

var plain = billing.Shape{Arch: "X86_64", Storage: 20}

// said writes subjects as a table would.
func table(all []Subject) string {
	var b strings.Builder
	for _, s := range all {
		kind := "task"
		if s.Service {
			kind = "service"
		}
		fmt.Fprintf(&b, "%s %s: %d, %d spot, of %s, %d GiB, %s\n", kind, s.Name, s.Count, s.Spot, s.Shape.Size(), s.Shape.Storage, s.Shape.Arch)
	}
	return b.String()
}

// Ensure a compose file's amounts become the cheapest sizes that hold them.
func TestCompose(t *testing.T) {
	for _, c := range []struct{ name, service, want string }{
		{"limits", `{deploy: {resources: {limits: {cpus: "0.50", memory: 1G}}}}`, "1, 0 spot, of 0.5 vCPU, 1024 MiB"},
		{"numbers", `{cpus: 0.5, mem_limit: 1073741824}`, "1, 0 spot, of 0.5 vCPU, 1024 MiB"},
		{"reservations", `{deploy: {resources: {reservations: {cpus: '1', memory: 2048M}}}}`, "1, 0 spot, of 1 vCPU, 2048 MiB"},
		{"limits before reservations", `{cpus: 4, deploy: {resources: {limits: {cpus: 0.25, memory: 512M}, reservations: {cpus: 2, memory: 9g}}}}`, "1, 0 spot, of 0.25 vCPU, 512 MiB"},
		{"rounded up", `{cpus: 0.3, mem_limit: 700m}`, "1, 0 spot, of 0.5 vCPU, 1024 MiB"},
		{"much memory", `{cpus: 0.25, mem_limit: 5gb}`, "1, 0 spot, of 1 vCPU, 5120 MiB"},
		{"nothing", `{image: x}`, "1, 0 spot, of 0.25 vCPU, 512 MiB"},
		{"a byte more", `{mem_limit: 536870913b}`, "1, 0 spot, of 0.25 vCPU, 1024 MiB"},
		{"replicas", `{cpus: .25, mem_limit: 512mb, deploy: {replicas: 3}}`, "3, 0 spot, of 0.25 vCPU, 512 MiB"},
		{"scale", `{scale: 2}`, "2, 0 spot, of 0.25 vCPU, 512 MiB"},
		{"profiles", `{profiles: [debug]}`, "0, 0 spot, of 0.25 vCPU, 512 MiB"},
		{"arm", `{platform: linux/arm64/v8}`, "1, 0 spot, of 0.25 vCPU, 512 MiB, 20 GiB, ARM64"},
		{"disk", `{storage_opt: {size: 30G}}`, "1, 0 spot, of 0.25 vCPU, 512 MiB, 30 GiB"},
		{"variables", `{cpus: "${CPUS:-2}", mem_limit: "${MEMORY}", scale: $N}`, "4, 0 spot, of 2 vCPU, 6144 MiB"},
		{"the rest", `{build: ., ports: ["80:80"], environment: {A: $$B}, depends_on: [y], healthcheck: {test: x}}`, "1, 0 spot, of 0.25 vCPU, 512 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := Compose("services:\n  x: "+c.service, map[string]string{"MEMORY": "6G", "N": "4"}, plain, billing.BuiltIn())
			if err != nil {
				t.Fatal(err)
			}
			if got := table(all); !strings.HasPrefix(got, "service x: "+c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// Ensure anchors and merges work, since many compose files have them.
func TestComposeAnchors(t *testing.T) {
	all, err := Compose(`
x-common: &common
  cpus: 1
  mem_limit: &m 2g
services:
  b: {<<: *common, scale: 2}
  a:
    <<: *common
    cpus: 2
    deploy: {resources: {limits: {memory: *m}}}
`, nil, billing.Shape{Arch: "ARM64", Spot: true, Storage: 20}, billing.BuiltIn())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := table(all), "service a: 1, 1 spot, of 2 vCPU, 4096 MiB, 20 GiB, ARM64\nservice b: 2, 2 spot, of 1 vCPU, 2048 MiB, 20 GiB, ARM64\n"; got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

// Ensure each file that cannot be priced is refused with the place.
func TestComposeRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"": "services: the compose file has none", "services: {}": "services: the compose file has none",
		"services: [": "not a compose file", "services: {x: {cpus: {a: 1}}}": "not a compose file", "\t": "compose file",
		"services: {x: {cpus: many}}":                     "services.x.cpus: \"many\" is not a number of CPUs",
		"services: {x: {cpus: -1}}":                       "services.x.cpus",
		"services: {x: {cpus: 1e3}}":                      "services.x.cpus",
		"services: {x: {cpus: 33}}":                       "services.x.deploy.resources.limits: Fargate has no size with 33 vCPU",
		"services: {x: {mem_limit: 5parsecs}}":            "services.x.mem_limit",
		"services: {x: {scale: 2.5}}":                     "services.x.scale",
		"services: {x: {deploy: {replicas: 999999}}}":     "services.x.deploy.replicas",
		"services: {x: {extends: {service: y}}}":          "services.x.extends",
		"include: [a.yaml]\nservices: {x: {}}":            "include:",
		"services: {x: {platform: windows/amd64}}":        "services.x.platform",
		"services: {x: {storage_opt: {size: 300G}}}":      "services.x.storage_opt.size",
		"services: {x: {mem_limit: \"${M:?say it}\"}}":    "the variable M of the compose file is not set: say it",
		"services: {x: {cpus: 99999999999999999999999}}":  "services.x.cpus",
		"services: {x: {cpus: \"0x10\"}}":                 "services.x.cpus",
		"services: {x: {mem_limit: 99999999999999999gb}}": "services.x.mem_limit",
	} {
		all, err := Compose(text, nil, plain, billing.BuiltIn())
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %s", text, table(all), err, want)
		}
	}
}

// Ensure aliases of aliases of aliases do not take for ever.
func TestComposeBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	for _, text := range []string{b.String() + "services: {x: {}}", b.String() + "services: {x: {extends: *a11}}", b.String() + "include: *a11"} {
		began := time.Now()
		if _, err := Compose(text, nil, plain, billing.BuiltIn()); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v", err)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s", d)
		}
	}
}

func TestVariables(t *testing.T) {
	if got, want := Variables("${A} $B ${C:-x} $$D ${A-y} ${E?z}"), []string{"A", "B", "C", "E"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for in, want := range map[string]string{
		"$$x $A ${A}": "$x 1 1", "${E:-d} ${E-d} ${N:-d} ${N-d}": "d  d d", "${A:+yes}${N+yes}": "yes", "${A:?no}": "1", "100%": "100%", "$": "$",
	} {
		if got, err := interpolate(in, map[string]string{"A": "1", "E": ""}); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", in, got, err, want)
		}
	}
}

// Ensure a plan's services find their definitions in their module, in another, by
// key and by name, before and after it was trimmed.
func TestTerraform(t *testing.T) {
	raw, err := os.ReadFile("testdata/plan.json")
	if err != nil {
		t.Fatal(err)
	}
	trimmed, err := TrimPlan(raw)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(trimmed), "hunter2") || !strings.Contains(string(raw), "hunter2") || len(trimmed) > len(raw) {
		t.Errorf("%d bytes became %d, with what nobody asked for:\n%s", len(raw), len(trimmed), trimmed)
	}
	const want = `service web: 4, 3 spot, of 0.5 vCPU, 1024 MiB, 50 GiB, X86_64
service by-name: 1, 0 spot, of 1 vCPU, 2048 MiB, 20 GiB, ARM64
service worker: 2, 0 spot, of 2 vCPU, 4096 MiB, 20 GiB, X86_64
service each-a: 1, 0 spot, of 0.25 vCPU, 512 MiB, 20 GiB, X86_64
service each-b: 1, 0 spot, of 0.25 vCPU, 1024 MiB, 20 GiB, X86_64
task job: 1, 0 spot, of 1 vCPU, 2048 MiB, 20 GiB, ARM64
`
	for _, plan := range []json.RawMessage{raw, trimmed} {
		all, err := Terraform(plan, billing.Shape{Storage: 20})
		if err != nil {
			t.Fatal(err)
		}
		if got := table(all); got != want {
			t.Errorf("got:\n%swant:\n%s", got, want)
		}
	}
}

func TestTerraformRefusals(t *testing.T) {
	resource := func(kind, values string) string {
		return `{"format_version":"1.2","planned_values":{"root_module":{"resources":[{"address":"` + kind + `.x","mode":"managed","type":"` + kind + `","name":"x","values":` + values + `}]}}}`
	}
	for plan, want := range map[string]string{
		`x`:                        "not a plan",
		`{}`:                       "no format_version",
		`{"format_version":"1.2"}`: "neither",
		resource("aws_ecs_task_definition", `{"family":"x","cpu":"257","memory":"512"}`):                                                                  "aws_ecs_task_definition.x.memory: No Fargate configuration exists",
		resource("aws_ecs_task_definition", `{"family":"x"}`):                                                                                             "aws_ecs_task_definition.x.cpu",
		resource("aws_ecs_task_definition", `{"family":"x","cpu":"256","memory":"512","requires_compatibilities":["EC2"]}`):                               "not for Fargate",
		resource("aws_ecs_task_definition", `{"family":5}`):                                                                                               "not the values of a task definition",
		resource("aws_ecs_service", `{"name":"x","launch_type":"EC2"}`):                                                                                   "launch_type",
		resource("aws_ecs_service", `{"name":"x"}`):                                                                                                       "does not say which",
		resource("aws_ecs_task_definition", `{"cpu":"1024","memory":"2048","runtime_platform":[{"operating_system_family":"WINDOWS_SERVER_2022_CORE"}]}`): "Windows",
	} {
		all, err := Terraform(json.RawMessage(plan), billing.Shape{Storage: 20})
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %s", plan, table(all), err, want)
		}
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("services: {x: {cpus: 0.5, mem_limit: 1g, deploy: {replicas: 2}}}")
	f.Add("services:\n  x: &x\n    cpus: ${A:-1}\n  y: *x\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Compose(text, nil, plain, billing.BuiltIn())
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", text, err)
		}
		for _, s := range all {
			if s.Count < 0 || s.Count > maxReplicas {
				t.Errorf("%q: %+v", text, s)
			}
		}
	})
}

func FuzzTerraform(f *testing.F) {
	raw, err := os.ReadFile("testdata/plan.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"format_version": "0", "values": {"root_module": {"resources": [{"type": "aws_ecs_cluster"},
		{"type": "aws_ecs_task_definition", "values": {"cpu": "1024", "memory": "2048"}}]}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, err := Terraform(raw, billing.Shape{Storage: 20})
		trimmed, trimErr := TrimPlan(raw)
		if err != nil {
			return
		}
		if trimErr != nil {
			t.Fatalf("%s: %v", raw, trimErr)
		}
		if again, err := Terraform(trimmed, billing.Shape{Storage: 20}); err != nil || table(again) != table(all) {
			t.Errorf("%s:\n%s\ntrimmed: %s, %v", raw, table(all), table(again), err)
		}
	})
}
