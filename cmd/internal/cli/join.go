package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"yohaku/internal/bytesize"
	"yohaku/worker"
)

// tokenVariable may hold the join token instead of --token, so that it stands in no process list.
const tokenVariable = "YOHAKU_TOKEN"

// Worker returns the worker's program.
func Worker() *cobra.Command {
	root := &cobra.Command{Use: "worker", Short: "A worker of a Yohaku cluster", Version: Version()}
	root.AddCommand(Join("join"))
	return root
}

// Join returns the command that joins a cluster, under the given name.
func Join(use string) *cobra.Command {
	o := worker.Options{Version: Version()}
	var format, memory string
	c := &cobra.Command{
		Use:   use + " HOST:PORT",
		Short: "Join the cluster of a coordinator and work for it",
		Args:  ExactArgs(1, "the HOST:PORT that `coordinator up` prints"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Addr = args[0]
			if o.Token == "" {
				o.Token = os.Getenv(tokenVariable)
			}
			if err := checkJoin(o); err != nil {
				return UsageError{err}
			}
			var err error
			if o.Memory, err = bytesize.Parse(memory); err != nil {
				return UsageError{fmt.Errorf("--memory-limit %w", err)}
			}
			if o.Device == "auto" {
				o.Device = "cpu"
			}
			o.Log = Logger(os.Stderr, format)
			stop, release := Interrupts(nil)
			defer release()
			ctx, cancel := Until(c.Context(), stop)
			defer cancel()
			err = worker.Run(ctx, o)
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Token, "token", "", "join token that `coordinator up` prints; or the environment variable "+tokenVariable)
	flags.StringVar(&o.Name, "name", "", "name of this worker in logs and status; default: the host's name")
	flags.StringVar(&o.Device, "device", "auto", "auto or cpu")
	flags.IntVar(&o.Threads, "threads", 0, "kernel threads; 0 uses every core")
	flags.StringVar(&o.Profile, "profile", "", "folder for profiles of training: NAME.txt, a table of instructions, NAME.trace.json for chrome://tracing or ui.perfetto.dev, and NAME.pprof; empty measures nothing")
	flags.StringVar(&memory, "memory-limit", "", "memory that this worker may take while it trains, such as 8GiB: activations are computed again as far as needed; empty is no bound")
	flags.BoolVar(&o.AllowChaos, "allow-chaos", false, "let `coordinator chaos` kill, freeze and cut off this worker by an order")
	flags.StringVar(&format, "log-format", "auto", "auto, json or console")
	return c
}

func checkJoin(o worker.Options) error {
	switch {
	case o.Token == "":
		return errors.New("--token is empty: paste the one that `coordinator up` or `coordinator token` prints")
	case o.Device != "auto" && o.Device != "cpu":
		return fmt.Errorf("--device must be auto or cpu, got %q", o.Device)
	case o.Threads < 0:
		return fmt.Errorf("--threads must be at least 0, got %d", o.Threads)
	}
	return nil
}
