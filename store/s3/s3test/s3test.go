// Package s3test starts real S3 servers for tests: MinIO and versitygw, from
// ./bin, on loopback, with random credentials and data that goes with the test.
//
//	server := s3test.Start(t, s3test.MinIO)
//	b := server.Open(t)
//
// A server that is missing fails the test: scripts/minio builds it. A server
// can be killed, started again on the same data, stopped and continued, for
// tests of what happens then.
package s3test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/hushfs/hushfs/store/s3"
)

// Kind is which server.
type Kind string

// The servers, by the names of their programs.
const (
	MinIO     Kind = "minio"
	VersityGW Kind = "versitygw" // on a directory
)

// Kinds are all servers.
var Kinds = []Kind{MinIO, VersityGW}

// Region is that of every server.
const Region = "us-east-1"

// patience is how long a server may take to answer for the first time. The
// machine may be busy building something.
const patience = 60 * time.Second

// A Server is a process. Use Start; it ends with the test.
type Server struct {
	Kind      Kind
	Endpoint  string // http://127.0.0.1:port
	AccessKey string
	Secret    string
	CAFile    string // of a server with TLS, else empty

	program string
	dir     string // data in dir/data, certificates in dir/certs
	address string
	root    *x509.CertPool

	mu      sync.Mutex // guards the fields below
	cmd     *exec.Cmd
	gone    chan struct{} // closed when cmd has ended
	output  *bytes.Buffer // of cmd; read it when gone is closed
	buckets int
}

// Start starts a server with plain HTTP and waits until it answers.
func Start(t testing.TB, k Kind) *Server {
	t.Helper()
	return start(t, k, false)
}

// StartTLS starts a server with a certificate of its own authority, which is
// in CAFile.
func StartTLS(t testing.TB, k Kind) *Server {
	t.Helper()
	return start(t, k, true)
}

func start(t testing.TB, k Kind, secure bool) *Server {
	t.Helper()
	return startIn(t, k, t.TempDir(), secure)
}

func startIn(t testing.TB, k Kind, dir string, secure bool) *Server {
	t.Helper()
	program, err := find(k)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Kind: k, program: program, dir: dir, AccessKey: "test" + rand.Text()[:8], Secret: rand.Text()}
	if err := os.Mkdir(filepath.Join(s.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s.address, err = address(t); err != nil {
		t.Fatal(err)
	}
	s.Endpoint = "http://" + s.address
	if secure {
		s.Endpoint = "https://" + s.address
		if err := s.makeCertificate(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Kill)
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// find returns the program, in the bin folder of the module that the test is in.
func find(k Kind) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the test does not run in a module")
		}
	}
	program := filepath.Join(dir, "bin", string(k))
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("bin/%s is missing, and this test needs the real server: run scripts/minio first", k)
	}
	return program, nil
}

// Run starts the process again after Kill, on the same data and address, and
// waits until it answers.
func (s *Server) Run(ctx context.Context) error {
	var arguments []string
	env := []string{"HOME=" + s.dir, "TMPDIR=" + s.dir, "PATH=/usr/bin:/bin"}
	data, certs := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "certs")
	switch s.Kind {
	case MinIO:
		arguments = []string{"server", "--quiet", "--address", s.address, "--certs-dir", certs, data}
		env = append(env, "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.Secret,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_REGION="+Region)
	case VersityGW:
		arguments = []string{"--port", s.address, "--region", Region, "--quiet", "--keep-alive", "--health", "/health"}
		if s.CAFile != "" {
			arguments = append(arguments, "--cert", filepath.Join(certs, "public.crt"), "--key", filepath.Join(certs, "private.key"))
		}
		arguments = append(arguments, "posix", data)
		env = append(env, "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.Secret)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := exec.Command(s.program, arguments...)
	cmd.Env, cmd.Dir = env, s.dir
	s.output = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = s.output, s.output
	// When the test is killed, so is the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.Kind, err)
	}
	gone := make(chan struct{})
	go func() { cmd.Wait(); close(gone) }()
	s.cmd, s.gone = cmd, gone
	return s.wait(ctx)
}

