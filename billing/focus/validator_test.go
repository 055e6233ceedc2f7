package focus_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/focus"
)

// criteria are what of FOCUS we support, in the words of its validator.
const criteria = "ACCOUNT_NAMING_SUPPORTED,MULTIPLE_PRICING_CATEGORIES_SUPPORTED,NEGOTIATED_PRICING_SUPPORTED,PUBLIC_PRICE_LIST_SUPPORTED," +
	"USAGE_MEASUREMENT_SUPPORTED,UNIT_PRICING_SUPPORTED,SUB_ACCOUNT_SUPPORTED,BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED," +
	"RESOURCE_TYPE_ASSIGNMENT_SUPPORTED,REGION_SUPPORTED,TAGGING_SUPPORTED"

// Ensure that the official validator has nothing against files of a long history.
// It needs Python 3.12 or later; make it with
//
//	python3.12 -m venv venv && venv/bin/pip install focus-validator==2.2.1 'pyarrow<22'
//
// and name venv/bin/focus-validator in FOCUS_VALIDATOR. The package has the rules
// of FOCUS 1.2; those of 1.4 it would fetch from the network.
func TestValidator(t *testing.T) {
	program := os.Getenv("FOCUS_VALIDATOR")
	if program == "" {
		program, _ = exec.LookPath("focus-validator")
	}
	if program == "" {
		t.Skip("not run: no focus-validator in PATH or FOCUS_VALIDATOR; see the comment on how to install it")
	}
	// It looks for its list of currencies below the working directory.
	ask := exec.Command(filepath.Join(filepath.Dir(program), "python"), "-c", "import focus_validator, os; print(os.path.dirname(os.path.dirname(focus_validator.__file__)))")
	site, err := ask.Output()
	if err != nil {
		t.Fatalf("where the validator is: %v", err)
	}

	var charges []billing.Charge
	for seed := range 200 {
		charges = append(charges, rapid.Custom(history).Example(seed)...)
	}
	dir := t.TempDir()
	o := options(focus.V12)
	csv, table := filepath.Join(dir, "focus.csv"), filepath.Join(dir, "focus.parquet")
	if err := os.WriteFile(csv, []byte(write(t, focus.V12, charges)), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := focus.Parquet(&out, o, focus.Rows(seq(charges))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(table, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{csv, table} {
		check := exec.Command(program, "--data-file", file, "--validate-version", "1.2", "--block-download", "--applicability-criteria", criteria)
		check.Dir = strings.TrimSpace(string(site))
		said, err := check.CombinedOutput()
		total := regexp.MustCompile(`Total: \d+ .*`).Find(said)
		if total == nil {
			t.Fatalf("%s: the validator did not come to an end: %v\n%s", filepath.Ext(file), err, said)
		}
		t.Logf("%s: %s", filepath.Ext(file), total)
		for _, line := range regexp.MustCompile(`(?m)^.*: FAIL .*$`).FindAllString(string(said), -1) {
			// One of two ways in which InvoiceId may be; the other holds, and so does
			// the rule that asks for either. Nothing is invoiced here.
			if !strings.Contains(line, "InvoiceId-C-005-C:") {
				t.Errorf("%s: %s", filepath.Ext(file), line)
			}
		}
	}
}
