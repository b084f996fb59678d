package identity

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden, embedded in a secret type, makes it say nothing of itself to
// whatever prints or marshals, and takes == from it. The secrets proper stand
// behind two pointers: in an unexported field fmt cannot call these methods, and
// for a verb that it finds wrong (%s) it follows one pointer, but never two.
// Copies share the secret, so wiping one wipes all.
type hidden struct{ _ [0]func() }

func (hidden) String() string                 { return "secret" }
func (hidden) GoString() string               { return "secret" }
func (hidden) LogValue() slog.Value           { return slog.StringValue("secret") }
func (hidden) Format(f fmt.State, _ rune)     { _, _ = io.WriteString(f, "secret") }
func (hidden) MarshalText() ([]byte, error)   { return nil, ErrSecret }
func (hidden) MarshalBinary() ([]byte, error) { return nil, ErrSecret }
