// Command worker joins a Yohaku cluster and computes for it.
package main

import (
	"os"

	"yohaku/cmd/internal/cli"
)

func main() { os.Exit(cli.Main(cli.Worker())) }
