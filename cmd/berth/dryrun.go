package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"berth/fault"
	"berth/server/api"
	"berth/task"
)

// refused returns the error of a run of which a dry run found that it would be refused.
func refused(p api.RunResponse) error {
	if p.Admission == nil || p.Admission.Decision != api.AdmitNever {
		return nil
	}
	return fault.New(fault.Exhausted, "the run would be refused: %s", p.Admission.Reason)
}

// printPreview prints what a dry run found.
func printPreview(w io.Writer, p api.RunResponse) {
	if p.TaskDefinition == nil || len(p.Tasks) == 0 {
		return
	}
	d, first := p.TaskDefinition, p.Tasks[0]
	fmt.Fprintf(w, "Nothing was started. This would be: %s of %s\n\n", count(len(p.Tasks), "task"), clean(d.Family))
	definition := "new: it would be registered as a revision of " + d.Family
	if d.Revision > 0 {
		definition = fmt.Sprintf("%s:%d", d.Family, d.Revision)
	}
	rows := [][]string{
		{"Definition", clean(definition)},
		{"Each", size(first.Size()) + ", " + first.Arch + ", " + providers(p.Tasks)},
	}
	if n := networkOf(first); n != "" {
		rows = append(rows, []string{"Network", clean(n)})
	}
	if p.Admission != nil {
		rows = append(rows, []string{"Admission", clean(admissionOf(*p.Admission))})
	}
	for _, i := range p.Images {
		where := "would be pulled"
		if i.Here {
			where = "here, " + byteCount(uint64(i.SizeBytes))
		}
		rows = append(rows, []string{"Image", clean(i.Image) + " (" + where + ")"})
	}
	if p.Estimate != nil {
		rows = append(rows, []string{"Pull", p.Estimate.Pull.Why}, []string{"Duration", p.Estimate.Duration.Why})
	}
	table(w, rows...)
	printPrices(w, p)
}

func printPrices(w io.Writer, p api.RunResponse) {
	if p.Quote != nil {
		rows := [][]string{{"CHARGE", "RESOURCE", "UNIT PRICE", "PER HOUR"}}
		for _, l := range p.Quote.Lines {
			rows = append(rows, []string{string(l.SKU), l.Resource, "$" + l.UnitPrice.String(), "$" + l.Amount.String()})
		}
		fmt.Fprintln(w)
		table(w, rows...)
		fmt.Fprintf(w, "\nEach costs $%s an hour, and $%s at least. Prices: %s\n", p.Quote.PerHour, p.Quote.Minimum, clean(p.Quote.PriceList.ID))
	}
	if p.Estimate == nil {
		return
	}
	rows := [][]string{{"ESTIMATE", "TASKS", "LOW", "EXPECTED", "HIGH"}}
	for _, t := range p.Estimate.Terms {
		c := t.PerTask
		rows = append(rows, []string{"each on " + t.CapacityProvider, strconv.Itoa(t.Count), "$" + c.Low.Total.String(), "$" + c.Expected.Total.String(), "$" + c.High.Total.String()})
	}
	r := p.Estimate.Total
	rows = append(rows, []string{"all", strconv.Itoa(len(p.Tasks)), "$" + r.Low.String(), "$" + r.Expected.String(), "$" + r.High.String()})
	fmt.Fprintln(w)
	table(w, rows...)
}

// providers says which capacity providers tasks are on, and how many on which.
func providers(ts []task.Task) string {
	spot := 0
	for _, t := range ts {
		if t.Interruptible() {
			spot++
		}
	}
	switch spot {
	case 0:
		return task.OnDemand
	case len(ts):
		return task.Spot
	}
	return fmt.Sprintf("%d on %s and %d on %s", len(ts)-spot, task.OnDemand, spot, task.Spot)
}

// networkOf says what is special about a task's network; nothing if nothing is.
func networkOf(t task.Task) string {
	if t.NetworkConfiguration == nil {
		return ""
	}
	n := t.NetworkConfiguration.AWSVPC
	var parts []string
	if len(n.SecurityGroups) > 0 {
		parts = append(parts, "security groups "+strings.Join(n.SecurityGroups, ", "))
	}
	if n.AssignPublicIP == "ENABLED" {
		parts = append(parts, "ports are published on this host")
	}
	return strings.Join(parts, "; ")
}

func admissionOf(a api.Admission) string {
	reserved := fmt.Sprintf("reserved are %s of %s", size(task.Size(a.Reserved)), size(task.Size(a.Total)))
	switch a.Decision {
	case api.AdmitNow:
		return "now; " + reserved
	case api.AdmitNever:
		return "never: " + a.Reason
	}
	return fmt.Sprintf("%d now, %d would wait: %s; %s", a.StartNow, a.Wait, a.Reason, reserved)
}
