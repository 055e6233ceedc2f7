package task

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"berth/fault"
)

func (d Definition) validateContainers() error {
	switch n := len(d.ContainerDefinitions); {
	case n == 0:
		return fault.At("containerDefinitions", "Container list cannot be empty.")
	case n > maxContainers:
		return fault.At("containerDefinitions", "a task definition has at most %d containers, not %d", maxContainers, n)
	}
	names := make(map[string]bool)
	essential := false
	for i, c := range d.ContainerDefinitions {
		at := fmt.Sprintf("containerDefinitions[%d]", i)
		if err := d.validateContainer(at+".", c); err != nil {
			return err
		}
		if names[c.Name] {
			return fault.At(at+".name", "Container names must be unique: %q is there twice", c.Name)
		}
		names[c.Name] = true
		essential = essential || c.IsEssential()
	}
	if !essential {
		return fault.At("containerDefinitions", "A task definition must have at least one essential container.")
	}
	if err := d.validateSharing(); err != nil {
		return err
	}
	return d.validateOrder()
}

var (
	// imagePattern is what can be an image's name; the registry has the last word.
	imagePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)
	ecrPattern   = regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr\.`)
)

// validateContainer checks one container by itself. at is its path and a dot.
func (d Definition) validateContainer(at string, c ContainerDefinition) error {
	if err := nameAt(at+"name", c.Name, "Container.name"); err != nil {
		return err
	}
	switch {
	case c.Image == "":
		return fault.At(at+"image", "Container.image should not be null or empty.")
	case len(c.Image) > 255+len("@sha256:")+64 || !imagePattern.MatchString(c.Image):
		return fault.At(at+"image", "Container.image contains invalid characters.")
	case ecrPattern.MatchString(c.Image) && d.ExecutionRoleARN == "":
		return fault.At(at+"image", "Fargate requires task definition to have execution role ARN to support ECR images.")
	case c.CPU < 0:
		return fault.At(at+"cpu", "must not be negative")
	case c.Memory < 0 || c.Memory > 0 && c.Memory < 6:
		return fault.At(at+"memory", "must be at least 6 MiB")
	case c.MemoryReservation < 0 || c.MemoryReservation > 0 && c.MemoryReservation < 6:
		return fault.At(at+"memoryReservation", "must be at least 6 MiB")
	case c.Memory > 0 && c.MemoryReservation > c.Memory:
		return fault.At(at+"memoryReservation", "Invalid setting for container '%s'. 'memory' must be greater than or equal to 'memoryReservation'.", c.Name)
	case len(c.Links) > 0:
		return fault.At(at+"links", "Links are not supported when networkMode=awsvpc.")
	}
	return first(
		func() error { return validatePorts(at, c) },
		func() error { return validateRestart(at, c.RestartPolicy) },
		func() error { return validateUser(at+"user", c.User) },
		func() error { return validateEnvironment(at, c) },
		func() error { return validateLinux(at+"linuxParameters.", c.LinuxParameters) },
		func() error { return d.validateSecrets(at, c) },
		func() error { return validateTimeouts(at, c) },
		func() error { return refuseHostOnly(at, c) },
		func() error { return validateUlimits(at, c) },
		func() error { return validateSystemControls(at, c) },
		func() error { return d.validateLogging(at+"logConfiguration.", c.LogConfiguration) },
		func() error { return validateHealth(at+"healthCheck.", c.HealthCheck) },
		func() error { return validateResources(at, c) },
	)
}

func validatePorts(at string, c ContainerDefinition) error {
	for i, p := range c.PortMappings {
		at := fmt.Sprintf("%sportMappings[%d].", at, i)
		switch {
		case p.ContainerPortRange != "" && p.ContainerPort != 0:
			return fault.At(at+"containerPortRange", "cannot be given beside containerPort")
		case p.ContainerPortRange == "" && (p.ContainerPort < 1 || p.ContainerPort > 65535):
			return fault.At(at+"containerPort", "must be a port from 1 to 65535")
		case p.ContainerPortRange != "" && !validRange(p.ContainerPortRange):
			return fault.At(at+"containerPortRange", "must be a range of ports, as in 8000-8010")
		case p.HostPort != 0 && p.HostPort != p.ContainerPort:
			return fault.At(at+"hostPort", "When networkMode=awsvpc, the host ports and container ports in port mappings must match.")
		}
		if err := oneOf(at+"protocol", p.Protocol, "tcp", "udp"); err != nil {
			return err
		}
		if err := oneOf(at+"appProtocol", p.AppProtocol, "http", "http2", "grpc"); err != nil {
			return err
		}
	}
	return nil
}

// validateSharing refuses a port that is mapped twice: the containers of a task have one
// address, so that of two that listen on a port one could not.
func (d Definition) validateSharing() error {
	type span struct{ first, last int }
	taken := make(map[string][]span) // by protocol
	for i, c := range d.ContainerDefinitions {
		for j, p := range c.PortMappings {
			field, s := "containerPort", span{p.ContainerPort, p.ContainerPort}
			if p.ContainerPortRange != "" {
				field = "containerPortRange"
				s.first, s.last, _ = parsePortRange(p.ContainerPortRange) // It was looked at before.
			}
			protocol := cmp.Or(p.Protocol, "tcp")
			for _, other := range taken[protocol] {
				if first := max(s.first, other.first); first <= min(s.last, other.last) {
					return fault.At(fmt.Sprintf("containerDefinitions[%d].portMappings[%d].%s", i, j, field),
						"%s host port '%d' is mapped multiple times in task.", strings.ToUpper(protocol), first)
				}
			}
			taken[protocol] = append(taken[protocol], s)
		}
	}
	return nil
}

func validRange(ports string) bool {
	_, _, err := parsePortRange(ports)
	return err == nil
}

func validateRestart(at string, p *RestartPolicy) error {
	switch {
	case p == nil:
		return nil
	case p.Enabled == nil:
		return fault.At(at+"restartPolicy.enabled", "should not be null.")
	case len(p.IgnoredExitCodes) > 50:
		return fault.At(at+"restartPolicy.ignoredExitCodes", "has at most 50 codes")
	case p.RestartAttemptPeriod != nil && (*p.RestartAttemptPeriod < 60 || *p.RestartAttemptPeriod > 1800):
		return fault.At(at+"restartPolicy.restartAttemptPeriod", "must be from 60 to 1800 seconds")
	}
	for i, code := range p.IgnoredExitCodes {
		if code < 0 || code > 255 {
			return fault.At(fmt.Sprintf("%srestartPolicy.ignoredExitCodes[%d]", at, i), "must be an exit code from 0 to 255, not %d", code)
		}
	}
	return nil
}

// maxID is the largest ID of a user or a group: Linux has 32 bits for one, and means "none"
// by all ones (credentials(7), chown(2)).
const maxID = 1<<32 - 2

// validateUser checks what can be known of a user without the image: user, uid,
// user:group, uid:gid, user:gid or uid:group (ECS API, ContainerDefinition).
func validateUser(field, user string) error {
	if hasControl(user) {
		return fault.At(field, "must not contain control characters")
	}
	for part := range strings.SplitSeq(user, ":") {
		if !number.MatchString(part) {
			continue // a name, or none
		}
		if id, err := strconv.ParseUint(part, 10, 64); err != nil || id > maxID {
			return fault.At(field, "%s is no ID of a user or a group: they are from 0 to %d", part, uint32(maxID))
		}
	}
	return nil
}

// number is what tools take for an ID and not for a name.
var number = regexp.MustCompile(`^[+-]?[0-9]+$`)

// hasControl reports whether a text has a line break or another control character, with
// which no name can be shown as it is.
func hasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }

func validateEnvironment(at string, c ContainerDefinition) error {
	for i, e := range c.Environment {
		if e.Name == "" || strings.Contains(e.Name, "=") || hasControl(e.Name) {
			return fault.At(fmt.Sprintf("%senvironment[%d].name", at, i), "must not be empty or contain = or control characters")
		}
		if strings.ContainsRune(e.Value, 0) {
			return fault.At(fmt.Sprintf("%senvironment[%d].value", at, i), "must not contain a NUL")
		}
	}
	for _, list := range []struct {
		field string
		words []string
	}{{"entryPoint", c.EntryPoint}, {"command", c.Command}, {"workingDirectory", []string{c.WorkingDirectory}}} {
		if slices.ContainsFunc(list.words, func(w string) bool { return strings.ContainsRune(w, 0) }) {
			return fault.At(at+list.field, "must not contain a NUL")
		}
	}
	return validateEnvironmentFiles(at, c.EnvironmentFiles)
}

func validateLinux(at string, p *LinuxParameters) error {
	switch {
	case p == nil:
		return nil
	case len(p.Devices) > 0:
		return unsupportedByFargate(at+"devices", "devices")
	case p.SharedMemorySize != nil:
		return unsupportedByFargate(at+"sharedMemorySize", "sharedMemorySize")
	case p.MaxSwap != nil:
		return unsupportedByFargate(at+"maxSwap", "maxSwap")
	case p.Swappiness != nil:
		return unsupportedByFargate(at+"swappiness", "swappiness")
	}
	if p.Capabilities != nil {
		for i, name := range p.Capabilities.Add {
			if name != "SYS_PTRACE" {
				return fault.At(fmt.Sprintf("%scapabilities.add[%d]", at, i),
					"Fargate compatible task definitions support adding the capability SYS_PTRACE only, not %q", name)
			}
		}
		for i, name := range p.Capabilities.Drop {
			if !slices.Contains(capabilities, name) {
				return fault.At(fmt.Sprintf("%scapabilities.drop[%d]", at, i), "no capability is called %q", name)
			}
		}
	}
	return nil
}

// capabilities are those that a definition can name (ECS API,
// KernelCapabilities).
var capabilities = []string{"ALL", "AUDIT_CONTROL", "AUDIT_WRITE", "BLOCK_SUSPEND", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH",
	"FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD",
	"NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_BOOT",
	"SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG",
	"SYSLOG", "WAKE_ALARM"}

func validateTimeouts(at string, c ContainerDefinition) error {
	for _, t := range []struct {
		field string
		v     *int
	}{{"startTimeout", c.StartTimeout}, {"stopTimeout", c.StopTimeout}} {
		if t.v != nil && (*t.v < 2 || *t.v > 120) {
			return fault.At(at+t.field, "must be from 2 to 120 seconds on Fargate, not %d", *t.v)
		}
	}
	return oneOf(at+"versionConsistency", c.VersionConsistency, "enabled", "disabled")
}

// refuseHostOnly refuses what only makes sense where the host is the user's.
func refuseHostOnly(at string, c ContainerDefinition) error {
	set := func(b *bool) bool { return b != nil && *b }
	const awsvpc = " are not supported on container when networkMode=awsvpc"
	switch {
	case c.Hostname != "":
		return fault.At(at+"hostname", "Hostname is not supported on container when networkMode=awsvpc")
	case set(c.DisableNetworking):
		return fault.At(at+"disableNetworking", "disableNetworking is not supported on container when networkMode=awsvpc")
	case set(c.Privileged):
		return unsupportedByFargate(at+"privileged", "privileged")
	case len(c.DNSServers) > 0:
		return fault.At(at+"dnsServers", "DNS servers%s", awsvpc)
	case len(c.DNSSearchDomains) > 0:
		return fault.At(at+"dnsSearchDomains", "DNS search domains%s", awsvpc)
	case len(c.ExtraHosts) > 0:
		return fault.At(at+"extraHosts", "Extra hosts%s", awsvpc)
	case len(c.DockerSecurityOptions) > 0:
		return unsupportedByFargate(at+"dockerSecurityOptions", "dockerSecurityOptions")
	}
	return nil
}

var ulimits = []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
	"rttime", "sigpending", "stack"}

// maxOpenFiles is the most that nofile can be set to on Fargate (ECS developer
// guide, "Fargate task definition considerations").
const maxOpenFiles = 1 << 20

func validateUlimits(at string, c ContainerDefinition) error {
	for i, u := range c.Ulimits {
		at := fmt.Sprintf("%sulimits[%d].", at, i)
		if !slices.Contains(ulimits, u.Name) {
			return fault.At(at+"name", "must be one of %s, not %q", strings.Join(ulimits, ", "), u.Name)
		}
		switch unlimited := int64(-1); {
		case u.SoftLimit < unlimited:
			return fault.At(at+"softLimit", "must be 0 or more, or -1 for unlimited, not %d", u.SoftLimit)
		case u.HardLimit < unlimited:
			return fault.At(at+"hardLimit", "must be 0 or more, or -1 for unlimited, not %d", u.HardLimit)
		case u.HardLimit != unlimited && (u.SoftLimit > u.HardLimit || u.SoftLimit == unlimited):
			return fault.At(at+"softLimit", "Soft limit exceeds hard limit for ulimit %s", u.Name)
		}
		if u.Name == "nofile" && (u.HardLimit > maxOpenFiles || u.HardLimit < 0) {
			return fault.At(at+"hardLimit", "nofile can be at most %d", maxOpenFiles)
		}
	}
	return nil
}

func (d Definition) validateLogging(at string, l *LogConfiguration) error {
	if l == nil {
		return nil
	}
	if !slices.Contains([]string{"awslogs", "splunk", "awsfirelens"}, l.LogDriver) {
		return fault.At(at+"logDriver", "%s is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]", l.LogDriver)
	}
	if len(l.SecretOptions) > 0 && d.ExecutionRoleARN == "" {
		return fault.At(at+"secretOptions", "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
	}
	switch l.LogDriver {
	case "awslogs":
		if d.ExecutionRoleARN == "" {
			return fault.At(at+"logDriver", "Fargate requires task definition to have execution role ARN to support log driver awslogs.")
		}
		for _, o := range []string{"awslogs-group", "awslogs-region", "awslogs-stream-prefix"} {
			if l.Options[o] == "" {
				return fault.At(at+"options", "Log driver awslogs requires options: %s", o)
			}
		}
	case "awsfirelens":
		if !slices.ContainsFunc(d.ContainerDefinitions, func(c ContainerDefinition) bool { return c.FirelensConfiguration != nil }) {
			return fault.At(at+"logDriver", "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be specified")
		}
	}
	return nil
}

func validateHealth(at string, h *HealthCheck) error {
	if h == nil {
		return nil
	}
	if len(h.Command) == 0 {
		return fault.At(at+"command", "should not be null or empty.")
	}
	switch form, rest := h.Command[0], h.Command[1:]; {
	case form == "CMD-SHELL" && strings.TrimSpace(strings.Join(rest, " ")) == "":
		return fault.At(at+"command", "CMD-SHELL needs a command after it, as in [\"CMD-SHELL\", \"curl -f http://localhost/\"]")
	case form == "CMD" && (len(rest) == 0 || rest[0] == ""):
		return fault.At(at+"command", "CMD needs a program after it, as in [\"CMD\", \"curl\", \"-f\", \"http://localhost/\"]")
	case form == "":
		return fault.At(at+"command[0]", "must be CMD, CMD-SHELL, NONE or a program")
	}
	for _, n := range []struct {
		field       string
		v           *int
		least, most int
	}{{"interval", h.Interval, 5, 300}, {"timeout", h.Timeout, 2, 60}, {"retries", h.Retries, 1, 10}, {"startPeriod", h.StartPeriod, 0, 300}} {
		if n.v != nil && (*n.v < n.least || *n.v > n.most) {
			return fault.At(at+n.field, "must be from %d to %d, not %d", n.least, n.most, *n.v)
		}
	}
	return nil
}

func validateResources(at string, c ContainerDefinition) error {
	for i, r := range c.ResourceRequirements {
		at := fmt.Sprintf("%sresourceRequirements[%d].type", at, i)
		if err := oneOf(at, r.Type, "GPU", "InferenceAccelerator", "NeuronDevice"); err != nil {
			return err
		}
		return fault.At(at, "Tasks using the Fargate launch type do not support %s resource requirements", r.Type)
	}
	if r := c.RepositoryCredentials; r != nil && r.CredentialsParameter == "" {
		return fault.At(at+"repositoryCredentials.credentialsParameter", "should not be null or empty.")
	}
	if f := c.FirelensConfiguration; f != nil {
		if f.Type == "" {
			return fault.At(at+"firelensConfiguration.type", "must be one of fluentd, fluentbit")
		}
		return oneOf(at+"firelensConfiguration.type", f.Type, "fluentd", "fluentbit")
	}
	return nil
}
