package main

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"berth/access"
	"berth/server/aws/throttle"
	"berth/server/aws/wire"
)

// newAWS returns what answers for AWS's services, as fast as the account's quota and pace
// let it.
func newAWS(c serverConfig, d door, services []wire.Service, pace *throttle.Limiter, log *zap.Logger) *wire.Front {
	return wire.New(wire.Config{
		Services:     services,
		Authenticate: d.authenticate, Access: d.access,
		Throttle: func(who access.Identity, service, operation string) error {
			if err := d.throttle(who); err != nil {
				return err
			}
			return pace.Call(who, service, operation)
		},
		Done:  func(ctx context.Context, done wire.Done) { d.audited(ctx, done) },
		Hosts: streaming(c.Hosts), Log: log, Now: time.Now, NewRequestID: uuid.NewString,
	})
}

// beside serves AWS's requests with aws, and all others with api.
func beside(aws *wire.Front, api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if aws.Handles(r) {
			aws.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}
