package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// sides are whose alarms are judged, in the order of columns.
var sides = [...]string{"homeostat", "usual rules"}

// table is the cards of one folder: homeostat's and, where they were evaluated,
// the rules'.
type table struct {
	folder string
	cards  [len(sides)][]scorecard.Card
}

func (t *table) add(side int, c scorecard.Card) { t.cards[side] = append(t.cards[side], c) }

// print writes the tables as Markdown: one row a fault, one a recording without
// any, and the sums.
func (t *table) print(w io.Writer, details bool) {
	fmt.Fprintf(w, "### %s\n\n| recording | fault | culprit |", t.folder)
	n := 1
	if len(t.cards[1]) > 0 {
		n = 2
	}
	for _, side := range sides[:n] {
		fmt.Fprintf(w, " %s: delay | names it | false |", side)
	}
	fmt.Fprintf(w, "\n|%s\n", strings.Repeat("---|", 3+3*n))
	for i := range t.cards[0] {
		t.rows(w, i, n)
	}
	t.sums(w, n)
	if details {
		t.details(w, n)
	}
}

func (t *table) rows(w io.Writer, i, n int) {
	first := &t.cards[0][i]
	for k := range max(1, len(first.Lines)) {
		fault, culprit := "none", ""
		if len(first.Lines) > 0 {
			fault, culprit = string(first.Lines[k].Kind), short(first.Lines[k].Workload)
		}
		name := first.Name
		if k > 0 {
			name = ""
		}
		fmt.Fprintf(w, "| %s | %s | %s |", name, fault, culprit)
		for side := range n {
			c := &t.cards[side][i]
			delay, named, wrong := "", "", ""
			if len(c.Lines) > 0 {
				delay, named = "missed", ""
				if c.Lines[k].Found {
					delay, named = minutes(c.Lines[k].Delay), "no"
				}
				if c.Lines[k].Named {
					named = "yes"
				}
			}
			if k == 0 {
				wrong = fmt.Sprint(c.False)
			}
			fmt.Fprintf(w, " %s | %s | %s |", delay, named, wrong)
		}
		fmt.Fprintln(w)
	}
}

func (t *table) sums(w io.Writer, n int) {
	fmt.Fprint(w, "\n| | found | culprit named | median delay | false | false a day |\n|---|---|---|---|---|---|\n")
	for side := range n {
		var s scorecard.Sum
		for i := range t.cards[side] {
			s.Add(&t.cards[side][i])
		}
		fmt.Fprintf(w, "| %s | %d of %d | %d | %s | %d | %.2f |\n", sides[side], s.Found, s.Faults, s.Named, minutes(s.MedianDelay()), s.False,
			float64(s.False)/(s.Scored.Hours()/24))
	}
	fmt.Fprintln(w)
}

// details lists every alarm that counted.
func (t *table) details(w io.Writer, n int) {
	verdicts := map[scorecard.Verdict]string{scorecard.Found: "found", scorecard.Repeat: "repeat", scorecard.Stalled: "stall", scorecard.False: "FALSE"}
	for side := range n {
		for _, c := range t.cards[side] {
			for _, a := range c.Alarms {
				if a.Verdict != scorecard.Learning {
					fmt.Fprintf(w, "    %-11s %-14s %s %-6s %-10s %s\n", sides[side], c.Name, a.At.Format("2 Jan 15:04"), verdicts[a.Verdict], short(a.Workload), a.Text)
				}
			}
		}
	}
	fmt.Fprintln(w)
}

// short is the last value in a workload's name.
func short(workload string) string {
	parts := strings.Split(workload, `"`)
	if len(parts) < 2 {
		return workload
	}
	return parts[len(parts)-2]
}

func minutes(d time.Duration) string {
	return fmt.Sprintf("%.0f min", d.Minutes())
}
