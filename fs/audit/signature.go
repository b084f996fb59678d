package audit

import (
	"bytes"
	"unicode/utf8"
)

// signature is how files of a kind begin.
type signature struct {
	what string
	at   int
	is   string
	sure bool // at least 48 bits: chance does not make it
}

// signatures of what lies about on disks. Those that are not sure only help to say
// what a thing is that should not be there anyway.
var signatures = []signature{
	{"a PNG image", 0, "\x89PNG\r\n\x1a\n", true},
	{"a GIF image", 0, "GIF87a", true},
	{"a GIF image", 0, "GIF89a", true},
	{"a JPEG image", 6, "JFIF\x00", false},
	{"a JPEG image", 6, "Exif\x00\x00", true},
	{"a JPEG image", 0, "\xff\xd8\xff", false},
	{"a WebP image or other RIFF file", 0, "RIFF", false},
	{"a PDF document", 0, "%PDF-1.", true},
	{"a PDF document", 0, "%PDF-2.", true},
	{"a ZIP archive", 0, "PK\x03\x04", false},
	{"a ZIP archive", 0, "PK\x03\x04\x14\x00", true},
	{"a ZIP archive", 0, "PK\x03\x04\x0a\x00", true},
	{"a gzip file", 0, "\x1f\x8b\x08", false},
	{"an xz file", 0, "\xfd7zXZ\x00", true},
	{"a zstd file", 0, "\x28\xb5\x2f\xfd", false},
	{"a bzip2 file", 0, "BZh", false},
	{"a 7z archive", 0, "7z\xbc\xaf\x27\x1c", true},
	{"a RAR archive", 0, "Rar!\x1a\x07", true},
	{"a tar archive", 257, "ustar\x00", true},
	{"a tar archive", 257, "ustar  \x00", true},
	{"an ELF program", 0, "\x7fELF\x01\x01\x01", true},
	{"an ELF program", 0, "\x7fELF\x02\x01\x01", true},
	{"an ELF program", 0, "\x7fELF", false},
	{"a Windows program", 0, "MZ\x90\x00\x03\x00", true},
	{"a WebAssembly module", 0, "\x00asm\x01\x00\x00\x00", true},
	{"an SQLite database", 0, "SQLite format 3\x00", true},
	{"an MP4 or QuickTime film", 4, "ftyp", false},
	{"an Ogg file", 0, "OggS\x00\x02", true},
	{"an old Office document", 0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", true},
	{"a LUKS volume", 0, "LUKS\xba\xbe", true},
	{"a PEM file", 0, "-----BEGIN ", true},
	{"an age file", 0, "age-encryption.org/v1", true},
	{"an XML file", 0, "<?xml ", true},
	{"an HTML page", 0, "<!DOCTYPE", true},
	{"a script", 0, "#!/", false},
	{"JSON", 0, "{\"", false},
	{"JSON", 0, "[{\"", false},
}

// signed says what a file begins as; "" when nothing is known of it. sure asks for
// what chance does not make.
func signed(start []byte, sure bool) string {
	for _, s := range signatures {
		if (s.sure || !sure) && len(start) >= s.at && bytes.HasPrefix(start[s.at:], []byte(s.is)) {
			return s.what
		}
	}
	return ""
}

// looksLike says in words what bytes may be that are no object of hushfs.
func (b *battery) looksLike(start []byte) string {
	if len(start) == 0 {
		return "it is empty"
	}
	if what := signed(start, false); what != "" {
		return "it begins as " + what + " does"
	}
	if text(start) {
		return "it is text"
	}
	if why := b.look(start); why != "" {
		return "it is no sealed data: " + why
	}
	if len(start) < leastPiece {
		return "it is too short to be anything of hushfs"
	}
	return "it cannot be told from sealed data"
}

// text says whether all of it, but for a character that is cut off, is readable.
func text(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 {
			return len(b) < utf8.UTFMax
		}
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' && r != '\f' {
			return false
		}
		b = b[n:]
	}
	return true
}