// wait returns when the server answers. Nobody tells, so it is asked.
func (s *Server) wait(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: s.root},
	}, Timeout: 5 * time.Second}
	path := map[Kind]string{MinIO: "/minio/health/ready", VersityGW: "/health"}[s.Kind]
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+path, nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK && s.serves(ctx) {
				return nil
			}
		}
		select {
		case <-again.C:
		case <-s.gone:
			return fmt.Errorf("%s ended at once: %s", s.Kind, s.output)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", s.Kind, ctx.Err())
		}
	}
}

// serves tells whether the server knows its keys: MinIO says that it is ready
// some moments before.
func (s *Server) serves(ctx context.Context) bool {
	client, err := s.client()
	if err != nil {
		return false
	}
	_, err = client.ListBuckets(ctx)
	return err == nil
}

// Kill ends the process without a warning, as a power failure would.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.gone
	s.cmd = nil
}

// Pause stops the process: connections stay, nothing answers. A signal is only on
// its way when it was sent, so the process is seen to have stopped.
func (s *Server) Pause() error {
	if err := s.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	s.mu.Lock()
	pid := s.cmd.Process.Pid
	s.mu.Unlock()
	threads := fmt.Sprintf("/proc/%d/task/*/stat", pid)
	for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		running := 0
		stats, err := filepath.Glob(threads)
		for _, path := range stats {
			b, rerr := os.ReadFile(path)
			// The state stands behind the name in parentheses; a thread may end.
			if i := bytes.LastIndexByte(b, ')'); rerr == nil && (i < 0 || i+2 >= len(b) || b[i+2] != 'T') {
				running++
			}
		}
		switch {
		case err != nil:
			return err
		case running == 0:
			return nil
		case time.Now().After(until):
			return fmt.Errorf("%d threads of the server still run", running)
		}
	}
}

// Resume continues it.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return errors.New("the server does not run")
	}
	return s.cmd.Process.Signal(sig)
}

// MakeBucket makes a new bucket and returns its name.
func (s *Server) MakeBucket(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	s.buckets++
	name := fmt.Sprintf("bucket-%d", s.buckets)
	s.mu.Unlock()
	if err := s.Client(t).MakeBucket(t.Context(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

// Options returns those for a new, empty bucket.
func (s *Server) Options(t testing.TB) s3.Options {
	t.Helper()
	return s3.Options{
		Bucket:      s.MakeBucket(t),
		Endpoint:    s.Endpoint,
		CAFile:      s.CAFile,
		Credentials: s3.NewCredentials(s.AccessKey, s.Secret, ""),
	}
}

// Open opens a new, empty bucket.
func (s *Server) Open(t testing.TB) *s3.Bucket {
	t.Helper()
	return s.OpenWith(t, s.Options(t))
}

// OpenWith opens the bucket of the options, and closes it with the test.
func (s *Server) OpenWith(t testing.TB, o s3.Options) *s3.Bucket {
	t.Helper()
	b, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// Session returns short-lived credentials that may do no more than the policy
// says, in the language of AWS. Only MinIO gives them out.
func (s *Server) Session(t testing.TB, policy string) (accessKey, secret, token string) {
	t.Helper()
	c, err := credentials.NewSTSAssumeRole(s.Endpoint, credentials.STSAssumeRoleOptions{
		AccessKey: s.AccessKey, SecretKey: s.Secret, Policy: policy, Location: Region, DurationSeconds: 900,
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.GetWithContext(&credentials.CredContext{Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return v.AccessKeyID, v.SecretAccessKey, v.SessionToken
}

// Client returns a client of the server with all rights, for what a test does in
// the place of somebody else.
func (s *Server) Client(t testing.TB) *minio.Client {
	t.Helper()
	client, err := s.client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (s *Server) client() (*minio.Client, error) {
	return minio.New(s.address, &minio.Options{
		Creds:      credentials.NewStaticV4(s.AccessKey, s.Secret, ""),
		Secure:     s.CAFile != "",
		Region:     Region,
		MaxRetries: 1,
		Transport:  &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: s.root}},
	})
}
