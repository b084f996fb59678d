package adversary

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hushfs/hushfs/fs/volume"
)

// known is what was said before, and is no news.
type known struct {
	mu     sync.Mutex // guards the fields below
	said   map[string]bool
	learns bool
}

// has tells whether something is no news, and remembers it while it learns.
func (k *known) has(what string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.said[what]
	if k.learns {
		k.said[what] = true
	}
	return was
}

// clone knows the same, and learns nothing.
func (k *known) clone() *known {
	k.mu.Lock()
	defer k.mu.Unlock()
	return &known{said: maps.Clone(k.said)}
}

// listen forgets all, and learns what is said until done is called.
func (k *known) listen() (done func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.said, k.learns = map[string]bool{}, true
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.learns = false
	}
}

// lines are what was said; of a log, what is at level WARN or above.
type lines struct {
	known *known

	mu   sync.Mutex // guards the fields below; known.mu is taken after it
	said []line
}

type line struct {
	text string
	news bool // nobody knew it
}

var _ io.Writer = (*lines)(nil)

func (l *lines) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("level=WARN")) || bytes.Contains(b, []byte("level=ERROR")) {
		l.note(string(b))
	}
	return len(b), nil
}

// note adds a line, if there is anything in it.
func (l *lines) note(text string) {
	if text = strings.TrimSpace(text); text == "" {
		return
	}
	what := text
	if strings.HasPrefix(text, "time=") {
		_, what, _ = strings.Cut(text, " ")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, line{text, !l.known.has(what)})
}

func (l *lines) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.said)
}

// since are the lines from the one with that number on.
func (l *lines) since(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, one := range l.said[min(max(n, 0), len(l.said)):] {
		b.WriteString(one.text + "\n")
	}
	return b.String()
}

// tells says whether the lines from the one with that number on tell anything new, or
// name an object of which an untrue answer was given.
func (l *lines) tells(n int, lies []Call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.said[min(n, len(l.said)):], func(one line) bool {
		return one.news || slices.ContainsFunc(lies, func(c Call) bool { return strings.Contains(one.text, c.Name) })
	})
}

// mark is what a machine had said and been told at some moment.
type mark struct{ logged, shown, bites int }

func (w *siege) mark(m *machine) mark {
	m.watch()
	return mark{m.log.len(), m.shown.len(), w.store.Bites(m.name)}
}

// Said is how many machines said that they were told something untrue.
type Said struct{ Log, Status, Both int }

// says wants a machine that was told something untrue to have said so since then, in its
// log and by its status, as far as the attacks that are on want it to: it may be in the
// middle of a second look. look has noted what it says.
func (w *siege) says(m *machine, since mark, look func()) error {
	lies := w.store.Since(m.name, since.bites)
	if len(lies) == 0 || len(w.on) == 0 {
		return nil
	}
	// A status is that of the mount that there is: it knows nothing of what that met when it
	// sent the last, and a fold went over.
	wantLog, wantStatus := true, m.toldMounted(since.bites) > 0
	for _, a := range w.on {
		wantLog = wantLog && a.Quiet == "" && a.Unlogged == ""
		wantStatus = wantStatus && a.Quiet == "" && a.Unshown == ""
	}
	var log, status bool
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		look()
		log, status = m.log.tells(since.logged, lies), m.shown.tells(since.shown, lies)
		if (log || !wantLog) && (status || !wantStatus) || time.Now().After(until) {
			break
		}
	}
	if len(w.on) == 1 {
		w.said[w.on[0].Name] = w.said[w.on[0].Name].plus(log, status)
	}
	if wantLog && !log || wantStatus && !status {
		return broken("%s was told untrue things %d times, and says so in its log: %v, by its status: %v; %v\nits log:\n%sits status:\n%s",
			m.name, len(lies), log, status, lies[:min(len(lies), 10)], m.log.since(since.logged), m.shown.since(since.shown))
	}
	return nil
}

func (s Said) plus(log, status bool) Said {
	if log {
		s.Log++
	}
	if status {
		s.Status++
	}
	if log && status {
		s.Both++
	}
	return s
}

// refuses notes why there is no mount: that is said to who asked for it, and stands for
// the status, which there is none of then.
func (m *machine) refuses(err error) {
	m.log.note(err.Error())
	m.shown.note(err.Error())
}

// watch notes what the status says of the store that it did not say when it was looked at
// last.
func (m *machine) watch() {
	if m.v == nil {
		return
	}
	m.shows(m.v.Status())
}

// shows is watch, of a status that was asked for.
func (m *machine) shows(s volume.Status) {
	now := map[string]bool{}
	for _, line := range complaints(s) {
		if now[line] = true; !m.last[line] {
			m.shown.note(line)
		}
	}
	m.last = now
}

// complaints are what a status says of the store, one by one.
func complaints(s volume.Status) (out []string) {
	for _, name := range s.Damaged {
		out = append(out, "damaged: "+name)
	}
	if s.DeadSlots > 0 {
		out = append(out, fmt.Sprintf("%d slots hold nobody's commit", s.DeadSlots))
	}
	for _, line := range append(slices.Clone(s.Warnings), s.Stopped, s.Offline) {
		if line != "" {
			out = append(out, line)
		}
	}
	return out
}
