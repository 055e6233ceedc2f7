package autoscaling

import (
	"context"
	"encoding/json"

	"berth/fault"
	"berth/server/aws/wire"
)

// What Berth does not do is known and answered: with nothing, or with why not.

type scheduledIn struct {
	Name string `json:"ScheduledActionName" required:"true" min:"1" max:"1600"`
	which
	Schedule string          `json:"Schedule" max:"1600"`
	Timezone string          `json:"Timezone" max:"1600"`
	Start    wire.Time       `json:"StartTime"`
	End      wire.Time       `json:"EndTime"`
	Action   json.RawMessage `json:"ScalableTargetAction"`
}

func (s *service) putScheduled(context.Context, wire.Call, *scheduledIn) (*wire.None, error) {
	return nil, fault.New(fault.Invalid, "Scheduled actions are not supported by this version of Berth")
}

type deleteScheduledIn struct {
	Name string `json:"ScheduledActionName" required:"true" min:"1" max:"1600"`
	which
}

func (s *service) deleteScheduled(_ context.Context, _ wire.Call, in *deleteScheduledIn) (*wire.None, error) {
	return nil, fault.New(fault.NotFound, "No scheduled action found for service namespace: %s, resource ID: %s, scalable dimension: %s, scheduled action name: %s", in.Namespace, in.which.Resource, in.Dimension, in.Name)
}

type describeScheduledIn struct {
	listIn
	Resource string   `json:"ResourceId" max:"1600"`
	Names    []string `json:"ScheduledActionNames" max:"50"`
}

type scheduledOut struct {
	Actions []struct{} `json:"ScheduledActions"`
}

func (s *service) scheduled(_ context.Context, _ wire.Call, in *describeScheduledIn) (*scheduledOut, error) {
	return &scheduledOut{[]struct{}{}}, only(in.Namespace, in.Dimension)
}

type forecastIn struct {
	Policy string `json:"PolicyName" required:"true" min:"1" max:"256"`
	which
	Start wire.Time `json:"StartTime"`
	End   wire.Time `json:"EndTime"`
}

func (s *service) forecast(context.Context, wire.Call, *forecastIn) (*wire.None, error) {
	return nil, fault.New(fault.Invalid, "Predictive scaling is not supported by Berth")
}
