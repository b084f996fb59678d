package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// envMain makes the test program be hushfs: for tests of prompts, of exit codes
// and of processes that end.
const envMain = "HUSHFS_TEST_IS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

// machine is a home with its XDG folders, a passphrase, and nothing else.
type machine struct {
	t    *testing.T
	dir  string
	env  []string
	pass string // file
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	m.env = []string{envMain + "=1", "HOME=" + m.path("home"), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	if err := os.Mkdir(m.path("home"), 0o700); err != nil {
		t.Fatal(err)
	}
	m.pass = m.write("pass", "correct horse\n")
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) write(name, text string) string {
	m.t.Helper()
	if err := os.WriteFile(m.path(name), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return m.path(name)
}

// command is hushfs with arguments, in the machine's folder, without a terminal.
func (m *machine) command(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env, c.Dir = m.env, m.dir
	return c
}

type outputs struct {
	code           code
	stdout, stderr string
}

func (m *machine) run(args ...string) outputs {
	m.t.Helper()
	return m.finish(m.command(args...))
}

func (m *machine) finish(c *exec.Cmd) outputs {
	m.t.Helper()
	var out, err bytes.Buffer
	c.Stdout, c.Stderr = &out, &err
	var exit *exec.ExitError
	if e := c.Run(); e != nil && !errors.As(e, &exit) {
		m.t.Fatal(e)
	}
	return outputs{code(c.ProcessState.ExitCode()), out.String(), err.String()}
}

// cheap are the flags of a drive whose key derivation a test can afford.
var cheap = []string{"--kdf-memory", "19MiB", "--kdf-passes", "2"}

// drive makes a drive in the folder store, and its words in the file words.
func (m *machine) drive() {
	m.t.Helper()
	o := m.run(append([]string{"init", "--passphrase-file", m.pass, "--recovery-file", "words", "store"}, cheap...)...)
	if o.code != codeOK {
		m.t.Fatalf("init: %+v", o)
	}
}

func TestCommandLine(t *testing.T) {
	m := newMachine(t)
	m.write("file", "x")
	m.drive()
	if err := os.MkdirAll(m.path("full/x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		code code
		says string
	}{
		"no command":                     {nil, codeOK, "Three commands"},
		"help":                           {[]string{"help"}, codeOK, "Three commands"},
		"lease of what is in no drive":   {[]string{"lease", "full"}, codeNotMounted, "not in a mounted drive"},
		"leases of what is in no drive":  {[]string{"lease", "--list", "full"}, codeNotMounted, "not in a mounted drive"},
		"help on exit codes":             {[]string{"help", "exit-codes"}, codeOK, "not everything is in the store"},
		"help on a command of device":    {[]string{"help", "device", "list"}, codeOK, "hushfs device list [flags]"},
		"help on what is unknown":        {[]string{"help", "nonsense"}, codeUsage, "no help on nonsense. What there is: hushfs help"},
		"help on more than a command":    {[]string{"help", "mount", "nonsense"}, codeUsage, "no help on 'mount nonsense'"},
		"unknown command":                {[]string{"open"}, codeUsage, "unknown command"},
		"unknown command of device":      {[]string{"device", "open"}, codeUsage, "unknown command"},
		"unknown flag":                   {[]string{"mount", "--fast", "a", "b"}, codeUsage, "unknown flag"},
		"init without a place":           {[]string{"init"}, codeUsage, "init: too few arguments. Write: hushfs init [flags] STORE"},
		"init with an empty place":       {[]string{"init", ""}, codeUsage, "STORE is empty"},
		"init in a bucket without keys":  {[]string{"init", "--s3-endpoint", "http://127.0.0.1:1", "s3://bucket/x"}, codeStore, "no credentials"},
		"init in no bucket":              {[]string{"init", "s3:///x"}, codeUsage, "name is empty"},
		"init in a bucket of a user":     {[]string{"init", "s3://me@bucket/x"}, codeUsage, "no user"},
		"init at a server":               {[]string{"init", "https://host/x"}, codeUsage, "--s3-endpoint"},
		"init, server in the clear":      {[]string{"init", "--s3-endpoint", "http://192.0.2.1", "s3://bucket/x"}, codeUsage, "not encrypted"},
		"init, strange style":            {[]string{"init", "--s3-style", "x", "s3://bucket/x"}, codeUsage, "none of auto"},
		"init, bucket's flags elsewhere": {[]string{"init", "--s3-region", "x", "new"}, codeUsage, "begins with s3://"},
		"init at a strange scheme":       {[]string{"init", "ftp://x/y"}, codeUsage, "unknown scheme"},
		"init at a remote file":          {[]string{"init", "file://host/y"}, codeUsage, "three slashes"},
		"init where a drive is":          {[]string{"init", "--passphrase-file", "pass", "--recovery-file", "w", "store"}, codeNotEmpty, "not empty"},
		"init in a folder with things":   {[]string{"init", "--passphrase-file", "pass", "--recovery-file", "w", "full"}, codeNotEmpty, "1 entry"},
		"init in a file":                 {[]string{"init", "--passphrase-file", "pass", "--recovery-file", "w", "file"}, codeNotEmpty, "not a directory"},
		"init, words cannot be shown":    {[]string{"init", "--passphrase-file", "pass", "new"}, codeUsage, "--recovery-file"},
		"init, words file is there":      {[]string{"init", "--passphrase-file", "pass", "--recovery-file", "words", "new"}, codeNotEmpty, "exists already"},
		"init, words file in the store":  {[]string{"init", "--passphrase-file", "pass", "--recovery-file", "new/words", "new"}, codeUsage, "lies in STORE"},
		"init, passphrase not asked for": {[]string{"init", "--recovery-file", "w", "new"}, codeUsage, "no terminal"},
		"init, passphrase twice":         {[]string{"init", "--passphrase-file", "pass", "--passphrase-command", "true", "new"}, codeUsage, "only one of"},
		"init, size without a unit":      {[]string{"init", "--kdf-memory", "64", "new"}, codeUsage, "unit"},
		"init, too little memory":        {[]string{"init", "--kdf-memory", "1MiB", "new"}, codeUsage, "--kdf-memory"},
		"init, too much memory":          {[]string{"init", "--kdf-memory", "1TiB", "new"}, codeUsage, "--kdf-memory"},
		"mount without a folder":         {[]string{"mount", "store"}, codeUsage, "mount: too few arguments. Write: hushfs mount [flags] STORE DIR"},
		"mount, two secrets":             {[]string{"mount", "--passphrase-file", "a", "--recovery-file", "b", "store", "D"}, codeUsage, "only one of"},
		"mount, negative time":           {[]string{"mount", "--drain-timeout", "-1s", "store", "D"}, codeUsage, "negative"},
		"mount, time without a unit":     {[]string{"mount", "--timeout", "10", "store", "D"}, codeUsage, "mount: --timeout 10: a time is needed, as 90s"},
		"mount of nothing":               {[]string{"mount", "--passphrase-file", "pass", "none", "D"}, codeNoDrive, "does not exist"},
		"mount of a file":                {[]string{"mount", "--passphrase-file", "pass", "file", "D"}, codeNoDrive, "directory"},
		"mount of another folder":        {[]string{"mount", "--passphrase-file", "pass", "full", "D"}, codeNoDrive, "no drive"},
		"umount of nothing":              {[]string{"umount", "full"}, codeNotMounted, "no drive is mounted at"},
		"lock is umount":                 {[]string{"lock", "full"}, codeNotMounted, "no drive is mounted at"},
		"umount, exclusive flags":        {[]string{"umount", "--no-wait", "--timeout", "1s", "full"}, codeUsage, "exclude"},
		"status of nothing":              {[]string{"status"}, codeOK, "No drive is mounted"},
		"status of a folder":             {[]string{"status", "full"}, codeNotMounted, "no drive is mounted at"},
		"wait for an ordinary folder":    {[]string{"wait", "full"}, codeNotMounted, "lies in no mounted drive"},
		"too many folders to sync":       {[]string{"sync", "a", "b"}, codeUsage, "sync: too many arguments. Write: hushfs sync [flags] [PATH]"},
		"too few of a subcommand":        {[]string{"device", "rename", "store", "1"}, codeUsage, "device rename: too few arguments. Write: hushfs device rename [flags] DIR|STORE NUMBER NAME"},
		"a version of something":         {[]string{"version", "store"}, codeUsage, "version: too many arguments"},
		"a flag of another command":      {[]string{"lease", "--yes", "full"}, codeUsage, "lease: unknown flag: --yes. See: hushfs lease --help"},
		"a number that is none":          {[]string{"log", "-n", "-3", "store"}, codeUsage, "log: --max-count '-3': a whole number is needed"},
		"a switch with a value":          {[]string{"log", "--verify=perhaps", "store"}, codeUsage, "log: --verify perhaps: it takes no value"},
		"a time that is none":            {[]string{"log", "--since", "x", "store"}, codeUsage, "log: --since x: a time is needed, as 2026-11-21"},
		"what has no next step":          {[]string{"lease", "--list", "--release", "full"}, codeUsage, "exclude each other. See: hushfs lease --help"},
		"lease of nothing":               {[]string{"lease", "none"}, codeUsage, "/none. Check it for a typing error."},
		"conflicts of no drive":          {[]string{"conflicts", "full"}, codeNoDrive, "no drive there"},
		"log of no drive":                {[]string{"log", "full"}, codeNoDrive, "not the folder in which the drive appears"},
		"heads compares nothing":         {[]string{"heads", "--compare", " ", "full"}, codeUsage, "--compare is empty"},
		"heads settles nothing":          {[]string{"heads", "--confirm", " ", "full"}, codeUsage, "--confirm is empty: nothing would be settled"},
		"heads settles by two words":     {[]string{"heads", "--confirm", "foo bar", "store"}, codeUsage, "--confirm takes the words that hushfs heads shows: 2 of them, not 8"},
		"heads compares a strange word":  {[]string{"heads", "--compare", "abandon ability able about above absent absorb xylophones", "store"}, codeUsage, "--compare takes the words that hushfs heads shows: word 8 is not"},
		"export to a full folder":        {[]string{"device", "export-pending", "store", "full"}, codeNotEmpty, "nothing was exported: FOLDER is not empty (1 entry). Choose an empty folder, or one that is not there yet."},
		"heads of no drive":              {[]string{"heads", "full"}, codeNoDrive, "no drive there"},
		"an object of no drive":          {[]string{"audit-bucket", "--explain", "x", "full"}, codeNoDrive, "no drive there"},
		"join no drive":                  {[]string{"device", "rejoin", "full"}, codeNoDrive, "no drive there"},
		"join, and nobody to ask":        {[]string{"device", "rejoin", "store"}, codeUsage, "To join without being asked: --yes"},
		"join, and never removed":        {[]string{"device", "rejoin", "--yes", "--passphrase-file", "pass", "store"}, codeFailure, "this machine was not removed from the drive. Nothing was changed"},
		"log of what never was":          {[]string{"log", "--passphrase-file", "pass", "store", "none"}, codeOK, "No commit is of what was asked for."},
		"log of no device":               {[]string{"log", "--passphrase-file", "pass", "--device", "none", "store"}, codeOK, "No commit is of what was asked for."},
		"version":                        {[]string{"version"}, codeOK, "format v0"},
		"the daemon by hand":             {[]string{"daemon"}, codeUsage, "for hushfs itself"},
		"the helper by hand":             {[]string{"unlock-helper"}, codeUsage, "for hushfs itself"},
	} {
		t.Run(name, func(t *testing.T) {
			o := m.run(test.args...)
			if o.code != test.code || !strings.Contains(o.stdout+o.stderr, test.says) {
				t.Errorf("%+v, want code %d and %q", o, test.code, test.says)
			}
			if o.code != codeOK && (o.stdout != "" || !strings.HasPrefix(o.stderr, "hushfs: ")) {
				t.Errorf("not a line on stderr: %+v", o)
			}
			for _, left := range []string{"new", "D", "w", "full/.tmp"} {
				if _, err := os.Lstat(m.path(left)); err == nil {
					t.Errorf("%s was left behind", left)
				}
			}
		})
	}
}

func TestErrorsAsJSON(t *testing.T) {
	m := newMachine(t)
	for name, test := range map[string]struct {
		args []string
		code code
	}{
		"of a command":               {[]string{"--json", "umount", "home"}, codeNotMounted},
		"of the command line":        {[]string{"mount", "--json", "--fast"}, codeUsage},
		"of an unknown command":      {[]string{"--json", "open"}, codeUsage},
		"of unknown help":            {[]string{"help", "--json", "nonsense"}, codeUsage},
		"of a store that is missing": {[]string{"mount", "--json", "none", "D"}, codeNoDrive},
	} {
		t.Run(name, func(t *testing.T) {
			o := m.run(test.args...)
			var v struct{ Error control.Problem }
			if err := json.Unmarshal([]byte(o.stdout), &v); err != nil {
				t.Fatalf("%v: %+v", err, o)
			}
			if o.code != test.code || v.Error.Code != int(test.code) || v.Error.Message == "" || v.Error.Next == "" {
				t.Errorf("%+v", o)
			}
			if o.stderr != "" {
				t.Errorf("stderr: %q", o.stderr)
			}
		})
	}
}

func TestInit(t *testing.T) {
	m := newMachine(t)
	o := m.run(append([]string{"init", "--json", "--name", "photos", "--passphrase-command", "cat pass", "--recovery-file", "words", "a/b/store"}, cheap...)...)
	var r initResult
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatalf("%v: %+v", err, o)
	}
	if o.code != codeOK || r.Name != "photos" || r.Store != m.path("a/b/store") || len(r.Drive) != 52 {
		t.Errorf("%+v %+v", o, r)
	}
	i, err := os.Stat(m.path("words"))
	if err != nil || i.Mode() != 0o600 {
		t.Fatalf("%v %v", i, err)
	}
	words, err := os.ReadFile(m.path("words"))
	if err != nil || !bytes.Contains(words, []byte(r.Drive)) || bytes.IndexByte(words, 0) >= 0 {
		t.Errorf("recovery file: %q %v", words, err)
	}
	if strings.Contains(o.stdout+o.stderr, "correct horse") {
		t.Error("the passphrase was printed")
	}
}

// TestUnlockHelper talks to the process that unlocks for mount -f as mount does.
func TestUnlockHelper(t *testing.T) {
	m := newMachine(t)
	m.drive()
	wrong := m.write("wrong", "battery staple\n")
	empty := m.write("empty", "\n")
	other := newMachine(t)
	other.drive()
	for name, test := range map[string]struct {
		secret secretFlags
		code   code
	}{
		"passphrase from a file":    {secretFlags{File: m.pass}, codeOK},
		"passphrase from a command": {secretFlags{Command: "echo correct horse"}, codeOK},
		"recovery words":            {secretFlags{Recovery: m.path("words")}, codeOK},
		"wrong passphrase":          {secretFlags{File: wrong}, codeSecret},
		"another drive's words":     {secretFlags{Recovery: other.path("words")}, codeNoDrive},
		"no words at all":           {secretFlags{Recovery: wrong}, codeSecret},
		"empty passphrase":          {secretFlags{File: empty}, codeUsage},
		"command that fails":        {secretFlags{Command: "exit 3"}, codeFailure},
		"nothing given":             {secretFlags{}, codeUsage},
	} {
		t.Run(name, func(t *testing.T) {
			c := &child{Cmd: m.command("unlock-helper")}
			if err := c.pipes(); err != nil {
				t.Fatal(err)
			}
			out, handover, err := c.ask(unlockRequest{location: location{Store: m.path("store")}, Secret: test.secret}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ended := c.Wait()
			if test.code == codeOK {
				if out.Problem != nil || len(handover) == 0 || len(out.Drive) != 52 || ended != nil {
					t.Errorf("%+v, %d bytes, %v", out.Problem, len(handover), ended)
				}
				return
			}
			if out.Problem == nil || code(out.Problem.Code) != test.code || len(handover) != 0 || c.ProcessState.ExitCode() != int(test.code) {
				t.Errorf("%+v, %d bytes, %v, want code %d", out.Problem, len(handover), ended, test.code)
			}
		})
	}
}

func TestVersionAsJSON(t *testing.T) {
	o := newMachine(t).run("version", "--json")
	var v versionResult
	if err := json.Unmarshal([]byte(o.stdout), &v); err != nil || v.Format != format || v.Go == "" {
		t.Errorf("%v %+v", err, o)
	}
}
