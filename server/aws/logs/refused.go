package logs

import (
	"context"
	"encoding/json"
	"strings"

	"berth/fault"
	"berth/server/aws/wire"
)

// anything is the input of an operation that does not look at it.
type anything map[string]json.RawMessage

// none are operations that list what nobody can make here, and the list's name.
var none = map[string]string{
	"DescribeDestinations":        "destinations",
	"DescribeExportTasks":         "exportTasks",
	"DescribeMetricFilters":       "metricFilters",
	"DescribeQueries":             "queries",
	"DescribeQueryDefinitions":    "queryDefinitions",
	"DescribeResourcePolicies":    "resourcePolicies",
	"DescribeSubscriptionFilters": "subscriptionFilters",
}

// refused are the API's other operations, as of its model in 2026.
const refused = `
AssociateKmsKey AssociateSourceToS3TableIntegration CancelExportTask CancelImportTask CreateDelivery CreateExportTask
CreateImportTask CreateLogAnomalyDetector CreateLookupTable CreateScheduledQuery DeleteAccountPolicy
DeleteDataProtectionPolicy DeleteDelivery DeleteDeliveryDestination DeleteDeliveryDestinationPolicy DeleteDeliverySource
DeleteDestination DeleteIndexPolicy DeleteIntegration DeleteLogAnomalyDetector DeleteLookupTable DeleteMetricFilter
DeleteQueryDefinition DeleteResourcePolicy DeleteScheduledQuery DeleteSubscriptionFilter DeleteSyslogConfiguration
DeleteTransformer DescribeAccountPolicies DescribeConfigurationTemplates DescribeDeliveries DescribeDeliveryDestinations
DescribeDeliverySources DescribeFieldIndexes DescribeImportTaskBatches DescribeImportTasks DescribeIndexPolicies
DescribeLookupTables DisassociateKmsKey DisassociateSourceFromS3TableIntegration GetDataProtectionPolicy GetDelivery
GetDeliveryDestination GetDeliveryDestinationPolicy GetDeliverySource GetIntegration GetLogAnomalyDetector GetLogFields
GetLogGroupFields GetLogObject GetLogRecord GetLookupTable GetQueryResults GetScheduledQuery GetScheduledQueryHistory
GetStorageTierPolicy GetTransformer ListAggregateLogGroupSummaries ListAnomalies ListIntegrations ListLogAnomalyDetectors
ListLogGroupsForQuery ListScheduledQueries ListSourcesForS3TableIntegration ListSyslogConfigurations PutAccountPolicy
PutBearerTokenAuthentication PutDataProtectionPolicy PutDeliveryDestination PutDeliveryDestinationPolicy
PutDeliverySource PutDestination PutDestinationPolicy PutIndexPolicy PutIntegration PutMetricFilter PutQueryDefinition
PutResourcePolicy PutStorageTierPolicy PutSubscriptionFilter PutSyslogConfiguration PutTransformer StartQuery StopQuery
TestMetricFilter TestTransformer UpdateAnomaly UpdateDeliveryConfiguration UpdateLogAnomalyDetector UpdateLookupTable
UpdateScheduledQuery
`

// refusals answers for what is not done: a client learns that it is this server which does
// not, rather than that the API has no such operation.
func refusals() []wire.Operation {
	var ops []wire.Operation
	for _, name := range strings.Fields(refused) {
		ops = append(ops, wire.Op(name, func(context.Context, wire.Call, *anything) (*wire.None, error) {
			return nil, fault.New(fault.Invalid, "Berth does not have the operation %s of CloudWatch Logs", name)
		}))
	}
	for name, list := range none {
		ops = append(ops, wire.Op(name, func(context.Context, wire.Call, *anything) (*map[string][]string, error) {
			return &map[string][]string{list: {}}, nil
		}))
	}
	return ops
}
