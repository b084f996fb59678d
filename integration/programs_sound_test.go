package integration

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// flac writes a file whose head it does not know until it has written the rest,
// and goes back for it: length and MD5 of the sound. Later it changes that head
// in place. zip goes back for the head of each file, and takes files out of what
// it has written. The daemon is killed while flac encodes.
func programSound(t *testing.T, m *machine) {
	d := m.mount()
	wave := sound(8 * time.Second)
	must(t, os.WriteFile(m.in("sound.wav"), wave, 0o644))
	flac := func(m *machine, args ...string) {
		t.Helper()
		m.toolIn(m.mnt, nil, "flac", append([]string{"--silent"}, args...)...)
	}
	// check has flac hold its sum against the sound, which it must have.
	check := func(m *machine, name string) {
		t.Helper()
		sum := strings.TrimSpace(m.tool("metaflac", "--show-md5sum", m.in(name)))
		if len(sum) != 32 || strings.Trim(sum, "0") == "" {
			t.Errorf("%s: the head's sum is %q: flac has not gone back for it", name, sum)
		}
		flac(m, "--test", name)
		flac(m, "--decode", "--force", "--output-name=back.wav", name)
		if got := read(t, m.in("back.wav")); !bytes.Equal(got, wave) {
			t.Errorf("%s: the sound has %d bytes and is not the one of %d bytes that was encoded", name, len(got), len(wave))
		}
	}
	flac(m, "--output-name=sound.flac", "sound.wav")
	check(m, "sound.flac")
	m.ok("wait", m.mnt)

	encode := m.dialogue(nil, "flac", "--silent", "--best", "--exhaustive-model-search", "--output-name="+m.in("half.flac"), m.in("sound.wav"))
	eventually(t, "flac has written some of it", time.Minute, func() bool {
		s, err := os.Stat(m.in("half.flac"))
		return encode.ended() || err == nil && s.Size() > 100<<10
	})
	d.kill()
	encode.kill()
	d = m.mount()
	check(m, "sound.flac")
	flac(m, "--force", "--output-name=half.flac", "sound.wav")
	check(m, "half.flac")
	// In place, where there is room for it, and by a new file, where there is none.
	m.tool("metaflac", "--set-tag=TITLE=sound", m.in("half.flac"))
	m.tool("metaflac", "--dont-use-padding", "--set-tag=ARTIST=nobody", m.in("sound.flac"))

	src := m.mkdir("src")
	oddTree(t, src)
	zip := func(m *machine, lines string, args ...string) {
		t.Helper()
		m.script(m.mnt, nil, lines, args...)
	}
	zip(m, `(cd "$1" && zip -q -r -y "$2/all.zip" 'size 1' 'size 65537' sparse); zip -q -u all.zip sound.wav; zip -q -d all.zip 'size 1'; zip -q all.zip half.flac`, src, m.mnt)
	zip(m, `unzip -tq all.zip >/dev/null`)

	d = d.remount()
	for _, name := range []string{"half.flac", "sound.flac"} {
		check(d.m, name)
	}
	if got := d.m.tool("metaflac", "--show-tag=TITLE", d.m.in("half.flac")); got != "TITLE=sound\n" {
		t.Errorf("on a new machine the title is %q", got)
	}
	zip(d.m, `unzip -tq all.zip >/dev/null; mkdir out; cd out; unzip -q ../all.zip; cmp sound.wav ../sound.wav; cmp half.flac ../half.flac; ! [ -e 'size 1' ]`)
	for _, name := range []string{"size 65537", "sparse"} {
		if !bytes.Equal(read(t, d.m.in("out", name)), read(t, filepath.Join(src, name))) {
			t.Errorf("%s is another after zip and unzip on a new machine", name)
		}
	}
	d.umount()
}

// sound is as a .wav: noise in two channels that no encoder can make much less of.
func sound(length time.Duration) []byte {
	const rate, frame = 44_100, 4 // bytes of both channels
	size := int(length.Seconds()) * rate * frame
	b := []byte("RIFF")
	b = binary.LittleEndian.AppendUint32(b, uint32(36+size))
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00"...) // plain samples, two channels
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, rate*frame)
	b = append(b, "\x04\x00\x10\x00data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	return append(b, pattern(1, 0, size)...)
}
