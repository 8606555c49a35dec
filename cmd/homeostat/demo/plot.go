package demo

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// plotRows is how many lines the values of a plot take.
const plotRows = 9

// dots are the bits of a braille character, by row and column.
var dots = [4][2]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

// cell is one character of a plot.
type cell struct {
	bits     rune // dots of the values
	abnormal bool // some of them are
	band     bool
	expected bool // what is expected, where there is no band
}

// plot is a scene as characters: the values as dots, and behind them the band
// in which they would have been quiet.
type plot struct {
	cells    [plotRows][]cell
	low      float64
	high     float64
	from, to int64
}

// draw lays the scene out on so many columns.
func (s *scene) draw(columns int) *plot {
	p := &plot{from: s.from, to: s.to}
	p.low, p.high = s.extent()
	for i := range p.cells {
		p.cells[i] = make([]cell, columns)
	}
	p.bands(s)
	for i := range s.points {
		from := i
		if i > 0 && s.points[i].at-s.points[i-1].at <= s.gap {
			from = i - 1
		}
		p.stroke(&s.points[from], &s.points[i])
	}
	return p
}

// extent is the range of the scale: the values, and of the band what lies near.
func (s *scene) extent() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, p := range s.points {
		low, high = min(low, p.value), max(high, p.value)
	}
	if low > high {
		return 0, 1
	}
	room := (high - low) / 2
	bandLow, bandHigh := low, high
	for _, p := range s.points {
		if p.band {
			bandLow, bandHigh = min(bandLow, p.lower), max(bandHigh, p.upper)
		}
	}
	positive := low >= 0
	low, high = max(bandLow, low-room), min(bandHigh, high+room)
	if positive {
		low = max(low, 0)
	}
	if high <= low {
		wide := math.Max(math.Abs(low)*0.05, 1e-9)
		low, high = low-wide, high+wide
	}
	return low, high
}

// column is where a time lies, in dots from the left.
func (p *plot) column(at int64) int {
	n := 2 * len(p.cells[0])
	return min(max(int(float64(n)*float64(at-p.from)/float64(max(1, p.to-p.from))), 0), n-1)
}

// row is where a value lies, in dots from the top.
func (p *plot) row(v float64) int {
	n := 4 * plotRows
	return min(max(int(float64(n)*(p.high-v)/(p.high-p.low)), 0), n-1)
}

// bands marks the cells that the band covers. Several points in one column show
// the last one's.
func (p *plot) bands(s *scene) {
	of := make([]*point, len(p.cells[0]))
	for i := range s.points {
		x := p.column(s.points[i].at) / 2
		from := x
		if i > 0 && s.points[i].at-s.points[i-1].at <= s.gap {
			from = min(x, p.column(s.points[i-1].at)/2+1)
		}
		for k := from; k <= x; k++ {
			of[k] = &s.points[i]
		}
	}
	for x, b := range of {
		if b == nil {
			continue
		}
		for y := range p.cells {
			switch c := &p.cells[y][x]; {
			case b.band:
				c.band = b.upper >= p.low && b.lower <= p.high && y >= p.row(b.upper)/4 && y <= p.row(b.lower)/4
			case b.warm:
				c.expected = b.expected >= p.low && b.expected <= p.high && y == p.row(b.expected)/4
			}
		}
	}
}

// stroke draws from one point to the next.
func (p *plot) stroke(a, b *point) {
	x0, y0, x1, y1 := p.column(a.at), p.row(a.value), p.column(b.at), p.row(b.value)
	n := max(x1-x0, y1-y0, y0-y1, 1)
	for k := range n + 1 {
		x, y := x0+(x1-x0)*k/n, y0+(y1-y0)*k/n
		c := &p.cells[y/4][x/2]
		c.bits |= dots[y%4][x%2]
		if x == x1 && b.abnormal() || x == x0 && a.abnormal() {
			c.abnormal = true
		}
	}
}

