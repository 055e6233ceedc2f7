package notice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	timeout   = 10 * time.Second // of one delivery
	answerMax = 64 << 10         // bytes of an answer that are read
)

// Delay returns how long after attempt n, from 1, the next one is due: 10 s, then three
// times as long each time, up to 4 hours. Up to a fifth less by chance, so that what
// failed together does not come back together.
func Delay(n int, chance float64) time.Duration {
	d := 4 * time.Hour
	if n < 8 {
		d = 10 * time.Second
		for range n - 1 {
			d *= 3
		}
		d = min(d, 4*time.Hour)
	}
	return d - time.Duration(chance*float64(d)/5)
}

// Poster posts to webhooks, signed as Standard Webhooks 1.0 has it.
type Poster struct {
	key       []byte
	userAgent string
	client    http.Client
}

// NewPoster returns a Poster that signs with key, which receivers have too.
func NewPoster(key []byte, userAgent string, transport http.RoundTripper) *Poster {
	return &Poster{key, userAgent, http.Client{
		Transport: transport, Timeout: timeout,
		// A receiver that moved must be named anew: what is told is for whom was named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Letter is what is posted.
type Letter struct {
	Webhook     string // URL
	ID          string // the same each time that it is posted
	ContentType string
	Body        []byte
	At          time.Time // of this attempt
}

// errGone is the answer of who wants to be told nothing more.
type errGone struct{ error }

// Gone reports whether Post's error says that the receiver wants nothing more.
func Gone(err error) bool { return errors.As(err, new(errGone)) }

// Post tells a webhook. Its errors do not have the URL in them, whose path is often what
// keeps it secret.
func (p *Poster) Post(ctx context.Context, l Letter) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.Webhook, bytes.NewReader(l.Body))
	if err != nil {
		return errors.New("not a URL")
	}
	h := req.Header
	h.Set("Content-Type", l.ContentType)
	h.Set("User-Agent", p.userAgent)
	h.Set("Webhook-Id", l.ID)
	h.Set("Webhook-Timestamp", strconv.FormatInt(l.At.Unix(), 10))
	h.Set("Webhook-Signature", Sign(p.key, l.ID, l.At, l.Body))
	resp, err := p.client.Do(req)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			if e.Timeout() {
				return fmt.Errorf("no answer in %s", timeout)
			}
			err = e.Err
		}
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, answerMax)) // so that the connection can be used again
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusGone:
		return errGone{errors.New("answered 410 Gone: it wants nothing more")}
	}
	return fmt.Errorf("answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}
