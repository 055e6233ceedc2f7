package access

// token is a byte of a pattern: itself, or what stands for one byte or any number of them.
type token struct {
	c    byte
	wild bool // c is * or ?
}

// nothing is a token that no byte matches.
var nothing = token{0, true}

// literal reads a pattern in which nothing but * and ? has a meaning.
func literal(pattern string) []token {
	tokens := make([]token, len(pattern))
	for i := range len(pattern) {
		c := pattern[i]
		tokens[i] = token{c, c == '*' || c == '?'}
	}
	return tokens
}

// exactly is a pattern that only text matches.
func exactly(text string) []token {
	tokens := make([]token, len(text))
	for i := range len(text) {
		tokens[i] = token{c: text[i]}
	}
	return tokens
}

// matches reports whether the whole of text is what a pattern says. It takes time in
// proportion to the product of their lengths at most: after a mismatch only the last * is
// tried again.
func matches(pattern []token, text string) bool {
	p, t := 0, 0
	star, mark := -1, 0 // where the last * is, and how far it reaches
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == token{'*', true}:
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == token{'?', true} || !pattern[p].wild && pattern[p].c == text[t]):
			p, t = p+1, t+1
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == (token{'*', true}) {
		p++
	}
	return p == len(pattern)
}
