package check

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hushfs/hushfs/fs/meta"
)

// naming finds the paths of inodes. The tree remembers no names, so it is gone through
// again: once for all names of the files, once for those of the directories above them.
type naming struct {
	c     *checker
	names map[meta.Ino][]nameAt // of the files that are wanted
	dirs  map[meta.Ino]string   // names of directories on the way
}

// nameFiles tells the paths of all that the findings are about.
func (c *checker) nameFiles(ctx context.Context) error {
	c.rescue()
	n := &naming{c: c, names: map[meta.Ino][]nameAt{}, dirs: map[meta.Ino]string{}}
	want := func(i meta.Ino) {
		switch at := c.nodes.get(i); {
		case at == nil:
		case at.kind == meta.Dir:
			n.above(i)
		default:
			n.names[i] = nil
		}
	}
	for _, f := range c.pending {
		want(f.ino)
		if f.name != nil {
			n.above(f.name.dir)
		}
		for _, l := range f.Files {
			want(l.ref.Ino)
		}
	}
	for _, f := range c.fixes {
		want(f.ino)
	}
	if err := n.collect(ctx); err != nil {
		return err
	}
	for _, f := range c.pending {
		n.tell(f)
	}
	for i := range c.fixes {
		f := &c.fixes[i]
		if f.do == fixCut {
			f.name = n.dirs[f.ino]
			if parent := c.nodes.get(f.parent); parent != nil {
				f.above = parent.ref()
			}
		}
		if at := c.nodes.get(f.ino); at != nil && at.kind == meta.Dir {
			f.path = n.dir(f.ino)
		}
		for _, at := range n.names[f.ino] {
			if parent := c.nodes.get(at.dir); parent != nil {
				f.names = append(f.names, namedIn{parent.ref(), at.name, n.path(at.dir, at.name)})
			}
		}
	}
	return nil
}

// above wants the names of a directory and of all above it.
func (n *naming) above(dir meta.Ino) {
	for {
		at := n.c.nodes.get(dir)
		if _, ok := n.dirs[dir]; ok || at == nil || dir == meta.Root {
			return
		}
		n.dirs[dir] = ""
		dir = at.parent
	}
}

// collect goes through all names.
func (n *naming) collect(ctx context.Context) error {
	each := func(fn func(dir meta.Ino, name []byte, d meta.Dirent)) error {
		return n.c.scan(ctx, kindOf(meta.DirentKey(meta.Root, nil)), func(k, v []byte) error {
			dir, name, err := meta.ParseDirentKey(k)
			if err != nil {
				return nil
			}
			if d, err := meta.DecodeDirent(v); err == nil {
				fn(dir, name, d)
			}
			return nil
		})
	}
	if len(n.names) > 0 {
		err := each(func(dir meta.Ino, name []byte, d meta.Dirent) {
			if _, ok := n.names[d.Ref.Ino]; ok {
				n.names[d.Ref.Ino] = append(n.names[d.Ref.Ino], nameAt{dir, string(name), d})
				n.above(dir)
			}
		})
		if err != nil {
			return err
		}
	}
	if len(n.dirs) == 0 {
		return nil
	}
	return each(func(dir meta.Ino, name []byte, d meta.Dirent) {
		if _, ok := n.dirs[d.Ref.Ino]; ok && d.Kind == meta.Dir && n.c.nodes.get(d.Ref.Ino).parent == dir {
			n.dirs[d.Ref.Ino] = string(name)
		}
	})
}

// tell fills in the paths of a finding.
func (n *naming) tell(f *Finding) {
	if f.name != nil {
		f.Path = n.path(f.name.dir, f.name.name)
	} else if paths := n.paths(f.ino); len(paths) > 0 {
		f.Path = paths[0]
	}
	for i := range f.Files {
		f.Files[i].Paths = n.paths(f.Files[i].ref.Ino)
	}
}

// paths are all names of an inode, in order.
func (n *naming) paths(i meta.Ino) []string {
	at := n.c.nodes.get(i)
	if at == nil {
		return nil
	}
	if at.kind == meta.Dir {
		return []string{n.dir(i)}
	}
	var all []string
	for _, name := range n.names[i] {
		all = append(all, n.path(name.dir, name.name))
	}
	slices.Sort(all)
	return all
}

func (n *naming) path(dir meta.Ino, name string) string {
	if dir == meta.Root {
		return "/" + name
	}
	return n.dir(dir) + "/" + name
}

// dir is the path of a directory. What is not reached begins with the number of the
// inode where the way ends.
func (n *naming) dir(i meta.Ino) string {
	var parts []string
	seen := map[meta.Ino]bool{}
	for i != meta.Root {
		at, name := n.c.nodes.get(i), n.dirs[i]
		if at == nil || name == "" || seen[i] {
			parts = append(parts, fmt.Sprintf("(inode %d)", i))
			slices.Reverse(parts)
			return strings.Join(parts, "/")
		}
		seen[i] = true
		parts = append(parts, name)
		i = at.parent
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}

// Printable is a path as it may be shown on a terminal: with quotes and escapes where
// it holds bytes that a terminal would act on, or that are no text.
func Printable(path string) string {
	if !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(path)
	}
	return path
}
