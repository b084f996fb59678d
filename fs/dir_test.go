package fs

import (
	"fmt"
	"hash/maphash"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

func entriesOf(names ...string) (l []volume.Entry) {
	for i, name := range names {
		l = append(l, volume.Entry{Name: []byte(name), Dirent: meta.Dirent{Ref: meta.Ref{Home: 1, Ino: meta.Ino(i + 2)}, Kind: meta.File}})
	}
	return l
}

// What stays keeps its cookie and its place, whatever else is in the directory.
func TestCookiesStay(t *testing.T) {
	s := &Server{seed: maphash.MakeSeed()}
	var all, odd []string
	for i := range 10_000 {
		name := fmt.Sprint("name ", i)
		if all = append(all, name); i%2 == 1 {
			odd = append(odd, name)
		}
	}
	cookies := map[string]uint64{}
	var order []string
	last := uint64(cookieFirst - 1)
	whole := s.list(entriesOf(all...))
	for _, e := range whole.entries {
		if e.cookie <= last || e.cookie > 1<<63-1 {
			t.Fatalf("cookie %x after %x", e.cookie, last)
		}
		last = e.cookie
		cookies[whole.name(e)] = e.cookie
		order = append(order, whole.name(e))
	}
	if len(cookies) != len(all) {
		t.Fatalf("%d names", len(cookies))
	}
	half := s.list(entriesOf(odd...))
	for i, name := range order {
		if i%97 != 0 {
			continue
		}
		next := half.after(cookies[name])
		for _, want := range order[i+1:] {
			if int(want[len(want)-1]-'0')%2 == 0 {
				continue
			}
			if len(next) == 0 || half.name(next[0]) != want || next[0].cookie != cookies[want] {
				t.Fatalf("behind %s there is not %s", name, want)
			}
			break
		}
	}
}

// Two names with one hash: both are given, in one order, and nothing stands between.
func TestCookiesThatCollide(t *testing.T) {
	l := &listing{names: []byte("ddbbaacc")}
	for i, cookie := range []uint64{9, 7, 7, 7} {
		l.entries = append(l.entries, listed{cookie: cookie, name: uint32(2 * i), length: 2})
	}
	l.sort()
	var got string
	for _, e := range l.entries {
		got += fmt.Sprint(l.name(e), e.cookie, " ")
	}
	if want := "aa7 bb8 cc9 dd10 "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for cookie, left := range map[uint64]int{2: 4, 7: 3, 8: 2, 9: 1, 10: 0} {
		if n := len(l.after(cookie)); n != left {
			t.Errorf("%d entries behind %d, want %d", n, cookie, left)
		}
	}
}
