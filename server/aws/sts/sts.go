// Package sts is the Security Token Service: who calls, and temporary credentials for roles
// and users. Roles are not kept: each name is a role, and what may be done in it is what the
// policies for that name say.
package sts

import (
	"context"
	"strings"
	"time"

	"berth/access"
	"berth/access/session"
	"berth/fault"
	"berth/server/aws/wire"
)

// Issuer makes temporary credentials. session.Keeper is one.
type Issuer interface {
	Issue(who access.Identity, d time.Duration) (session.Credentials, error)
}

// Config is what New needs. All fields are required.
type Config struct {
	Issuer Issuer

	// Account returns the account of an access key that is not temporary, or fault.NotFound.
	Account func(ctx context.Context, key string) (string, error)
}

type service struct{ Config }

// New returns the service.
func New(c Config) wire.Service {
	s := &service{c}
	refuse := refused{}
	return wire.Service{
		Name: "sts", Protocol: wire.Query, Version: "2011-06-15", Invalid: "ValidationError", Code: code,
		Operations: []wire.Operation{
			wire.Op("GetCallerIdentity", s.caller, wire.Free()),
			wire.Op("AssumeRole", s.assume, wire.Resources(func(_ wire.Call, in *assumeIn) []string { return []string{in.Role} })),
			wire.Op("GetSessionToken", s.sessionToken, wire.Free()),
			wire.Op("GetAccessKeyInfo", s.keyInfo),
			wire.Op("DecodeAuthorizationMessage", refuse.decode),
			wire.Op("AssumeRoleWithWebIdentity", refuse.webIdentity, wire.Free()),
			wire.Op("AssumeRoleWithSAML", refuse.saml, wire.Free()),
			wire.Op("AssumeRoot", refuse.root),
			wire.Op("GetFederationToken", refuse.federation),
			wire.Op("GetDelegatedAccessToken", refuse.delegated),
			wire.Op("GetScopedCredentials", refuse.scoped),
			wire.Op("GetWebIdentityToken", refuse.token),
		},
	}
}

// code has the service's own words for faults.
func code(err error) (string, int) {
	if fault.KindOf(err) == fault.Unauthenticated && strings.HasSuffix(fault.Message(err), "is expired") {
		return "ExpiredToken", 403
	}
	return "", 0
}

type caller struct {
	ARN     string `xml:"Arn"`
	UserID  string `xml:"UserId"`
	Account string `xml:"Account"`
}

// caller needs no permission, as on AWS: whoever can sign may know who they are.
func (s *service) caller(_ context.Context, c wire.Call, _ *wire.None) (*caller, error) {
	return &caller{c.Identity.ARN, c.Identity.UserID, c.Identity.Account}, nil
}

type credentials struct {
	Key        string    `xml:"AccessKeyId"`
	Secret     string    `xml:"SecretAccessKey"`
	Token      string    `xml:"SessionToken"`
	Expiration wire.Time `xml:"Expiration"`
}

func newCredentials(c session.Credentials) credentials {
	return credentials{c.AccessKeyID, c.Secret, c.Token, wire.At(c.Expiration)}
}

type policyARN struct {
	ARN string `json:"arn"`
}

type tag struct {
	Key   string `json:"Key" required:"true" min:"1" max:"128"`
	Value string `json:"Value" max:"256"`
}

type providedContext struct {
	Provider  string `json:"ProviderArn"`
	Assertion string `json:"ContextAssertion"`
}

type assumeIn struct {
	Role           string            `json:"RoleArn" required:"true" min:"20" max:"2048"`
	Session        string            `json:"RoleSessionName" required:"true" min:"2" max:"64" pattern:"[\\w+=,.@-]*"`
	Seconds        *int              `json:"DurationSeconds" min:"900" max:"43200"`
	External       string            `json:"ExternalId" min:"2" max:"1224"` // for trust policies, which there are not
	Policy         string            `json:"Policy" min:"1"`
	Policies       []policyARN       `json:"PolicyArns"`
	Tags           []tag             `json:"Tags" max:"50"`
	Transitive     []string          `json:"TransitiveTagKeys" max:"50"`
	Serial         string            `json:"SerialNumber" min:"9" max:"256"`
	TokenCode      string            `json:"TokenCode" min:"6" max:"6"`
	SourceIdentity string            `json:"SourceIdentity" min:"2" max:"256"`
	Contexts       []providedContext `json:"ProvidedContexts" max:"5"`
	MinimumSize    *int              `json:"MinimumSessionTokenSize" max:"4096"`
}

