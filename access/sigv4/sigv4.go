// Package sigv4 checks signatures of AWS Signature Version 4: in the Authorization header
// and in the query of presigned requests (AWS, "Signature Version 4 signing process",
// "Elements of an AWS API request signature"). It keeps nothing and knows no keys.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of AWS.
const (
	Skew       = 5 * time.Minute    // between the clocks of client and server
	maxExpires = 7 * 24 * time.Hour // of presigned requests

	algorithm = "AWS4-HMAC-SHA256"
	form      = "20060102T150405Z"
	terminal  = "aws4_request"
	unsigned  = "UNSIGNED-PAYLOAD"
)

// Reason is what is wrong with a signature.
type Reason uint8

// Reasons, in the order in which they are looked for.
const (
	Missing    Reason = iota // there is none
	Incomplete               // it does not have the form
	Expired                  // it is too old, or not valid yet
	Scope                    // it is for another service or region
	Unknown                  // nobody has that key, or the key's session is not its
	Mismatch                 // it was made with another secret, or of another request
)

// Error says what is wrong in AWS's words.
type Error struct {
	Reason  Reason
	Message string
}

func (e *Error) Error() string { return e.Message }

func errorf(r Reason, format string, args ...any) error {
	return &Error{r, fmt.Sprintf(format, args...)}
}

// ErrUnknown is for keys that nobody has.
var ErrUnknown error = &Error{Unknown, "The security token included in the request is invalid."}

// Signature is what a request says of its signature. Nothing of it is proved before Verify.
type Signature struct {
	Key       string // access key ID
	Region    string
	Service   string
	Token     string // of a session; "" if the key is no session's
	At        time.Time
	Presigned bool
	Expires   time.Duration // of a presigned request

	signed []string // names of headers, in lower case, sorted
	sum    []byte
}

// Signed reports whether r claims to be signed by Signature Version 4.
func Signed(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Authorization"), algorithm) || r.URL.Query().Get("X-Amz-Algorithm") != ""
}

// Parse reads the signature of r. Errors are *Error.
func Parse(r *http.Request) (Signature, error) {
	query := r.URL.Query()
	if query.Get("X-Amz-Algorithm") != "" {
		return parseQuery(query)
	}
	text := r.Header.Get("Authorization")
	if text == "" {
		return Signature{}, errorf(Missing, "Missing Authentication Token")
	}
	rest, ok := strings.CutPrefix(text, algorithm)
	if !ok || rest == "" || rest[0] != ' ' && rest[0] != ',' {
		return Signature{}, errorf(Incomplete, "Unsupported AWS 'algorithm': Authorization must begin with %s.", algorithm)
	}
	parts := make(map[string]string)
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := parts[name]; twice {
			return Signature{}, errorf(Incomplete, "Authorization header has '%s' twice.", name)
		}
		parts[name] = value
	}
	for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if parts[name] == "" {
			return Signature{}, errorf(Incomplete, "Authorization header requires '%s' parameter.", name)
		}
	}
	date := r.Header.Get("X-Amz-Date")
	if date == "" {
		date = r.Header.Get("Date")
	}
	s, err := parse(parts["Credential"], parts["SignedHeaders"], parts["Signature"], date)
	s.Token = r.Header.Get("X-Amz-Security-Token")
	return s, err
}

