//go:build cgo

package openclawauth

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lending is an engine with two keys for openai, on an empty folder.
func lending(t testing.TB, change ...func(*Config)) *Engine {
	t.Helper()
	config := Config{
		ConfigText:   "{}",
		StateDir:     t.TempDir(),
		Env:          map[string]string{"OPENAI_API_KEYS": "sk-one-0123,sk-two-4567"},
		NoProcessEnv: true,
		NoNetwork:    true,
	}
	for _, change := range change {
		change(&config)
	}
	return open(t, config)
}

func TestLeaseRotates(t *testing.T) {
	engine := lending(t)
	lease, err := engine.Lease(context.Background(), LeaseRequest{Provider: "openai"})
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	first := lease.Credential()
	if first.Secret() != "sk-one-0123" || first.Kind != CredentialAPIKey || first.Attempt != 1 {
		t.Errorf("%+v", first)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if shown := fmt.Sprintf(format, first); strings.Contains(shown, "sk-one") {
			t.Errorf("%s shows %s", format, shown)
		}
	}
	if end, err := lease.End(); end != nil || err != nil {
		t.Error(end, err)
	}
	limited := Outcome{Failed: true, Status: 429, Body: []byte("slow down"),
		Header: map[string][]string{"Retry-After": {"7"}}}
	verdict, err := lease.Report(limited)
	if err != nil || verdict.Kind != Retry || verdict.Reason != RateLimit || lease.Secret() != "sk-two-4567" {
		t.Errorf("%+v %v", verdict, err)
	}
	if metadata, err := lease.Metadata(); err != nil || len(metadata.LeaseID) != 32 {
		t.Errorf("%+v %v", metadata, err)
	}
	verdict, err = lease.Report(limited)
	if err != nil || verdict.Kind != Exhausted || verdict.HTTPStatus != 429 || verdict.RetryAfter <= 0 {
		t.Errorf("%+v %v", verdict, err)
	}
	end, err := lease.End()
	if err != nil || end == nil || end.Advice != "wait" || len(end.Attempts) != 2 {
		t.Errorf("%+v %v", end, err)
	}
	if lease.Secret() != "" {
		t.Error("the secret outlives the end")
	}
	var failure *Error
	if _, err := lease.Report(limited); !errors.Is(err, ErrState) || !errors.As(err, &failure) ||
		failure.Code != "lease_finished" {
		t.Error(err)
	}
	if _, err := engine.Lease(context.Background(), LeaseRequest{Provider: "openai"}); !errors.Is(err, ErrAllUnavailable) ||
		!errors.As(err, &failure) || failure.RetryAfter <= 0 {
		t.Error(err)
	}
	if _, err := engine.Lease(context.Background(), LeaseRequest{Provider: "nobody"}); !errors.Is(err, ErrNoCredentials) {
		t.Error(err)
	}
	if lease.Close() != nil || lease.Close() != nil {
		t.Error("closing twice fails")
	}
	if _, err := lease.Report(limited); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestLeaseRequests(t *testing.T) {
	engine := lending(t)
	ctx, cancel := context.WithCancel(context.Background())
	request := LeaseRequest{
		Models: []string{"nobody/x", "openai/gpt"}, Session: "s", CompactionCount: 1, Probe: "never",
		MinValid: time.Second, MaxAttempts: 3, Exclude: []string{"x"}, NewSession: true, NoRefresh: true,
	}
	lease, err := engine.Lease(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	if c := lease.Credential(); c.Model != "gpt" || c.Provider != "openai" {
		t.Errorf("%+v", c)
	}
	lease.Close()
	var failure *Error
	for _, request := range []LeaseRequest{{}, {Provider: "openai", Probe: "x"}, {Provider: "a\xff"}} {
		if _, err := engine.Lease(ctx, request); !errors.As(err, &failure) || failure.Code != "invalid_argument" {
			t.Error(err)
		}
	}
	cancel()
	if _, err := engine.Lease(ctx, request); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	lease, _ = engine.Lease(context.Background(), LeaseRequest{Provider: "openai"})
	for _, outcome := range []Outcome{{Reason: "x"}, {Transport: "x"}, {Status: 70000}} {
		if _, err := lease.Report(outcome); !errors.As(err, &failure) || failure.Code != "invalid_argument" {
			t.Error(err)
		}
	}
	// A lease keeps what it needs of its engine.
	engine.Close()
	if verdict, err := lease.Report(Outcome{}); err != nil || verdict.Kind != Done {
		t.Error(verdict, err)
	}
	lease.Close()
	if _, err := engine.Lease(context.Background(), LeaseRequest{Provider: "openai"}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestLostLeasesAreFreed(t *testing.T) {
	engine := lending(t)
	var freed atomic.Int32
	func() {
		for range 20 {
			lease, err := engine.Lease(context.Background(), LeaseRequest{Provider: "openai"})
			if err != nil {
				t.Fatal(err)
			}
			runtime.AddCleanup(lease, func(int) { freed.Add(1) }, 0)
		}
	}()
	for range 100 {
		runtime.GC()
		if freed.Load() == 20 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d freed", freed.Load())
}

func TestLeasingWhileReloading(t *testing.T) {
	engine := lending(t)
	var group sync.WaitGroup
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 50 {
				lease, err := engine.Lease(context.Background(), LeaseRequest{Provider: "openai"})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := lease.Report(Outcome{Status: 200}); err != nil {
					t.Error(err)
				}
				lease.Close()
			}
		}()
	}
	for range 20 {
		if _, err := engine.Reload(context.Background()); err != nil {
			t.Error(err)
		}
	}
	group.Wait()
}

func TestStoredProfiles(t *testing.T) {
	ctx := context.Background()
	engine := lending(t, func(c *Config) {
		c.ConfigText = `{ agents: { defaults: { model: 'acme/big', models: { 'acme/big': {}, 'acme/small': {} } } } }`
	})
	key := NewCredential{Type: CredentialAPIKey, Provider: "acme", Key: "k-a-01234567"}
	token := NewCredential{Type: CredentialToken, Provider: "acme", Token: "t-b", Expires: 4000000000000, Email: "b@x.test"}
	if err := errors.Join(engine.PutProfile(ctx, "", "acme:a", key), engine.PutProfile(ctx, "", "acme:b", token)); err != nil {
		t.Fatal(err)
	}
	key.Key = "another"
	var failure *Error
	if err := engine.PutProfile(ctx, "", "acme:a", key); !errors.As(err, &failure) || failure.Code != "profile_exists" {
		t.Error(err)
	}
	profiles, err := engine.Profiles("", "acme")
	if err != nil || len(profiles.Profiles) != 2 || profiles.Profiles[1].Label != "b@x.test" {
		t.Errorf("%+v %v", profiles, err)
	}
	if err := engine.SetProfileOrder(ctx, "", "acme", []string{"acme:b", "acme:a"}); err != nil {
		t.Error(err)
	}
	order, err := engine.ProfileOrder("", "acme", "", "")
	if err != nil || fmt.Sprint(order.Effective, order.Stored) != "[acme:b acme:a] [acme:b acme:a]" {
		t.Errorf("%+v %v", order, err)
	}
	if err := engine.SetProfileOrder(ctx, "", "acme", nil); err != nil {
		t.Error(err)
	}
	lease, err := engine.Lease(ctx, LeaseRequest{Provider: "acme", Profile: "acme:b"})
	if err != nil || lease.Credential().Expires != time.UnixMilli(4000000000000) {
		t.Fatal(err)
	}
	if _, err := lease.Report(Outcome{Failed: true, Reason: Billing}); err != nil {
		t.Error(err)
	}
	lease.Close()
	if done, err := engine.Flush(); !done || err != nil {
		t.Error(done, err)
	}
	profiles, _ = engine.Profiles("", "acme")
	if profiles.Profiles[1].UnavailableUntil == 0 {
		t.Errorf("%+v", profiles)
	}
	if err := engine.ClearCooldown(ctx, "", "acme:b", ""); err != nil {
		t.Error(err)
	}
	if word, err := engine.Eligibility("", "acme:b", "acme"); word != "ok" || err != nil {
		t.Error(word, err)
	}
	if keys, err := engine.Keys("openai"); len(keys) != 2 || err != nil {
		t.Error(keys, err)
	}

	status, err := engine.Status("")
	if err != nil || status.ResolvedDefault != "acme/big" || strings.Contains(string(status.JSON), "k-a-01234567") {
		t.Errorf("%s %v", status.JSON, err)
	}
	if found, err := engine.CheckStatus("", time.Hour); err != nil || found > CheckExpiring {
		t.Error(found, err)
	}
	if _, err := engine.Status("nobody"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	report, err := engine.Doctor(ctx, DoctorOptions{})
	if err != nil || report.ChecksRun == 0 {
		t.Errorf("%+v %v", report, err)
	}

	reply, err := engine.Chat("", "s", "/model small@acme:b hi", "")
	if err != nil || reply.Directive != "select" || reply.Rest != "hi" || reply.Session.Profile != "acme:b" {
		t.Errorf("%+v %v", reply, err)
	}
	if reply, err := engine.Chat("", "s", "hello", ""); reply != nil || err != nil {
		t.Error(reply, err)
	}
	models, err := engine.Models("", "s")
	if err != nil || len(models) != 2 {
		t.Error(models, err)
	}
	kept, err := engine.ExportSessions()
	if err != nil {
		t.Error(err)
	}
	if err := errors.Join(engine.SetSession("s", Session{}), engine.ImportSessions(kept)); err != nil {
		t.Error(err)
	}
	if session, err := engine.Session("s"); err != nil || session.Model != "small" || session.ProfileSource != "user" {
		t.Errorf("%+v %v", session, err)
	}
	if err := engine.RemoveProfile(ctx, "", "acme:a"); err != nil {
		t.Error(err)
	}
	if err := engine.RemoveProfile(ctx, "", "acme:a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if shown, err := engine.Redact("use t-b or sk-one-0123"); err != nil || strings.Contains(shown, "t-0") {
		t.Error(shown, err)
	}
	found, err := engine.Classify("openai", "", Outcome{Failed: true, Status: 529, Body: []byte("overloaded")})
	if err != nil || found.Reason != Overloaded {
		t.Errorf("%+v %v", found, err)
	}
}

func TestReadOnly(t *testing.T) {
	engine := lending(t, func(c *Config) { c.ReadOnly = true })
	err := engine.PutProfile(context.Background(), "", "a:b",
		NewCredential{Type: CredentialAPIKey, Provider: "a", Key: "k"})
	var failure *Error
	if !errors.As(err, &failure) || failure.Code != "store_read_only" || failure.Status != StatusIO {
		t.Error(err)
	}
}

func TestRegistry(t *testing.T) {
	engine := lending(t, func(c *Config) {
		c.ConfigText = `{ channels: { mychat: { apiToken: '${CHAT}' } } }`
		c.Env["CHAT"] = "chat-secret"
		c.Registry = []byte(`{"rules": [{"id": "channels.mychat.apiToken", "pattern": "channels.mychat.apiToken"}]}`)
	})
	if secret, err := engine.Secret("channels.mychat.apiToken"); secret != "chat-secret" || err != nil {
		t.Error(secret, err)
	}
	var failure *Error
	if err := engine.SetRegistry([]byte(`{"rules": [{}]}`)); !errors.As(err, &failure) || failure.Code != "rule_invalid" {
		t.Error(err)
	}
	if shown, err := engine.Redact("say chat-secret"); shown != "say c...t" || err != nil {
		t.Error(shown, err)
	}
}

func TestLogin(t *testing.T) {
	ctx := context.Background()
	engine := lending(t)
	if _, err := engine.OAuth(ctx, "nobody", OAuthOptions{}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	flow, err := engine.OAuth(ctx, "openai-codex", OAuthOptions{ProfileID: "openai-codex:me"})
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	info, err := flow.Info()
	if err != nil || info.Provider != "openai-codex" || !strings.Contains(flow.URL(), flow.State()) {
		t.Errorf("%+v %v", info, err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := flow.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := flow.Complete(ctx, info.RedirectURI+"?code=c&state=other"); !errors.Is(err, ErrOAuth) {
		t.Error(err)
	}
	request, err := flow.Request(info.RedirectURI + "?code=the-code&state=" + flow.State())
	if err != nil || request.Method != "POST" || !strings.Contains(request.Body, "the-code") {
		t.Errorf("%+v %v", request, err)
	}
	login, err := flow.Accept(200, `{"access_token":"at-0123456789","refresh_token":"rt","expires_in":3600}`)
	if err != nil || login.ProfileID != "openai-codex:me" || login.ExpiresAt == 0 {
		t.Errorf("%+v %v", login, err)
	}
	token, err := engine.OAuthToken(ctx, "", "openai-codex:me", 0, false)
	if err != nil || token.Access() != "at-0123456789" || strings.Contains(fmt.Sprintf("%+v %#v", token, token), "at-0") {
		t.Errorf("%+v %v", token, err)
	}
	if _, err := engine.OAuthToken(ctx, "", "openai-codex:me", 0, true); !errors.Is(err, ErrNetwork) {
		t.Error(err)
	}
	if _, err := engine.OAuthUnauthorized(ctx, "", "openai-codex:me", token.Access()); !errors.Is(err, ErrNetwork) {
		t.Error(err)
	}
	if _, err := engine.OAuthLink(ctx, "", "codex-cli"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if providers, err := engine.OAuthProviders(); err != nil || len(providers) == 0 {
		t.Error(providers, err)
	}
	flow.Close()
	if _, err := flow.Info(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
