package strictjson_test

import (
	"testing"

	"berth/fault"
	"berth/strictjson"
)

// amount is read from text that begins with a dollar sign.
type amount string

func (a *amount) UnmarshalText(text []byte) error {
	if len(text) == 0 || text[0] != '$' {
		return fault.New(fault.Invalid, "it begins with a dollar sign")
	}
	*a = amount(text[1:])
	return nil
}

// Ensure what reads text is given strings, numbers with fractions are read, and what is
// wrong with either is said with its field.
func TestTextAndFractions(t *testing.T) {
	var v struct {
		Cost  *amount  `json:"cost"`
		Share *float64 `json:"share"`
	}
	if err := strictjson.Unmarshal([]byte(`{"cost":"$5","share":0.25}`), &v); err != nil || *v.Cost != "5" || *v.Share != 0.25 {
		t.Errorf("%+v, %v", v, err)
	}
	for text, field := range map[string]string{
		`{"cost":"5"}`: "cost", `{"cost":{}}`: "cost", `{"cost":5}`: "cost", `{"share":"a"}`: "share", `{"share":1e999}`: "share", `{"share":true}`: "share",
	} {
		if err := strictjson.Unmarshal([]byte(text), &v); fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != field {
			t.Errorf("%s: %v", text, err)
		}
	}
}
