package rest

import (
	"context"
	"time"

	"berth/billing"
	"berth/billing/tuning"
	"berth/server/api"
)

// Tunings tries definitions at several sizes. See tuning.Tuner.
type Tunings interface {
	Create(ctx context.Context, r tuning.Request) (tuning.Report, error)

	// Wait returns a tuning when it has a later version than that, has ended, or ctx
	// ends; Tuning returns it at once.
	Wait(ctx context.Context, id tuning.ID, version int64) (tuning.Report, error)
	Tuning(ctx context.Context, id tuning.ID) (tuning.Report, error)

	// Tunings returns a page of tunings, newest first, and the token of the next page,
	// "" if there is none.
	Tunings(ctx context.Context, limit int, token string) ([]tuning.Tuning, string, error)

	Cancel(ctx context.Context, id tuning.ID) (tuning.Report, error)
	Resume(ctx context.Context, id tuning.ID, maxCost *billing.Money) (tuning.Report, error)
	Remove(ctx context.Context, id tuning.ID) error
}

type tuneIn struct{ Body tuning.Request }

func (s *server) tune(ctx context.Context, in *tuneIn) (*tuning.Report, error) {
	r, err := s.Tunings.Create(ctx, in.Body)
	return &r, err
}

func (s *server) tunings(ctx context.Context, in *pageIn) (*api.TuningPage, error) {
	all, next, err := s.Tunings.Tunings(ctx, in.limit(), in.NextToken)
	return &api.TuningPage{Tunings: some(all), NextToken: next}, err
}

type tuningIn struct {
	ID tuningID `path:"id" doc:"32 hex digits"`
}

// tuningID is a tuning's ID in a path.
type tuningID struct{ tuning.ID }

func (id *tuningID) UnmarshalText(text []byte) (err error) {
	id.ID, err = tuning.ParseID(string(text))
	return err
}

type waitIn struct {
	tuningIn
	Wait  int   `query:"waitSeconds" minimum:"0" maximum:"60" doc:"Answer when there is a later version, when it has ended, or after this time, whichever comes first"`
	After int64 `query:"afterVersion" minimum:"0" doc:"The version that is known; 0, so any, if left out"`
}

func (s *server) tuning(ctx context.Context, in *waitIn) (*tuning.Report, error) {
	if in.Wait == 0 {
		r, err := s.Tunings.Tuning(ctx, in.ID.ID)
		return &r, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(in.Wait)*time.Second)
	defer cancel()
	stop := context.AfterFunc(s.lifetime, cancel) // A server that stops lets nobody wait.
	defer stop()
	r, err := s.Tunings.Wait(ctx, in.ID.ID, in.After)
	return &r, err
}

func (s *server) cancelTuning(ctx context.Context, in *tuningIn) (*tuning.Report, error) {
	r, err := s.Tunings.Cancel(ctx, in.ID.ID)
	return &r, err
}

type resumeIn struct {
	tuningIn
	Body api.TuningResume `required:"false"`
}

func (s *server) resumeTuning(ctx context.Context, in *resumeIn) (*tuning.Report, error) {
	r, err := s.Tunings.Resume(ctx, in.ID.ID, in.Body.MaxCost)
	return &r, err
}

func (s *server) removeTuning(ctx context.Context, in *tuningIn) (*none, error) {
	return &none{}, s.Tunings.Remove(ctx, in.ID.ID)
}
