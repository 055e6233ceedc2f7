package notice

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Book keeps notices. Store is one.
type Book interface {
	// Noted returns a channel that is closed when more notices were kept.
	Noted() <-chan struct{}

	// Undelivered returns for each webhook that has something to come the notice that
	// is due first, in the order in which they are due, at most limit.
	Undelivered(ctx context.Context, limit int) ([]Record, error)

	// Delivered notes that an attempt was answered well: there will be no other.
	Delivered(ctx context.Context, seq Seq, at time.Time) error

	// Failed notes that an attempt was not, and when the next is due. If next is zero
	// there will be none.
	Failed(ctx context.Context, seq Seq, why string, next time.Time) error
}

// Config is what NewDeliverer needs. All fields are required.
type Config struct {
	Book      Book
	Key       []byte            // that signs; receivers have it too
	Source    string            // of events: which server tells
	UserAgent string            // as in berth/1.2.3
	Transport http.RoundTripper // to webhooks
	Log       *zap.Logger
	Now       func() time.Time
	Jitter    func() float64 // from 0 to less than 1
}

const (
	workers  = 64               // deliveries at once, each to another webhook
	webhooks = 1000             // that are looked at
	rest     = 10 * time.Second // after the book failed
	asleep   = time.Hour        // between looks when nothing is due
)

// attempts is how often a delivery is tried. With Delay it is a day, less an hour.
const attempts = 13

// Deliverer posts notices to webhooks.
type Deliverer struct {
	Config
	poster *Poster
}

// NewDeliverer returns a Deliverer that does nothing until Run.
func NewDeliverer(c Config) *Deliverer {
	return &Deliverer{Config: c, poster: NewPoster(c.Key, c.UserAgent, c.Transport)}
}

// Chance is a Jitter for use.
func Chance() float64 { return rand.Float64() }

// Run delivers until ctx ends, which is no error. Each webhook is told one thing at a
// time, the one that is due first, and waits for no other webhook. What is answered
// with 2xx is delivered; with 410, or after 13 attempts in a day, it is given up;
// anything else, a redirect too, is tried again. A delivery whose outcome could not be
// written down, for a crash or a disk that is full, is made again: receivers know it by
// its webhook-id.
func (d *Deliverer) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	busy, done := make(map[string]bool), make(chan string, workers)
	for {
		noted, next := d.Book.Noted(), asleep
		pending, err := d.Book.Undelivered(ctx, webhooks)
		if err != nil {
			if ctx.Err() == nil {
				d.Log.Error("read undelivered notices", zap.Error(err))
			}
			next = rest
		}
		for _, r := range pending {
			if busy[r.Webhook] {
				continue
			}
			if wait := r.Next.Sub(d.Now()); wait > 0 {
				next = min(next, wait)
				break // The others are due later.
			}
			if len(busy) == workers {
				break
			}
			busy[r.Webhook] = true
			all.Go(func() {
				d.attempt(ctx, r)
				done <- r.Webhook
			})
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-noted:
		case <-timer.C:
		case w := <-done:
			delete(busy, w)
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// attempt makes a delivery and writes down what came of it. If it cannot, it rests:
// otherwise a disk that is full would be a flood at the receiver.
func (d *Deliverer) attempt(ctx context.Context, r Record) {
	at := d.Now()
	err := d.post(ctx, r.Notice, at)
	switch gone := Gone(err); {
	case ctx.Err() != nil && err != nil:
		return // It was broken off; it is still due.
	case err == nil:
		err = d.Book.Delivered(context.WithoutCancel(ctx), r.Seq, at)
	case gone || r.Attempts+1 >= attempts:
		d.Log.Error("notice given up", zap.String("notice", r.ID), zap.String("type", r.Type), zap.Int("attempts", r.Attempts+1), zap.Error(err))
		err = d.Book.Failed(context.WithoutCancel(ctx), r.Seq, err.Error(), time.Time{})
	default:
		next := d.Now().Add(Delay(r.Attempts+1, d.Jitter()))
		d.Log.Warn("notice not delivered", zap.String("notice", r.ID), zap.String("type", r.Type), zap.Time("next", next), zap.Error(err))
		err = d.Book.Failed(context.WithoutCancel(ctx), r.Seq, err.Error(), next)
	}
	if err != nil {
		d.Log.Error("write down a delivery", zap.String("notice", r.ID), zap.Error(err))
		select {
		case <-time.After(rest):
		case <-ctx.Done():
		}
	}
}

// post tells a webhook.
func (d *Deliverer) post(ctx context.Context, n Notice, at time.Time) error {
	body, err := json.Marshal(n.Event(d.Source))
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return d.poster.Post(ctx, Letter{Webhook: n.Webhook, ID: n.ID, ContentType: ContentType, Body: body, At: at})
}
