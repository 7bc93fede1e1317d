// Command aegis-proxy puts a hard stop on what an application spends on LLM
// APIs. See README.md, or run aegis-proxy --help.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
