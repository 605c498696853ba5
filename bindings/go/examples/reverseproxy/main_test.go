//go:build cgo

package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	openclawauth "github.com/openclaw-auth/openclaw-auth/bindings/go"
)

func TestProxyReplacesTheCredential(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") == "Bearer sk-limited" {
			w.WriteHeader(http.StatusTooManyRequests)
		}
		_, _ = io.WriteString(w, r.URL.Path+" "+r.Header.Get("Authorization")+r.Header.Get("Cookie")+string(body))
	}))
	defer upstream.Close()
	engine, err := openclawauth.Open(context.Background(), openclawauth.Config{
		ConfigText:   `{ gateway: { auth: { mode: 'token', token: '0123456789abcdef0123456789abcdef' } } }`,
		StateDir:     t.TempDir(),
		Env:          map[string]string{"OPENAI_API_KEYS": "sk-limited,sk-provider"},
		NoProcessEnv: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	target, _ := url.Parse(upstream.URL)
	server := httptest.NewServer(engine.Middleware(proxy(engine, map[string]*url.URL{"openai": target})))
	defer server.Close()
	for _, c := range []struct {
		path, token, want string
		status            int
	}{
		{"/proxy/openai/v1/models", "0123456789abcdef0123456789abcdef", "/v1/models Bearer sk-providerbody", 200},
		{"/proxy/other/v1/models", "0123456789abcdef0123456789abcdef", "no such provider\n", 404},
		{"/proxy/openai/v1/models", "wrong", "", 401},
	} {
		r, _ := http.NewRequest(http.MethodPost, server.URL+c.path, strings.NewReader("body"))
		r.Header.Set("Authorization", "Bearer "+c.token)
		r.Header.Set("Cookie", "session=1")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != c.status || (c.want != "" && string(body) != c.want) {
			t.Errorf("%s: %d %s", c.path, response.StatusCode, body)
		}
	}
}
