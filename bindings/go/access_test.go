//go:build cgo

package openclawauth

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func request(remote string, lines ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://claw.example.com/", nil)
	r.RemoteAddr = remote
	for i := 0; i < len(lines); i += 2 {
		// As the server does: the name as received, canonical where it is a usual one.
		name := http.CanonicalHeaderKey(lines[i])
		r.Header[name] = append(r.Header[name], lines[i+1])
	}
	return r
}

func TestAuthorize(t *testing.T) {
	engine := open(t, isolated)
	decision := engine.Authorize(request("10.0.0.1:4711",
		"X-Forwarded-User", "nick@example.com", "X-Forwarded-For", "203.0.113.9", "Accept", "*/*"))
	want := Decision{
		Allowed: true, Method: MethodTrustedProxy, User: "nick@example.com",
		ClientIP: netip.MustParseAddr("203.0.113.9"), PeerIP: netip.MustParseAddr("10.0.0.1"),
		Generation: 1,
	}
	if decision != want {
		t.Errorf("%+v", decision)
	}
	for _, refused := range []struct {
		request *http.Request
		code    string
		reason  string
	}{
		{request("203.0.113.9:1", "X-Forwarded-User", "nick"), "trusted_proxy_untrusted_source", "not_listed"},
		{request("10.0.0.1:1"), "trusted_proxy_user_missing", "absent"},
		{request("10.0.0.1:1", "X-Forwarded-User", "a", "X-Forwarded-User", "b"), "trusted_proxy_ambiguous_header", "repeated"},
		{request("10.0.0.1:1", "X-Forwarded-User", "a", "X_Forwarded_User", "b"), "trusted_proxy_ambiguous_header", "alias"},
		{request("10.0.0.1:1", "X-Forwarded-User", "a", "Connection", "x-forwarded-user"), "trusted_proxy_ambiguous_header", "hop_by_hop"},
		{request("10.0.0.1:1", "X-Forwarded-User", "a\xff"), "trusted_proxy_user_invalid", "not_utf8"},
	} {
		decision := engine.Authorize(refused.request)
		if decision.Allowed || decision.Code != refused.code || decision.Reason != refused.reason ||
			decision.HTTPStatus < 400 || decision.WebSocketCloseCode != 1008 {
			t.Errorf("%s: %+v", refused.code, decision)
		}
	}
	// A name that is no UTF-8 is refused, never skipped.
	r := request("10.0.0.1:1", "X-Forwarded-User", "nick")
	r.Header["X-Forwarded-\xff"] = []string{"x"}
	if decision := engine.Authorize(r); decision.Allowed || decision.Code != "invalid_argument" {
		t.Errorf("%+v", decision)
	}
}

func TestFilterKeepsWhatMatters(t *testing.T) {
	f := newFilter("authorization,host,x-forwarded-*,x-auth-user", 1)
	for name, wanted := range map[string]bool{
		"Authorization": true, "AUTHORIZATION": true, "X_Auth.User": true, "X-Auth-Users": false,
		"X-Forwarded-Anything": true, "x_forwarded_for": true, "X-Forwarded": false, "Accept": false,
		"": false,
	} {
		if f.wants(name) != wanted {
			t.Errorf("%q", name)
		}
	}
	for length := range 300 {
		if f.wants(strings.Repeat("y", length)) {
			t.Error(length)
		}
	}
}

func TestReloadedRulesCountAtOnce(t *testing.T) {
	config := isolated
	engine := open(t, config)
	r := request("10.0.0.1:1", "X-Other-User", "nick")
	if decision := engine.Authorize(r); decision.Allowed || decision.Generation != 1 {
		t.Fatal(decision)
	}
	// As a reload would: another engine with the user in another header takes its place.
	config.ConfigText = strings.Replace(byProxy, "x-forwarded-user", "x-other-user", 1)
	other := open(t, config)
	filter := engine.filter.Load()
	filter.generation = 99
	other.filter.Store(filter)
	if decision := other.Authorize(r); !decision.Allowed || decision.User != "nick" {
		t.Errorf("%+v", decision)
	}
}

func TestAllocations(t *testing.T) {
	engine := open(t, isolated)
	r := benchmarkRequest()
	if allocations := testing.AllocsPerRun(1000, func() {
		if !engine.Authorize(r).Allowed {
			t.Error("refused")
		}
	}); allocations > 1 {
		t.Errorf("%v allocations", allocations)
	}
}

func benchmarkRequest() *http.Request {
	return request("10.0.0.1:4711",
		"User-Agent", "Mozilla/5.0 (X11; Linux x86_64)", "Accept", "text/html", "Accept-Language", "en",
		"Accept-Encoding", "gzip, br", "Cookie", "session=0123456789abcdef",
		"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https",
		"X-Forwarded-Host", "claw.example.com", "X-Forwarded-User", "nick@example.com",
		"X-Request-Id", "0123456789abcdef", "Connection", "keep-alive")
}

