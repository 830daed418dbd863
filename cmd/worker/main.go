// Command worker joins a Yohaku cluster and computes for it.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
)

func main() {
	root := &cobra.Command{Use: "worker", Short: "A worker of a Yohaku cluster", Version: cli.Version()}
	root.AddCommand(cli.Join("join"))
	os.Exit(cli.Main(root))
}
