package cache

// Steps are the places at which a crash is of interest, in the names that
// Options.Step is called with: each is called just before what it names.
var Steps = []string{
	stepOpening, stepOpened, stepLog, stepTurn, stepTurned, stepDrop, stepCreate, stepWhole, stepEvict, stepAdopt, stepClose,
}

const (
	stepOpening = "cache.opening" // the marker says that the cache is being opened; values are
	stepOpened  = "cache.opened"  // the marker is to say that it is open
	stepLog     = "cache.log"     // values are added to the log
	stepTurn    = "cache.turn"    // a table is made of the log's values
	stepTurned  = "cache.turned"  // it is there; the log is removed
	stepDrop    = "cache.drop"    // a generation of values is removed
	stepCreate  = "cache.create"  // an object gets a file for some of its bytes
	stepWhole   = "cache.whole"   // … and has all of them: the file gets its name
	stepEvict   = "cache.evict"   // an object is removed
	stepAdopt   = "cache.adopt"   // a pack of the journal becomes an object
	stepClose   = "cache.close"   // values are closed
)

func (c *Cache) step(name string) {
	if c.o.Step != nil {
		c.o.Step(name)
	}
}
