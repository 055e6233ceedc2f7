// Package examples holds task definitions to learn from. The command line runs
// one of them to show that everything works.
package examples

import "embed"

// Files are the definitions, by file name.
//
//go:embed *.json
var Files embed.FS
