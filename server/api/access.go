package api

import "berth/access"

// UserRequest asks for a user.
type UserRequest struct {
	Account string `json:"account,omitempty" doc:"12 digits; the caller's if left out, and another's only for admins"`
	Name    string `json:"name" maxLength:"64"`
	Admin   bool   `json:"admin,omitempty" doc:"Of the server; only admins can make one"`
}

// UserList is users, by account and name.
type UserList struct {
	Users []access.User `json:"users"`
}

// KeyRequest asks for a key.
type KeyRequest struct {
	Kind          access.KeyKind `json:"kind,omitempty" enum:"TOKEN,ACCESS_KEY" doc:"TOKEN if left out"`
	ExpiresInDays *int           `json:"expiresInDays,omitempty" minimum:"1" maximum:"3650" doc:"Never if left out"`
}

// NewKey is a key and its secret, which is shown once.
type NewKey struct {
	access.Key
	Secret string `json:"secret" doc:"Of a token the token itself; nobody can read it again"`
}

// KeyList is the keys of a user, oldest first.
type KeyList struct {
	Keys []access.Key `json:"keys"`
}

// KeyChange changes a key.
type KeyChange struct {
	Disabled *bool `json:"disabled"`
}

// PolicyList is policies by their names.
type PolicyList struct {
	Policies map[string]access.Policy `json:"policies"`
}

// Caller is who calls.
type Caller struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	ARN     string `json:"arn"`
	UserID  string `json:"userId"`
	Key     string `json:"key,omitempty" doc:"ID of the access key or token"`
	Admin   bool   `json:"admin"`
}

// AuditPage is a page of the audit log, newest first.
type AuditPage struct {
	Records []access.Record `json:"records"`
	Before  int64           `json:"before,omitempty" doc:"Where the next page begins; left out on the last"`
}
