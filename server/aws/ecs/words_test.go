package ecs

import (
	"slices"
	"testing"
)

func TestShellWords(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string // nil: it is refused
	}{
		{"/bin/sh", []string{"/bin/sh"}},
		{"  ls   -la\t/tmp ", []string{"ls", "-la", "/tmp"}},
		{`/bin/sh -c "ls | wc -l"`, []string{"/bin/sh", "-c", "ls | wc -l"}},
		{`sh -c 'echo "$HOME" \n'`, []string{"sh", "-c", `echo "$HOME" \n`}},
		{`echo "a\"b\\c\d" e\ f ""`, []string{"echo", `a"b\c\d`, "e f", ""}},
		{`a"b c"d`, []string{"ab cd"}},
		{"grüß dich", []string{"grüß", "dich"}},
		{"", nil}, {"  ", nil}, {`""`, nil}, {"'open", nil}, {`open"`, nil}, {`end\`, nil},
	} {
		got, err := shellWords(c.line)
		if (err == nil) != (c.want != nil) || !slices.Equal(got, c.want) {
			t.Errorf("%q = %q, %v; want %q", c.line, got, err, c.want)
		}
	}
}
