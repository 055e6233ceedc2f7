package focus

import (
	"strings"

	"berth/billing"
)

// sku is what the name of a SKU says. The names are the usage types of the AWS
// Price List, which are put together from these words.
type sku struct {
	id      string // of ours: task-vcpu-linux-x86
	meter   string
	unit    string // of quantities, in FOCUS's words (specification, UnitFormat)
	details string // SkuPriceDetails, JSON
	spot    bool
	storage bool // sizes are whole GiB; else CPU units or MiB
}

func newSKU(k billing.SKU) *sku {
	name := string(k)
	spot := strings.HasPrefix(name, "SpotUsage-")
	has := func(word string) bool { return strings.Contains(name, "-"+word+"-") }
	os, system, arch, machine := "linux", "Linux", "x86", "X86_64"
	if has("Windows") {
		os, system = "windows", "Windows"
	}
	if has("ARM") {
		arch, machine = "arm", "ARM64"
	}
	if has("EphemeralStorage") { // has neither a system nor an architecture
		return &sku{id: "task-storage", meter: "Ephemeral Storage Time", unit: "GiB-Hours", details: `{"DiskSpace":1}`, storage: true}
	}
	s := &sku{spot: spot, unit: "vCPU-Hours"}
	first := `"CoreCount":1`
	switch {
	case has("OS"):
		s.id, s.meter = "task-os", "Operating System Time"
	case has("vCPU"):
		s.id, s.meter = "task-vcpu", "vCPU Time"
	default:
		s.id, s.meter, s.unit = "task-memory", "Memory Time", "GiB-Hours"
		first = `"MemorySize":1`
	}
	s.id += "-" + os + "-" + arch
	if spot {
		s.id += "-spot"
	}
	s.details = `{` + first + `,"OperatingSystem":"` + system + `","x_Architecture":"` + machine + `"}`
	return s
}

// per returns how many of the smallest units of a size one priced unit has.
func (s *sku) per() int64 {
	if s.storage {
		return 1
	}
	return 1024
}

// prefixes begin the usage types of a region (AWS Cost and Usage Report).
var prefixes = map[string]string{
	"us-east-1": "USE1", "us-east-2": "USE2", "us-west-1": "USW1", "us-west-2": "USW2", "eu-central-1": "EUC1", "eu-west-1": "EU",
	"eu-west-2": "EUW2", "eu-west-3": "EUW3", "eu-north-1": "EUN1", "eu-south-1": "EUS1", "ap-northeast-1": "APN1", "ap-northeast-2": "APN2",
	"ap-southeast-1": "APS1", "ap-southeast-2": "APS2", "ap-south-1": "APS3", "ap-east-1": "APE1", "sa-east-1": "SAE1", "ca-central-1": "CAN1",
	"me-south-1": "MES1", "af-south-1": "AFS1", "us-gov-west-1": "UGW1", "us-gov-east-1": "UGE1",
}

// usageType returns k's usage type in a region, as AWS writes it.
func usageType(k billing.SKU, region string) string {
	if p, ok := prefixes[region]; ok {
		return p + "-" + string(k)
	}
	return string(k)
}

// regions names the regions of AWS (AWS General Reference, "Service endpoints").
var regions = map[string]string{
	"us-east-1": "US East (N. Virginia)", "us-east-2": "US East (Ohio)", "us-west-1": "US West (N. California)", "us-west-2": "US West (Oregon)",
	"eu-central-1": "EU (Frankfurt)", "eu-west-1": "EU (Ireland)", "eu-west-2": "EU (London)", "eu-west-3": "EU (Paris)",
	"eu-north-1": "EU (Stockholm)", "eu-south-1": "EU (Milan)", "ap-northeast-1": "Asia Pacific (Tokyo)", "ap-northeast-2": "Asia Pacific (Seoul)",
	"ap-southeast-1": "Asia Pacific (Singapore)", "ap-southeast-2": "Asia Pacific (Sydney)", "ap-south-1": "Asia Pacific (Mumbai)",
	"ap-south-2": "Asia Pacific (Hyderabad)", "ap-east-1": "Asia Pacific (Hong Kong)", "sa-east-1": "South America (Sao Paulo)",
	"ca-central-1": "Canada (Central)", "me-south-1": "Middle East (Bahrain)", "af-south-1": "Africa (Cape Town)",
	"us-gov-west-1": "AWS GovCloud (US-West)", "us-gov-east-1": "AWS GovCloud (US-East)",
}

// regionName returns a region's name for people: its ID, if it is none of AWS's.
func regionName(id string) string {
	if name, ok := regions[id]; ok {
		return name
	}
	return id
}
