package integration

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const ours = "github.com/hushfs/hushfs/"

// rule of the house: what a package may not import. Names are relative to the
// module for what is ours; "x/..." is x and all below.
type rule struct {
	pkg    string
	never  string
	except []string
	why    string
}

// rules are those of the design, "The house": arrows point down only.
var rules = []rule{
	{"crypt/...", "...", []string{"crypt/..."}, "seals bytes and knows no file, store or command"},
	{"store/...", "...", []string{"store/..."}, "can name neither a key nor a file"},
	{"fs/meta", "...", nil, "is the tree as pure data"},
	{"cache/...", "crypt/...", nil, "holds sealed bytes only"},
	{"cache/...", "fs/...", nil, "knows no file"},
	{"cache/...", "store/...", nil, "is filled by others"},
	{"fs/journal", "...", []string{"crypt", "fs/meta"}, "is local: no store, no chain"},
	{"fs/chain", "...", []string{"crypt/...", "fs/meta"}, "gives verdicts over bytes and does no I/O"},
	{"fs/chain", "os", nil, "gives verdicts over bytes and does no I/O"},
	{"fs/chain", "fs/view", nil, "sync holds both"},
	{"fs/view", "fs/chain", nil, "sync holds both"},
	{"fs/view", "crypt/...", nil, "orders data and opens nothing"},
	{"fs/block", "fs/...", nil, "is told names and keys, and knows no file"},
	{"fs/table", "...", []string{"crypt", "fs/meta"}, "is sorted keys and values, and does no I/O of its own"},
	{"fs/view", "fs/table", nil, "is given a reader"},
	{"fs/audit", "fs/sync", nil, "looks without a key"},
	{"fs/audit", "fs/drive", nil, "looks without a key"},
	{"...", "github.com/dgraph-io/...", []string{"cache"}, "only cache knows Badger"},
	{"fs/pack", "fs/chain", nil, "is told names and keys"},
	{"fs/pack", "fs/view", nil, "is told names and keys"},
	{"fs/pack", "fs/sync", nil, "lies below it"},
	{"fs/sync", "fs/volume", nil, "lies below it"},
	{"fs/sync", "fs", nil, "lies below it"},
	{"fs/state", "store/...", nil, "is local"},
	{"fs/volume", "fs", nil, "knows no kernel"},
	{"fs/volume", "fs/check", nil, "lies below it"},
	{"fs/volume", "store/dir", nil, "is given a store, whichever it is"},
	{"fs/volume", "store/s3", nil, "is given a store, whichever it is"},
	{"...", "fs", []string{"cmd/...", "integration"}, "only a command mounts"},
	{"...", "cmd/...", []string{"cmd/..."}, "nothing lies above a command"},
	{"...", "github.com/hanwen/go-fuse/...", []string{"fs", "integration/..."}, "only fs speaks FUSE"},
	{"...", "github.com/minio/...", []string{"store/s3", "store/s3/s3test"}, "only store/s3 speaks S3"},
	{"...", "github.com/spf13/...", []string{"cmd/..."}, "only a command has flags"},
	{"...", "golang.org/x/term", []string{"cmd/..."}, "only a command asks a person"},
	{"...", "github.com/godbus/...", []string{"cmd/..."}, "only a command asks about the machine"},
	{"...", "github.com/schollz/...", []string{"cmd/..."}, "only a command draws"},
	{"...", "unsafe", nil, "nothing here needs it"},
	{"...", "C", nil, "it is built without a C compiler"},
	{"...", "math/rand", []string{"integration"}, "no secret comes from there"},
	{"crypt/...", "math/rand/v2", nil, "no secret comes from there"},
}

// The rules are held by what each package imports itself, its tests left out;
// for packages that may import nothing of ours that is the same as all below.
func TestImportRules(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, ours+"...").Output()
	must(t, err)
	imports := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		imports[strings.TrimPrefix(f[0], ours)] = f[1:]
	}
	used := make([]bool, len(rules))
	for pkg, list := range imports {
		for i, r := range rules {
			if !matches(r.pkg, pkg) {
				continue
			}
			used[i] = true
			if r.never != "..." && slices.ContainsFunc(r.except, func(p string) bool { return matches(p, pkg) }) {
				continue
			}
			for _, imp := range list {
				if r.forbids(pkg, imp) {
					t.Errorf("%s imports %s, but %s %s", pkg, imp, r.pkg, r.why)
				}
			}
		}
	}
	for i, r := range rules {
		if !used[i] {
			t.Errorf("no package is %s: take the rule out", r.pkg)
		}
	}
}

// forbids reports whether the rule keeps pkg from importing imp. With never
// "..." the exceptions are what may be imported, else who may import.
func (r rule) forbids(pkg, imp string) bool {
	name, isOurs := strings.CutPrefix(imp, ours)
	if r.never == "..." {
		return isOurs && !slices.ContainsFunc(r.except, func(p string) bool { return matches(p, name) })
	}
	if strings.HasPrefix(r.never, "github.com/") || !isOurs {
		return matches(r.never, imp) && !isOurs
	}
	// A tree may import itself.
	return matches(r.never, name) && !matches(r.never, pkg)
}

// matches reports whether pkg is pattern, or lies below one that ends in "/...".
func matches(pattern, pkg string) bool {
	if pattern == "..." {
		return true
	}
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == tree || strings.HasPrefix(pkg, tree+"/")
	}
	return pkg == pattern
}
