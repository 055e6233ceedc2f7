package task

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"berth/fault"
)

// SecretRef is what the valueFrom of a Secret names.
type SecretRef struct {
	// Name is how Secrets Manager or the Parameter Store calls it. A parameter's is
	// without the slash it may begin with: in an ARN nobody sees whether it has one.
	Name string

	Manager bool   // it is a secret of Secrets Manager, and not a parameter
	Key     string // the member of a JSON object that is meant; empty: all of it
	Stage   string // version stage; empty: AWSCURRENT
	Version string // version ID; empty: whatever has the stage
}

// Names returns what the secret may be called here, the best guess first. AWS ends the
// ARN of a secret with a hyphen and six characters of its own, which may be left out.
func (r SecretRef) Names() []string {
	if r.Manager {
		if plain, ok := cutSuffix(r.Name); ok {
			return []string{r.Name, plain}
		}
	}
	return []string{r.Name}
}

func cutSuffix(name string) (string, bool) {
	i := len(name) - len("-AbCdEf")
	if i < 1 || name[i] != '-' || !alphanumeric.MatchString(name[i+1:]) {
		return name, false
	}
	return name[:i], true
}

var (
	alphanumeric = regexp.MustCompile(`^[A-Za-z0-9]+$`)

	// parameterPattern is a name of the Parameter Store (Systems Manager API,
	// PutParameter); parts between slashes are checked apart.
	parameterPattern = regexp.MustCompile(`^/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)
	parameterARN     = regexp.MustCompile(`^arn:aws[a-z-]*:ssm:[a-z0-9-]+:[0-9]{12}:parameter/(.+)$`)

	// managerARN is a secret's ARN, and what ECS adds to it: a JSON key, a version
	// stage and a version ID (ECS developer guide, "Pass Secrets Manager secrets").
	managerARN = regexp.MustCompile(`^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:([^:]+)(?::([^:]*):([^:]*):([^:]*))?$`)

	// managerPattern is a name of Secrets Manager (Secrets Manager API, CreateSecret).
	managerPattern = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]+$`)
)

// maxSecretName is how long a parameter's name can be (Systems Manager API,
// PutParameter). A secret's has 512 characters at most.
const maxSecretName = 1011

// ParseSecretRef reads a valueFrom.
func ParseSecretRef(valueFrom string) (SecretRef, error) {
	if m := managerARN.FindStringSubmatch(valueFrom); m != nil {
		r := SecretRef{Name: m[1], Manager: true, Key: m[2], Stage: m[3], Version: m[4]}
		return r, ValidateSecretName(r.Name)
	}
	name := valueFrom
	if m := parameterARN.FindStringSubmatch(valueFrom); m != nil {
		name = m[1]
	} else if strings.HasPrefix(valueFrom, "arn:") {
		return SecretRef{}, fault.New(fault.Invalid, "%q is neither the ARN of a parameter (arn:aws:ssm:REGION:ACCOUNT:parameter/NAME) "+
			"nor that of a secret (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME, which may go on with :JSON-KEY:VERSION-STAGE:VERSION-ID)", valueFrom)
	}
	if len(name) > maxSecretName || !parameterPattern.MatchString(name) || dots(name) {
		return SecretRef{}, fault.New(fault.Invalid, "%q is no name of a parameter: letters, digits, dots, hyphens and underscores, with slashes between them", valueFrom)
	}
	return SecretRef{Name: strings.TrimPrefix(name, "/")}, nil
}

// ValidateSecretName reports what is wrong with a name by which a secret is kept.
func ValidateSecretName(name string) error {
	name = strings.TrimPrefix(name, "/")
	if name == "" || len(name) > maxSecretName || !managerPattern.MatchString(name) || dots(name) ||
		slices.Contains(strings.Split(name, "/"), "") {
		return fault.At("name", "%q is no name of a secret: 1 to %d letters, digits and any of _+=.@- with slashes between them", name, maxSecretName)
	}
	return nil
}

