package verify

import (
	"fmt"
	"strings"
)

// Problem is one broken rule: where, the value, and the rule.
type Problem struct {
	File string // Within the run folder.
	Line int    // From 1; 0 is the file as a whole.
	Text string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s line %d: %s", p.File, p.Line, p.Text)
}

// BrokenError says that the run folder does not hold. Do not build on the run: take it up from a
// checkpoint before the first problem, or train again.
type BrokenError struct {
	Dir      string
	Problems []Problem
}

// shownProblems bounds the problems of an error message: one cause may break many rules.
const shownProblems = 8

func (e *BrokenError) Error() string {
	shown := make([]string, 0, shownProblems)
	for _, p := range e.Problems[:min(len(e.Problems), shownProblems)] {
		shown = append(shown, p.String())
	}
	if more := len(e.Problems) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("run %s does not hold: %s", e.Dir, strings.Join(shown, "; "))
}

// problems collects what is wrong with one file.
type problems struct {
	file string
	all  []Problem
}

func (p *problems) add(line int, format string, args ...any) {
	p.all = append(p.all, Problem{p.file, line, fmt.Sprintf(format, args...)})
}
