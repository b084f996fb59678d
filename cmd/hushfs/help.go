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
  hushfs umount ~/Drive               lock it; 0 means: all is in the store

When a drive cannot be mounted: hushfs doctor STORE DIR`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(wrongFlag)
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print results and errors as JSON to standard output")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log every operation")
	root.AddCommand(
		a.initCommand(), a.mountCommand(), a.umountCommand(), a.statusCommand(), a.waitCommand(), a.syncCommand(), a.doctorCommand(), a.fsckCommand(), a.headsCommand(), a.acceptCommand(), a.logCommand(), a.conflictsCommand(), a.auditCommand(), a.leaseCommand(), a.handoverCommand(), a.deviceCommand(), a.versionCommand(),
		a.command(&cobra.Command{Use: "daemon", Hidden: true, Args: cobra.NoArgs, Short: "The background half of mount"}, a.daemon),
		a.command(&cobra.Command{Use: "unlock-helper", Hidden: true, Args: cobra.NoArgs, Short: "The unlocking half of mount -f"}, a.unlockHelper),
		a.command(&cobra.Command{Use: "unmount-helper DIR", Hidden: true, Args: cobra.ExactArgs(1), Short: "Takes a mount away when its daemon dies"}, a.unmountHelper),
		a.command(&cobra.Command{Use: "flush-helper DIR", Hidden: true, Args: cobra.ExactArgs(1), Short: "Has a mount written back"}, a.flushHelper),
	)
	for _, t := range topics() {
		root.AddCommand(&cobra.Command{Use: t.name, Short: t.short, Long: t.long})
	}
	refuseUnknownTopics(root)
	tellExits(root)
	return root
}

// refuseUnknownTopics has help fail for what there is no help on: cobra's own says so, and
// that it worked.
func refuseUnknownTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, help := range root.Commands() {
		if help.Name() != "help" {
			continue
		}
		show := help.Run
		help.Run = nil
		help.RunE = func(c *cobra.Command, args []string) error {
			if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
				return &problem{code: codeUsage, what: "there is no help on " + shellQuote(strings.Join(args, " ")), next: "What there is: hushfs help"}
			}
			show(c, args)
			return nil
		}
	}
}

type topic struct{ name, short, long string }

// topics are pages of help that belong to no command.
func topics() []topic {
	return []topic{
		{"exit-codes", "What the exit codes mean", exitCodeHelp()},
		{"s3", "How a bucket is reached", s3Help},
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

Everything in them is encrypted but the log and the lock, which name the
mountpoint and no file of the drive, and what a test of the store has shown.
Other XDG folders are another machine to the drive. The state folder holds what
is not in the store yet: it must be on a local disk, network file systems are
refused.`

const s3Help = `STORE is s3://bucket, or s3://bucket/prefix for a place in a bucket that holds
other things too. The bucket must be there. Nothing in the prefix is escaped:
letters without accents, digits and / ! - _ . * ' ( ).

  server       --s3-endpoint, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; else AWS
  region       --s3-region, AWS_REGION, AWS_DEFAULT_REGION; else what the
               server says
  keys         --s3-profile; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and
               AWS_SESSION_TOKEN); AWS_PROFILE in ~/.aws/credentials and
               ~/.aws/config; the service of an AWS machine. The profile may
               have server, region and authority too: endpoint_url, region,
               ca_bundle
  authority    --s3-ca-file, AWS_CA_BUNDLE (PEM); else the system's
  bucket named in the host or in the path: --s3-style host, path or auto

No flag takes a key. A mount in the background finds them where the command
did: in the environment it inherits, or in the files, which are read again when
they change. Connections are encrypted; http:// is for this machine alone
(127.0.0.1, localhost), or with --insecure.

Rights that are needed: s3:ListBucket on the bucket, s3:GetObject, s3:PutObject
and s3:DeleteObject on the prefix.

init, and the first mount with a server that this machine does not know, test
what the server does with writers that race for a name. Where more than one
wins, nothing is written: mount --read-only still shows what is there. For a
drive that one machine alone can change: init --single-writer.`

const jsonHelp = `With --json a command prints one JSON object to standard output and nothing
else there; warnings, questions and progress stay on standard error. A failure
is {"error": {"code": N, "message": "...", "next": "..."}} with the exit code N.
log prints one object for each commit, each in a line.
mount -f --json prints {"mounted": ...} when the mount is there, and logs JSON
lines to standard error.`

const testingHelp = `For tests only; read by the daemon of a mount from its environment.

  HUSHFS_FAILPOINT=NAME     the daemon kills itself (SIGKILL) at the step NAME
  HUSHFS_FAILPOINT=NAME:3   at the third time that it comes there
  HUSHFS_STEPS_FILE=FILE    the name of each step is appended to FILE when it is
                            first met
  HUSHFS_HELD_STORE=FILE    no PUT reaches the store while FILE is there

mount --test-store-delay DURATION makes each PUT to the store take that much
longer.`
