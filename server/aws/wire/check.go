package wire

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"berth/fault"
)

// check reports the members of in that break its tags, in the words of AWS's services:
// "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member
// must not be null".
func check(in reflect.Value) error {
	var found []string
	var field string
	walk("", in, func(path, text string) {
		if len(found) == 0 {
			field = path
		}
		found = append(found, text)
	})
	if len(found) == 0 {
		return nil
	}
	errors := "errors"
	if len(found) == 1 {
		errors = "error"
	}
	return &fault.Error{Kind: fault.Invalid, Field: field,
		Msg: fmt.Sprintf("%d validation %s detected: %s", len(found), errors, strings.Join(found, "; "))}
}

// walk checks v and what is in it.
func walk(path string, v reflect.Value, report func(path, text string)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walk(path, v.Elem(), report)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			walk(path+"."+strconv.Itoa(i+1)+".member", v.Index(i), report)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			walk(path+"."+key.String()+".member", v.MapIndex(key), report)
		}
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(v.Type()) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous || !f.IsExported() || name == "" || name == "-" {
				continue
			}
			at := name
			if path != "" {
				at = path + "." + name
			}
			member := v.FieldByIndex(f.Index)
			if text := broken(f.Tag, member); text != "" {
				report(at, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: Member must %s", shown(member), at, text))
				continue
			}
			walk(at, member, report)
		}
	}
}

// broken returns which of its tags v breaks, "" if none.
func broken(tag reflect.StructTag, v reflect.Value) string {
	if absent(v) {
		if tag.Get("required") == "true" {
			return "not be null"
		}
		return ""
	}
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	size, sized, value := 0, false, false
	switch v.Kind() {
	case reflect.String:
		size, sized = utf8.RuneCountInString(v.String()), true
	case reflect.Slice, reflect.Map:
		size, sized = v.Len(), true
	case reflect.Int, reflect.Int32, reflect.Int64:
		size, value = int(v.Int()), true
	}
	noun := "have length "
	if value {
		noun = "have value "
	}
	if limit, err := strconv.Atoi(tag.Get("min")); err == nil && (sized || value) && size < limit {
		return noun + "greater than or equal to " + tag.Get("min")
	}
	if limit, err := strconv.Atoi(tag.Get("max")); err == nil && (sized || value) && size > limit {
		return noun + "less than or equal to " + tag.Get("max")
	}
	if v.Kind() != reflect.String {
		return ""
	}
	if enum := tag.Get("enum"); enum != "" && !slices.Contains(strings.Split(enum, ","), v.String()) {
		return "satisfy enum value set: [" + strings.ReplaceAll(enum, ",", ", ") + "]"
	}
	if p := tag.Get("pattern"); p != "" && !matcher(p).MatchString(v.String()) {
		return "satisfy regular expression pattern: " + p
	}
	return ""
}

// absent reports whether a member was left out. A string or number that is no pointer is
// absent if it is zero.
func absent(v reflect.Value) bool { return v.Kind() != reflect.Struct && v.IsZero() }

func shown(v reflect.Value) string {
	if absent(v) {
		return "null"
	}
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() == reflect.String {
		return "'" + fmt.Sprintf("%.200s", v.String()) + "'"
	}
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map || v.Kind() == reflect.Struct {
		return "of " + strconv.Itoa(v.Len()) + " members"
	}
	return fmt.Sprintf("'%v'", v.Interface())
}

var matchers sync.Map // pattern → *regexp.Regexp

// matcher returns the pattern, compiled once. Patterns are ours: one that does not compile
// is found by the first test that uses it.
func matcher(pattern string) *regexp.Regexp {
	if m, ok := matchers.Load(pattern); ok {
		return m.(*regexp.Regexp)
	}
	m, _ := matchers.LoadOrStore(pattern, regexp.MustCompile(`^(?:`+pattern+`)$`))
	return m.(*regexp.Regexp)
}
