package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"berth/task"
)

// table prints rows in aligned columns. Cells are cleaned: what a container or
// an image is called must not be able to steer the terminal.
func table(w io.Writer, rows ...[]string) {
	var aligned strings.Builder
	tw := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = clean(cell)
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	tw.Flush()
	for line := range strings.Lines(aligned.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// clean makes control characters visible instead of obeying them.
func clean(s string) string { return neutral(s, false) }

// cleanLine is clean for a line of a log, where tabs are fine.
func cleanLine(s string) string { return neutral(s, true) }

func neutral(s string, tabs bool) string {
	harmless := func(r rune) bool {
		return r == '\t' && tabs || !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !harmless(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if harmless(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return b.String()
}

// vcpu writes CPU units as vCPU: 256 as "0.25 vCPU".
func vcpu(units int) string {
	return strconv.FormatFloat(float64(units)/1024, 'f', -1, 64) + " vCPU"
}

// mebi writes MiB: 512 as "512 MiB", 2048 as "2 GiB".
func mebi(n int) string {
	if n >= 1024 && n%1024 == 0 {
		return strconv.Itoa(n/1024) + " GiB"
	}
	return strconv.Itoa(n) + " MiB"
}

func size(s task.Size) string { return vcpu(s.CPU) + ", " + mebi(s.Memory) }

// byteCount writes a number of bytes with three digits.
func byteCount(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1023.5 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	prec := 0
	if f < 9.995 {
		prec = 2
	} else if f < 99.95 {
		prec = 1
	}
	return fmt.Sprintf("%.*f %ciB", prec, f, units[i])
}

// span writes a duration as people say it: 5.2s, 3m20s, 4h, 2d3h.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return short(d/time.Minute, "m", d%time.Minute/time.Second, "s")
	case d < 48*time.Hour:
		return short(d/time.Hour, "h", d%time.Hour/time.Minute, "m")
	}
	return short(d/(24*time.Hour), "d", d%(24*time.Hour)/time.Hour, "h")
}

func short(big time.Duration, bigUnit string, small time.Duration, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d%s", big, bigUnit)
	}
	return fmt.Sprintf("%d%s%d%s", big, bigUnit, small, smallUnit)
}

// moment writes a time with milliseconds, in UTC; "-" if it has not come.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05.000")
}

// dash writes "-" for nothing.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// lastPart returns what comes after the last slash: the name in an ARN.
func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
