package fault

import "strings"

// Op is one of the four operations of a store.
type Op uint8

// The operations.
const (
	Put Op = iota + 1
	Get
	List
	Delete
)

// String returns the operation's name in lower case.
func (o Op) String() string {
	switch o {
	case Put:
		return "put"
	case Get:
		return "get"
	case List:
		return "list"
	case Delete:
		return "delete"
	}
	return "unknown operation"
}

// A Rule says what happens to which call. It is a value: On makes one, and
// its methods return narrower or wider ones.
type Rule struct {
	op      Op
	nth     int
	onwards bool
	each    int // above 0: every each-th call, from the first on
	prefix  string
	do      Action
}

// On returns the rule that lets do answer the nth call of op, counted from 1
// and from the moment at which the bucket is given the rule; nth 0 means
// every call.
func On(op Op, nth int, do Action) Rule {
	return Rule{op: op, nth: nth, do: do}
}

// Prefix returns a rule that looks at, and counts, only calls for names that
// begin with p; for a List, this is about the prefix that is listed.
func (r Rule) Prefix(p string) Rule {
	r.prefix = p
	return r
}

// Onwards returns a rule that goes on after its nth call.
func (r Rule) Onwards() Rule {
	r.onwards = true
	return r
}

// Each returns a rule that goes on with every n-th call after its nth one: a store
// that comes and goes.
func (r Rule) Each(n int) Rule {
	r.each = n
	return r
}

// armed is a rule in a bucket, with what it has counted there.
type armed struct {
	Rule
	seen int
}

// fires counts the call and tells whether the rule is to answer it.
func (a *armed) fires(op Op, name string) bool {
	if a.op != op || !strings.HasPrefix(name, a.prefix) {
		return false
	}
	a.seen++
	if a.each > 0 && a.seen > a.nth {
		return (a.seen-a.nth)%a.each == 0
	}
	return a.nth == 0 || a.seen == a.nth || a.onwards && a.seen > a.nth
}
