package main

import (
	"net/http"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"berth/access"
	"berth/server/aws/wire"
)

// newAWS returns what answers for AWS's services.
func newAWS(c serverConfig, services []wire.Service, log *zap.Logger) *wire.Front {
	return wire.New(wire.Config{
		Services:     services,
		Authenticate: wire.Anybody(c.Account, c.Region), Access: access.Open{},
		Hosts: c.Hosts, Log: log, Now: time.Now, NewRequestID: uuid.NewString,
	})
}

// identify says who calls the native API: everybody is the server's account, and may do
// everything.
func identify(c serverConfig) func(*http.Request) (access.Identity, error) {
	who := access.Identity{
		Account: c.Account, Region: c.Region, ARN: "arn:aws:iam::" + c.Account + ":root", UserID: c.Account, Admin: true,
	}
	return func(*http.Request) (access.Identity, error) { return who, nil }
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
