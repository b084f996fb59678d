package volume

// Used tells that a program looks at the mount: what other machines do is looked for
// more often while that is so. It may be called for each request.
func (v *Volume) Used() { v.sync.Used() }
