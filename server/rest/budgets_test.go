package rest_test

import (
	"strings"
	"testing"
)

// Ensure that the API does not tell the path of a budget's webhook, and leaves it alone when
// it is given what it told.
func TestWebhookOfBudgetIsHidden(t *testing.T) {
	w := newWorld(t)
	for _, webhook := range []string{"https://example.com/secret?of=ann", "https://example.com/…"} {
		for _, rec := range []string{
			w.call("PUT", "/budgets/ann", `{"limit":1,"webhook":"`+webhook+`"}`).Body.String(),
			w.call("GET", "/budgets/ann", "").Body.String(), w.call("GET", "/budgets", "").Body.String(),
		} {
			if strings.Contains(rec, "secret") || !strings.Contains(rec, `"https://example.com/…"`) {
				t.Errorf("told of a webhook: %s", rec)
			}
		}
		if b, err := w.Budget(t.Context(), "ann"); err != nil || b.Webhook != "https://example.com/secret?of=ann" {
			t.Errorf("%s became %q, %v", webhook, b.Webhook, err)
		}
	}
}
