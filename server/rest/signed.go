package rest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"berth/access/sigv4"
	"berth/fault"
)

// hold reads the body of a signed request before anybody is asked who sent it: the signature
// is of the body too, so that none can be put under it. It stays where it was. A body that
// is too long to hold, as an image's, is sent with a token instead.
func (s *server) hold(c *gin.Context) error {
	if !sigv4.Signed(c.Request) {
		return nil
	}
	tooLong := fault.New(fault.TooLarge, "a signed request has at most %d bytes here; send it with a token instead", maxBody)
	if c.Request.ContentLength > maxBody {
		return tooLong
	}
	control := http.NewResponseController(c.Writer)
	control.SetReadDeadline(s.Now().Add(bodyTime)) // Not every connection can; the server's own limits hold then.
	body, err := io.ReadAll(io.LimitReader(c.Request.Body, maxBody+1))
	if err != nil {
		return readFault(err)
	}
	control.SetReadDeadline(time.Time{})
	if len(body) > maxBody {
		return tooLong
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// unsign takes the signature of a presigned request out of its query, once it is known who
// sent it: the operation has no such parameters.
func unsign(r *http.Request) {
	q := r.URL.Query()
	if !q.Has("X-Amz-Algorithm") {
		return
	}
	for name := range q {
		if strings.HasPrefix(name, "X-Amz-") {
			q.Del(name)
		}
	}
	r.URL.RawQuery = q.Encode()
}
