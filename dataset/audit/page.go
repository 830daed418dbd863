package audit

import (
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strings"

	"yohaku/dataset"
)

// mostShown bounds the rows with pictures on the page, of each kind.
const mostShown = 24

// Markdown is the report as text.
func (r Report) Markdown() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Audit of %s\n", r.Source)
	for _, f := range r.figures() {
		p("- %s: %s", f.Name, f.Value)
	}
	if len(r.Annotators) > 0 {
		p("\n## Who judged\n\n| who | labels | ties | agrees with most others |\n|---|---|---|---|")
		for _, a := range r.Annotators {
			p("| %s | %d | %d | %s |", strings.ReplaceAll(a.Name, "|", "/"), a.Labels, a.Ties, a.Agrees)
		}
	}
	if len(r.Suspects) > 0 {
		p("\n## Labels that the model finds turned round\n\n| row | margin | prompt |\n|---|---|---|")
		for _, s := range r.Suspects {
			p("| %s %d | %.3g | %s |", s.File, s.Row, s.Margin, strings.ReplaceAll(s.Prompt, "|", "/"))
		}
	}
	for _, kind := range []struct {
		title string
		all   []Duplicate
	}{{"Training pictures that are nearly held-out ones", r.Leaks}, {"Rows with nearly the same picture", r.Duplicates}} {
		if len(kind.all) > 0 {
			p("\n## %s\n\n| row | nearly row | bits of pHash, dHash | features |\n|---|---|---|---|", kind.title)
			for _, d := range kind.all {
				p("| %s %d (%s) | %s %d | %d, %d | %.3f |", d.Second.File, d.Second.Row, d.Side, d.First.File, d.First.Row, d.PHashBits, d.DHashBits, d.Features)
			}
		}
	}
	for _, n := range r.Notes {
		p("\n> %s", n)
	}
	p("\n%s", Criteria)
	return b.String()
}

// String is the share with its interval.
func (s *Share) String() string {
	if s == nil {
		return "not measured"
	}
	return fmt.Sprintf("%.3f (95 %% interval %.3f to %.3f, of %d)", s.Value, s.Low, s.High, s.Of)
}

// figure is one line of the overview.
type figure struct{ Name, Value string }

func (r Report) figures() []figure {
	alpha := "not measured"
	if r.Alpha != nil {
		alpha = fmt.Sprintf("%.3f over %d units that two or more judged (1 is perfect, 0 is chance; 0.8 is usual for firm conclusions, 0.667 for tentative ones)", *r.Alpha, r.SharedUnits)
	}
	all := []figure{
		{"preferences", fmt.Sprintf("%d, and %d ties", r.Pairs, r.Ties)},
		{"Krippendorff's alpha", alpha},
		{"units judged both ways", fmt.Sprint(r.Contradicted)},
		{"the judge " + r.Judge + " agrees with the label", r.JudgeAgrees.String()},
		{"labels of negative margin", r.NegativeMargin.String()},
		{"leaks", fmt.Sprint(len(r.Leaks))},
		{"rows with nearly the same picture as another", fmt.Sprint(len(r.Duplicates))},
		{"cleaned list", fmt.Sprintf("%d rows kept, %d left out", r.Kept, r.Removed)},
	}
	return all
}

// Criteria is a sheet for those who judge.
const Criteria = `## Sheet for those who judge

Judge without knowing which model made which picture, each pair at its own size, both in one view.

1. **Does it show what the prompt asks for?** Objects, their number, places, colours, written words. A picture that misses a named object loses to one that has it.
2. **Is it whole?** Hands, faces, edges, lettering. A visible defect loses to none.
3. **Does it keep to the brand?** Colours, style, what must not appear.
4. **Which would you use as it is?** Only if 1 to 3 leave it open.

Say "neither" when you would not mind which is used, and when both fail at 1. Do not guess: a tie is an answer.
Judge one pair in ten again on another day, and let one pair in five be judged by a second person: without that nobody knows how firm the labels are.
`

