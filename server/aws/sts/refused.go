package sts

import (
	"context"

	"berth/fault"
	"berth/server/aws/wire"
)

// refused are the operations that Berth knows and does not do: there is nobody else here who
// could say who somebody is.
type refused struct{}

type decodeIn struct {
	Message string `json:"EncodedMessage" required:"true" min:"1" max:"10240"`
}

// decode reads no message: Berth says in its errors what is missing and encodes nothing.
func (refused) decode(context.Context, wire.Call, *decodeIn) (*wire.None, error) {
	return nil, wire.Errorf("InvalidAuthorizationMessageException", "Message is not valid: Berth encodes none")
}

type webIdentityIn struct {
	Role     string      `json:"RoleArn" required:"true" min:"20" max:"2048"`
	Session  string      `json:"RoleSessionName" required:"true" min:"2" max:"64"`
	Token    string      `json:"WebIdentityToken" required:"true" min:"4" max:"20000"`
	Provider string      `json:"ProviderId"`
	Policies []policyARN `json:"PolicyArns"`
	Policy   string      `json:"Policy"`
	Seconds  *int        `json:"DurationSeconds" min:"900" max:"43200"`
	Size     *int        `json:"MinimumSessionTokenSize"`
}

func (refused) webIdentity(context.Context, wire.Call, *webIdentityIn) (*wire.None, error) {
	return nil, wire.Errorf("InvalidIdentityToken", "No OpenIDConnect provider found in your account: Berth knows none")
}

type samlIn struct {
	Role      string      `json:"RoleArn" required:"true" min:"20" max:"2048"`
	Principal string      `json:"PrincipalArn" required:"true" min:"20" max:"2048"`
	Assertion string      `json:"SAMLAssertion" required:"true" min:"4" max:"100000"`
	Policies  []policyARN `json:"PolicyArns"`
	Policy    string      `json:"Policy"`
	Seconds   *int        `json:"DurationSeconds" min:"900" max:"43200"`
	Size      *int        `json:"MinimumSessionTokenSize"`
}

func (refused) saml(context.Context, wire.Call, *samlIn) (*wire.None, error) {
	return nil, wire.Errorf("InvalidIdentityToken", "No SAML provider found in your account: Berth knows none")
}

type rootIn struct {
	Target  string    `json:"TargetPrincipal" required:"true" min:"12" max:"2048"`
	Policy  policyARN `json:"TaskPolicyArn"`
	Seconds *int      `json:"DurationSeconds" max:"900"`
	Size    *int      `json:"MinimumSessionTokenSize"`
}

func (refused) root(_ context.Context, c wire.Call, _ *rootIn) (*wire.None, error) {
	return nil, fault.New(fault.Denied, "User: %s is not authorized to perform: sts:AssumeRoot: there are no organizations", c.Identity.ARN)
}

type federationIn struct {
	Name     string      `json:"Name" required:"true" min:"2" max:"32"`
	Policy   string      `json:"Policy"`
	Policies []policyARN `json:"PolicyArns"`
	Seconds  *int        `json:"DurationSeconds" min:"900" max:"129600"`
	Tags     []tag       `json:"Tags" max:"50"`
	Size     *int        `json:"MinimumSessionTokenSize"`
}

func (refused) federation(_ context.Context, c wire.Call, _ *federationIn) (*wire.None, error) {
	return nil, fault.New(fault.Denied, "User: %s is not authorized to perform: sts:GetFederationToken: Berth has no federated users", c.Identity.ARN)
}

type delegatedIn struct {
	Token string `json:"TradeInToken" required:"true"`
}

func (refused) delegated(context.Context, wire.Call, *delegatedIn) (*wire.None, error) {
	return nil, fault.New(fault.Invalid, "Berth delegates no access")
}

type scopedIn struct {
	Policy      string `json:"Policy" min:"1" max:"2048"`
	Seconds     *int   `json:"DurationSeconds" min:"1" max:"129600"`
	Description string `json:"ScopedSessionDescription" min:"2" max:"256"`
	Size        *int   `json:"MinimumSessionTokenSize"`
}

func (refused) scoped(context.Context, wire.Call, *scopedIn) (*wire.None, error) {
	return nil, fault.New(fault.Invalid, "Berth has no scoped credentials")
}

type tokenIn struct {
	Audience  []string `json:"Audience" required:"true"`
	Seconds   *int     `json:"DurationSeconds"`
	Algorithm string   `json:"SigningAlgorithm" required:"true" min:"5" max:"5"`
	Scope     string   `json:"Scope" min:"1" max:"256"`
	Subject   string   `json:"SubjectMode" enum:"AWSIdentity,OriginIdentity"`
	Tags      []tag    `json:"Tags" max:"50"`
}

func (refused) token(context.Context, wire.Call, *tokenIn) (*wire.None, error) {
	return nil, wire.Errorf("OutboundWebIdentityFederationDisabledException", "Outbound web identity federation is not enabled for this account")
}
