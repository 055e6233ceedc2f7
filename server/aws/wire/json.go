package wire

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"berth/fault"
	"berth/strictjson"
)

// find finds the service that the request is for, and the name of its operation.
func (x *exchange) find() (operation string, form url.Values, err error) {
	if target := x.r.Header.Get("X-Amz-Target"); target != "" {
		prefix, name, _ := strings.Cut(target, ".")
		if i := strings.LastIndexByte(target, '.'); i >= 0 {
			prefix, name = target[:i], target[i+1:]
		}
		if x.service = x.targets[prefix]; x.service == nil {
			return "", nil, &Error{Code: "UnknownOperationException", Message: fmt.Sprintf("Berth has no service %.80q", prefix)}
		}
		return name, nil, nil
	}
	form = x.r.URL.Query()
	if isForm(x.r) {
		more, err := url.ParseQuery(string(x.body))
		if err != nil {
			return "", nil, Errorf("MalformedQueryString", "The body is not a form: %s", err)
		}
		for key, values := range more {
			form[key] = append(form[key], values...)
		}
	}
	if !form.Has("Action") {
		return "", nil, Errorf("MissingAction", "A request to AWS names its operation in the header X-Amz-Target or the parameter Action; Berth's own API is below /api/v1")
	}
	if x.service = x.apis[form.Get("Version")]; x.service == nil {
		return "", nil, Errorf("NoSuchVersion", "Berth has no service with the version %.40q", form.Get("Version"))
	}
	return form.Get("Action"), form, nil
}

// isForm reports whether r is one of the clients' of Query services, which read XML only.
func isForm(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// read reads the input of the operation into in.
func (x *exchange) read(form url.Values, in reflect.Value) error {
	if x.service.Protocol != JSON {
		if err := readForm(form, in.Elem()); err != nil {
			return err
		}
		return check(in.Elem())
	}
	body := x.body
	if len(body) == 0 {
		body = []byte("{}")
	}
	if err := strictjson.Unmarshal(body, in.Interface()); err != nil {
		if fault.KindOf(err) == fault.Invalid && !strings.Contains(err.Error(), "unknown field") {
			return &Error{Code: "SerializationException", Message: describe(err), Err: err}
		}
		return fault.Wrap(fault.KindOf(err), err, "%s", describe(err))
	}
	return check(in.Elem())
}

// describe returns the message of err with the path of its field.
func describe(err error) string {
	if field := fault.FieldOf(err); field != "" {
		return field + ": " + fault.Message(err)
	}
	return fault.Message(err)
}

// write writes an answer.
func (x *exchange) write(out any) error {
	if x.service.Protocol != JSON {
		return x.writeXML(out)
	}
	body, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode answer of %s: %w", x.name(), err)
	}
	x.send(http.StatusOK, x.service.mediaType(), body)
	return nil
}

// writeError writes an error.
func (x *exchange) writeError(e *Error) {
	if x.service == nil && isForm(x.r) || x.service != nil && x.service.Protocol != JSON {
		x.writeXMLError(e)
		return
	}
	members := map[string]any{}
	for name, v := range e.Members {
		members[name] = v
	}
	members["__type"] = e.Code
	if e.Message != "" {
		members["message"] = e.Message
	}
	body, err := json.Marshal(members)
	if err != nil { // Members are ours.
		body = []byte(`{"__type":"InternalFailure"}`)
	}
	x.w.Header().Set("x-amzn-ErrorType", e.Code)
	x.send(e.Status, x.service.mediaType(), body)
}

func (x *exchange) send(status int, mediaType string, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", fmt.Sprint(len(body)))
	x.w.WriteHeader(status)
	x.w.Write(body) // Who is gone needs no answer.
}

func (s *Service) mediaType() string {
	if s == nil || s.Version == "" {
		return "application/x-amz-json-1.1"
	}
	return "application/x-amz-json-" + s.Version
}