// best reports the shortest of many short runs, which is what a quiet machine would show.
func best(b *testing.B, work func()) {
	const rounds = 200
	least := time.Hour
	for range 2000 {
		start := time.Now()
		for range rounds {
			work()
		}
		least = min(least, time.Since(start))
	}
	b.ReportMetric(float64(least.Nanoseconds())/rounds, "best-ns/op")
}

func BenchmarkAuthorize(b *testing.B) {
	engine := open(b, isolated)
	r := benchmarkRequest()
	b.ReportAllocs()
	for b.Loop() {
		if !engine.Authorize(r).Allowed {
			b.Fatal("refused")
		}
	}
	best(b, func() { engine.Authorize(r) })
}

func BenchmarkSecret(b *testing.B) {
	engine := open(b, isolated)
	snapshot, err := engine.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	defer snapshot.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := snapshot.Secret("models.providers.openai.apiKey"); err != nil {
			b.Fatal(err)
		}
	}
	best(b, func() { _, _ = snapshot.Secret("models.providers.openai.apiKey") })
}

// behind serves a handler that names the caller, guarded by an engine.
func behind(t *testing.T, engine *Engine) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(engine.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		decision, ok := DecisionFrom(r.Context())
		if !ok {
			t.Error("no decision in the context")
		}
		_, _ = io.WriteString(w, "hello "+decision.User)
	})))
	t.Cleanup(server.Close)
	return server
}

func TestMiddlewareFromTheWire(t *testing.T) {
	server := behind(t, open(t, isolated))
	var group sync.WaitGroup
	for i := range 200 {
		group.Add(1)
		go func() {
			defer group.Done()
			r, _ := http.NewRequest(http.MethodGet, server.URL, nil)
			want, status := "hello nick", http.StatusOK
			if i%2 == 0 {
				r.Header.Set("X-Forwarded-User", "nick")
			} else {
				want, status = `"code":"trusted_proxy_user_missing"`, http.StatusForbidden
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			if response.StatusCode != status || !strings.Contains(string(body), want) {
				t.Errorf("%d %s", response.StatusCode, body)
			}
		}()
	}
	group.Wait()
}

func TestRefusals(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	get := func(config, authorization string) (*http.Response, string) {
		t.Helper()
		server := behind(t, open(t, Config{ConfigText: config, NoProcessEnv: true}))
		r, _ := http.NewRequest(http.MethodGet, server.URL, nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response, string(body)
	}
	plain := "{ gateway: { auth: { mode: 'token', token: '" + token + "' } } }"
	if response, body := get(plain, "Bearer "+token); response.StatusCode != 200 || body != "hello " {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	for authorization, challenge := range map[string]string{
		"": `Bearer realm="openclaw"`, "Bearer no": `Bearer realm="openclaw", error="invalid_token"`,
	} {
		response, body := get(plain, authorization)
		if response.StatusCode != 401 || response.Header.Get("WWW-Authenticate") != challenge ||
			response.Header.Get("Cache-Control") != "no-store" || !json.Valid([]byte(body)) {
			t.Errorf("%d %v %s", response.StatusCode, response.Header, body)
		}
	}
	hidden := strings.Replace(plain, "gateway: {", "gateway: { http: { hideAuthReasons: true },", 1)
	if response, body := get(hidden, ""); response.StatusCode != 401 || strings.Contains(body, "token_missing") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	// A client that is gone is not waited for.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	decision := Decision{HTTPStatus: 401, Code: "token_mismatch", Penalty: 1 << 40}
	recorder := httptest.NewRecorder()
	decision.Refuse(recorder, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
	if recorder.Body.Len() != 0 {
		t.Error("answered")
	}
	limited := Decision{HTTPStatus: 429, Code: "rate_limited", RetryAfter: 1001e6}
	recorder = httptest.NewRecorder()
	limited.Refuse(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	if recorder.Header().Get("Retry-After") != "2" || recorder.Code != 429 {
		t.Error(recorder)
	}
}

func FuzzPacking(f *testing.F) {
	engine := open(f, isolated)
	f.Add("10.0.0.1:1", "10.0.0.2:1", "token", "password", "X-Forwarded-User", "nick", true)
	f.Add("", "", "", "", "", "", false)
	f.Fuzz(func(t *testing.T, remote, local, token, password, name, value string, flag bool) {
		decision := engine.AuthorizeFacts(&Facts{
			Remote: remote, Local: local, Token: token, Password: password, WebSocket: flag, TLS: flag,
			Headers: []Header{{name, value}, {"X-Forwarded-User", value}},
		})
		if decision.Allowed && decision.User != strings.Trim(value, " \t") {
			t.Errorf("%+v", decision)
		}
		if !decision.Allowed && decision.Code == "" {
			t.Errorf("no code: %+v", decision)
		}
	})
}
