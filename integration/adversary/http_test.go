package adversary

import (
	"net/http/httptest"
	"testing"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/probe"
	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/storetest"
)

// While it does not lie, the store is one like any other, in process and over HTTP.
func TestHonest(t *testing.T) {
	t.Run("in process", func(t *testing.T) {
		storetest.Run(t, func(*testing.T) store.Bucket { return NewStore().Face("laptop") })
	})
	t.Run("over HTTP", func(t *testing.T) {
		server := httptest.NewServer(NewStore())
		defer server.Close()
		b, err := s3.Open(t.Context(), s3.Options{Bucket: "laptop", Prefix: "drive", Endpoint: server.URL, Region: "here", Style: s3.StylePath, Credentials: s3.NewCredentials("id", "secret", "")})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		v, err := probe.Run(t.Context(), b, probe.Options{})
		if err != nil || !v.Good() || v.Leftover > 0 {
			t.Errorf("%v, %v", v, err)
		}
	})
}
