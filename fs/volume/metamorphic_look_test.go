package volume

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// sight is what a volume shows.
type sight struct {
	lines []string                // as plain.describe
	times map[string][2]meta.Time // atime and mtime
	exact map[string]string       // numbers, versions and all times: the same on every machine
}

// look reads everything that a program could see below the root.
func (p *player) look() (*sight, error) {
	s := &sight{times: map[string][2]meta.Time{}, exact: map[string]string{}}
	if err := s.add(p.m.v, "", meta.RootRef); err != nil {
		return nil, err
	}
	slices.Sort(s.lines)
	return s, nil
}

func (s *sight) add(v *Volume, path string, ref meta.Ref) error {
	ctx := context.Background()
	a, err := v.Attr(ctx, ref)
	if err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	n := a.Inode
	t := &thing{kind: n.Kind, perm: n.Perm, uid: n.UID, gid: n.GID, rdev: n.Rdev, size: int64(n.Size), target: string(n.Target)}
	if n.Kind == meta.File {
		if t.pages, err = pagesOf(v, ref); err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
	}
	names, err := v.Xattrs(ctx, ref)
	if err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	for name := range bytes.SplitSeq(names, []byte{0}) {
		if len(name) == 0 {
			continue
		}
		value, err := v.Xattr(ctx, ref, name)
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		t.setXattr(string(name), string(value))
	}
	s.lines = append(s.lines, t.line(path, n.Nlink, sumPages(t.pages)))
	s.times[path] = [2]meta.Time{n.Atime, n.Mtime}
	bare := *n
	bare.Extents, bare.Indexed = nil, false
	s.exact[path] = fmt.Sprintf("%q %v %x", path, ref, meta.AppendInode(nil, &bare))
	if n.Kind != meta.Dir {
		return nil
	}
	list, err := v.List(ctx, ref)
	if err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	for _, e := range list {
		if err := s.add(v, path+"/"+string(e.Name), e.Ref); err != nil {
			return err
		}
	}
	return nil
}

// pagesOf reads what a file says is data; the rest is holes, and zeros.
func pagesOf(v *Volume, ref meta.Ref) (map[int64]*[page]byte, error) {
	ctx := context.Background()
	t := &thing{}
	for off := uint64(0); ; {
		at, ok, err := v.Data(ctx, ref, off, false)
		if err != nil || !ok {
			return t.pages, err
		}
		end, ok, err := v.Data(ctx, ref, at, true)
		if err != nil || !ok || end <= at {
			return nil, fmt.Errorf("data at %d ends at %d, %v: %w", at, end, ok, err)
		}
		for at < end {
			b := make([]byte, min(end-at, 1<<20))
			n, err := v.Read(ctx, ref, at, b)
			if err != nil || n != len(b) {
				return nil, fmt.Errorf("read %d bytes at %d: %d: %w", len(b), at, n, err)
			}
			t.fill(int64(at), b)
			at += uint64(n)
		}
		off = end
	}
}

// differs compares what a volume shows with the model, and says the first difference.
func (p *plain) differs(s *sight) string {
	lines := p.describe()
	for i := range max(len(lines), len(s.lines)) {
		switch {
		case i >= len(lines):
			return "there should not be " + s.lines[i]
		case i >= len(s.lines):
			return "missing: " + lines[i]
		case lines[i] != s.lines[i]:
			return fmt.Sprintf("there is %s\nthere should be %s", s.lines[i], lines[i])
		}
	}
	for path, t := range p.names {
		for i, want := range []*meta.Time{t.atime, t.mtime} {
			if want != nil && *want != s.times[path][i] {
				return fmt.Sprintf("%q: time %d is %v, not %v", path, i, s.times[path][i], *want)
			}
		}
	}
	return ""
}
