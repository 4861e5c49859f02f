// Causeway's helper: the gateway on the developer's machine, the capture on the
// remote, and the command line of both.
package main

import (
	"os"

	"github.com/causeway-dev/causeway/helper/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
