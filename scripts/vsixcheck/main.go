// Vsixcheck checks that each packaged extension holds the files that it runs, for
// the target that it names, and nothing else.
//
// Usage: vsixcheck FILE.vsix...
package main

import (
	"fmt"
	"os"
)

func main() {
	failed := len(os.Args) < 2
	if failed {
		fmt.Fprintln(os.Stderr, "usage: vsixcheck FILE.vsix...")
	}
	for _, path := range os.Args[1:] {
		problems, err := checkFile(path)
		if err != nil {
			problems = append(problems, err.Error())
		}
		for _, problem := range problems {
			fmt.Printf("%s: %s\n", path, problem)
			failed = true
		}
		if len(problems) == 0 {
			fmt.Printf("%s: good\n", path)
		}
	}
	if failed {
		os.Exit(1)
	}
}
