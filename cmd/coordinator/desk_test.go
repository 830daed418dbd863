package main

import (
	"fmt"
	"strings"
	"testing"

	"yohaku/internal/browser"
)

// TestDesk follows a real run in a browser, live, in both languages and at the width of a desk and of
// a phone, and stops it there.
func TestDesk(t *testing.T) {
	c := newCluster(t)
	tab := browser.Open(t, 1280, 900, "en-US")
	p := c.up("seen", "--local-workers", "2", "--steps", "100000", "--checkpointing-steps", "100000")
	p.committed(t, 5)

	phone := browser.Open(t, 390, 844, "ja-JP")
	phone.Go(strings.TrimSpace(c.coordinator("desk", "--viewer")), "#page-run")
	if got := phone.Text("nav a[aria-current]"); got != "学習" {
		t.Errorf("a Japanese browser sees %q", got)
	}
	if wide := phone.Number("document.documentElement.scrollWidth"); wide > 390 {
		t.Errorf("the page is %v pixels wide on a phone of 390", wide)
	}
	phone.Click(`nav a[href="#cluster"]`)
	phone.Until(`!document.querySelector("#page-cluster").hidden`)
	if shown := phone.Number(`document.querySelector("#operator").hidden`); shown != 1 {
		t.Error("who may only look sees the join line")
	}

	tab.Go(strings.TrimSpace(c.coordinator("desk")), "#page-run")
	if got := tab.Text("#run-title"); got != "seen" {
		t.Errorf("title %q, want the run's id", got)
	}
	const step = `document.querySelector("#bar").getAttribute("aria-valuenow")`
	tab.Until(fmt.Sprintf("Number(%s) > %v", step, tab.Number(step)+5)) // Without loading anew.
	tab.Until(`document.querySelectorAll(".chart path").length === 7 && [...document.querySelectorAll(".chart path")].every(p => p.getAttribute("d").includes("L"))`)

	tab.Click(`nav a[href="#cluster"]`)
	tab.Until(`!document.querySelector("#page-cluster").hidden`)
	if rows := tab.Number(`document.querySelectorAll("#nodes tbody tr").length`); rows != 2 {
		t.Errorf("%v workers are shown, want 2", rows)
	}
	if join := tab.Text("#join"); !strings.HasPrefix(join, "worker join 127.0.0.1:") {
		t.Errorf("join line %q", join)
	}
	tab.Until(`document.querySelector("#timeline").textContent.includes("Generation 1 of 2")`)
	tab.Click("#lang")
	if got := tab.Text("#cluster-title"); got != "クラスタ" {
		t.Errorf("in Japanese the page is called %q", got)
	}
	tab.Click("#stop")
	tab.Click("#stop")
	tab.Until(`document.querySelector("#live").textContent === "学習は終了しました"`)
	c.ends(p)
	if r := c.report("seen"); r.Complete || r.Steps < 10 {
		t.Errorf("after the stop: %d steps, complete %v", r.Steps, r.Complete)
	}
}