// dots reports whether a part of a path is . or .., by which no secret is called.
func dots(name string) bool {
	return slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return part == "." || part == ".." })
}

// objectARN is an object of S3: a bucket and a key in it.
var objectARN = regexp.MustCompile(`^arn:aws[a-z-]*:s3:::([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)$`)

// ParseObjectARN reads the ARN of an object in S3.
func ParseObjectARN(arn string) (bucket, key string, err error) {
	m := objectARN.FindStringSubmatch(arn)
	if m == nil || strings.ContainsRune(m[2], 0) {
		return "", "", fault.New(fault.Invalid, "%q is not the ARN of an object in S3, as in arn:aws:s3:::bucket/path/file.env", arn)
	}
	return m[1], m[2], nil
}

// ValidateBucket reports what is wrong with the name of a bucket.
func ValidateBucket(name string) error {
	if _, _, err := ParseObjectARN("arn:aws:s3:::" + name + "/x"); err != nil || strings.Contains(name, "/") {
		return fault.New(fault.Invalid, "%q is no name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens", name)
	}
	return nil
}

// maxEnvironmentFiles is how many files a container can have (ECS developer guide,
// "Pass environment variables to an Amazon ECS container").
const maxEnvironmentFiles = 10

func validateEnvironmentFiles(at string, files []EnvironmentFile) error {
	if len(files) > maxEnvironmentFiles {
		return fault.At(at+"environmentFiles", "has at most %d files", maxEnvironmentFiles)
	}
	for i, f := range files {
		at := fmt.Sprintf("%senvironmentFiles[%d].", at, i)
		if f.Type != "s3" {
			return fault.At(at+"type", "must be s3, not %q", f.Type)
		}
		if _, _, err := ParseObjectARN(f.Value); err != nil {
			return fault.At(at+"value", "%s", fault.Message(err))
		}
		if !strings.HasSuffix(f.Value, ".env") {
			return fault.At(at+"value", "the name of an environment file ends in .env, and that of %q does not", f.Value)
		}
	}
	return nil
}

// validateSecretList checks secrets by themselves.
func validateSecretList(field string, secrets []Secret) error {
	for i, s := range secrets {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case s.Name == "" || s.ValueFrom == "":
			return fault.At(at, "needs a name and a valueFrom")
		case strings.Contains(s.Name, "=") || hasControl(s.Name):
			return fault.At(at+".name", "must not contain = or control characters")
		}
		if _, err := ParseSecretRef(s.ValueFrom); err != nil {
			return fault.At(at+".valueFrom", "%s", fault.Message(err))
		}
	}
	return nil
}

func (d Definition) validateSecrets(at string, c ContainerDefinition) error {
	if err := validateSecretList(at+"secrets", c.Secrets); err != nil {
		return err
	}
	if len(c.Secrets) > 0 && d.ExecutionRoleARN == "" {
		return fault.At(at+"secrets", "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
	}
	names := make(map[string]bool)
	for _, e := range c.Environment {
		names[e.Name] = true
	}
	for i, s := range c.Secrets {
		if names[s.Name] {
			return fault.At(fmt.Sprintf("%ssecrets[%d].name", at, i),
				"The secret name must be unique and not shared with any new or existing environment variables set on the container, such as '%s'.", s.Name)
		}
		names[s.Name] = true
	}
	if l := c.LogConfiguration; l != nil {
		return validateSecretList(at+"logConfiguration.secretOptions", l.SecretOptions)
	}
	return nil
}

// currentStage is the only version of a secret that there is here.
const currentStage = "AWSCURRENT"

// unsupportedSecret returns the index of the first secret that asks for a version that
// is not kept here, or -1.
func unsupportedSecret(secrets []Secret) int {
	return slices.IndexFunc(secrets, func(s Secret) bool {
		r, err := ParseSecretRef(s.ValueFrom)
		return err == nil && (r.Version != "" || r.Stage != "" && r.Stage != currentStage)
	})
}
