package ecs

import (
	"context"
	"slices"
	"strings"

	"berth/server/aws/wire"
)

func (s *server) settingOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("PutAccountSetting", s.putAccountSetting),
		wire.Op("PutAccountSettingDefault", s.putAccountSettingDefault),
		wire.Op("DeleteAccountSetting", s.deleteAccountSetting),
		wire.Op("ListAccountSettings", s.listAccountSettings),
	}
}

// The settings that something here goes by.
const (
	containerInsights        = "containerInsights"
	tagResourceAuthorization = "tagResourceAuthorization"
)

// accountSetting is a setting that an account can have (ECS developer guide, "Account
// settings"; ECS API, PutAccountSetting).
type accountSetting struct {
	name   string
	values []string
	usual  string // in effect if nobody has set it
	only   string // why other values than usual are refused here; "" if they are not
	aws    bool   // of the type aws_managed: cannot be set
}

var onOff = []string{"enabled", "disabled"}

// accountSettings are all that the model has, in its order.
var accountSettings = []accountSetting{
	{name: "serviceLongArnFormat", values: onOff, usual: "enabled", only: "Berth has ARNs of the long format only"},
	{name: "taskLongArnFormat", values: onOff, usual: "enabled", only: "Berth has ARNs of the long format only"},
	{name: "containerInstanceLongArnFormat", values: onOff, usual: "enabled", only: "Berth has ARNs of the long format only"},
	{name: "awsvpcTrunking", values: onOff, usual: "disabled"},
	{name: containerInsights, values: []string{"enabled", "disabled", "enhanced"}, usual: "disabled"},
	{name: "fargateFIPSMode", values: onOff, usual: "disabled", only: "Berth's programs are not validated for FIPS 140"},
	{name: tagResourceAuthorization, values: []string{"on", "off"}, usual: "on"},
	{name: "fargateTaskRetirementWaitPeriod", values: []string{"0", "7", "14"}, usual: "7"},
	{name: "guardDutyActivate", values: []string{"on", "off"}, usual: "off", aws: true},
	{name: "defaultLogDriverMode", values: []string{"blocking", "non-blocking"}, usual: "non-blocking"},
	{name: "fargateEventWindows", values: onOff, usual: "disabled"},
}

// settingNames is the enum of the names above.
const settingNames = "serviceLongArnFormat,taskLongArnFormat,containerInstanceLongArnFormat,awsvpcTrunking,containerInsights," +
	"fargateFIPSMode,tagResourceAuthorization,fargateTaskRetirementWaitPeriod,guardDutyActivate,defaultLogDriverMode,fargateEventWindows"

// settingNamed returns the setting of that name.
func settingNamed(name string) (accountSetting, error) {
	i := slices.IndexFunc(accountSettings, func(a accountSetting) bool { return a.name == name })
	if i < 0 {
		return accountSetting{}, wire.Errorf(invalid, "Invalid account setting name %q: it must be one of %s.", name, settingNames)
	}
	return accountSettings[i], nil
}

// check refuses a value that a cannot have, or that nothing here would be true to.
func (a accountSetting) check(value string) error {
	switch {
	case !slices.Contains(a.values, value):
		return wire.Errorf(invalid, "Invalid value %q of account setting %s: it must be one of %s.", value, a.name, strings.Join(a.values, ", "))
	case a.aws:
		return wire.Errorf(invalid, "The account setting %s is managed by AWS and cannot be changed.", a.name)
	case a.only != "" && value != a.usual:
		return wire.Errorf(invalid, "The account setting %s can only be %s: %s.", a.name, a.usual, a.only)
	}
	return nil
}

// settingShape is Setting of the ECS API.
type settingShape struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Principal string `json:"principalArn"`
	Type      string `json:"type"`
}

type settingOut struct {
	Setting settingShape `json:"setting"`
}

func (a accountSetting) shape(value, principal string) settingShape {
	kind := "user"
	if a.aws {
		kind = "aws_managed"
	}
	return settingShape{a.name, value, principal, kind}
}

// root is the ARN of an account's root user, whose settings are those of all in the account.
func root(c wire.Call) string { return "arn:aws:iam::" + c.Identity.Account + ":root" }

// principal returns whose settings a call is about, and under which name they are kept. Who
// is not the root user may only ask for its own.
func principal(c wire.Call, ref string) (arn, key string, err error) {
	self := c.Identity.ARN
	if ref == "" {
		ref = self
	}
	switch {
	case ref == root(c):
		if self != ref && !c.Identity.Admin {
			return "", "", wire.Errorf("AccessDeniedException", "The root user's account settings can only be changed by the root user; use PutAccountSettingDefault.")
		}
		return ref, "", nil
	case ref != self && self != root(c) && !c.Identity.Admin:
		return "", "", wire.Errorf("AccessDeniedException", "Account settings of %s can only be changed by it and by the root user.", ref)
	case !strings.HasPrefix(ref, "arn:aws:iam::"+c.Identity.Account+":") && !strings.HasPrefix(ref, "arn:aws:sts::"+c.Identity.Account+":"):
		return "", "", wire.Errorf(invalid, "The principalArn %.200s is not of this account.", ref)
	}
	return ref, ref, nil
}

