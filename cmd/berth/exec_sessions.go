package main

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"berth/access"
	"berth/isolation/containerd"
	"berth/server/aws/ssm"
	"berth/server/aws/wire"
	"berth/session"
	"berth/store"
)

// newExecSessions returns what people's commands in containers go through, after it has ended
// those of a server that died over them.
func newExecSessions(ctx context.Context, st *store.Store, sandboxes *containerd.Runtime, audit func(context.Context, access.Record), log *zap.Logger) (*session.Sessions, error) {
	if err := sandboxes.EndSessions(ctx); err != nil {
		return nil, err
	}
	return session.New(session.Config{
		Runtime: sandboxes, Tasks: st, Record: func(ctx context.Context, r session.Record) { audit(ctx, auditOf(r)) },
		Idle: session.Idle, Most: session.Most, Log: log, Now: time.Now, NewID: uuid.NewString,
	}), nil
}

// auditOf is what the audit log has of a session: one record when it begins, and one when it
// has ended.
func auditOf(r session.Record) access.Record {
	said := map[string]any{
		"session": r.ID, "container": r.Container, "command": r.Command, "terminal": r.Terminal, "via": r.Via,
	}
	a := access.Record{
		EventID: r.ID, EventTime: r.Began.UTC(), Source: "berth", Name: "BeginSession", Account: r.Who.Account, Region: r.Who.Region,
		Identity: access.WhoOf(r.Who), Address: r.Who.Source, Resources: []string{r.TaskARN},
	}
	if !r.Ended.IsZero() {
		a.EventTime, a.Name = r.Ended.UTC(), "EndSession"
		said["bytesIn"], said["bytesOut"] = r.In, r.Out
		if r.Code != nil {
			said["exitCode"] = *r.Code
		} else {
			a.ErrorCode, a.ErrorMessage = r.Kind.String(), r.Cause
		}
	}
	a.Parameters = access.Parameters(said)
	return a
}

// newChannels returns the data channels over which AWS's tools talk in sessions.
func newChannels(ctx context.Context, c serverConfig, sessions *session.Sessions, log *zap.Logger) *ssm.Server {
	return ssm.New(ctx, ssm.Config{Sessions: sessions, Hosts: c.Hosts, Log: log, Now: time.Now})
}

// besideChannels serves data channels with channels, and all else with others. Whoever opens
// one has a token of it, and need not say who they are.
func besideChannels(channels *ssm.Server, others http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ssm.Handles(r) {
			channels.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// ecsExec lets ECS into containers: sessions says what can be, channels is where it is
// talked.
type ecsExec struct {
	sessions *session.Sessions
	channels *ssm.Server
}

// Open is part of ecs.Exec.
func (e ecsExec) Open(ctx context.Context, c wire.Call, w session.Wish) (ssm.Opened, error) {
	one, err := e.sessions.Prepare(ctx, w)
	if err != nil {
		return ssm.Opened{}, err
	}
	one.ID = ssm.NewID()
	return e.channels.Open(c, one), nil
}
