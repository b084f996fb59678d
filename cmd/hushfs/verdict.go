package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/probe"
	"github.com/hushfs/hushfs/store/s3"
)

// verdictsName is the file in the state folder that keeps what was found out
// about stores: one that lets several writers win loses work. A store is tested
// when a drive is made there, and when a machine is to write for the first time
// to an endpoint that it does not know.
const verdictsName = "probes.json"

// keptVerdict is one line of that file. Where the store is stands in it as a hash: the
// file is clear, and names no server.
type keptVerdict struct {
	Place   string         `json:"place"`
	Verdict *probe.Verdict `json:"verdict"`
}

// place tells apart where verdicts are about: SHA-256 over endpoint, bucket and prefix,
// in hex. Another URL of the same drive is another place, since another server, or
// another version of it, may answer there.
func place(o s3.Options) string {
	h := sha256.New()
	for _, s := range []string{"hushfs/place", endpointText(o), o.Bucket, o.Prefix} {
		io.WriteString(h, s)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// readVerdict returns what is known of a place, nil when nothing is. A file that
// cannot be read is as good as none: the test is then made again.
func readVerdict(state, place string) *probe.Verdict {
	for _, k := range readVerdicts(state) {
		if k.Place == place && k.Verdict != nil {
			return k.Verdict
		}
	}
	return nil
}

func readVerdicts(state string) []keptVerdict {
	raw, err := os.ReadFile(filepath.Join(state, verdictsName))
	var all []keptVerdict
	if err != nil || json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all
}

// verdictsMax is how many places are remembered; the oldest goes first.
const verdictsMax = 64

// keepVerdict notes v in place of what was known of a place.
func keepVerdict(state, place string, v *probe.Verdict) error {
	all := []keptVerdict{{place, v}}
	for _, k := range readVerdicts(state) {
		if k.Place != place && len(all) < verdictsMax {
			all = append(all, k)
		}
	}
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(state, verdictsName)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// testBucket finds out how many machines may write to b.
func (a *app) testBucket(ctx context.Context, b *bucket) (*probe.Verdict, error) {
	fmt.Fprintf(a.stderr, "Testing how the store treats writers that race for a name; this is done once.\n")
	v, err := probe.Run(ctx, b.plain, probe.Options{})
	if err != nil {
		p := explain("the store cannot be written to as a drive needs it", err)
		if errors.Is(err, store.ErrDenied) {
			p.next = strings.TrimSpace(p.next + " To look at a drive without writing: hushfs mount --read-only STORE DIR")
		}
		return nil, p
	}
	if b.plain.WholeForParts() {
		a.warn("%s", wholeForParts)
	}
	return v, nil
}

// wholeForParts is said of a store that ignores ranges.
const wholeForParts = "the server, or a proxy in front of it, sends whole objects where parts were asked for: reading is slow"

// unfit says why no drive is made at a store with this verdict, nil when one may
// be; single is whether it is to be one of a single writer.
func unfit(v *probe.Verdict, single bool) error {
	switch {
	case v.Good() || v.Single() && single:
		return nil
	case v.Single():
		return &problem{code: codeStore, what: "this store does not keep apart those who write to it, and work would be lost if several machines did",
			why: errors.New(findings(v)),
			next: "Nothing is written there. Use another server, or a newer version of this one. " +
				"For a drive that this machine alone can change, and others can read: hushfs init --single-writer STORE"}
	}
	return refusal(v)
}

// refusal says why nothing is written to a store with this verdict by a mount of
// a drive of several writers, nil when something may be.
func refusal(v *probe.Verdict) error {
	const look = "Nothing is written there. Use another server, or a newer version of this one. To look at a drive that lies there: hushfs mount --read-only STORE DIR"
	switch {
	case v.Good():
		return nil
	case v.Single():
		return &problem{code: codeStore, what: "this store does not keep apart those who write to it, and work would be lost",
			why: errors.New(findings(v)), next: look}
	}
	return &problem{code: codeStore, what: "this store does not keep what is written to it, and work would be lost",
		why: errors.New(findings(v)), next: look}
}

// findings are what is wrong with a store, in one line.
func findings(v *probe.Verdict) string {
	var s []string
	for _, f := range v.Findings {
		s = append(s, f.Words)
	}
	return strings.Join(s, "; ")
}

// ensureTested makes sure, before the first secret is asked for, that this
// machine may write to where the drive lies, as far as can be known by then: where
// one machine alone may write, the drive itself says which (see mayWrite). A bad
// verdict is not final: the server may be a better one by now; and with again a good
// one is not either.
func (a *app) ensureTested(ctx context.Context, at location, state string, again bool) error {
	if !at.remote() {
		return nil
	}
	o, err := at.options(a.env)
	if err != nil {
		return explain("the settings for STORE", err)
	}
	if v := readVerdict(state, place(o)); !again && v != nil && (v.Good() || v.Single() && knownSingle(state)) {
		return nil
	}
	b, err := openBucket(ctx, at, a.env, false, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	v, err := a.testBucket(ctx, b)
	if err != nil {
		return err
	}
	kerr := keepVerdict(state, b.place, v)
	switch {
	case !v.Single():
		return refusal(v)
	case !v.Good() && kerr != nil:
		// The daemon would not know that it must not write.
		return explain("keep what was found out about the store", kerr)
	case kerr != nil:
		a.warn("what was found out about the store is not kept, and is tested again next time: %v", kerr)
	}
	return nil
}

// probed is a verdict as status tells it.
func probed(v *probe.Verdict) *control.Probe {
	if v == nil {
		return nil
	}
	p := &control.Probe{When: v.When, Good: v.Good(), Single: v.Single()}
	if !p.Good {
		p.Findings = findings(v)
	}
	return p
}

// probeText is that for people.
func probeText(p *control.Probe) string {
	when := p.When.Local().Format(time.DateTime)
	if p.Good {
		return "Tested on " + when + ": of those who race for a name in the store, one wins."
	}
	if p.Single {
		return "Tested on " + when + ", only one machine may write to this store: " + p.Findings + "."
	}
	return "Tested on " + when + ", nothing must be written to this store: " + p.Findings + "."
}
