package task

import (
	"regexp"
	"testing"
)

func TestRuntimeID(t *testing.T) {
	const id ID = "0123456789abcdef0123456789abcdef"
	one, other := RuntimeID(id, "app"), RuntimeID(id, "db")
	if form := regexp.MustCompile(`^[0-9a-f]{32}-[0-9]{10}$`); !form.MatchString(one) || !form.MatchString(other) || one == other {
		t.Errorf("%s and %s", one, other)
	}
	// Tasks that run have it in their environment: a new version of Berth makes the same.
	if want := "0123456789abcdef0123456789abcdef-4663446347"; one != want {
		t.Errorf("%s, want %s", one, want)
	}
}

func TestDNSName(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1": "ip-100-64-0-2.ec2.internal", "eu-west-1": "ip-100-64-0-2.eu-west-1.compute.internal",
	} {
		if got := (Realm{Region: region}).DNSName("100.64.0.2"); got != want {
			t.Errorf("%s: %s, want %s", region, got, want)
		}
	}
}

// Ensure a task has an address from when it gets one until it is taken away.
func TestAddress(t *testing.T) {
	var before Task
	before.LastStatus = Provisioning
	with, err := before.Apply(Provisioned(before, Instant{}, Network{IPv4: "100.64.0.2", MAC: "0a:58:64:40:00:02"}, "eni"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := with.Apply(GaveUp(with, with.CreatedAt, UserInitiated, "", nil))
	if err != nil {
		t.Fatal(err)
	}
	for when, tt := range map[string]struct {
		t       Task
		ip, mac string
	}{"before": {before, "", ""}, "with": {with, "100.64.0.2", "0a:58:64:40:00:02"}, "after": {after, "", ""}} {
		if tt.t.IPv4() != tt.ip || tt.t.MAC() != tt.mac {
			t.Errorf("%s: %q %q, want %q %q", when, tt.t.IPv4(), tt.t.MAC(), tt.ip, tt.mac)
		}
	}
}

func TestRole(t *testing.T) {
	d, over := Definition{TaskRoleARN: "defined"}, Task{Overrides: Overrides{TaskRoleARN: "overridden"}}
	if Role(d, Task{}) != "defined" || Role(d, over) != "overridden" || Role(Definition{}, over) != "overridden" || Role(Definition{}, Task{}) != "" {
		t.Error("a run's role comes before its definition's")
	}
}
