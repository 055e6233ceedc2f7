package wire

import (
	"bytes"
	"encoding"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"berth/fault"
)

// maxForm is the most members that one list in a form may have.
const maxForm = 1000

// readForm sets the struct v from a form: Name=…, List.member.1=… (Query) or List.1=…
// (EC2), Struct.Name=…. Parameters that v does not have are refused.
func readForm(form url.Values, v reflect.Value) error {
	known := map[string]bool{"Action": true, "Version": true}
	for key := range form {
		if strings.HasPrefix(key, "X-Amz-") || key == "AWSAccessKeyId" {
			known[key] = true
		}
	}
	if err := readMembers("", form, v, known); err != nil {
		return err
	}
	var strange []string
	for key := range form {
		if !known[key] {
			strange = append(strange, key)
		}
	}
	if len(strange) > 0 {
		slices.Sort(strange)
		return &Error{Code: "UnknownParameter", Message: fmt.Sprintf("The parameter %.80s is not recognized", strange[0])}
	}
	return nil
}

// readMembers sets the members of the struct v that are in form under prefix.
func readMembers(prefix string, form url.Values, v reflect.Value, known map[string]bool) error {
	for _, f := range reflect.VisibleFields(v.Type()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "" || name == "-" {
			continue
		}
		if err := readMember(prefix+name, form, v.FieldByIndex(f.Index), known); err != nil {
			return err
		}
	}
	return nil
}

func readMember(key string, form url.Values, v reflect.Value, known map[string]bool) error {
	if !has(form, key) {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if err := readMember(key, form, p.Elem(), known); err != nil {
			return err
		}
		v.Set(p)
		return nil
	case reflect.Slice:
		return readList(key, form, v, known)
	case reflect.Struct:
		if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); !ok {
			return readMembers(key+".", form, v, known)
		}
	}
	known[key] = true
	return setText(key, form.Get(key), v)
}

func readList(key string, form url.Values, v reflect.Value, known map[string]bool) error {
	at := key + "."
	if has(form, key+".member") {
		at = key + ".member."
	}
	if form.Has(key) && form.Get(key) == "" { // an empty list, as Query writes it
		known[key] = true
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return nil
	}
	for i := 1; has(form, at+strconv.Itoa(i)); i++ {
		if i > maxForm {
			return fault.At(key, "has at most %d members", maxForm)
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := readMember(at+strconv.Itoa(i), form, e, known); err != nil {
			return err
		}
		v.Set(reflect.Append(v, e))
	}
	return nil
}

// has reports whether form has key, or something below it.
func has(form url.Values, key string) bool {
	if form.Has(key) {
		return true
	}
	for k := range form {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

func setText(key, text string, v reflect.Value) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return fault.At(key, "cannot be %.80q", text)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fault.At(key, "must be true or false, not %.80q", text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return fault.At(key, "must be an integer, not %.80q", text)
		}
		v.SetInt(n)
	default:
		return fmt.Errorf("%s: no way to read a form into %s", key, v.Type())
	}
	return nil
}

// xmlns is the namespace of a service's answers.
func (s *Service) xmlns() string {
	if s.Protocol == EC2 {
		return "http://ec2.amazonaws.com/doc/" + s.Version + "/"
	}
	return "https://" + s.Name + ".amazonaws.com/doc/" + s.Version + "/"
}

// writeXML writes an answer: out's members by their xml tags.
func (x *exchange) writeXML(out any) error {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	answer := xml.StartElement{Name: xml.Name{Local: x.op.Name + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: x.service.xmlns()}}}
	id := struct {
		ID string `xml:"RequestId"`
	}{x.call.RequestID}
	var err error
	if x.service.Protocol == EC2 {
		err = x.encode(e, answer, func() error {
			if err := e.EncodeElement(x.call.RequestID, element("requestId")); err != nil {
				return err
			}
			return encodeMembers(e, out)
		})
	} else {
		err = x.encode(e, answer, func() error {
			if err := e.EncodeElement(out, element(x.op.Name+"Result")); err != nil {
				return err
			}
			return e.EncodeElement(id, element("ResponseMetadata"))
		})
	}
	if err != nil {
		return fmt.Errorf("encode answer of %s: %w", x.name(), err)
	}
	x.send(http.StatusOK, "text/xml;charset=UTF-8", b.Bytes())
	return nil
}

func (x *exchange) encode(e *xml.Encoder, outer xml.StartElement, inner func() error) error {
	if err := e.EncodeToken(outer); err != nil {
		return err
	}
	if err := inner(); err != nil {
		return err
	}
	if err := e.EncodeToken(outer.End()); err != nil {
		return err
	}
	return e.Flush()
}

// encodeMembers writes the fields of the struct that out points to, one after another.
func encodeMembers(e *xml.Encoder, out any) error {
	v := reflect.Indirect(reflect.ValueOf(out))
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("xml"), ",")
		if name == "" || name == "-" || strings.Contains(options, "omitempty") && v.Field(i).IsZero() {
			continue
		}
		outer, item, nested := strings.Cut(name, ">")
		if !nested {
			if err := e.EncodeElement(v.Field(i).Interface(), element(name)); err != nil {
				return err
			}
			continue
		}
		if err := e.EncodeToken(element(outer)); err != nil {
			return err
		}
		for j := range v.Field(i).Len() {
			if err := e.EncodeElement(v.Field(i).Index(j).Interface(), element(item)); err != nil {
				return err
			}
		}
		if err := e.EncodeToken(element(outer).End()); err != nil {
			return err
		}
	}
	return nil
}

func element(name string) xml.StartElement { return xml.StartElement{Name: xml.Name{Local: name}} }

// xmlError is an error in the words of XML.
type xmlError struct {
	Type    string `xml:"Type,omitempty"` // Query: Sender or Receiver
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

func (x *exchange) writeXMLError(e *Error) {
	var v any
	if x.service != nil && x.service.Protocol == EC2 {
		v = struct {
			XMLName xml.Name   `xml:"Response"`
			Errors  []xmlError `xml:"Errors>Error"`
			ID      string     `xml:"RequestID"`
		}{Errors: []xmlError{{Code: e.Code, Message: e.Message}}, ID: x.call.RequestID}
	} else {
		who := "Sender"
		if e.Status >= http.StatusInternalServerError {
			who = "Receiver"
		}
		var space string
		if x.service != nil {
			space = x.service.xmlns()
		}
		v = struct {
			XMLName xml.Name `xml:"ErrorResponse"`
			Space   string   `xml:"xmlns,attr,omitempty"`
			Error   xmlError `xml:"Error"`
			ID      string   `xml:"RequestId"`
		}{Space: space, Error: xmlError{who, e.Code, e.Message}, ID: x.call.RequestID}
	}
	body, err := xml.Marshal(v)
	if err != nil { // Its texts are strings.
		body = []byte("<Response/>")
	}
	x.send(e.Status, "text/xml;charset=UTF-8", append([]byte(xml.Header), body...))
}
