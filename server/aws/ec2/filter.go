package ec2

import (
	"encoding/base64"
	"path"
	"slices"
	"strconv"
	"strings"

	"berth/server/aws/wire"
)

// filter is a name and values one of which has to match; * and ? stand for any characters
// and for any one.
type filter struct {
	Name   string   `json:"Name"`
	Values []string `json:"Value"`
}

// selection is what all requests have that list things.
type selection struct {
	dry
	Filters []filter `json:"Filter" max:"200"`
	Max     *int     `json:"MaxResults" min:"5" max:"1000"`
	Token   string   `json:"NextToken"`
}

// facts are what filters compare: by their names. A filter that no thing of the kind has is
// not known.
type facts map[string][]string

// matches reports whether f passes all filters. known has the names that the kind of thing
// has.
func (f facts) matches(filters []filter) bool {
	for _, want := range filters {
		if strings.HasPrefix(want.Name, "tag:") || want.Name == "tag-key" {
			return false // Nothing here has tags.
		}
		if !slices.ContainsFunc(f[want.Name], func(v string) bool {
			return slices.ContainsFunc(want.Values, func(pattern string) bool { return like(pattern, v) })
		}) {
			return false
		}
	}
	return true
}

// like reports whether v matches a value of a filter.
func like(pattern, v string) bool {
	// path.Match has more that is special, and * stops at slashes.
	escape := strings.NewReplacer(`[`, `\[`, `]`, `\]`, `/`, "\x00")
	ok, err := path.Match(escape.Replace(pattern), strings.ReplaceAll(v, "/", "\x00"))
	return err == nil && ok || pattern == v
}

// checkFilters refuses filters that are none of known.
func checkFilters(filters []filter, known ...string) error {
	for _, f := range filters {
		if f.Name == "" {
			return wire.Errorf("InvalidParameterValue", "A filter must have a name")
		}
		if !strings.HasPrefix(f.Name, "tag:") && f.Name != "tag-key" && !slices.Contains(known, f.Name) {
			return wire.Errorf("InvalidParameterValue", "The filter '%s' is invalid", f.Name)
		}
	}
	return nil
}

// page returns the part of all that s asks for, and the token of the next.
func page[T any](s selection, ids []string, all []T) ([]T, string, error) {
	if s.Max != nil && len(ids) > 0 {
		return nil, "", wire.Errorf("InvalidParameterCombination", "The parameter maxResults cannot be used with IDs in the same request")
	}
	from := 0
	if s.Token != "" {
		text, err := base64.RawURLEncoding.DecodeString(s.Token)
		if err == nil {
			from, err = strconv.Atoi(string(text))
		}
		if err != nil || from < 0 {
			return nil, "", wire.Errorf("InvalidNextToken", "The specified nextToken is not valid")
		}
	}
	from = min(from, len(all))
	to, next := len(all), ""
	if s.Max != nil && from+*s.Max < to {
		to = from + *s.Max
		next = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(to)))
	}
	return all[from:to], next, nil
}
