package access

import "fmt"

// Issue draws the ID and the secret of a key of that kind, and returns what is to be kept of
// the secret: a token's hash, or an access key's secret, sealed.
func Issue(k Key, seal Seal) (made Key, kept []byte, secret string, err error) {
	switch k.Kind {
	case AccessKey:
		k.ID, secret = NewAccessKey()
		return k, seal.Close(secret, k.ID), secret, nil
	case Bearer:
		k.ID, secret = NewToken()
		return k, HashToken(secret), secret, nil
	}
	return k, nil, "", fmt.Errorf("no kind of key is called %q", k.Kind)
}
