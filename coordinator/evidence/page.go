package evidence

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"os"
	"strings"

	"yohaku/internal/statistics"
)

// pageRows bounds the prompts whose pictures are shown.
const pageRows = 48

// Markdown writes the evaluation for people, as tables.
func (e Evaluation) Markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Evaluation\n\n%s Judge: %s; %d prompts, %d seeds each.\n\n", e.Headline(), e.Judge, len(e.Prompts), e.Seeds)
	b.WriteString("| model |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, f := range e.Models {
		fmt.Fprintf(&b, "| %s |", strings.ReplaceAll(f.Name, "|", "\\|"))
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", show(c.of(f), c.digits))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\nBounds are at 95 %%: Wilson for the win rate, BCa bootstrap over prompts for the rest. Pictures are compared by %s.\n", e.Features)
	for _, line := range e.more() {
		fmt.Fprintf(&b, "\n- %s", line)
	}
	for _, note := range e.Notes {
		fmt.Fprintf(&b, "\n- %s", note)
	}
	b.WriteString("\n")
	return b.Bytes()
}

// columns are the table's figures of a model.
var columns = []struct {
	name   string
	digits int
	of     func(Figures) *statistics.Interval
}{
	{"judge's score", 3, func(f Figures) *statistics.Interval { return &f.Score }},
	{"strength", 2, func(f Figures) *statistics.Interval { return f.Strength }},
	{"diversity", 3, func(f Figures) *statistics.Interval { return f.Diversity }},
	{"consistency", 3, func(f Figures) *statistics.Interval { return f.Consistency }},
	{"saturation", 3, func(f Figures) *statistics.Interval { return &f.Saturation }},
	{"clipping", 3, func(f Figures) *statistics.Interval { return &f.Clipping }},
	{"distance from base", 2, func(f Figures) *statistics.Interval { return &f.Distance }},
}

func show(i *statistics.Interval, digits int) string {
	if i == nil {
		return "–"
	}
	return fmt.Sprintf("%.*f (%.*f to %.*f)", digits, i.Value, digits, i.Low, digits, i.High)
}

// more says what the table does not hold.
func (e Evaluation) more() []string {
	var out []string
	if e.Anytime != nil {
		out = append(out, fmt.Sprintf("Win rate with bounds that hold at every look: %.3f (%.3f to %.3f).", e.Anytime.Value, e.Anytime.Low, e.Anytime.High))
	}
	if e.SeedAgreement != nil {
		out = append(out, fmt.Sprintf("Two seeds of a prompt agree on the winner in %.0f %% of the cases.", 100**e.SeedAgreement))
	}
	return append(out, fmt.Sprintf("Ties: %d of %d.", e.Ties, e.Comparisons))
}

// page is what the template shows.
type page struct {
	Evaluation
	Title   string
	Columns []string
	Table   [][]string
	More    []string
	Rows    []pageRow
}

type pageRow struct {
	Prompt string
	Models []pageModel
}

type pageModel struct {
	Name     string
	Pictures []pagePicture
}

type pagePicture struct {
	Source template.URL
	Won    bool // Against the base.
	Score  string
}

// HTML writes the evaluation as one file with its pictures in it, side by side.
func (e Evaluation) HTML(title string, galleries []Gallery) ([]byte, error) {
	p := page{Evaluation: e, Title: title, More: e.more()}
	for _, c := range columns {
		p.Columns = append(p.Columns, c.name)
	}
	for _, f := range e.Models {
		row := []string{f.Name}
		for _, c := range columns {
			row = append(row, show(c.of(f), c.digits))
		}
		p.Table = append(p.Table, row)
	}
	for i, prompt := range e.Prompts[:min(len(e.Prompts), pageRows)] {
		row := pageRow{Prompt: prompt}
		for _, g := range galleries {
			m := pageModel{Name: g.Name}
			for s, picture := range g.Pictures[i] {
				source, err := dataURL(picture.File)
				if err != nil {
					return nil, err
				}
				m.Pictures = append(m.Pictures, pagePicture{source, picture.Score > galleries[0].Pictures[i][s].Score, fmt.Sprintf("seed %d, score %.3f", picture.Seed, picture.Score)})
			}
			row.Models = append(row.Models, m)
		}
		p.Rows = append(p.Rows, row)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("write the evaluation's page: %w", err)
	}
	return b.Bytes(), nil
}

func dataURL(file string) (template.URL, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read picture: %w", err)
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(data)), nil //nolint:gosec // Base64 of a file of ours.
}

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:1200px;margin:2rem auto;padding:0 1.5rem}
h1{font-size:1.4rem;margin:0 0 .3rem;overflow-wrap:anywhere}h2{font-size:1.05rem;margin:2rem 0 .5rem}
.headline{font-size:1.1rem}.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid #e3e3e3;vertical-align:top;font-size:.9rem}
.row{display:flex;flex-wrap:wrap;gap:.4rem 2rem;padding:.6rem 0 1rem;border-bottom:1px solid #eee}.row>p{width:100%;margin:0;overflow-wrap:anywhere}
figure{margin:0}figcaption{font-size:.8rem;color:#666}.shots{display:flex;gap:8px;flex-wrap:wrap}
img{width:128px;height:128px;object-fit:contain;background:#f4f4f4;outline:3px solid transparent}img.won{outline-color:#189a4c}
ul{padding-left:1.2rem}small{color:#666}
</style></head><body>
<h1>{{.Title}}</h1>
<p class="headline">{{.Headline}}</p>
<p><small>Judge: {{.Judge}}. {{len .Prompts}} prompts, {{.Seeds}} seeds each. Bounds at 95 %: Wilson for the win rate, bootstrap over prompts for the rest. Pictures are compared by {{.Features}}.</small></p>
<div class="scroll"><table><thead><tr><th>model</th>{{range .Columns}}<th>{{.}}</th>{{end}}</tr></thead>
<tbody>{{range .Table}}<tr>{{range .}}<td>{{.}}</td>{{end}}</tr>{{end}}</tbody></table></div>
<ul>{{range .More}}<li>{{.}}</li>{{end}}{{range .Notes}}<li>{{.}}</li>{{end}}</ul>
<h2>Side by side</h2><p><small>The same prompts and seeds. A green frame: the judge prefers it to the first model's.</small></p>
{{range .Rows}}<div class="row"><p>{{.Prompt}}</p>{{range .Models}}<figure><figcaption>{{.Name}}</figcaption><div class="shots">{{range .Pictures}}<img src="{{.Source}}" alt="{{.Score}}" title="{{.Score}}"{{if .Won}} class="won"{{end}}>{{end}}</div></figure>{{end}}</div>
{{end}}</body></html>
`))
