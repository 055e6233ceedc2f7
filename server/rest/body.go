package rest

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"berth/fault"
	"berth/server/api"
)

const (
	maxBody      = 1 << 20          // bytes of a JSON request; a task definition may have 64 KiB
	bodyTime     = 30 * time.Second // for all of a JSON request to arrive
	bodyIdleTime = 60 * time.Second // between two reads of a streamed request
)

// readBody returns the JSON body of the request, or nil if there is none and
// need not be.
func (s *server) readBody(c *gin.Context, must bool) ([]byte, error) {
	if c.Request.ContentLength > maxBody {
		return nil, tooLarge(maxBody)
	}
	control := http.NewResponseController(c.Writer)
	control.SetReadDeadline(s.Now().Add(bodyTime)) // Not every connection can; the server's own limits hold then.
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if err != nil {
		return nil, readFault(err)
	}
	control.SetReadDeadline(time.Time{})
	if len(body) == 0 && !must {
		return nil, nil
	}
	if err := checkType(c, []string{api.JSON}); err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, fault.New(fault.Invalid, "the request has no body; it takes a JSON object")
	}
	return body, nil
}

// openBody returns the body of the request as it comes in.
func (s *server) openBody(c *gin.Context, accept []string) (io.Reader, error) {
	if err := checkType(c, accept); err != nil {
		return nil, err
	}
	if c.Request.ContentLength > s.MaxImport {
		return nil, tooLarge(s.MaxImport)
	}
	return &patientReader{
		r:       http.MaxBytesReader(c.Writer, c.Request.Body, s.MaxImport),
		control: http.NewResponseController(c.Writer),
		now:     s.Now,
	}, nil
}

// patientReader reads for as long as something comes.
type patientReader struct {
	r       io.Reader
	control *http.ResponseController
	now     func() time.Time
}

func (p *patientReader) Read(b []byte) (int, error) {
	p.control.SetReadDeadline(p.now().Add(bodyIdleTime))
	n, err := p.r.Read(b)
	if err == io.EOF {
		p.control.SetReadDeadline(time.Time{})
		return n, err
	}
	if err != nil {
		return n, readFault(err)
	}
	return n, nil
}

// checkType refuses bodies of another media type. A web page can send only a
// few without asking first, and JSON is not among them.
func checkType(c *gin.Context, accept []string) error {
	given := c.GetHeader("Content-Type")
	media, _, err := mime.ParseMediaType(given)
	if err == nil && slices.Contains(accept, media) {
		return nil
	}
	return refusal{http.StatusUnsupportedMediaType,
		"the Content-Type is " + quoteOr(given, "missing") + "; this call takes " + strings.Join(accept, ", ")}
}

func quoteOr(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return `"` + s + `"`
}

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, "the request body is larger than %d bytes", limit)
}

// readFault says in our words why a body could not be read.
func readFault(err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refusal{http.StatusRequestTimeout, "the request body did not arrive in time"}
	}
	return fault.Wrap(fault.Invalid, err, "the request body broke off")
}
