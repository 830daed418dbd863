// Command coordinator starts and steers Yohaku runs: it trains a text-to-image model on people's
// preferences with MaPO, on this machine and on any that join.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
)

func main() { os.Exit(run()) }

// run is main up to the exit code, for tests as well.
func run() int {
	root := &cobra.Command{
		Use:     "coordinator",
		Short:   "Train text-to-image models on preferences, on any cluster",
		Version: cli.Version(),
	}
	worker := cli.Join("worker")
	worker.Hidden = true // How `up` starts local workers; people use the worker command.
	root.AddCommand(upCommand(), statusCommand(), deskCommand(), stopCommand(), tokenCommand(), nodeCommand(), sampleCommand(), evalCommand(), dataCommand(), modelCommand(), loraCommand(), verifyCommand(), gateCommand(), copycheckCommand(), chaosCommand(), worker)
	return cli.Main(root)
}