func parseQuery(q url.Values) (Signature, error) {
	if a := q.Get("X-Amz-Algorithm"); a != algorithm {
		return Signature{}, errorf(Incomplete, "Unsupported AWS 'algorithm': '%.40s'.", a)
	}
	for name, values := range q {
		if strings.HasPrefix(name, "X-Amz-") && len(values) > 1 {
			return Signature{}, errorf(Incomplete, "The query has '%.40s' twice.", name)
		}
	}
	seconds, err := strconv.Atoi(q.Get("X-Amz-Expires"))
	if err != nil || seconds < 0 || seconds > int(maxExpires/time.Second) {
		return Signature{}, errorf(Incomplete, "X-Amz-Expires must be from 0 to 604800 seconds.")
	}
	s, err := parse(q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Signature"), q.Get("X-Amz-Date"))
	s.Presigned, s.Expires, s.Token = true, time.Duration(seconds)*time.Second, q.Get("X-Amz-Security-Token")
	return s, err
}

func parse(credential, signed, sum, date string) (s Signature, err error) {
	// KEY/DATE/REGION/SERVICE/aws4_request
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[0] == "" || parts[4] != terminal {
		return s, errorf(Incomplete, "Credential must have exactly 5 slash-delimited elements, as in keyid/date/region/service/aws4_request, got '%.200s'", credential)
	}
	s.Key, s.Region, s.Service = parts[0], parts[2], parts[3]
	if s.At, err = time.Parse(form, date); err != nil {
		if s.At, err = http.ParseTime(date); err != nil {
			return s, errorf(Incomplete, "Date must be in ISO-8601 'basic format'. Got '%.40s'. See http://en.wikipedia.org/wiki/ISO_8601", date)
		}
	}
	if parts[1] != s.At.UTC().Format("20060102") {
		return s, errorf(Incomplete, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%.20s' != '%s', from '%s'.",
			parts[1], s.At.UTC().Format("20060102"), date)
	}
	s.signed = strings.Split(signed, ";")
	if !slices.IsSorted(s.signed) || slices.Contains(s.signed, "") || strings.ToLower(signed) != signed {
		return s, errorf(Incomplete, "SignedHeaders must be names in lower case, sorted, with semicolons between them.")
	}
	if s.sum, err = hex.DecodeString(sum); err != nil || len(s.sum) != sha256.Size {
		return s, errorf(Incomplete, "Signature must be 64 hex digits.")
	}
	return s, nil
}

// Timely reports why the signature does not count at now; nil if it does.
func (s Signature) Timely(now time.Time) error {
	at, oldest := s.At.UTC(), now.Add(-Skew)
	if s.Presigned {
		oldest = now.Add(-s.Expires)
	}
	switch {
	case at.After(now.Add(Skew)):
		return errorf(Expired, "Signature not yet current: %s is still later than %s (%s + 5 min.)",
			at.Format(form), now.Add(Skew).UTC().Format(form), now.UTC().Format(form))
	case at.Before(oldest):
		return errorf(Expired, "Signature expired: %s is now earlier than %s (%s - %d min.)",
			at.Format(form), oldest.UTC().Format(form), now.UTC().Format(form), int(now.Sub(oldest).Minutes()))
	}
	return nil
}

// For reports why the signature is not for a service; nil if it is.
func (s Signature) For(service string) error {
	if s.Service != service {
		return errorf(Scope, "Credential should be scoped to correct service: '%s'.", service)
	}
	if s.Region == "" {
		return errorf(Scope, "Credential should be scoped to a valid region.")
	}
	return nil
}

// mustSign are the headers that change what a request means: they count only if they are
// signed.
func mustSign(name string) bool {
	return name == "host" || strings.HasPrefix(name, "x-amz-") && name != "x-amz-user-agent"
}

// Verify reports why r, whose body is body, was not signed with secret; nil if it was. How
// long that takes says nothing of how much was right. Errors are *Error.
func (s Signature) Verify(r *http.Request, body []byte, secret string) error {
	mismatch := errorf(Mismatch, "The request signature we calculated does not match the signature you provided. "+
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	digest := sha256.Sum256(body)
	hash := hex.EncodeToString(digest[:])
	if said := r.Header.Get("X-Amz-Content-Sha256"); said != "" && said != hash {
		if said == unsigned {
			return errorf(Mismatch, "%s is not possible for this service.", unsigned)
		}
		return mismatch
	}
	if !slices.Contains(s.signed, "host") {
		return errorf(Mismatch, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name := range r.Header {
		if lower := strings.ToLower(name); mustSign(lower) && !slices.Contains(s.signed, lower) {
			return errorf(Mismatch, "'%s' must be a 'SignedHeader' in the AWS Authorization.", name)
		}
	}
	canonical := sha256.Sum256([]byte(s.canonical(r, hash)))
	date := s.At.UTC().Format("20060102")
	scope := strings.Join([]string{date, s.Region, s.Service, terminal}, "/")
	text := strings.Join([]string{algorithm, s.At.UTC().Format(form), scope, hex.EncodeToString(canonical[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range []string{date, s.Region, s.Service, terminal, text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	if !hmac.Equal(key, s.sum) {
		return mismatch
	}
	return nil
}

// canonical is the canonical request. Every service but S3 encodes the path twice.
func (s Signature) canonical(r *http.Request, hash string) string {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	segments := strings.Split(path, "/")
	for i := range segments {
		segments[i] = encode(segments[i])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, strings.Join(segments, "/"), s.query(r.URL.Query()))
	for _, name := range s.signed {
		b.WriteString(name + ":" + value(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(s.signed, ";") + "\n" + hash)
	return b.String()
}

func (s Signature) query(q url.Values) string {
	var pairs []string
	for name, values := range q {
		if s.Presigned && name == "X-Amz-Signature" {
			continue
		}
		for _, v := range values {
			pairs = append(pairs, encode(name)+"="+encode(v))
		}
	}
	slices.SortFunc(pairs, func(a, b string) int {
		x, y, _ := strings.Cut(a, "=")
		u, v, _ := strings.Cut(b, "=")
		if c := strings.Compare(x, u); c != 0 {
			return c
		}
		return strings.Compare(y, v)
	})
	return strings.Join(pairs, "&")
}

// value is the canonical value of a header. net/http keeps some of them elsewhere.
func value(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(max(r.ContentLength, 0), 10)
	case "transfer-encoding":
		return strings.Join(r.TransferEncoding, ",")
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

// encode is the URI encoding of the specification: all but letters, digits and -_.~.
func encode(text string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}
