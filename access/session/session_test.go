package session

import (
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/access"
	"berth/fault"
)

// Ensure what is issued is known again until it ends, by its own key and no other, and by a
// server that has the same key and no other.
func TestSessions(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 5e8, time.UTC)
	clock := func() time.Time { return now }
	open := func(key byte) *Keeper {
		k, err := New(append(make([]byte, 31), key), clock)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k, restarted, other := open(1), open(1), open(2)
	who := Role("111122223333", "deploy", "task1")
	c, err := k.Issue(who, time.Hour)
	if err != nil || !regexp.MustCompile(`^ASIA[A-Z2-7]{16}$`).MatchString(c.AccessKeyID) || len(c.Secret) != 40 || !c.Expiration.Equal(now.Add(time.Hour).Truncate(time.Second)) {
		t.Fatalf("%+v, %v", c, err)
	}
	secret, got, err := restarted.Session(t.Context(), c.AccessKeyID, c.Token)
	who.Key = c.AccessKeyID
	if err != nil || secret != c.Secret || got != who || got.ARN != "arn:aws:sts::111122223333:assumed-role/deploy/task1" {
		t.Errorf("%s, %+v, %v", secret, got, err)
	}
	again, err := k.Issue(who, time.Hour)
	if err != nil || again.AccessKeyID == c.AccessKeyID || again.Token == c.Token || again.Secret == c.Secret {
		t.Errorf("two sessions are one: %+v", again)
	}
	for name, try := range map[string]func() (string, access.Identity, error){
		"another server": func() (string, access.Identity, error) { return other.Session(t.Context(), c.AccessKeyID, c.Token) },
		"another key":    func() (string, access.Identity, error) { return k.Session(t.Context(), again.AccessKeyID, c.Token) },
		"no token":       func() (string, access.Identity, error) { return k.Session(t.Context(), c.AccessKeyID, "") },
		"no base64":      func() (string, access.Identity, error) { return k.Session(t.Context(), c.AccessKeyID, "!") },
	} {
		if secret, _, err := try(); secret != "" || fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %q, %v", name, secret, err)
		}
	}
	now = now.Add(time.Hour)
	if secret, _, err := k.Session(t.Context(), c.AccessKeyID, c.Token); secret != "" || fault.KindOf(err) != fault.Unauthenticated || fault.Message(err) != "The security token included in the request is expired" {
		t.Errorf("after its end: %q, %v", secret, err)
	}
}

// Ensure no change of a token is taken for one.
func TestForged(t *testing.T) {
	k, err := New(make([]byte, 32), func() time.Time { return time.Unix(0, 0) })
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		c, err := k.Issue(Role("111122223333", "r", "s"), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		forged := []byte(c.Token)
		i := rapid.IntRange(0, len(forged)-1).Draw(t, "at")
		forged[i] = rapid.SampledFrom([]byte("ABCDwxyz0189+/=")).Draw(t, "byte")
		if string(forged) == c.Token {
			return
		}
		if _, who, err := k.Session(t.Context(), c.AccessKeyID, string(forged)); err == nil && string(forged[:len(forged)-3]) != c.Token[:len(c.Token)-3] {
			t.Errorf("%s is %+v", forged, who)
		}
	})
}

// Ensure an account can be read off a key's ID.
func TestAccountOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		account := rapid.StringMatching(`[0-9]{12}`).Draw(t, "account")
		if got, ok := AccountOf(newKey(account)); !ok || got != account {
			t.Errorf("%s is %s", account, got)
		}
	})
	for _, key := range []string{"AKIAIOSFODNN7EXAMPLE", "ASIA", "ASIA1", ""} {
		if got, ok := AccountOf(key); ok {
			t.Errorf("%q is of %s", key, got)
		}
	}
}

func TestParseRole(t *testing.T) {
	if account, name, ok := ParseRole("arn:aws:iam::111122223333:role/service-role/deploy"); account != "111122223333" || name != "deploy" || !ok {
		t.Error(account, name, ok)
	}
	for _, arn := range []string{"", "deploy", "arn:aws:iam::1:role/a", "arn:aws:iam::111122223333:user/a", "arn:aws:iam::111122223333:role/", "arn:aws:sts::111122223333:assumed-role/a/b"} {
		if account, name, ok := ParseRole(arn); ok {
			t.Errorf("%s is %s of %s", arn, name, account)
		}
	}
}
