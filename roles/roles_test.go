package roles

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/fault"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestFile(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       Credentials
		says       string
	}{
		{"permanent", `{"AccessKeyId":"AK","SecretAccessKey":"SK"}`, 0o600, Credentials{"AK", "SK", "", noon.Add(time.Hour)}, ""},
		{"temporary", `{"AccessKeyId":"AK","SecretAccessKey":"SK","Token":"T","Expiration":"2026-05-04T12:30:00Z"}`, 0o400, Credentials{"AK", "SK", "T", noon.Add(30 * time.Minute)}, ""},
		{"as aws sts prints them", `{"Credentials":{"AccessKeyId":"AK","SecretAccessKey":"SK","SessionToken":"T","Expiration":"2026-05-04T12:30:00+00:00"},"AssumedRoleUser":{}}`,
			0o600, Credentials{"AK", "SK", "T", noon.Add(30 * time.Minute)}, ""},
		{"expired", `{"AccessKeyId":"AK","SecretAccessKey":"SK","Token":"T","Expiration":"2026-05-04T11:59:59Z"}`, 0o600, Credentials{}, "expired at 2026-05-04T11:59:59Z"},
		{"for all to read", `{"AccessKeyId":"AK","SecretAccessKey":"SK"}`, 0o640, Credentials{}, "its mode is 0640, and has to be 0600"},
		{"empty", `{}`, 0o600, Credentials{}, "has no AccessKeyId"},
		{"not JSON", `[default] aws_secret_access_key=SK`, 0o600, Credentials{}, "is not the JSON of credentials"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "credentials")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			got, err := File{Path: path, Now: func() time.Time { return noon }}.Credentials(t.Context(), "", "")
			if tt.says == "" {
				if err != nil || got.AccessKeyID != tt.want.AccessKeyID || got.SecretAccessKey != tt.want.SecretAccessKey || got.Token != tt.want.Token || !got.Expiration.Equal(tt.want.Expiration) {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), tt.says) || strings.Contains(err.Error(), "SK") || strings.Contains(fault.Message(err), path) {
				t.Errorf("%v, want %s", err, tt.says)
			}
		})
	}
	if _, err := (File{Path: "/nowhere"}).Credentials(t.Context(), "", ""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no file: %v", err)
	}
}

// fakeSTS answers AssumeRole.
type fakeSTS struct {
	t     *testing.T
	asked []string // role and session of each request
	fail  func(http.ResponseWriter) bool
	ends  time.Time
}

func (f *fakeSTS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "AssumeRole" || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=OWN/") ||
		!strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/sts/aws4_request") {
		f.t.Errorf("asked for %v with %q", r.Form, r.Header.Get("Authorization"))
	}
	f.asked = append(f.asked, r.Form.Get("RoleArn")+" "+r.Form.Get("RoleSessionName"))
	if f.fail != nil && f.fail(w) {
		return
	}
	fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
		<AccessKeyId>AK%d</AccessKeyId><SecretAccessKey>SK</SecretAccessKey><SessionToken>T</SessionToken><Expiration>%s</Expiration>
		</Credentials></AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>`, len(f.asked), f.ends.Format(time.RFC3339))
}

func TestSTS(t *testing.T) {
	f := &fakeSTS{t: t, ends: noon.Add(time.Hour)}
	server := httptest.NewServer(f)
	defer server.Close()
	now := noon
	s := NewSTS(server.URL, "eu-west-1", Fixed{AccessKeyID: "OWN", SecretAccessKey: "secret"}, func() time.Time { return now })
	get := func(role, session, want string) {
		t.Helper()
		got, err := s.Credentials(t.Context(), role, session)
		if err != nil || got.AccessKeyID != want || got.SecretAccessKey != "SK" || got.Token != "T" {
			t.Errorf("%s %s: %+v, %v; want %s", role, session, got, err, want)
		}
	}
	get("role/a", "task1", "AK1")
	get("role/a", "task1", "AK1") // from memory
	get("role/a", "task2", "AK2")
	get("role/b", "task1", "AK3")
	if want := "role/a task1,role/a task2,role/b task1"; strings.Join(f.asked, ",") != want {
		t.Errorf("asked for %q, want %s", f.asked, want)
	}
	now = noon.Add(49 * time.Minute)
	get("role/a", "task1", "AK1")
	now, f.ends = noon.Add(51*time.Minute), noon.Add(2*time.Hour) // shortly before they end
	get("role/a", "task1", "AK4")

	now = noon.Add(111 * time.Minute)
	f.fail = func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusBadGateway); return true }
	get("role/a", "task1", "AK4") // They still count.
	now = noon.Add(3 * time.Hour)
	if _, err := s.Credentials(t.Context(), "role/a", "task1"); err == nil || fault.KindOf(err) != fault.Internal {
		t.Errorf("an STS that is down: %v", err)
	}
	f.fail = func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not yours</Message></Error></ErrorResponse>`)
		return true
	}
	if _, err := s.Credentials(t.Context(), "role/a", "task1"); fault.KindOf(err) != fault.Invalid || fault.Message(err) != "role role/a cannot be assumed: AccessDenied: not yours" {
		t.Errorf("an STS that refuses: %v", err)
	}
	if len(s.by) != 1 {
		t.Errorf("it holds %d sessions that have ended", len(s.by)-1)
	}
	own := NewSTS(server.URL, "eu-west-1", File{Path: "/nowhere", Now: time.Now}, time.Now)
	if _, err := own.Credentials(t.Context(), "role/a", "task1"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without credentials of its own: %v", err)
	}
}
