package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// setBack makes a drive whose store has lost the newest change that this machine made.
func (m *machine) setBack() {
	m.t.Helper()
	m.drive()
	if err := os.CopyFS(m.path("old"), os.DirFS(m.path("store"))); err != nil {
		m.t.Fatal(err)
	}
	if o := m.run("device", "rename", "--passphrase-file", m.pass, "store", "1", "desk"); o.code != codeOK {
		m.t.Fatalf("%+v", o)
	}
	if err := os.RemoveAll(m.path("store")); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(m.path("old"), m.path("store")); err != nil {
		m.t.Fatal(err)
	}
}

// A store that was set back is gone on with when the sentence was typed, and in no other way.
func TestAcceptRollbackAsks(t *testing.T) {
	m := newMachine(t)
	m.setBack()
	accept := []string{"accept-rollback", "--passphrase-file", m.pass, "store"}
	refused := func(what string, c code, said string, words ...string) {
		t.Helper()
		if c != codeFork {
			t.Errorf("%s: exit code %d", what, c)
		}
		for _, w := range append(words, "slot 1 of the store:", "nothing was accepted") {
			if !strings.Contains(said, w) {
				t.Errorf("%s: %q is not in\n%s", what, w, said)
			}
		}
	}
	const question = "There is no way back.\r\nTo do that, type \"give them up\": "
	shown := func(*os.File) {}

	o := m.run(accept...)
	refused("no terminal", o.code, o.stdout+o.stderr, "nothing was accepted: standard input is no terminal. To accept without being asked: --confirm, with the words of the state that is to be accepted.")

	o = m.run(append(accept, "--json")...)
	refused("no terminal, JSON", o.code, o.stderr+o.stdout)
	var answer struct {
		Error struct {
			Code          code
			Message, Next string
		}
	}
	if err := json.Unmarshal([]byte(o.stdout), &answer); err != nil || answer.Error.Code != codeFork ||
		answer.Error.Message != "nothing was accepted: standard input is no terminal" || !strings.Contains(answer.Error.Next, "--confirm") {
		t.Errorf("%v in %q", err, o.stdout)
	}

	for _, typed := range []string{"yes\n", "\n", "Give them up\n", "give them up now\n"} {
		c, screen := m.talk([][2]string{{question, typed}}, shown, accept...)
		refused(typed, c, screen, "hushfs: nothing was accepted. Nothing was changed, and the store stays refused.")
	}
	c, screen := m.talk([][2]string{{question, interrupt}}, shown, accept...)
	if c == codeOK || strings.Contains(screen, "Accepted") {
		t.Errorf("interrupted: %d, %s", c, screen)
	}
	if o := m.run("heads", "--passphrase-file", m.pass, "store"); o.code != codeHistory || !strings.Contains(o.stdout, "THE STORE WAS SET BACK") {
		t.Errorf("after all that: %+v", o)
	}

	c, screen = m.talk([][2]string{{question, "give them up\n"}}, shown, accept...)
	if c != codeOK || !strings.Contains(screen, "Accepted. This machine is device 2 now") {
		t.Errorf("accepted: %d\n%s", c, screen)
	}
	o = m.run(append(accept, "--json")...)
	var result acceptResult
	if err := json.Unmarshal([]byte(o.stdout), &result); err != nil || o.code != codeOK || result.Drive == "" || result.Setback != nil || result.Accepted != nil || result.Header {
		t.Errorf("once more: %v, %+v", err, o)
	}
}
