package rest

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"berth/server/api"
)

func (s *server) capacity(ctx context.Context, _ *none) (*api.Capacity, error) {
	c, err := s.Host.Capacity(ctx)
	return &c, err
}

// healthz is 200 once tasks can run.
func (s *server) healthz(c *gin.Context) { s.health(c, s.Host.Ready(c.Request.Context())) }

// readyz is 200 while new requests should come here: as healthz, and not while
// the server is stopping.
func (s *server) readyz(c *gin.Context) {
	reasons := s.Host.Ready(c.Request.Context())
	if s.lifetime.Err() != nil {
		reasons = append(reasons, "the server is stopping")
	}
	s.health(c, reasons)
}

func (s *server) health(c *gin.Context, reasons []string) {
	h := api.Health{Status: "ok", Reasons: some(reasons), Version: s.Version}
	status := http.StatusOK
	if len(reasons) > 0 {
		h.Status, status = "unavailable", http.StatusServiceUnavailable
	}
	c.JSON(status, h)
}

func (s *server) openAPI(c *gin.Context) {
	c.Data(http.StatusOK, "application/vnd.oai.openapi+json;version=3.1", s.document)
}
