package ecs

import (
	"strings"

	"berth/fault"
)

// shellWords splits a command line as a shell does, and as AWS's agent does with that of
// ExecuteCommand in a container: there is no shell but one that the line itself names.
// Within ” everything stands for itself; within "" all but " and \, which a \ before it makes
// stand for itself; elsewhere also spaces do.
func shellWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quote := false, rune(0)
	escaped := false
	for _, c := range line {
		switch {
		case escaped:
			if quote == '"' && c != '"' && c != '\\' {
				word.WriteRune('\\')
			}
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, in = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case strings.ContainsRune(" \t\r\n", c):
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			word.WriteRune(c)
			in = true
		}
	}
	switch {
	case quote != 0:
		return nil, fault.At("command", "The command has a quotation mark %c without its other.", quote)
	case escaped:
		return nil, fault.At("command", "The command ends with a backslash.")
	case in:
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, fault.At("command", "The command cannot be empty.")
	}
	return words, nil
}
