package sync

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hushfs/hushfs/fs/chain"
)

// FreeName is what a new device of a ledger is called that wants to be called name: that,
// or, where another device that may write has the name already, it with the least number
// from 2 on that makes it another: "laptop-2". Numbers tell devices apart, names are for
// people, who would take two for one. A name that nobody gave stays empty.
func FreeName(l *chain.Ledger, name string) string {
	taken := map[string]bool{}
	for _, d := range l.Devices() {
		taken[d.Name] = true
	}
	if name == "" || !taken[name] {
		return name
	}
	base := name
	if i := strings.LastIndexByte(name, '-'); i > 0 && i+1 < len(name) && strings.Trim(name[i+1:], "0123456789") == "" {
		base = name[:i] // "laptop-2" does not become "laptop-2-2"
	}
	for n := 2; ; n++ {
		end := fmt.Sprintf("-%d", n)
		cut := base[:min(len(base), chain.MaxDeviceName-len(end))]
		for !utf8.ValidString(cut) {
			cut = cut[:len(cut)-1]
		}
		if free := cut + end; !taken[free] {
			return free
		}
	}
}
