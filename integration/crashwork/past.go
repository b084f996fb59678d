package crashwork

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
)

// Past is what of a worker's doing is there for good: it was seen after a crash,
// or acknowledged.
type Past struct {
	Last  uint64          `json:"last"` // number of the newest file, and of versions
	Nodes []kept          `json:"nodes"`
	Names map[string]int  `json:"names"` // path: index in Nodes
	Log   []uint32        `json:"log"`   // what it appended to the log
	Used  map[uint64]bool `json:"used"`  // inode numbers that it was told
}

// kept is one inode.
type kept struct {
	File  uint64            `json:"file"`
	Kind  byte              `json:"kind"`
	Ino   uint64            `json:"ino"`
	Mode  uint32            `json:"mode"`
	To    string            `json:"to,omitempty"`
	Attrs map[string]string `json:"attrs,omitempty"`
	Size  int64             `json:"size,omitempty"`
	Vals  map[int]Val       `json:"vals,omitempty"`
}

// tree is the past as a model begins with it.
func (p *Past) tree() tree {
	nodes := make([]*node, len(p.Nodes))
	for i, k := range p.Nodes {
		nodes[i] = &node{file: k.File, kind: k.Kind, ino: k.Ino, mode: k.Mode, to: k.To, attrs: k.Attrs}
		if k.Kind == 'f' {
			nodes[i].data = settled(k.Size, k.Vals)
		}
	}
	t := tree{}
	for path, i := range p.Names {
		t[path] = nodes[i]
	}
	return t
}

// keep makes the past of names that were seen.
func (p *Past) keep(names tree, seen map[string]*Seen, found map[*data]map[int]Val) {
	index := map[*node]int{}
	p.Nodes, p.Names = nil, map[string]int{}
	for _, path := range slices.Sorted(maps.Keys(names)) {
		f := names[path]
		i, ok := index[f]
		if !ok {
			i = len(p.Nodes)
			index[f] = i
			k := kept{File: f.file, Kind: f.kind, Ino: seen[path].Ino, Mode: f.mode, To: f.to, Attrs: f.attrs}
			if f.kind == 'f' {
				k.Size, k.Vals = int64(len(seen[path].Content)), found[f.data]
			}
			p.Nodes = append(p.Nodes, k)
		}
		p.Names[path] = i
	}
}

// Save writes the past to a file.
func (p *Past) Save(path string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// LoadPast reads it; that of a file without a name is empty.
func LoadPast(path string) (*Past, error) {
	p := &Past{}
	if path == "" {
		return p, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return p, json.Unmarshal(b, p)
}
