package logs

import (
	"context"
	"strings"

	"berth/fault"
	"berth/logs/cloudwatch"
	"berth/server/aws/wire"
)

type createGroup struct {
	Name      string            `json:"logGroupName" required:"true" min:"1" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
	Key       string            `json:"kmsKeyId" max:"256"`
	Tags      map[string]string `json:"tags"`
	Class     string            `json:"logGroupClass" enum:"STANDARD,INFREQUENT_ACCESS,DELIVERY,ESSENTIALS"`
	Protected *bool             `json:"deletionProtectionEnabled"`
}

type groupOnly struct {
	Name string `json:"logGroupName" required:"true" min:"1" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
}

func (s service) createGroup(ctx context.Context, c wire.Call, in *createGroup) (*wire.None, error) {
	if in.Key != "" {
		return nil, fault.At("kmsKeyId", "Berth has no KMS keys to encrypt log groups with; leave kmsKeyId out")
	}
	return nil, s.Keeper.Create(ctx, cloudwatch.Group{
		Account: c.Identity.Account, Region: c.Identity.Region, Name: in.Name, Class: in.Class,
		Tags: in.Tags, Protected: in.Protected != nil && *in.Protected,
	})
}

func (s service) deleteGroup(ctx context.Context, c wire.Call, in *groupOnly) (*wire.None, error) {
	err := s.Keeper.Delete(ctx, c.Realm(), in.Name)
	if fault.KindOf(err) == fault.Conflict {
		return nil, &wire.Error{Code: "ValidationException", Message: fault.Message(err), Err: err}
	}
	return nil, err
}

type describeGroups struct {
	Accounts    []string `json:"accountIdentifiers" max:"20"`
	Prefix      string   `json:"logGroupNamePrefix" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
	Pattern     string   `json:"logGroupNamePattern" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]*"`
	Next        string   `json:"nextToken"`
	Limit       *int     `json:"limit" min:"1" max:"50"`
	Linked      *bool    `json:"includeLinkedAccounts"`
	Class       string   `json:"logGroupClass" enum:"STANDARD,INFREQUENT_ACCESS,DELIVERY,ESSENTIALS"`
	Identifiers []string `json:"logGroupIdentifiers" max:"50"`
}

type group struct {
	Name      string `json:"logGroupName"`
	Created   *int64 `json:"creationTime,omitempty"`
	Retention int    `json:"retentionInDays,omitempty"`
	Metrics   *int   `json:"metricFilterCount,omitempty"`
	ARN       string `json:"arn,omitempty"`
	Stored    *int64 `json:"storedBytes,omitempty"`
	Class     string `json:"logGroupClass"`
	GroupARN  string `json:"logGroupArn"`
	Protected *bool  `json:"deletionProtectionEnabled,omitempty"`
}

type groupPage struct {
	Groups []group `json:"logGroups"`
	Next   string  `json:"nextToken,omitempty"`
}

