package rest

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"berth/fault"
	"berth/server/api"
)

// name gives the request an ID and tells the log how it went.
func (s *server) name(c *gin.Context) {
	began := s.Now()
	id := s.NewRequestID()
	c.Header(api.RequestID, id)
	c.Next()

	took := s.Now().Sub(began)
	route := c.FullPath()
	if route == "" {
		route = "unknown" // not the path: whoever asks for many would fill the metrics
	}
	s.metrics.took(c.Request.Method, route, c.Writer.Status(), took)
	log := s.Log.Debug
	if c.Request.Method != http.MethodGet {
		log = s.Log.Info
	}
	log("request served", zap.String("request", id), zap.String("method", c.Request.Method), zap.String("route", route),
		zap.Int("status", c.Writer.Status()), zap.Int("bytes", c.Writer.Size()), zap.Duration("took", took))
}

// secure keeps web pages from using the API through their reader's browser.
func (s *server) secure(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if !s.origin.Ours(c.Request.Host) {
		s.fail(c, refusal{http.StatusMisdirectedRequest,
			"this server does not answer to the host " + quoteOr(c.Request.Host, "name that is missing") +
				"; use an address or localhost, or add the name with --host"})
		return
	}
	if !s.origin.SameOrigin(c.Request) {
		s.fail(c, refusal{http.StatusForbidden, "requests from other web pages are refused"})
	}
}

// unknown answers for paths that are nobody's.
func (s *server) unknown(c *gin.Context) {
	s.fail(c, fault.New(fault.NotFound, "there is nothing at %s; %s/openapi.json lists what there is", c.Request.URL.Path, api.Base))
}

// wrongMethod answers for paths that do not have this method. gin has set Allow.
func (s *server) wrongMethod(c *gin.Context) {
	s.fail(c, refusal{http.StatusMethodNotAllowed,
		c.Request.Method + " is not possible here; " + c.Writer.Header().Get("Allow") + " is"})
}
