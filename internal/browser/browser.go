// Package browser drives Chromium in tests: it opens pages as people see them, and fails a test whose
// page logs an error.
package browser

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// limit bounds a test's whole time in the browser.
const limit = 2 * time.Minute

// names are the executables that are Chromium, first wish first.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// Tab is one page of a browser of its own, with its own cookies.
type Tab struct {
	t   *testing.T
	ctx context.Context
}

// Open starts a browser whose window has this size and language, such as "en-US". It skips the test
// where there is no Chromium; `make test` installs it where it can.
func Open(t *testing.T, width, height int, language string) *Tab {
	t.Helper()
	var path string
	for _, name := range names {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium here: install chromium, or run `make browser`")
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.WindowSize(width, height), chromedp.Flag("accept-lang", language), chromedp.Flag("lang", language))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	tab := &Tab{t, ctx}
	tab.Do(chromedp.EmulateViewport(int64(width), int64(height)))
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		tab.listen()
	}()
	t.Cleanup(func() { cancel(); <-heard })
	return tab
}

// listen fails the test for what a page logs as an error or a warning, until the browser ends.
func (tab *Tab) listen() {
	for m, err := range chromedp.Console(tab.ctx) {
		if err != nil {
			return
		}
		if m.IsException() || m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning {
			tab.t.Errorf("the page logs %s: %s (%s:%d)", m.Type, m.Text, m.URL, m.Line+1)
		}
	}
}

// Do performs actions, and fails the test when one cannot be done in time.
func (tab *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	if err := chromedp.Do(tab.ctx, steps...); err != nil {
		tab.t.Fatalf("in the browser: %v", err)
	}
}

// Text is the text of the first element that a CSS selector names.
func (tab *Tab) Text(selector string) string {
	tab.t.Helper()
	return value(tab, chromedp.Text(chromedp.CSS(selector)))
}

// Until waits until an expression of JavaScript is true.
func (tab *Tab) Until(expression string) {
	tab.t.Helper()
	value(tab, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(30*time.Second)))
}

// Number is the value of an expression of JavaScript, as a number.
func (tab *Tab) Number(expression string) float64 {
	tab.t.Helper()
	return value(tab, chromedp.Evaluate[float64]("Number("+expression+")"))
}

func value[T any](tab *Tab, a chromedp.Action[T]) T {
	tab.t.Helper()
	v, err := chromedp.Run(tab.ctx, a)
	if err != nil {
		tab.t.Fatalf("in the browser: %v", err)
	}
	return v
}

// Click clicks the first element that a CSS selector names, when it is there.
func (tab *Tab) Click(selector string) {
	tab.t.Helper()
	tab.Do(chromedp.Click(chromedp.CSS(selector)))
}

// Go opens a page and waits until the element of a CSS selector is seen.
func (tab *Tab) Go(url, seen string) {
	tab.t.Helper()
	tab.Do(chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS(seen)))
}
