//go:build cgo

package openclawauth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// upstream answers with these statuses in turn, then with 200, and notes what it was sent.
type upstream struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	seen     []string
}

func newUpstream(t *testing.T, statuses ...int) *upstream {
	u := &upstream{statuses: statuses}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.seen = append(u.seen, r.Header.Get("Authorization")+"|"+string(body))
		status := 200
		if len(u.statuses) > 0 {
			status, u.statuses = u.statuses[0], u.statuses[1:]
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) sent() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return strings.Join(u.seen, " ")
}

// onlyReader hides what else a reader can, so that there is no GetBody.
type onlyReader struct{ io.Reader }

func TestTransport(t *testing.T) {
	const one, two = "Bearer sk-one-0123|hi", "Bearer sk-two-4567|hi"
	for name, c := range map[string]struct {
		statuses []int
		body     func() io.Reader
		length   int64
		limit    int64
		status   int
		sent     string
	}{
		"fine":                 {nil, nil, 0, 0, 200, one},
		"limited once":         {[]int{429}, nil, 0, 0, 200, one + " " + two},
		"limited for all":      {[]int{429, 429}, nil, 0, 0, 429, one + " " + two},
		"a broken server":      {[]int{500}, nil, 0, 0, 500, one},
		"a refused key":        {[]int{401}, nil, 0, 0, 401, one},
		"a short body is kept": {[]int{429}, func() io.Reader { return onlyReader{strings.NewReader("hi")} }, 2, 0, 200, one + " " + two},
		"a long one is not":    {[]int{429}, func() io.Reader { return onlyReader{strings.NewReader("hi")} }, 2, 1, 429, one},
		"nor an endless one":   {[]int{429}, func() io.Reader { return onlyReader{strings.NewReader("hi")} }, -1, 0, 429, one},
	} {
		t.Run(name, func(t *testing.T) {
			server := newUpstream(t, c.statuses...)
			client := &http.Client{Transport: &Transport{
				Engine: lending(t), Request: LeaseRequest{Provider: "openai"}, ReplayLimit: c.limit,
			}}
			body := io.Reader(strings.NewReader("hi"))
			if c.body != nil {
				body = c.body()
			}
			r, _ := http.NewRequest(http.MethodPost, server.URL, body)
			if c.body != nil {
				r.ContentLength = c.length
			}
			response, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			content, err := io.ReadAll(response.Body)
			if err != nil || len(content) != 100_000 || response.StatusCode != c.status || server.sent() != c.sent {
				t.Errorf("%d, %d bytes, %v, sent %s", response.StatusCode, len(content), err, server.sent())
			}
			if r.Header.Get("Authorization") != "" {
				t.Error("the request was changed")
			}
		})
	}
}

func TestTransportStreams(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		<-release
		_, _ = io.WriteString(w, "last\n")
	}))
	defer server.Close()
	client := &http.Client{Transport: &Transport{Engine: lending(t), Request: LeaseRequest{Provider: "openai"}}}
	response, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	line := make([]byte, 6)
	if _, err := io.ReadFull(response.Body, line); err != nil || string(line) != "first\n" {
		t.Errorf("%q %v", line, err)
	}
	close(release)
	if rest, err := io.ReadAll(response.Body); string(rest) != "last\n" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}

func TestTransportFailures(t *testing.T) {
	engine := lending(t)
	closed := httptest.NewServer(nil)
	closed.Close()
	transport := &Transport{Engine: engine, Request: LeaseRequest{Provider: "openai"}}
	r, _ := http.NewRequest(http.MethodGet, closed.URL, nil)
	if _, err := transport.RoundTrip(r); err == nil {
		t.Error("no failure")
	}
	// The server is at fault, not the key: it is still there.
	if lease, err := engine.Lease(context.Background(), LeaseRequest{Provider: "openai"}); err != nil ||
		lease.Secret() == "" || lease.Close() != nil {
		t.Error(err)
	}
	body := &tracked{Reader: strings.NewReader("x")}
	transport.Request.Provider = "nobody"
	r, _ = http.NewRequest(http.MethodPost, closed.URL, body)
	if _, err := transport.RoundTrip(r); !errors.Is(err, ErrNoCredentials) || !body.closed {
		t.Error(err, body.closed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	body = &tracked{Reader: strings.NewReader("x")}
	r, _ = http.NewRequestWithContext(ctx, http.MethodPost, closed.URL, body)
	if _, err := transport.RoundTrip(r); !errors.Is(err, context.Canceled) || !body.closed {
		t.Error(err, body.closed)
	}
	// Without a provider it is a plain transport.
	server := newUpstream(t)
	transport.RequestFor = func(*http.Request) LeaseRequest { return LeaseRequest{} }
	r, _ = http.NewRequest(http.MethodGet, server.URL, nil)
	if response, err := transport.RoundTrip(r); err != nil || server.sent() != "|" {
		t.Error(response, err, server.sent())
	}
}

type tracked struct {
	io.Reader
	closed bool
}

func (t *tracked) Close() error {
	t.closed = true
	return nil
}

func TestKeysGoWhereProvidersWantThem(t *testing.T) {
	transport := &Transport{}
	for _, c := range []struct {
		credential Credential
		name, want string
	}{
		{Credential{Provider: "openai", Kind: CredentialAPIKey, secret: "s"}, "Authorization", "Bearer s"},
		{Credential{Provider: "anthropic", Kind: CredentialAPIKey, secret: "s"}, "X-Api-Key", "s"},
		{Credential{Provider: "anthropic", Kind: CredentialToken, secret: "s"}, "Authorization", "Bearer s"},
		{Credential{Provider: "google", Kind: CredentialAPIKey, secret: "s"}, "X-Goog-Api-Key", "s"},
		{Credential{Provider: "ollama", Kind: CredentialNone}, "Authorization", ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		transport.apply(r, c.credential)
		if got := r.Header.Get(c.name); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{context.Canceled, "cancelled"},
		{context.DeadlineExceeded, "timeout"},
		{io.ErrUnexpectedEOF, "reset"},
		{errors.New("tls: bad certificate"), "tls"},
		{errors.New("refused"), "connect"},
	} {
		if outcome := OutcomeOf(nil, c.err); !outcome.Failed || outcome.Transport != c.want {
			t.Errorf("%v: %+v", c.err, outcome)
		}
	}
	long := bytes.Repeat([]byte("y"), 2*peekLimit)
	response := &http.Response{StatusCode: 503, Body: io.NopCloser(bytes.NewReader(long))}
	outcome := OutcomeOf(response, nil)
	if content, err := io.ReadAll(response.Body); err != nil || !bytes.Equal(content, long) || len(outcome.Body) != peekLimit {
		t.Error(len(content), len(outcome.Body), err)
	}
	if err := wait(context.Background(), time.Millisecond); err != nil {
		t.Error(err)
	}
}