type putSettingIn struct {
	Name      string `json:"name" required:"true"`
	Value     string `json:"value" required:"true"`
	Principal string `json:"principalArn,omitempty"`
}

func (s *server) putAccountSetting(ctx context.Context, c wire.Call, in *putSettingIn) (*settingOut, error) {
	who, key, err := principal(c, in.Principal)
	if err != nil {
		return nil, err
	}
	return s.put(ctx, c, in.Name, in.Value, who, key)
}

type putSettingDefaultIn struct {
	Name  string `json:"name" required:"true"`
	Value string `json:"value" required:"true"`
}

func (s *server) putAccountSettingDefault(ctx context.Context, c wire.Call, in *putSettingDefaultIn) (*settingOut, error) {
	return s.put(ctx, c, in.Name, in.Value, root(c), "")
}

func (s *server) put(ctx context.Context, c wire.Call, name, value, who, key string) (*settingOut, error) {
	a, err := settingNamed(name)
	if err != nil {
		return nil, err
	}
	if err := a.check(value); err != nil {
		return nil, err
	}
	if err := s.Settings.SetAccountSetting(ctx, c.Realm(), key, name, value); err != nil {
		return nil, err
	}
	return &settingOut{a.shape(value, who)}, nil
}

type deleteSettingIn struct {
	Name      string `json:"name" required:"true"`
	Principal string `json:"principalArn,omitempty"`
}

// deleteAccountSetting forgets a setting and answers with what is in effect from then on.
func (s *server) deleteAccountSetting(ctx context.Context, c wire.Call, in *deleteSettingIn) (*settingOut, error) {
	a, err := settingNamed(in.Name)
	if err != nil {
		return nil, err
	}
	who, key, err := principal(c, in.Principal)
	if err != nil {
		return nil, err
	}
	if err := s.Settings.SetAccountSetting(ctx, c.Realm(), key, in.Name, ""); err != nil {
		return nil, err
	}
	now, err := s.settingsOf(ctx, c, key, true)
	if err != nil {
		return nil, err
	}
	return &settingOut{a.shape(now[a.name], who)}, nil
}

type listSettingsIn struct {
	Name      string `json:"name,omitempty"`
	Value     string `json:"value,omitempty"`
	Principal string `json:"principalArn,omitempty"`
	Effective *bool  `json:"effectiveSettings,omitempty"`
	page
}

type listSettingsOut struct {
	Settings  []settingShape `json:"settings"`
	NextToken string         `json:"nextToken,omitempty"`
}

// usualSettings is how many settings a page has if the request does not say (ECS API).
const usualSettings = 10

func (s *server) listAccountSettings(ctx context.Context, c wire.Call, in *listSettingsIn) (*listSettingsOut, error) {
	limit, err := in.sizeUpTo(usualSettings, usualSettings)
	if err != nil {
		return nil, err
	}
	if in.Name != "" {
		if _, err := settingNamed(in.Name); err != nil {
			return nil, err
		}
	} else if in.Value != "" {
		return nil, wire.Errorf(invalid, "A value can only be given together with the name of an account setting.")
	}
	who, key, err := principal(c, in.Principal)
	if err != nil {
		return nil, err
	}
	have, err := s.settingsOf(ctx, c, key, in.Effective != nil && *in.Effective)
	if err != nil {
		return nil, err
	}
	out := &listSettingsOut{Settings: []settingShape{}}
	names := []string{}
	for _, a := range accountSettings {
		if v, ok := have[a.name]; ok && (in.Name == "" || in.Name == a.name) && (in.Value == "" || in.Value == v) {
			names = append(names, a.name)
		}
	}
	names, out.NextToken, err = in.cut(names, limit)
	for _, name := range names {
		a, _ := settingNamed(name) // It is one of them.
		out.Settings = append(out.Settings, a.shape(have[name], who))
	}
	return out, err
}

// settingsOf returns the settings that are kept under a key, or those that are in effect
// for it.
func (s *server) settingsOf(ctx context.Context, c wire.Call, key string, effective bool) (map[string]string, error) {
	have, err := s.Settings.AccountSettings(ctx, c.Realm(), key)
	if err != nil || !effective {
		return have, err
	}
	all := have
	if key != "" {
		if all, err = s.Settings.AccountSettings(ctx, c.Realm(), ""); err != nil {
			return nil, err
		}
	}
	inEffect := make(map[string]string)
	for _, a := range accountSettings {
		inEffect[a.name] = a.usual
		for _, set := range []map[string]string{all, have} {
			if v, ok := set[a.name]; ok {
				inEffect[a.name] = v
			}
		}
	}
	return inEffect, nil
}

// effective returns what a setting is for the caller.
func (s *server) effective(ctx context.Context, c wire.Call, name string) (string, error) {
	key := c.Identity.ARN
	if key == root(c) {
		key = ""
	}
	all, err := s.settingsOf(ctx, c, key, true)
	return all[name], err
}
