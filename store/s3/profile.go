package s3

import (
	"os"
	"path/filepath"
	"strings"
)

// A profile is a named part of the files in which programs for AWS keep their
// settings: credentials first, then config.
type profile struct {
	name  string
	files []string
}

// chosenProfile finds it from the flag and the environment.
func chosenProfile(flag string, getenv func(string) string) profile {
	p := profile{name: flag}
	if p.name == "" {
		p.name = getenv("AWS_PROFILE")
	}
	if p.name == "" {
		p.name = "default"
	}
	for _, f := range []struct{ variable, name string }{
		{"AWS_SHARED_CREDENTIALS_FILE", "credentials"},
		{"AWS_CONFIG_FILE", "config"},
	} {
		if path := getenv(f.variable); path != "" {
			p.files = append(p.files, path)
		} else if home := getenv("HOME"); home != "" {
			p.files = append(p.files, filepath.Join(home, ".aws", f.name))
		}
	}
	return p
}

// setting returns what the profile says of key, "" when it says nothing: the
// first file that does counts. A file that cannot be read says nothing.
//
// Lines are "key = value" under "[name]" or "[profile name]"; those that are
// indented belong to a list of further settings, of which none is ours. Format:
// AWS SDKs and tools reference guide, "Shared config and credentials files".
func (p profile) setting(key string) string {
	const most = 1 << 20 // bytes of a file that are looked at
	for _, file := range p.files {
		b, err := os.ReadFile(file)
		if err != nil || len(b) > most {
			continue
		}
		ours := false
		for line := range strings.Lines(string(b)) {
			trimmed := strings.TrimSpace(line)
			switch {
			case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
			case trimmed[0] == '[':
				section, _, _ := strings.Cut(trimmed[1:], "]")
				words := strings.Fields(section)
				if len(words) == 2 && words[0] == "profile" {
					words = words[1:]
				}
				ours = len(words) == 1 && words[0] == p.name
			case ours && line[0] != ' ' && line[0] != '\t':
				k, v, found := strings.Cut(trimmed, "=")
				if v = strings.TrimSpace(v); found && strings.TrimSpace(k) == key && v != "" {
					return v
				}
			}
		}
	}
	return ""
}