// plot writes a scene.
func (s *screen) plot(sc *scene) {
	const scale = 8 // characters of the scale
	const margin = 2
	columns := min(s.style.Width-scale-margin-1, 110)
	p := sc.draw(columns)
	s.para("  ", 4, piece{seriesName(sc.series), bold}, piece{" of " + workloadName(string(sc.series.Workload)), plain})
	for y := range p.cells {
		label := ""
		switch y {
		case 0:
			label = short(p.high)
		case plotRows / 2:
			label = short((p.high + p.low) / 2)
		case plotRows - 1:
			label = short(p.low)
		}
		edge := "│"
		if label != "" {
			edge = "┤"
		}
		row := []piece{{strings.Repeat(" ", margin+scale-1-utf8.RuneCountInString(label)) + label + " ", plain}, {edge, dim}}
		s.line(append(row, s.cells(p.cells[y])...)...)
	}
	s.axis(p, sc, strings.Repeat(" ", margin+scale))
}

func (s *screen) cells(row []cell) []piece {
	out := make([]piece, 0, len(row))
	for _, c := range row {
		p := piece{" ", plain}
		switch {
		case c.bits != 0 && s.style.Unicode:
			p.text = string(0x2800 + c.bits)
		case c.bits != 0:
			p.text = "*"
		case c.band && s.style.Unicode:
			p = piece{"░", dim}
		case c.band:
			p = piece{".", dim}
		case c.expected:
			p = piece{"╌", dim}
		}
		if c.bits != 0 {
			p.ink = green
			if c.abnormal {
				p.ink = red
			}
			if c.abnormal && !s.style.Unicode {
				p.text = "#"
			}
		}
		if n := len(out); n > 0 && out[n-1].ink == p.ink {
			out[n-1].text += p.text
		} else {
			out = append(out, p)
		}
	}
	return out
}

// axis writes the line of time with the fault on it, the marks of what was told,
// and what the signs mean.
func (s *screen) axis(p *plot, sc *scene, indent string) {
	columns := len(p.cells[0])
	line := []piece{{indent, plain}, {"└", dim}}
	for x := range columns {
		sign := piece{"─", dim}
		if f := sc.fault; f != nil && x >= p.column(f.Start.UnixMilli())/2 && x <= p.column(f.End.UnixMilli())/2 {
			sign = piece{"━", yellow}
		}
		if n := len(line); line[n-1].ink == sign.ink && n > 2 {
			line[n-1].text += sign.text
		} else {
			line = append(line, sign)
		}
	}
	s.line(line...)
	marks := []rune(strings.Repeat(" ", columns))
	for _, at := range sc.told {
		marks[p.column(at)/2] = '▲'
	}
	if len(sc.told) > 0 {
		s.line(piece{indent + " ", plain}, piece{string(marks), red})
	}
	left, right := stampOf(p.from), stampOf(p.to)
	if room := columns - len(left) - len(right); room > 0 {
		s.line(piece{indent + " " + left + strings.Repeat(" ", room) + right, dim})
	}
	s.legend(sc, indent)
}

func (s *screen) legend(sc *scene, indent string) {
	value, abnormal, band := "⠒", "⠒", "░"
	if !s.style.Unicode {
		value, abnormal, band = "*", "#", "."
	}
	parts := []piece{{value, green}, {" value", plain}}
	if s.style.Colour || !s.style.Unicode {
		parts = append(parts, piece{" " + abnormal, red}, piece{" abnormal", plain})
	}
	parts = append(parts, piece{" " + band, dim}, piece{" quiet within ", plain})
	if slices.ContainsFunc(sc.points, func(p point) bool { return p.warm && !p.band }) {
		parts = append(parts, piece{" ╌", dim}, piece{" expected ", plain})
	}
	if sc.fault != nil {
		parts = append(parts, piece{" ━", yellow}, piece{" the fault ", plain})
	}
	if len(sc.told) > 0 {
		parts = append(parts, piece{" ▲", red}, piece{" told", plain})
	}
	s.para(indent+" ", len(indent)+1, parts...)
	if strings.HasSuffix(sc.series.Labels.Get("__name__"), ":error_ratio") {
		s.para(indent+" ", len(indent)+1, piece{"the band is that of 100 requests", dim})
	}
}
