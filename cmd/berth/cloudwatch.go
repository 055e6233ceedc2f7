package main

import (
	"time"

	"go.uber.org/zap"

	cloudwatchapi "berth/server/aws/logs"

	"berth/logs"
	"berth/logs/cloudwatch"
	"berth/server/aws/wire"
	"berth/store"
)

// newCloudWatch returns what keeps log groups, and the API that speaks of them. dir is where
// the logs of tasks are.
func newCloudWatch(c serverConfig, st *store.Store, dir string, log *zap.Logger) (*cloudwatch.Keeper, wire.Service) {
	k := cloudwatch.New(cloudwatch.Config{
		Book: st, Output: logs.Dir(dir), MakeGroups: c.AWSLogsCreateGroups, Log: log, Now: time.Now,
	})
	return k, cloudwatchapi.New(cloudwatchapi.Config{Keeper: k, Log: log})
}

// streaming returns the names by which AWS's clients call for event streams: they put
// stream- before the host of the endpoint (CloudWatch Logs model, StartLiveTail).
func streaming(hosts []string) []string {
	all := []string{"stream-localhost"}
	for _, h := range hosts {
		all = append(all, "stream-"+h)
	}
	return append(all, hosts...)
}