func (s service) describeGroups(ctx context.Context, c wire.Call, in *describeGroups) (*groupPage, error) {
	if in.Prefix != "" && in.Pattern != "" {
		return nil, fault.New(fault.Invalid, "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	names := map[string]bool{}
	for _, id := range in.Identifiers {
		name, err := named(c, "", id)
		if err != nil {
			return nil, err
		}
		names[name] = true
	}
	limit := 50
	if in.Limit != nil {
		limit = *in.Limit
	}
	want := func(g cloudwatch.Group) bool {
		return (in.Class == "" || g.Class == in.Class) && (len(names) == 0 || names[g.Name]) &&
			strings.Contains(strings.ToLower(g.Name), strings.ToLower(in.Pattern))
	}
	all, next, err := s.page(ctx, c, in.Prefix, in.Next, limit, want)
	if err != nil {
		return nil, err
	}
	page := &groupPage{Groups: []group{}, Next: next}
	none := 0
	for _, g := range all {
		stored, err := s.Keeper.StoredBytes(ctx, g)
		if err != nil {
			return nil, err
		}
		page.Groups = append(page.Groups, group{
			Name: g.Name, Created: millis(g.CreatedAt), Retention: g.Retention, Metrics: &none, ARN: g.ARN() + ":*", Stored: &stored,
			Class: g.Class, GroupARN: g.ARN(), Protected: &g.Protected,
		})
	}
	return page, nil
}

// page returns at most limit groups that are wanted, and a token for those after them.
func (s service) page(ctx context.Context, c wire.Call, prefix, token string, limit int, want func(cloudwatch.Group) bool) (all []cloudwatch.Group, next string, err error) {
	after, err := open(token)
	if err != nil {
		return nil, "", err
	}
	const batch = 500
	for {
		some, err := s.Keeper.Groups(ctx, c.Realm(), prefix, after, batch)
		if err != nil {
			return nil, "", err
		}
		for _, g := range some {
			if !want(g) {
				continue
			}
			if len(all) == limit {
				return all, seal(all[limit-1].Name), nil
			}
			all = append(all, g)
		}
		if len(some) < batch {
			return all, "", nil
		}
		after = some[batch-1].Name
	}
}

type listGroups struct {
	Pattern  string   `json:"logGroupNamePattern" min:"3" max:"129" pattern:"(\\^?[\\.\\-_\\/#A-Za-z0-9]{3,24})(\\|\\^?[\\.\\-_\\/#A-Za-z0-9]{3,24}){0,4}"`
	Class    string   `json:"logGroupClass" enum:"STANDARD,INFREQUENT_ACCESS,DELIVERY,ESSENTIALS"`
	Linked   *bool    `json:"includeLinkedAccounts"`
	Accounts []string `json:"accountIdentifiers" max:"20"`
	Next     string   `json:"nextToken"`
	Limit    *int     `json:"limit" min:"1" max:"1000"`
}

func (s service) listGroups(ctx context.Context, c wire.Call, in *listGroups) (*groupPage, error) {
	limit := 50
	if in.Limit != nil {
		limit = *in.Limit
	}
	want := func(g cloudwatch.Group) bool {
		return (in.Class == "" || g.Class == in.Class) && like(in.Pattern, g.Name)
	}
	all, next, err := s.page(ctx, c, "", in.Next, limit, want)
	if err != nil {
		return nil, err
	}
	page := &groupPage{Groups: []group{}, Next: next}
	for _, g := range all {
		page.Groups = append(page.Groups, group{Name: g.Name, Class: g.Class, GroupARN: g.ARN()})
	}
	return page, nil
}

// like reports whether a name is what ListLogGroups' pattern wants: parts between | of
// which one is in it, or at its beginning after ^.
func like(pattern, name string) bool {
	for part := range strings.SplitSeq(pattern, "|") {
		if start, ok := strings.CutPrefix(part, "^"); ok && strings.HasPrefix(name, start) || !ok && strings.Contains(name, part) {
			return true
		}
	}
	return false
}

type retain struct {
	Name string `json:"logGroupName" required:"true" min:"1" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
	Days *int   `json:"retentionInDays" required:"true"`
}

func (s service) retain(ctx context.Context, c wire.Call, in *retain) (*wire.None, error) {
	if !cloudwatch.ValidRetention(*in.Days) {
		return nil, fault.New(fault.Invalid, "1 validation error detected: Value '%d' at 'retentionInDays' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]", *in.Days)
	}
	return nil, s.Keeper.Retain(ctx, c.Realm(), in.Name, *in.Days)
}

func (s service) retainAll(ctx context.Context, c wire.Call, in *groupOnly) (*wire.None, error) {
	return nil, s.Keeper.Retain(ctx, c.Realm(), in.Name, 0)
}

type protect struct {
	Group string `json:"logGroupIdentifier" required:"true" min:"1" max:"2048"`
	On    *bool  `json:"deletionProtectionEnabled" required:"true"`
}

func (s service) protect(ctx context.Context, c wire.Call, in *protect) (*wire.None, error) {
	name, err := named(c, "", in.Group)
	if err != nil {
		return nil, err
	}
	return nil, s.Keeper.Protect(ctx, c.Realm(), name, *in.On)
}

type tagResource struct {
	ARN  string            `json:"resourceArn" required:"true" min:"1" max:"1011"`
	Tags map[string]string `json:"tags" required:"true" max:"50"`
}

type untagResource struct {
	ARN  string   `json:"resourceArn" required:"true" min:"1" max:"1011"`
	Keys []string `json:"tagKeys" required:"true" max:"50"`
}

type tagsOf struct {
	ARN string `json:"resourceArn" required:"true" min:"1" max:"1011"`
}

type tagGroup struct {
	Name string            `json:"logGroupName" required:"true" min:"1" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
	Tags map[string]string `json:"tags" required:"true" max:"50"`
}

type untagGroup struct {
	Name string   `json:"logGroupName" required:"true" min:"1" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
	Keys []string `json:"tags" required:"true"`
}

type tags struct {
	Tags map[string]string `json:"tags"`
}

func (s service) tag(ctx context.Context, c wire.Call, in *tagResource) (*wire.None, error) {
	name, err := fromARN(c, in.ARN)
	if err != nil {
		return nil, err
	}
	return s.tagGroup(ctx, c, &tagGroup{name, in.Tags})
}

func (s service) untag(ctx context.Context, c wire.Call, in *untagResource) (*wire.None, error) {
	name, err := fromARN(c, in.ARN)
	if err != nil {
		return nil, err
	}
	return s.untagGroup(ctx, c, &untagGroup{name, in.Keys})
}

func (s service) tags(ctx context.Context, c wire.Call, in *tagsOf) (*tags, error) {
	name, err := fromARN(c, in.ARN)
	if err != nil {
		return nil, err
	}
	return s.groupTags(ctx, c, &groupOnly{name})
}

func (s service) tagGroup(ctx context.Context, c wire.Call, in *tagGroup) (*wire.None, error) {
	return nil, s.Keeper.Tag(ctx, c.Realm(), in.Name, in.Tags, nil)
}

func (s service) untagGroup(ctx context.Context, c wire.Call, in *untagGroup) (*wire.None, error) {
	return nil, s.Keeper.Tag(ctx, c.Realm(), in.Name, nil, in.Keys)
}

func (s service) groupTags(ctx context.Context, c wire.Call, in *groupOnly) (*tags, error) {
	g, err := s.Keeper.Group(ctx, c.Realm(), in.Name)
	if err != nil {
		return nil, err
	}
	return &tags{g.Tags}, nil
}
