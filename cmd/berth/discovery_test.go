package main

import (
	"fmt"
	"testing"

	"berth/service"
	"berth/task"
)

// Ensure services have the names of Service Connect, in their account and region, and none
// if they take no part in it.
func TestAliases(t *testing.T) {
	v := service.Service{Name: "web", Realm: task.Realm{Account: "111111111111", Region: "us-east-1", Cluster: "shop"}}
	v.Template.ServiceConnect = &service.Connect{Enabled: true, Namespace: "arn:aws:servicediscovery:us-east-1:111111111111:namespace/corp", Services: []service.ConnectService{
		{PortName: "http", ClientAliases: []service.ConnectAlias{{Port: 80, DNSName: "API.example"}, {Port: 81}}},
		{PortName: "grpc", DiscoveryName: "rpc"},
	}}
	other := service.Service{Name: "off", Realm: v.Realm}
	other.Template.ServiceConnect = &service.Connect{Namespace: "corp", Services: v.Template.ServiceConnect.Services}
	names := aliasesOf([]service.Service{v, other, {Name: "none", Realm: v.Realm}})
	for _, name := range []string{"http.corp", "rpc.corp", "api.example"} {
		if got := fmt.Sprint(names[alias{"111111111111", "us-east-1", name}]); got != "[{shop web}]" {
			t.Errorf("%s is %s", name, got)
		}
	}
	if len(names) != 3 {
		t.Errorf("names are %v", names)
	}
}
