package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// picture turns what a terminal was sent into SVG. Braille and shade characters
// are drawn as dots and boxes, so that the picture looks the same whatever fonts
// there are.
func picture(text string, columns int) string {
	const (
		wide, high = 8.0, 17.0 // of a character
		margin     = 14.0
	)
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="13">`+"\n",
		float64(columns)*wide+2*margin, float64(len(lines))*high+2*margin)
	b.WriteString("<title>What homeostat demo prints</title>\n")
	b.WriteString(`<rect width="100%" height="100%" rx="8" fill="#16181d"/>` + "\n")
	for row, line := range lines {
		y := margin + float64(row)*high
		x := margin
		for _, r := range runsOf(line) {
			n := float64(len([]rune(r.text)))
			switch {
			case r.drawn:
				drawCells(&b, r, x, y, wide, high)
			case strings.TrimSpace(r.text) != "":
				fmt.Fprintf(&b, `<text x="%.0f" y="%.1f" textLength="%.0f" xml:space="preserve"%s>`, x, y+13, n*wide, r.attributes())
				xml.EscapeText(&b, []byte(r.text))
				b.WriteString("</text>\n")
			}
			x += n * wide
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// look is a stretch of one line in one colour.
type look struct {
	text  string
	code  string // of the colour
	drawn bool   // braille and shade
}

var pictureInks = map[string]string{
	"": "#d7dae0", "1": "#ffffff", "2": "#868e9c", "32": "#4cc38a", "31": "#ff7a6e", "33": "#e8b04a", "34": "#8db4ff",
}

func (r look) attributes() string {
	bold := ""
	if r.code == "1" {
		bold = ` font-weight="bold"`
	}
	return fmt.Sprintf(` fill="%s"%s`, pictureInks[r.code], bold)
}

func drawnRune(c rune) bool { return c == '░' || c >= 0x2800 && c <= 0x28ff }

func runsOf(line string) []look {
	var out []look
	code := ""
	for len(line) > 0 {
		if rest, ok := strings.CutPrefix(line, "\x1b["); ok {
			code, line, _ = strings.Cut(rest, "m")
			if code == "0" {
				code = ""
			}
			continue
		}
		text := line
		if i := strings.IndexByte(line, '\x1b'); i >= 0 {
			text = line[:i]
		}
		line = line[len(text):]
		for _, c := range text {
			if n := len(out); n > 0 && out[n-1].code == code && out[n-1].drawn == drawnRune(c) {
				out[n-1].text += string(c)
			} else {
				out = append(out, look{string(c), code, drawnRune(c)})
			}
		}
	}
	return out
}

func drawCells(b *strings.Builder, r look, x, y, wide, high float64) {
	var dots, boxes strings.Builder
	for _, c := range r.text {
		if c == '░' {
			fmt.Fprintf(&boxes, "M%.0f %.0fh%.0fv%.0fh-%.0fz", x, y, wide, high, wide)
		}
		for bit, at := range [8][2]float64{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}, {0, 3}, {1, 3}} {
			if c >= 0x2800 && c&(1<<bit) != 0 {
				fmt.Fprintf(&dots, "M%.1f %.1fh2v2h-2z", x+1+at[0]*wide/2, y+1+at[1]*high/4)
			}
		}
		x += wide
	}
	if boxes.Len() > 0 {
		fmt.Fprintf(b, `<path fill="#3b557f" opacity=".55" d="%s"/>`+"\n", boxes.String())
	}
	if dots.Len() > 0 {
		fmt.Fprintf(b, `<path%s d="%s"/>`+"\n", look{code: r.code}.attributes(), dots.String())
	}
}
