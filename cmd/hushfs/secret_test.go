package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGivenPassphrase(t *testing.T) {
	full := strings.Repeat("x", maxPassphrase)
	for name, test := range map[string]struct {
		text string
		want string // empty: refused
	}{
		"a line":                    {"secret\n", "secret"},
		"without a newline":         {"secret", "secret"},
		"two newlines keep one":     {"secret\n\n", "secret\n"},
		"blanks are kept":           {" se cret ", " se cret "},
		"carriage return is kept":   {"secret\r\n", "secret\r"},
		"bytes that are no text":    {"\x00\xff", "\x00\xff"},
		"a newline alone":           {"\n", ""},
		"nothing":                   {"", ""},
		"as long as may be":         {full, full},
		"as long as may be, a line": {full + "\n", full},
		"a byte too long":           {full + "x", ""},
		"far too long":              {full + full, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, said := quiet(t)
			path := filepath.Join(t.TempDir(), "pass")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			stdin, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			a.stdin = stdin
			for _, s := range []secretFlags{{File: path}, {File: "-"}, {Command: "cat '" + path + "'"}} {
				got, err := a.givenPassphrase(t.Context(), s)
				if string(got) != test.want || (err == nil) != (test.want != "") {
					t.Errorf("%+v: %q, %v", s, got, err)
				}
				if err != nil && test.text != "" && strings.Contains(err.Error(), "xxx") {
					t.Errorf("the error tells the secret: %v", err)
				}
				if _, err := stdin.Seek(0, 0); err != nil {
					t.Fatal(err)
				}
			}
			if s := said(); s != "" {
				t.Errorf("said %q", s)
			}
		})
	}
}

func TestPassphraseSourcesThatFail(t *testing.T) {
	a, _ := quiet(t)
	dir := t.TempDir()
	for name, test := range map[string]struct {
		from secretFlags
		code code
	}{
		"file that is missing":         {secretFlags{File: filepath.Join(dir, "none")}, codeUsage},
		"a folder":                     {secretFlags{File: dir}, codeUsage},
		"command that fails":           {secretFlags{Command: "echo secret; exit 1"}, codeFailure},
		"command that is missing":      {secretFlags{Command: "/nowhere/prog"}, codeFailure},
		"command that prints too much": {secretFlags{Command: "yes"}, codeFailure},
		"command that prints nothing":  {secretFlags{Command: "true"}, codeUsage},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := a.givenPassphrase(t.Context(), test.from)
			if p := explain("", err); p == nil || p.code != test.code || len(got) != 0 {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestOpenSecretFileIsWarnedAbout(t *testing.T) {
	a, said := quiet(t)
	path := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := a.givenPassphrase(t.Context(), secretFlags{File: path}); err != nil {
		t.Fatal(err)
	}
	if s := said(); !strings.Contains(s, "chmod 600") {
		t.Errorf("said %q", s)
	}
}

func TestWordTable(t *testing.T) {
	var list []string
	for i := range 24 {
		list = append(list, "word"+string(rune('a'+i)))
	}
	want := `
Recovery words. Write them down, in this order; they are not shown again.

   1 worda           7 wordg          13 wordm          19 words
   2 wordb           8 wordh          14 wordn          20 wordt
   3 wordc           9 wordi          15 wordo          21 wordu
   4 wordd          10 wordj          16 wordp          22 wordv
   5 worde          11 wordk          17 wordq          23 wordw
   6 wordf          12 wordl          18 wordr          24 wordx

`
	if got := wordTable(list); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}
