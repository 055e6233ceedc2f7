package task

import (
	"slices"
	"strings"
	"testing"

	"berth/fault"
)

// Ensure references of both kinds are understood as AWS does.
func TestParseSecretRef(t *testing.T) {
	const sm = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
	for text, want := range map[string]SecretRef{
		"db": {Name: "db"}, "/prod/db": {Name: "prod/db"}, "a.b_c-d/e": {Name: "a.b_c-d/e"},
		"arn:aws:ssm:us-east-1:123456789012:parameter/prod/db": {Name: "prod/db"},
		"arn:aws-cn:ssm:cn-north-1:123456789012:parameter/db":  {Name: "db"},
		sm + "db":                          {Name: "db", Manager: true},
		sm + "prod/db+x@y=z-AbCdEf":        {Name: "prod/db+x@y=z-AbCdEf", Manager: true},
		sm + "db-AbCdEf:password::":        {Name: "db-AbCdEf", Manager: true, Key: "password"},
		sm + "db:::":                       {Name: "db", Manager: true},
		sm + "db:a b:AWSCURRENT:":          {Name: "db", Manager: true, Key: "a b", Stage: "AWSCURRENT"},
		sm + "db::AWSPREVIOUS:":            {Name: "db", Manager: true, Stage: "AWSPREVIOUS"},
		sm + "db:::" + "0123-4567":         {Name: "db", Manager: true, Version: "0123-4567"},
		"arn-like":                         {Name: "arn-like"},
		strings.Repeat("x", maxSecretName): {Name: strings.Repeat("x", maxSecretName)},
	} {
		if got, err := ParseSecretRef(text); err != nil || got != want {
			t.Errorf("%.100s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "/", "//a", "a/", "a//b", "a b", "a:1", "../a", "a/./b", "arn:aws:ssm:us-east-1:123456789012:parameter/",
		"arn:aws:ssm:us-east-1:1:parameter/db", "arn:aws:s3:::bucket/x", sm, sm + "db:key", sm + "db:key::x:y", sm + "a/../b", sm + "a b",
		"arn:aws:ssm:us-east-1:123456789012:parameter/../../etc", strings.Repeat("x", maxSecretName+1), "a\x00b", "a\nb"} {
		if got, err := ParseSecretRef(text); err == nil {
			t.Errorf("%.100q is taken for %+v", text, got)
		}
	}
	for name, want := range map[string][]string{
		"db-AbCdEf": {"db-AbCdEf", "db"}, "db": {"db"}, "-AbCdEf": {"-AbCdEf"}, "db-AbCdE": {"db-AbCdE"}, "db-AbC_Ef": {"db-AbC_Ef"},
	} {
		if got := (SecretRef{Name: name, Manager: true}).Names(); !slices.Equal(got, want) {
			t.Errorf("names of %s: %v", name, got)
		}
	}
	if got := (SecretRef{Name: "db-AbCdEf"}).Names(); !slices.Equal(got, []string{"db-AbCdEf"}) {
		t.Errorf("names of a parameter: %v", got)
	}
}

func TestParseObjectARN(t *testing.T) {
	bucket, key, err := ParseObjectARN("arn:aws:s3:::my.bucket-1/a/b c.env")
	if err != nil || bucket != "my.bucket-1" || key != "a/b c.env" {
		t.Errorf("%q, %q, %v", bucket, key, err)
	}
	for _, bad := range []string{"", "arn:aws:s3:::bucket", "arn:aws:s3:::bucket/", "arn:aws:s3:us-east-1::bucket/x", "s3://bucket/x", "arn:aws:s3:::B/x", "arn:aws:s3:::bucket/\x00"} {
		if _, _, err := ParseObjectARN(bad); err == nil {
			t.Errorf("%q is taken for an object", bad)
		}
	}
	for name, ok := range map[string]bool{"my-bucket": true, "a.b.c": true, "ab": false, "Up": false, "a/b": false, "": false, "-ab": false} {
		if err := ValidateBucket(name); (err == nil) != ok {
			t.Errorf("bucket %q: %v", name, err)
		}
	}
}

// Ensure what is confidential is checked when a definition is registered.
func TestConfidentialRefusals(t *testing.T) {
	c, at := "containerDefinitions.0.", "containerDefinitions[0]."
	one := func(name, from string) []any { return []any{map[string]any{"name": name, "valueFrom": from}} }
	file := func(value, kind string) []any { return []any{map[string]any{"value": value, "type": kind}} }
	for name, tt := range map[string]struct {
		def         []byte
		field, text string
	}{
		"bad form":     {with(t, "executionRoleArn", role, c+"secrets", one("A", "arn:aws:iam::1:x")), at + "secrets[0].valueFrom", "neither the ARN of a parameter"},
		"no parameter": {with(t, "executionRoleArn", role, c+"secrets", one("A", "a b")), at + "secrets[0].valueFrom", "no name of a parameter"},
		"odd name":     {with(t, "executionRoleArn", role, c+"secrets", one("A=B", "a")), at + "secrets[0].name", "="},
		"no name":      {with(t, "executionRoleArn", role, c+"secrets", one("", "a")), at + "secrets[0]", "needs a name"},
		"twice":        {with(t, "executionRoleArn", role, c+"secrets", append(one("A", "a"), one("A", "b")...)), at + "secrets[1].name", "must be unique"},
		"plain too": {with(t, "executionRoleArn", role, c+"secrets", one("A", "a"), c+"environment", []any{map[string]any{"name": "A", "value": "x"}}),
			at + "secrets[0].name", "such as 'A'"},
		"file type":   {with(t, c+"environmentFiles", file("arn:aws:s3:::bucket/x.env", "efs")), at + "environmentFiles[0].type", "s3"},
		"no type":     {with(t, c+"environmentFiles", file("arn:aws:s3:::bucket/x.env", "")), at + "environmentFiles[0].type", "s3"},
		"file form":   {with(t, c+"environmentFiles", file("s3://bucket/x.env", "s3")), at + "environmentFiles[0].value", "ARN of an object"},
		"file suffix": {with(t, c+"environmentFiles", file("arn:aws:s3:::bucket/x.txt", "s3")), at + "environmentFiles[0].value", ".env"},
		"log option": {with(t, "executionRoleArn", role, c+"logConfiguration", map[string]any{"logDriver": "splunk", "secretOptions": one("splunk-token", "a b")}),
			at + "logConfiguration.secretOptions[0].valueFrom", "no name of a parameter"},
	} {
		_, err := ParseDefinition(tt.def)
		if fault.FieldOf(err) != tt.field || !strings.Contains(fault.Message(err), tt.text) {
			t.Errorf("%s: %v; want %s: …%s…", name, err, tt.field, tt.text)
		}
	}
	o := Overrides{Containers: []ContainerOverride{{Name: "web", EnvironmentFiles: []EnvironmentFile{{Type: "s3", Value: "x"}}}}}
	if err := (Run{Definition: "app", Overrides: o}).Validate(); fault.FieldOf(err) != "overrides.containerOverrides[0].environmentFiles[0].value" {
		t.Errorf("override: %v", err)
	}
}

// Ensure a run is refused that asks for what is not kept here.
func TestConfidentialUnsupported(t *testing.T) {
	const sm = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db"
	secrets := func(from string) []any { return []any{map[string]any{"name": "A", "valueFrom": from}} }
	for from, refused := range map[string]bool{sm: false, sm + "::AWSCURRENT:": false, sm + ":key::": false, sm + "::AWSPREVIOUS:": true, sm + ":::0123": true} {
		d, err := ParseDefinition(with(t, "executionRoleArn", role, "containerDefinitions.0.secrets", secrets(from)))
		if err != nil {
			t.Fatal(err)
		}
		err = Unsupported(d, Run{}, "X86_64")
		if refused != (fault.FieldOf(err) == "taskDefinition.containerDefinitions[0].secrets[0].valueFrom") || !refused && err != nil {
			t.Errorf("%s: %v", from, err)
		}
	}
}

// Ensure a plan has what is confidential, and that an override replaces the files.
func TestConfidentialPlan(t *testing.T) {
	d, err := ParseDefinition(with(t, "executionRoleArn", role,
		"containerDefinitions.0.secrets", []any{map[string]any{"name": "A", "valueFrom": "a"}},
		"containerDefinitions.0.environmentFiles", []any{map[string]any{"type": "s3", "value": "arn:aws:s3:::bucket/a.env"}}))
	if err != nil {
		t.Fatal(err)
	}
	p := Plan(d, Task{})[0]
	if len(p.Secrets) != 1 || len(p.EnvironmentFiles) != 1 {
		t.Errorf("plan: %+v", p)
	}
	other := EnvironmentFile{Type: "s3", Value: "arn:aws:s3:::bucket/b.env"}
	p = Plan(d, Task{Overrides: Overrides{Containers: []ContainerOverride{{Name: "web", EnvironmentFiles: []EnvironmentFile{other}}}}})[0]
	if !slices.Equal(p.EnvironmentFiles, []EnvironmentFile{other}) {
		t.Errorf("overridden: %+v", p.EnvironmentFiles)
	}
}
