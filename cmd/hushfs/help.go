package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// root is the command line: the commands, and the topics of help.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "hushfs",
		Short: "An encrypted drive whose store learns nothing",
		Long: `hushfs keeps a drive in a store that learns neither names nor contents.
Three commands and in:

  hushfs init ~/Cloud/home            make a drive
  hushfs mount ~/Cloud/home ~/Drive   unlock it
  hushfs umount ~/Drive               lock it; 0 means: all is in the store`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print results and errors as JSON to standard output")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log every operation")
	root.AddCommand(
		a.initCommand(), a.mountCommand(), a.umountCommand(), a.statusCommand(), a.waitCommand(), a.versionCommand(),
		a.command(&cobra.Command{Use: "daemon", Hidden: true, Args: cobra.NoArgs, Short: "The background half of mount"}, a.daemon),
		a.command(&cobra.Command{Use: "unlock-helper", Hidden: true, Args: cobra.NoArgs, Short: "The unlocking half of mount -f"}, a.unlockHelper),
		a.command(&cobra.Command{Use: "flush-helper DIR", Hidden: true, Args: cobra.ExactArgs(1), Short: "Has a mount written back"}, a.flushHelper),
	)
	for _, t := range topics() {
		root.AddCommand(&cobra.Command{Use: t.name, Short: t.short, Long: t.long})
	}
	return root
}

type topic struct{ name, short, long string }

// topics are pages of help that belong to no command.
func topics() []topic {
	return []topic{
		{"exit-codes", "What the exit codes mean", exitCodeHelp()},
		{"places", "Where hushfs keeps its files", placesHelp},
		{"json", "Results and errors for programs", jsonHelp},
		{"testing", "Crashing a daemon on purpose", testingHelp},
	}
}

func exitCodeHelp() string {
	var b strings.Builder
	b.WriteString("Every command ends with one of these. The numbers keep their meaning.\n\n")
	for _, c := range codes {
		fmt.Fprintf(&b, "  %2d  %s\n", c.code, c.meaning)
	}
	b.WriteString("\nmount passes on the exit code of its daemon as long as the mount is not there yet.")
	return b.String()
}

const placesHelp = `hushfs follows the XDG base directory specification. ID is the first 26
characters of the drive's id.

  $XDG_STATE_HOME/hushfs/ID/     journal, device key, log (default ~/.local/state)
  $XDG_CACHE_HOME/hushfs/ID/     cache, can be deleted (default ~/.cache)
  $XDG_CONFIG_HOME/hushfs/       configuration (default ~/.config)
  $XDG_RUNTIME_DIR/hushfs/ID.sock  control socket of a mounted drive; without a
                                 runtime folder it is control.sock in the state

Everything in them is encrypted but the log, which holds no file names. Other
XDG folders are another machine to the drive. The state folder holds what is
not in the store yet: it must be on a local disk, network file systems are
refused.`

const jsonHelp = `With --json a command prints one JSON object to standard output and nothing
else there; warnings, questions and progress stay on standard error. A failure
is {"error": {"code": N, "message": "...", "next": "..."}} with the exit code N.
mount -f --json prints {"mounted": ...} when the mount is there, and logs JSON
lines to standard error.`

const testingHelp = `For tests only; read by the daemon of a mount from its environment.

  HUSHFS_FAILPOINT=NAME     the daemon kills itself (SIGKILL) at the step NAME
  HUSHFS_FAILPOINT=NAME:3   at the third time that it comes there
  HUSHFS_STEPS_FILE=FILE    the name of each step is appended to FILE when it is
                            first met

mount --test-store-delay DURATION makes each PUT to the store take that much
longer.`
