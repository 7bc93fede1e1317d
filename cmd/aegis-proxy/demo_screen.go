package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

const (
	// frameEvery is how often a terminal is redrawn, and lookEvery how often
	// budgets are looked at where there is none.
	frameEvery = 80 * time.Millisecond
	lookEvery  = 20 * time.Millisecond

	// A bar has as many cells as fit beside its labels. A terminal with room
	// for fewer gets plain lines.
	labelCells  = 62
	fewestCells = 10
	mostCells   = 50

	// stepsShown is how many lines a budget gets without a terminal until it
	// is full.
	stepsShown = 4
)

// screen shows budgets: as bars that are redrawn in place on a terminal, as
// plain lines elsewhere.
type screen struct {
	w      io.Writer
	every  time.Duration
	live   bool
	colour bool
	cells  int
	drawn  int              // lines to go up before the next frame
	told   map[string]int64 // by budget: the last step told, without a terminal
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, every: lookEvery, told: map[string]int64{}}
	if !isTerminal(w) {
		return s
	}
	width, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil || width < labelCells+fewestCells {
		return s
	}
	s.live, s.colour, s.every = true, os.Getenv("NO_COLOR") == "", frameEvery
	s.cells = min(mostCells, width-labelCells)
	return s
}

func (s *screen) draw(list []standing) {
	if !s.live {
		s.tell(list)
		return
	}
	var frame strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&frame, "\x1b[%dA", s.drawn)
	}
	for _, b := range list {
		fmt.Fprintf(&frame, "\r%s\x1b[K\n", s.line(b))
	}
	s.drawn = len(list)
	io.WriteString(s.w, frame.String())
}

// last draws the end of the play.
func (s *screen) last(list []standing) {
	s.draw(list)
	fmt.Fprintln(s.w)
}

func (s *screen) line(b standing) string {
	return fmt.Sprintf("  %-9s %-14s %s %s of %s USD%s",
		b.tenant, b.name(), s.bar(b), dollars(b.spent), dollars(b.limit), s.mark(b))
}

// bar shows what is spent as #, and what is held for requests in flight as +.
func (s *screen) bar(b standing) string {
	spent := int(min(b.spent, b.limit) * int64(s.cells) / b.limit)
	held := int(min(b.spent+b.held, b.limit)*int64(s.cells)/b.limit) - spent
	return "[" + s.paint("32", strings.Repeat("#", spent)) + s.paint("33", strings.Repeat("+", held)) +
		strings.Repeat(".", s.cells-spent-held) + "]"
}

func (s *screen) mark(b standing) string {
	if !b.stopped {
		return ""
	}
	return "  " + s.paint("1;31", "HARD STOP")
}

func (s *screen) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// tell writes a line for each budget that has come a step further.
func (s *screen) tell(list []standing) {
	for _, b := range list {
		step := b.spent * stepsShown / b.limit
		if b.stopped {
			step = stepsShown
		}
		id := b.tenant + "/" + b.name()
		if step <= s.told[id] {
			continue
		}
		s.told[id] = step
		fmt.Fprintf(s.w, "  %-9s %-14s spent %s, held %s, of %s USD%s\n",
			b.tenant, b.name(), dollars(b.spent), dollars(b.held), dollars(b.limit), s.mark(b))
	}
}

// dollars shows nano-USD with four decimals, rounded down. Only for the eye.
func dollars(nano int64) string {
	return fmt.Sprintf("%d.%04d", nano/1e9, nano%1e9/1e5)
}
