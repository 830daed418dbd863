package copycheck

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image/png"
	"io"
)

// mostShown bounds the pairs of pictures on the page.
const mostShown = 30

var page = template.Must(template.New("copies").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Copy check</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
.rows{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1.2rem}figure{margin:0;padding:.5rem;border:2px solid #ddd}figure.copy{border-color:#b3261e}
img{width:48%}figcaption{font-size:.85rem;color:#555;overflow-wrap:anywhere}</style>
<h1>Copy check</h1><p>{{.Summary}}</p><p>A picture counts as a copy at a distance of {{printf "%.4f" .Report.Threshold}} or less: there {{printf "%.3f" .Report.Precision}} of what is called one are copies, and {{printf "%.3f" .Report.Recall}} of altered copies are found, measured on the references themselves.</p>
{{range .Report.Notes}}<p>Note: {{.}}</p>{{end}}<h2>Nearest first</h2><div class="rows">{{range .Rows}}<figure{{if .Copy}} class="copy"{{end}}><img src="{{.Left}}" alt="generated"> <img src="{{.Right}}" alt="{{.Kind}}">
<figcaption><b>{{if .Copy}}copy{{else}}no copy{{end}}</b>, distance {{printf "%.4f" .Distance}}, {{.PHashBits}} bits of pHash<br>generated {{.Picture}}<br>{{.Kind}} {{.Reference}}</figcaption></figure>{{end}}</div></html>
`))

// Summary is the report in one line.
func (r Report) Summary() string {
	rate := "not measured"
	if r.CopyRate != nil {
		rate = fmt.Sprintf("%d of %d generated pictures are copies of one of %d training pictures and %d registered works", r.Copies, r.Pictures, r.Training, r.Registered)
	}
	if r.DiversityBase == nil || r.DiversityTuned == nil {
		return rate + "; diversity over seeds not measured"
	}
	return fmt.Sprintf("%s; diversity over seeds %.4f tuned, %.4f base", rate, *r.DiversityTuned, *r.DiversityBase)
}

type row struct {
	Near
	Left, Right template.URL
}

// HTML writes the nearest pictures side by side.
func (r Report) HTML(w io.Writer, generated, references []Picture) error {
	var rows []row
	for _, n := range r.Nearest[:min(mostShown, len(r.Nearest))] {
		left, err := inline(generated[n.at])
		if err != nil {
			return err
		}
		right, err := inline(references[n.to])
		if err != nil {
			return err
		}
		rows = append(rows, row{n, left, right})
	}
	err := page.Execute(w, struct {
		Report  Report
		Summary string
		Rows    []row
	}{r, r.Summary(), rows})
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

func inline(p Picture) (template.URL, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, p.Image.RGBA()); err != nil {
		return "", fmt.Errorf("write page: %w", err)
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil //nolint:gosec // Made here.
}
