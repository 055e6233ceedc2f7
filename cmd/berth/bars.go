package main

import (
	"fmt"
	"io"
	"strings"

	"berth/task"
)

// bars shows how far pulls have come: as bars that are drawn over on a terminal,
// as a line at every turn elsewhere. It is not safe for concurrent use.
type bars struct {
	w        io.Writer
	terminal bool
	pulls    []task.PullProgress
	drawn    int               // lines on the terminal
	said     map[string]string // image → status that was told
}

const (
	up        = "\x1b[%dA" // cursor up
	wipe      = "\x1b[J"   // erase from here to the end of the screen
	barWidth  = 30
	nameWidth = 40
)

// update takes over how far the pulls have come and shows it.
func (b *bars) update(pulls []task.PullProgress) {
	if !b.terminal {
		b.tell(pulls)
		return
	}
	b.hide()
	b.pulls = pulls
	b.show()
}

// tell prints a line for each pull that has got to another status.
func (b *bars) tell(pulls []task.PullProgress) {
	if b.said == nil {
		b.said = make(map[string]string)
	}
	for _, p := range pulls {
		if b.said[p.Image] != p.Status {
			b.said[p.Image] = p.Status
			fmt.Fprintln(b.w, strings.TrimRight(clean(progress(p)), " "))
		}
	}
}

// hide removes the bars from the terminal, so that something else can be printed.
func (b *bars) hide() {
	if b.drawn > 0 {
		fmt.Fprintf(b.w, up+"\r"+wipe, b.drawn)
		b.drawn = 0
	}
}

// show draws the bars.
func (b *bars) show() {
	if !b.terminal {
		return
	}
	for _, p := range b.pulls {
		full := 0
		if p.TotalBytes > 0 {
			full = int(min(p.DoneBytes, p.TotalBytes) * barWidth / p.TotalBytes)
		}
		name := clean(p.Image)
		if len(name) > nameWidth {
			name = "…" + name[len(name)-nameWidth+1:]
		}
		fmt.Fprintf(b.w, "%-*s [%s%s] %s\n", nameWidth, name, strings.Repeat("█", full), strings.Repeat("░", barWidth-full), amountDone(p))
		b.drawn++
	}
}

func progress(p task.PullProgress) string {
	if p.Reason != "" {
		return fmt.Sprintf("%s %s: %s", p.Image, strings.ToLower(p.Status), p.Reason)
	}
	return fmt.Sprintf("%s %s", p.Image, amountDone(p))
}

func amountDone(p task.PullProgress) string {
	status := strings.ToLower(p.Status)
	if p.TotalBytes <= 0 {
		return status
	}
	return fmt.Sprintf("%s %s of %s", status, byteCount(uint64(p.DoneBytes)), byteCount(uint64(p.TotalBytes)))
}
