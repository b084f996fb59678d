// Package history judges what several machines saw of one drive: whether each saw its
// own writes, and a prefix of one order of everybody's.
//
// A history is what each machine wrote and read, one after the other, in registers that
// one machine writes and all read. A register counts: its n-th write is the number n, and
// 0 what it holds before the first. So a read says which writes its machine had seen, and
// which not, and the package looks for an order in which all that fits together. What a
// machine sees may be old, but it never goes back, and who sees a write sees all before
// it.
package history

import (
	"errors"
	"fmt"
	"strings"
)

// Register is a register: the machine that writes it and which of its registers it is.
type Register struct{ Machine, No int }

// Event is one write or read of a machine.
type Event struct {
	Write    bool
	Register Register
	Count    int // that was written or read
}

// History is what each machine did, in its order.
type History [][]Event

// write is the n-th write of a register.
type write struct {
	Register
	count int
}

func (w write) String() string {
	return fmt.Sprintf("write %d of register %d of machine %d", w.count, w.No, w.Machine)
}

// Check returns nil, or what in the history no order of the writes explains.
func (h History) Check() error {
	after := map[write]map[write]string{} // edges, and why they are there
	order := func(a, b write, why string) {
		if after[a] == nil {
			after[a] = map[write]string{}
		}
		if after[a][b] == "" {
			after[a][b] = why
		}
	}
	made := map[Register]int{}
	for m, events := range h {
		var last *write
		for i, e := range events {
			if !e.Write {
				continue
			}
			if e.Register.Machine != m || e.Count != made[e.Register]+1 {
				return fmt.Errorf("machine %d, event %d: a history that writes so cannot be judged", m, i)
			}
			made[e.Register] = e.Count
			w := write{e.Register, e.Count}
			if last != nil {
				order(*last, w, fmt.Sprintf("machine %d wrote the one before the other", m))
			}
			last = &w
		}
	}
	for m, events := range h {
		own, seen := map[Register]int{}, map[Register]int{}
		for i, e := range events {
			where := fmt.Sprintf("machine %d, event %d", m, i)
			switch {
			case e.Write:
				own[e.Register] = e.Count
			case e.Count < 0 || e.Count > made[e.Register]:
				return fmt.Errorf("%s: it reads %d, which nobody wrote", where, e.Count)
			case e.Register.Machine == m && e.Count != own[e.Register]:
				return fmt.Errorf("%s: it reads %d in its own register, and wrote %d", where, e.Count, own[e.Register])
			case e.Register.Machine == m:
			case e.Count < seen[e.Register]:
				return fmt.Errorf("%s: it reads %d in a register in which it read %d before", where, e.Count, seen[e.Register])
			default:
				seen[e.Register] = e.Count
				if e.Count == made[e.Register] {
					continue // there is no write that it has not seen
				}
				unseen := write{e.Register, e.Count + 1}
				for r, n := range seen {
					if n > 0 {
						order(write{r, n}, unseen, where+" saw the one and not the other")
					}
				}
			}
		}
	}
	return circle(after)
}

// circle finds writes of which each comes before the next, and the last before the first.
func circle(after map[write]map[write]string) error {
	const (
		entered = 1
		left    = 2
	)
	state := map[write]int{}
	var path []write
	var visit func(w write) error
	visit = func(w write) error {
		state[w] = entered
		path = append(path, w)
		for next := range after[w] {
			if state[next] == entered {
				return told(after, append(path, next))
			}
			if state[next] == 0 {
				if err := visit(next); err != nil {
					return err
				}
			}
		}
		path = path[:len(path)-1]
		state[w] = left
		return nil
	}
	for w := range after {
		if state[w] == 0 {
			if err := visit(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// told is the error of a path whose last write is in it twice.
func told(after map[write]map[write]string, path []write) error {
	last := path[len(path)-1]
	for path[0] != last {
		path = path[1:]
	}
	var b strings.Builder
	b.WriteString("no order of the writes explains what was seen:")
	for i := range path[1:] {
		fmt.Fprintf(&b, "\n  %s before %s: %s", path[i], path[i+1], after[path[i]][path[i+1]])
	}
	return errors.New(b.String())
}
