// Causeway's helper: the gateway on the developer's machine, the capture on the
// remote, and the command line of both.
package main

import (
	"os"
	"runtime"

	"github.com/causeway-dev/causeway/helper/internal/cli"
)

func main() {
	// Half of the processors are for what the helper serves. Moving bytes is a
	// chain of goroutines, and waking a thread for each link costs more than
	// several at once bring.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(min(max(runtime.GOMAXPROCS(0)/2, 1), 4))
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