// shown is a row of the page with its pictures.
type shown struct {
	Title, Note string
	Left, Right template.URL
	LeftName    string
	RightName   string
}

var page = template.Must(template.New("audit").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Audit of {{.Source}}</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;vertical-align:top}
.rows{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1.2rem}figure{margin:0}figure img{width:48%;image-rendering:auto;border:1px solid #ccc}
figcaption{font-size:.85rem;color:#555}pre{white-space:pre-wrap;font:inherit;background:#f6f6f4;padding:1rem}</style>
<h1>Audit of {{.Source}}</h1><table>{{range .Figures}}<tr><th>{{.Name}}</th><td>{{.Value}}</td></tr>{{end}}</table>
{{if .Annotators}}<h2>Who judged</h2><table><tr><th>who</th><th>labels</th><th>ties</th><th>agrees with most others</th></tr>
{{range .Annotators}}<tr><td>{{.Name}}</td><td>{{.Labels}}</td><td>{{.Ties}}</td><td>{{.Agrees}}</td></tr>{{end}}</table>{{end}}
{{range .Sections}}<h2>{{.Title}}</h2><p>{{.Note}}</p><div class="rows">{{range .Rows}}<figure><img src="{{.Left}}" alt="{{.LeftName}}"> <img src="{{.Right}}" alt="{{.RightName}}">
<figcaption><b>{{.Title}}</b><br>{{.LeftName}} | {{.RightName}}<br>{{.Note}}</figcaption></figure>{{end}}</div>{{end}}
{{range .Notes}}<p>Note: {{.}}</p>{{end}}<pre>{{.Criteria}}</pre></html>
`))

type section struct {
	Title, Note string
	Rows        []shown
}

// HTML writes the report with the pictures of its first rows; pairs and heldOut are those that were audited.
func (r Report) HTML(w io.Writer, pairs, heldOut []dataset.Pair) error {
	var sections []section
	add := func(title string, total int, rows []shown) {
		if total > 0 {
			sections = append(sections, section{title, fmt.Sprintf("%d of %d are shown; all are in audit.json.", len(rows), total), rows})
		}
	}
	var suspects []shown
	for _, s := range r.Suspects[:min(mostShown, len(r.Suspects))] {
		p := pairs[s.at]
		suspects = append(suspects, shown{fmt.Sprintf("%s row %d", s.File, s.Row), fmt.Sprintf("margin %.3g; %s", s.Margin, s.Prompt), inline(p.Winner), inline(p.Loser), "called better", "called worse"})
	}
	add("Labels that the model finds turned round", len(r.Suspects), suspects)
	add("Training pictures that are nearly held-out ones", len(r.Leaks), duplicates(r.Leaks, heldOut, pairs, "held out"))
	add("Rows with nearly the same picture", len(r.Duplicates), duplicates(r.Duplicates, pairs, pairs, "an earlier row"))
	err := page.Execute(w, struct {
		Report
		Figures  []figure
		Sections []section
		Criteria string
	}{r, r.figures(), sections, Criteria})
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

func duplicates(all []Duplicate, first, second []dataset.Pair, name string) []shown {
	var rows []shown
	for _, d := range all[:min(mostShown, len(all))] {
		note := fmt.Sprintf("%d and %d bits differ, features %.3f", d.PHashBits, d.DHashBits, d.Features)
		rows = append(rows, shown{fmt.Sprintf("%s row %d", d.Second.File, d.Second.Row), note, pictureOf(first[d.First.at], d.firstSide), pictureOf(second[d.Second.at], d.Side),
			fmt.Sprintf("%s: row %d", name, d.First.Row), "this row's " + d.Side})
	}
	return rows
}

func pictureOf(p dataset.Pair, side string) template.URL {
	if side == sides[0] {
		return inline(p.Winner)
	}
	return inline(p.Loser)
}

// inline is an encoded picture, whose kind its first bytes tell, as a data URL.
func inline(data []byte) template.URL {
	return template.URL("data:" + http.DetectContentType(data) + ";base64," + base64.StdEncoding.EncodeToString(data)) //nolint:gosec // Decoded as a picture before.
}
