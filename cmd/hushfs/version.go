package main

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// format is the version of what is stored, the first part of every object's
// name.
const format = "v0"

// versionResult is what version prints with --json.
type versionResult struct {
	Version  string `json:"version"`  // of the module
	Revision string `json:"revision"` // of the source; empty when the build does not know
	Modified bool   `json:"modified"` // the source was changed since
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Format   string `json:"format"`
}

func (a *app) versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "version [flags]",
		Short: "Show the version of hushfs, of Go, and of the format",
		Args:  cobra.NoArgs,
	}
	return a.command(c, func(context.Context, []string) error {
		v := buildVersion()
		if a.json {
			a.print(v)
			return nil
		}
		a.say("hushfs %s%s\n%s %s\nformat %s", v.Version, v.source(), v.Go, v.Platform, v.Format)
		return nil
	})
}

func buildVersion() versionResult {
	v := versionResult{Version: "(unknown)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Format: format}
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = b.Main.Version
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// source is the revision in words.
func (v versionResult) source() string {
	switch {
	case v.Revision == "":
		return ""
	case v.Modified:
		return " (" + v.Revision + ", modified)"
	}
	return " (" + v.Revision + ")"
}

// programVersion is the version in one word.
func programVersion() string { return buildVersion().Version }
