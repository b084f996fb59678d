package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// machineAt is a machine whose store is a place in a new bucket of the server,
// told to it by the environment.
func machineAt(t testing.TB, server *s3test.Server) *machine {
	t.Helper()
	m := newMachine(t)
	m.store = "s3://" + server.MakeBucket(t) + "/drive"
	m.settings = settings(server)
	return m
}

// driveAt is a machine that has made a drive in a new bucket of the server.
func driveAt(t testing.TB, server *s3test.Server) *machine {
	t.Helper()
	m := machineAt(t, server)
	m.init()
	return m
}

func settings(server *s3test.Server) []string {
	env := []string{
		"AWS_ENDPOINT_URL=" + server.Endpoint, "AWS_ACCESS_KEY_ID=" + server.AccessKey, "AWS_SECRET_ACCESS_KEY=" + server.Secret,
		"AWS_REGION=" + s3test.Region,
	}
	if server.CAFile != "" {
		env = append(env, "AWS_CA_BUNDLE="+server.CAFile)
	}
	return env
}

// keysInFile takes the keys from the environment and puts them into a file, with
// the secret given.
func (m *machine) keysInFile(server *s3test.Server, secret string) {
	m.t.Helper()
	m.settings = []string{"AWS_ENDPOINT_URL=" + server.Endpoint}
	m.mkdir(".aws")
	path := m.at(".aws", "credentials")
	text := "[default]\naws_access_key_id = " + server.AccessKey + "\naws_secret_access_key = " + secret + "\n"
	must(m.t, os.WriteFile(path+".new", []byte(text), 0o600))
	must(m.t, os.Rename(path+".new", path))
}

// inBucket are the names of the objects of the machine's drive.
func (m *machine) inBucket(server *s3test.Server) []string {
	m.t.Helper()
	l, err := s3.ParseLocation(m.store)
	must(m.t, err)
	b := server.OpenWith(m.t, s3.Options{Bucket: l.Bucket, Prefix: l.Prefix, Endpoint: server.Endpoint, CAFile: server.CAFile,
		Credentials: s3.NewCredentials(server.AccessKey, server.Secret, "")})
	page, err := b.List(m.t.Context(), "", "", 100_000)
	must(m.t, err)
	var names []string
	for _, i := range page {
		names = append(names, i.Name)
	}
	return names
}

// nowhere wants the secret in no file of the machine, logs included, but in those
// named.
func (m *machine) nowhere(secret string, but ...string) {
	m.t.Helper()
	must(m.t, filepath.WalkDir(m.home, func(path string, d os.DirEntry, err error) error {
		if err != nil || slices.Contains(but, path) {
			return err
		}
		if d.Type().IsRegular() && strings.Contains(string(read(m.t, path)), secret) {
			m.t.Errorf("%s holds the secret", path)
		}
		return nil
	}))
}
