package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Style is what the terminal can show.
type Style struct {
	Width   int  // columns, at least MinWidth
	Colour  bool // ANSI colours
	Unicode bool // block and braille characters; else ASCII only
	Live    bool // a terminal whose current line may be written anew
}

// MinWidth is the narrowest terminal that is drawn for.
const MinWidth = 40

// ink is the colour of a text.
type ink uint8

const (
	plain ink = iota
	dim
	bold
	green
	red
	yellow
	blue
)

var codes = [...]string{"", "\x1b[2m", "\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[34m"}

const reset = "\x1b[0m"

// piece is a text in one ink.
type piece struct {
	text string
	ink  ink
}

func in(i ink, format string, args ...any) piece {
	return piece{fmt.Sprintf(format, args...), i}
}

// screen writes lines that are never wider than the terminal. The first error
// of writing sticks.
type screen struct {
	w     io.Writer
	style Style
	err   error
}

// plainer are the characters that ASCII has a word for.
var plainer = strings.NewReplacer(
	"≤", "<=", "≥", ">=", "−", "-", "–", "-", "—", "-", "…", "...", "·", "-", "→", "->", "×", "x", "’", "'",
	"✔", "+", "✘", "x", "▲", "^", "─", "-", "━", "=", "│", "|", "┤", "+", "└", "+", "░", ".", "╌", "-",
)

// fit makes a text fit for the terminal's character set.
func (s *screen) fit(text string) string {
	text = clean(text)
	if s.style.Unicode {
		return text
	}
	return strings.Map(func(r rune) rune {
		if r > '~' {
			return '?'
		}
		return r
	}, plainer.Replace(text))
}

// line writes pieces as they are, cut at the width.
func (s *screen) line(pieces ...piece) {
	room := s.style.Width
	var b strings.Builder
	now := plain
	for i, p := range pieces {
		text := s.fit(p.text)
		if i == len(pieces)-1 {
			text = strings.TrimRight(text, " ")
		}
		if n := utf8.RuneCountInString(text); n > room {
			text = string([]rune(text)[:room])
		}
		room -= utf8.RuneCountInString(text)
		// A space looks the same in every ink.
		if s.style.Colour && p.ink != now && strings.TrimSpace(text) != "" {
			if now != plain {
				b.WriteString(reset)
			}
			b.WriteString(codes[p.ink])
			now = p.ink
		}
		b.WriteString(text)
	}
	line := strings.TrimRight(b.String(), " ")
	if now != plain {
		line += reset
	}
	s.write(line + "\n")
}

func (s *screen) write(text string) {
	if s.err == nil {
		_, s.err = io.WriteString(s.w, text)
	}
}

// para writes pieces as a paragraph: words go to the next line, which begins
// with indent spaces, where they don't fit; the first line begins with lead.
func (s *screen) para(lead string, indent int, pieces ...piece) {
	indent = min(indent, s.style.Width/3)
	line, used := []piece{{lead, plain}}, utf8.RuneCountInString(s.fit(lead))
	started := false
	for _, word := range s.words(pieces) {
		size := 0
		for _, p := range word {
			size += utf8.RuneCountInString(p.text)
		}
		if started && used+1+size > s.style.Width {
			s.line(line...)
			line, used, started = []piece{{strings.Repeat(" ", indent), plain}}, indent, false
		}
		if started {
			line, used = append(line, piece{" ", plain}), used+1
		}
		for _, p := range word {
			text := []rune(p.text)
			for used+len(text) > s.style.Width { // a word that is wider than the line
				room := max(0, s.style.Width-used)
				s.line(append(line, piece{string(text[:room]), p.ink})...)
				text = text[room:]
				line, used = []piece{{strings.Repeat(" ", indent), plain}}, indent
			}
			line, used = append(line, piece{string(text), p.ink}), used+len(text)
		}
		started = true
	}
	s.line(line...)
}

// words cuts pieces at their spaces; a word may have pieces of several inks.
func (s *screen) words(pieces []piece) [][]piece {
	var out [][]piece
	var word []piece
	for _, p := range pieces {
		for i, text := range strings.Split(s.fit(p.text), " ") {
			if i > 0 && len(word) > 0 {
				out, word = append(out, word), nil
			}
			if text != "" {
				word = append(word, piece{text, p.ink})
			}
		}
	}
	if len(word) > 0 {
		out = append(out, word)
	}
	return out
}

// blank writes an empty line.
func (s *screen) blank() { s.write("\n") }

// heading writes a line that begins a part.
func (s *screen) heading(text string) {
	s.blank()
	s.para("", 0, piece{text, bold})
}

// status writes the current line anew, on a terminal that can.
func (s *screen) status(text string) {
	if !s.style.Live {
		return
	}
	text = s.fit(text)
	if r := []rune(text); len(r) >= s.style.Width {
		text = string(r[:s.style.Width-1])
	}
	s.write("\r\x1b[K" + text)
}
