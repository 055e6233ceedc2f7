package ecs

import (
	"errors"
	"net/http"

	"berth/fault"
	"berth/server/aws/wire"
)

// Codes of the ECS API that more than one operation uses. Each operation may answer with
// some of the model's only.
const (
	invalid         = "InvalidParameterException"
	client          = "ClientException"
	unsupported     = "UnsupportedFeatureException"
	noCluster       = "ClusterNotFoundException"
	noService       = "ServiceNotFoundException"
	noResource      = "ResourceNotFoundException"
	serverException = "ServerException"
	limitExceeded   = "LimitExceededException"
	unknownPlatform = "PlatformUnknownException"
)

// code is what ECS says of faults of which an operation has not said itself what they are.
func code(err error) (string, int) {
	switch fault.KindOf(err) {
	case fault.Internal, fault.Unavailable:
		return serverException, http.StatusInternalServerError
	case fault.Invalid:
		return invalid, http.StatusBadRequest
	case fault.NotFound, fault.Conflict, fault.Exhausted, fault.OverBudget, fault.TooLarge:
		return client, http.StatusBadRequest
	}
	return "", 0 // Who may not ask, or asks too often: wire's own.
}

// as gives a fault the code that an operation has for it. Faults that are no fault of the
// request, and errors that have a code already, stay as they are.
func as(code string, err error) error {
	var exact *wire.Error
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Conflict, fault.TooLarge:
		if !errors.As(err, &exact) {
			return &wire.Error{Code: code, Message: wire.Message(err), Err: err}
		}
	}
	return err
}

// clusterNotFound is said of a cluster that does not exist or is INACTIVE.
func clusterNotFound() error { return wire.Errorf(noCluster, "Cluster not found.") }

// serviceNotFound is said of a service that does not exist.
func serviceNotFound() error { return wire.Errorf(noService, "Service not found.") }

// Failure is why one of several things that a request named is not in the answer (ECS
// developer guide, "API failure reasons").
type Failure struct {
	ARN    string `json:"arn,omitempty"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// missing is the reason of a Failure about what does not exist.
const missing = "MISSING"
