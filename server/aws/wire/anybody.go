package wire

import (
	"net/http"
	"strings"

	"berth/access"
)

// Anybody authenticates for a server that believes everybody, as emulators do. The region
// is the one that the request was signed for, else region; the account is the access key's
// ID, if that has the 12 digits of an account, else account.
func Anybody(account, region string) func(r *http.Request, body []byte, service string) (access.Identity, error) {
	return func(r *http.Request, _ []byte, _ string) (access.Identity, error) {
		who := access.Identity{Account: account, Region: region, Admin: true}
		if key, scope, ok := strings.Cut(credential(r), "/"); ok {
			who.Key = key
			if access.IsAccount(key) {
				who.Account = key
			}
			// The scope is date/region/service/aws4_request.
			if parts := strings.Split(scope, "/"); len(parts) == 4 && parts[1] != "" {
				who.Region = parts[1]
			}
		}
		who.ARN, who.UserID = "arn:aws:iam::"+who.Account+":root", who.Account
		return who, nil
	}
}

// credential returns the credential that r was signed with, KEY/DATE/REGION/SERVICE/aws4_request
// (AWS Signature Version 4, "Authorization header" and "query parameters"), "" if it was not.
func credential(r *http.Request) string {
	if _, rest, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		credential, _, _ := strings.Cut(rest, ",")
		return strings.TrimSpace(credential)
	}
	return r.URL.Query().Get("X-Amz-Credential")
}
