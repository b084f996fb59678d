package mem_test

import (
	"slices"
	"testing"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
	"github.com/hushfs/hushfs/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Bucket { return mem.New() })
}

func TestCloneLivesItsOwnLife(t *testing.T) {
	ctx := t.Context()
	b := mem.New()
	put(t, b, "v0/a", "1")
	c := b.Clone()
	put(t, b, "v0/b", "2")
	put(t, c, "v0/c", "3")
	c.Overwrite("v0/a", []byte("other"))
	if err := b.Delete(ctx, "v0/b"); err != nil {
		t.Fatal(err)
	}
	if got, want := b.Names(), []string{"v0/a"}; !slices.Equal(got, want) {
		t.Errorf("original holds %q, want %q", got, want)
	}
	if got, want := c.Names(), []string{"v0/a", "v0/c"}; !slices.Equal(got, want) {
		t.Errorf("clone holds %q, want %q", got, want)
	}
	wantData(t, b, "v0/a", "1")
	wantData(t, c, "v0/a", "other")
}

func TestOverwrite(t *testing.T) {
	b := mem.New()
	data := []byte("new")
	b.Overwrite("v0/a", data)
	clear(data)
	wantData(t, b, "v0/a", "new")
	b.Overwrite("v0/a", nil)
	wantData(t, b, "v0/a", "")
	if got := b.Names(); len(got) != 1 {
		t.Errorf("one object has names %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a bad name was taken")
		}
	}()
	b.Overwrite("../a", nil)
}

func put(t *testing.T, b store.Bucket, name, data string) {
	t.Helper()
	if err := b.PutIfAbsent(t.Context(), name, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func wantData(t *testing.T, b store.Bucket, name, want string) {
	t.Helper()
	got, err := b.Get(t.Context(), name, 0, -1)
	if err != nil || string(got) != want {
		t.Errorf("get %s: %q, %v; want %q", name, got, err, want)
	}
}