type assumedUser struct {
	ID  string `xml:"AssumedRoleId"`
	ARN string `xml:"Arn"`
}

type assumeOut struct {
	User        assumedUser `xml:"AssumedRoleUser"`
	Credentials credentials `xml:"Credentials"`
}

// unsupported names the first thing that would narrow what the session may do, or say more
// of who it is, and that Berth cannot keep to.
func (in *assumeIn) unsupported() string {
	switch {
	case in.Policy != "" || len(in.Policies) > 0:
		return "A session policy"
	case len(in.Tags) > 0 || len(in.Transitive) > 0:
		return "A session tag"
	case in.Serial != "" || in.TokenCode != "":
		return "An MFA device"
	case in.SourceIdentity != "":
		return "A source identity"
	case len(in.Contexts) > 0:
		return "A provided context"
	}
	return ""
}

// assume gives credentials of a role of the caller's account. Whether the caller may was
// decided by their policies on the role's ARN.
func (s *service) assume(_ context.Context, c wire.Call, in *assumeIn) (*assumeOut, error) {
	if what := in.unsupported(); what != "" {
		return nil, fault.New(fault.Invalid, "%s is not supported by this version of Berth", what)
	}
	account, name, ok := session.ParseRole(in.Role)
	if !ok {
		return nil, fault.New(fault.Invalid, "%s is invalid", in.Role)
	}
	if account != c.Identity.Account && !c.Identity.Admin {
		return nil, fault.New(fault.Denied, "User: %s is not authorized to perform: sts:AssumeRole on resource: %s", c.Identity.ARN, in.Role)
	}
	d := session.Default
	if in.Seconds != nil {
		d = time.Duration(*in.Seconds) * time.Second
	}
	if strings.Contains(c.Identity.ARN, ":assumed-role/") && d > session.Chained {
		return nil, fault.New(fault.Invalid, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	who := session.Role(account, name, in.Session)
	got, err := s.Issuer.Issue(who, d)
	if err != nil {
		return nil, err
	}
	return &assumeOut{assumedUser{who.UserID, who.ARN}, newCredentials(got)}, nil
}

type sessionTokenIn struct {
	Seconds     *int   `json:"DurationSeconds" min:"900" max:"129600"`
	Serial      string `json:"SerialNumber" min:"9" max:"256"`
	TokenCode   string `json:"TokenCode" min:"6" max:"6"`
	MinimumSize *int   `json:"MinimumSessionTokenSize" max:"4096"`
}

type sessionTokenOut struct {
	Credentials credentials `xml:"Credentials"`
}

// sessionTokenLasts is how long a user's session lasts if nobody says, and rootLasts how
// long an account's own can (STS API, GetSessionToken).
const (
	sessionTokenLasts = 12 * time.Hour
	rootLasts         = time.Hour
)

func (s *service) sessionToken(_ context.Context, c wire.Call, in *sessionTokenIn) (*sessionTokenOut, error) {
	if in.Serial != "" || in.TokenCode != "" {
		return nil, fault.New(fault.Invalid, "An MFA device is not supported by this version of Berth")
	}
	if _, temporary := session.AccountOf(c.Identity.Key); temporary || strings.Contains(c.Identity.ARN, ":assumed-role/") {
		return nil, fault.New(fault.Denied, "Cannot call GetSessionToken with session credentials")
	}
	d := sessionTokenLasts
	if in.Seconds != nil {
		d = time.Duration(*in.Seconds) * time.Second
	}
	if strings.HasSuffix(c.Identity.ARN, ":root") {
		d = min(d, rootLasts)
	}
	got, err := s.Issuer.Issue(c.Identity, d)
	if err != nil {
		return nil, err
	}
	return &sessionTokenOut{newCredentials(got)}, nil
}

type keyInfoIn struct {
	Key string `json:"AccessKeyId" required:"true" min:"16" max:"128" pattern:"\\w*"`
}

type keyInfoOut struct {
	Account string `xml:"Account"`
}

func (s *service) keyInfo(ctx context.Context, _ wire.Call, in *keyInfoIn) (*keyInfoOut, error) {
	if account, ok := session.AccountOf(in.Key); ok {
		return &keyInfoOut{account}, nil
	}
	account, err := s.Account(ctx, in.Key)
	if fault.KindOf(err) == fault.NotFound {
		return nil, fault.New(fault.Invalid, "Access key %s is not known", in.Key)
	}
	return &keyInfoOut{account}, err
}
