// Package cli holds what both commands do alike: the logger, the two Ctrl-C, the way errors and
// exit codes leave the program, and the worker's join flags.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Exit codes.
const (
	exitError = 1
	exitUsage = 2
	// exitInterrupted is the code after a second Ctrl-C, as shells have it.
	exitInterrupted = 130
)

// UsageError is an error in how the program was called: exit code 2.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the error below.
func (e UsageError) Unwrap() error { return e.Err }

// Main runs the command and returns the process's exit code. An error becomes one line on
// standard error: text, or a JSON log line when the flag --log-format is json.
func Main(root *cobra.Command) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return UsageError{fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
	})
	executed, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	format := "auto"
	if f := executed.Flags().Lookup("log-format"); f != nil {
		format = f.Value.String()
	}
	PrintError(os.Stderr, format, err)
	var usage UsageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag") {
		return exitUsage
	}
	return exitError
}

// PrintError writes err on one line.
func PrintError(w io.Writer, format string, err error) {
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if format == "json" {
		logger := zerolog.New(w).With().Timestamp().Logger()
		logger.Error().Msg(text)
		return
	}
	_, _ = fmt.Fprintf(w, "error: %s\n", text) // Standard error is the last place to say it.
}

// NoArgs refuses arguments with exit code 2.
func NoArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return UsageError{fmt.Errorf("%s takes no arguments, got %q; see `%s --help`", c.CommandPath(), args[0], c.CommandPath())}
	}
	return nil
}

// ExactArgs asks for n arguments, with exit code 2.
func ExactArgs(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return UsageError{fmt.Errorf("%s needs %s, got %d arguments; see `%s --help`", c.CommandPath(), what, len(args), c.CommandPath())}
		}
		return nil
	}
}

// Terminal tells whether f is one.
func Terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// ClearLine clears the terminal's current line, such as a progress bar, before each write.
type ClearLine struct{ W io.Writer }

func (c ClearLine) Write(p []byte) (int, error) {
	if _, err := io.WriteString(c.W, "\r\x1b[2K"); err != nil {
		return 0, err
	}
	return c.W.Write(p)
}

// Logger makes the program's logger on w: JSON, or for people when format is console, or auto and
// standard error is a terminal.
func Logger(w io.Writer, format string) zerolog.Logger {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	zerolog.DurationFieldUnit = time.Millisecond
	if format == "console" || format == "auto" && Terminal(os.Stderr) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !Terminal(os.Stderr)}
	}
	level := zerolog.InfoLevel
	if v := os.Getenv("YOHAKU_LOG_LEVEL"); v != "" {
		if l, err := zerolog.ParseLevel(v); err == nil {
			level = l
		}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// Interrupts handles the two Ctrl-C: the first closes stop, for an orderly end; the second calls
// last, which must be quick and may be nil, and ends the process at once. That leaves nothing
// half-written, since all writes are atomic. SIGTERM counts as well.
func Interrupts(last func()) (stop <-chan struct{}, release func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	first := make(chan struct{})
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		close(first)
		if _, ok := <-signals; ok {
			if last != nil {
				last()
			}
			os.Exit(exitInterrupted)
		}
	}()
	return first, func() { signal.Stop(signals); close(signals) }
}

// Until returns a context that ends when stop is closed.
func Until(parent context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// Version is the module's version, with the commit for builds from a checkout.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	if version == "" || version == "(devel)" {
		version = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				version += "-" + s.Value[:12]
			}
		}
	}
	return version
}
