package client_test

import (
	"testing"

	"berth/fault"
	"berth/server/api"
)

// Ensure secrets are kept, listed and forgotten, whatever their names look like.
func TestSecrets(t *testing.T) {
	_, c := serve(t)
	for _, name := range []string{"/prod/db", "a+b=c@d.e_f-g"} {
		if s, err := c.PutSecret(t.Context(), name, []byte("a\nb")); err != nil || s.SizeBytes != 3 {
			t.Errorf("put %s: %+v, %v", name, s, err)
		}
	}
	all, err := c.Secrets(t.Context())
	if err != nil || len(all) != 2 || all[1].Name != "prod/db" {
		t.Errorf("list: %+v, %v", all, err)
	}
	for _, s := range all {
		if err := c.RemoveSecret(t.Context(), s.Name); err != nil {
			t.Error(err)
		}
	}
	if err := c.RemoveSecret(t.Context(), "prod/db"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("remove again: %v", err)
	}
	if _, err := c.PutSecret(t.Context(), "a b", []byte("x")); fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != "name" {
		t.Errorf("odd name: %v", err)
	}
	if _, err := c.PutSecret(t.Context(), "large", make([]byte, api.MaxSecret+1)); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("too large: %v", err)
	}
}
