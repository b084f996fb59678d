package dir

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"
)

// makeFolders makes the folder and those above it, and makes them last. Also
// those that are there already: whoever made them may have died before the
// sync. Each costs that once in the life of a Bucket.
func (b *Bucket) makeFolders(folder string) error {
	if folder == "." || b.isDurable(folder) {
		return nil
	}
	above := path.Dir(folder)
	if err := b.makeFolders(above); err != nil {
		return err
	}
	if err := b.at(stepFolders); err != nil {
		return translate(err)
	}
	switch err := b.root.Mkdir(folder, folderMode); {
	case errors.Is(err, syscall.ENOTDIR):
		return errClash
	case err != nil && !errors.Is(err, fs.ErrExist):
		return translate(err)
	}
	if err := b.syncFolder(above); err != nil {
		return translate(err)
	}
	b.remember(folder)
	return nil
}

// syncFolder makes the names in the folder last.
func (b *Bucket) syncFolder(folder string) error {
	f, err := b.root.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (b *Bucket) isDurable(folder string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.durable[folder]
}

func (b *Bucket) remember(folder string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.durable[folder] = true
}

// forget undoes remember for the folder and all that are above or below it.
func (b *Bucket) forget(folder string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for f := range b.durable {
		if strings.HasPrefix(folder+"/", f+"/") || strings.HasPrefix(f, folder+"/") {
			delete(b.durable, f)
		}
	}
}
