package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// What a command may end with, beside 0, 1 and 2, by what it does. Help shows it with the
// meanings that all commands share.
var (
	fromMount = []code{codeNotMounted}                                                           // it asks a daemon
	fromStore = []code{codeSecret, codeNoDrive, codeNewer, codeStore, codeState}                 // it opens the drive in STORE
	asMachine = append([]code{codeMounted, codeHistory, codeTimeout, codeRemoved}, fromStore...) // as this machine, with its state
	exits     = map[string][]code{                                                               // by command
		"init":                  {codeNotEmpty, codeStore, codeState},
		"mount":                 append([]code{codeMountpoint, codeFUSE}, asMachine...),
		"umount":                append([]code{codeMountpoint, codeTimeout, codeUndrained}, fromMount...),
		"status":                fromMount,
		"wait":                  append([]code{codeStore, codeHistory, codeTimeout, codeUndrained, codeRemoved}, fromMount...),
		"sync":                  append([]code{codeNewer, codeStore, codeHistory, codeTimeout, codeUndrained, codeRemoved}, fromMount...),
		"lease":                 append([]code{codeStore, codeLeased}, fromMount...),
		"conflicts":             append([]code{codeConflicts}, fromStore...),
		"conflicts resolve":     fromMount,
		"log":                   append([]code{codeNotMounted, codeUnverified}, fromStore...),
		"device list":           append([]code{codeNotMounted}, asMachine...),
		"device rename":         append([]code{codeNotMounted}, asMachine...),
		"device remove":         append([]code{codeNotMounted}, asMachine...),
		"device export-pending": append([]code{codeNotEmpty, codeDamaged}, asMachine...),
		"device rejoin":         append([]code{codeFork}, asMachine...),
		"heads":                 append([]code{codeMounted, codeHistory, codeTimeout, codeFork}, fromStore...),
		"accept-rollback":       append([]code{codeUndrained, codeFork}, asMachine...),
		"handover":              append([]code{codeUndrained}, asMachine...),
		"fsck":                  append([]code{codeDamaged, codeMended}, asMachine...),
		"audit-bucket":          append([]code{codeFound}, fromStore...),
		"doctor":                {codeDoctor},
		"version":               {},
	}
)

// exitsOf is what help says of how a command may end; empty for what is none.
func exitsOf(c *cobra.Command) string {
	more, ok := exits[nameOf(c)]
	if !ok {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nExit codes:\n")
	for _, e := range codes {
		if e.code <= codeUsage || slices.Contains(more, e.code) {
			fmt.Fprintf(&b, "  %2d  %s\n", e.code, e.meaning)
		}
	}
	return b.String()
}

// tellExits has the help of each command end with its exit codes.
func tellExits(root *cobra.Command) {
	show := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		show(c, args)
		fmt.Fprint(c.OutOrStdout(), exitsOf(c))
	})
}
