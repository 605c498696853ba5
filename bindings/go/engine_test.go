//go:build cgo

package openclawauth

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const byProxy = `{
  gateway: { trustedProxies: ['10.0.0.1', '127.0.0.1'], auth: { mode: 'trusted-proxy',
    trustedProxy: { userHeader: 'x-forwarded-user' } } },
  models: { providers: { openai: { apiKey: '${OPENAI_API_KEY}' } } },
}`

var isolated = Config{
	ConfigText:   byProxy,
	Env:          map[string]string{"OPENAI_API_KEY": "sk-canary-0123456789"},
	NoProcessEnv: true,
}

func open(t testing.TB, config Config) *Engine {
	t.Helper()
	engine, err := Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	return engine
}

func TestSecretsAndSnapshots(t *testing.T) {
	engine := open(t, isolated)
	secret, err := engine.Secret("models.providers.openai.apiKey")
	if secret != "sk-canary-0123456789" || err != nil {
		t.Fatal(err)
	}
	snapshot, err := engine.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if byRef, err := snapshot.SecretByRef("env:default:OPENAI_API_KEY"); byRef != secret || err != nil {
		t.Error(err)
	}
	for path, want := range map[string]error{
		"no.such": ErrNotFound, "": ErrNotFound, "\xff": &Error{Code: "invalid_argument"},
	} {
		if _, err := snapshot.Secret(path); !errors.Is(err, want) {
			t.Errorf("%q: %v", path, err)
		}
	}
	_, err = snapshot.SecretByRef("env:default:OTHER")
	if !errors.Is(err, &Error{Code: "secret_ref_not_in_snapshot"}) {
		t.Error(err)
	}
	if _, err := snapshot.Diagnostics(); err != nil {
		t.Error(err)
	}
	// It outlives the engine.
	if err := engine.Close(); err != nil {
		t.Error(err)
	}
	if again, err := snapshot.Secret("models.providers.openai.apiKey"); again != secret || err != nil {
		t.Error(err)
	}
	if snapshot.Generation() != 1 || engine.Generation() != 0 {
		t.Error("generations")
	}
	_ = snapshot.Close()
	_ = snapshot.Close()
	if _, err := snapshot.Secret("x"); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	for text, want := range map[string]struct {
		class error
		code  string
		part  string
	}{
		"{ a: 1,\n b: }": {ErrConfig, "config_parse_error", `"line":2`},
		byProxy:          {ErrSecret, "secret_unresolved", "OPENAI_API_KEY"},
	} {
		_, err := Open(context.Background(), Config{ConfigText: text, NoProcessEnv: true})
		var failure *Error
		if !errors.As(err, &failure) || !errors.Is(err, want.class) {
			t.Fatalf("%v", err)
		}
		if failure.Code != want.code || !errors.Is(err, &Error{Code: want.code}) ||
			!strings.Contains(string(failure.Details), want.part) || failure.Timeout() {
			t.Errorf("%+v: %s", failure, failure.Details)
		}
		if errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), want.code) {
			t.Errorf("%v", err)
		}
	}
	_, err := Open(context.Background(), Config{ConfigText: "{}", RequireAccess: true, NoProcessEnv: true})
	if !errors.Is(err, &Error{Code: "token_missing_config"}) {
		t.Error(err)
	}
}

func TestReloadReadsFilesAgain(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "openclaw.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{ models: { providers: { p: { apiKey: 'one' } } } }")
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	engine := open(t, Config{ConfigPath: path, StateDir: folder, NoProcessEnv: true, Logger: logger})
	if changed, err := engine.FilesChanged(); changed || err != nil {
		t.Fatal(changed, err)
	}
	write("{ models: { providers: { p: { apiKey: 'the second' } } } }")
	if changed, err := engine.FilesChanged(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	report, err := engine.Reload(context.Background())
	if err != nil || report.Generation != 2 || report.PreviousGeneration != 1 ||
		len(report.ChangedPaths) != 1 || report.ChangedPaths[0] != "models.providers.p.apiKey" {
		t.Fatal(report, err)
	}
	write("{")
	if _, err := engine.Reload(context.Background()); !errors.Is(err, ErrConfig) || !engine.Degraded() {
		t.Fatal(err)
	}
	if secret, _ := engine.Secret("models.providers.p.apiKey"); secret != "the second" {
		t.Error("the last good snapshot is gone")
	}
	for _, want := range []string{
		"level=INFO msg=\"secrets are active (generation 1)\" code=SECRETS_ACTIVATED",
		"code=SECRETS_RELOADED generation=2", "level=WARN", "code=SECRETS_RELOADER_DEGRADED",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in\n%s", want, log.String())
		}
	}
	if _, ok, err := engine.NextEvent(); ok || err != nil {
		t.Error("the logger left an event")
	}
}

func TestEventsWaitWithoutALogger(t *testing.T) {
	engine := open(t, isolated)
	event, ok, err := engine.NextEvent()
	if !ok || err != nil || event.Code != "SECRETS_ACTIVATED" || event.Seq != 1 || event.At == 0 {
		t.Error(event, ok, err)
	}
	if _, ok, err := engine.NextEvent(); ok || err != nil {
		t.Error(ok, err)
	}
}

func TestContextEndsTheWait(t *testing.T) {
	slow := Config{
		ConfigText: `{ models: { providers: { p: { apiKey: { source: 'exec', provider: 'x', id: 'k' } } } },
		  secrets: { providers: { x: { source: 'exec', command: '/bin/sleep', args: ['2'], jsonOnly: false } } } }`,
		NoProcessEnv: true,
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := Open(ctx, slow); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if waited := time.Since(start); waited > time.Second {
		t.Error(waited)
	}
	if _, err := Open(ctx, isolated); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("an ended context opens")
	}
	slow.Deadline = 100 * time.Millisecond
	start = time.Now()
	if _, err := Open(context.Background(), slow); !errors.Is(err, ErrSecret) {
		t.Error(err)
	}
	if waited := time.Since(start); waited > 1500*time.Millisecond {
		t.Error(waited)
	}
	slow.NoExec = true
	if _, err := Open(context.Background(), slow); !errors.Is(err, ErrSecret) {
		t.Error(err)
	}
}

func TestCloseWaitsForCalls(t *testing.T) {
	engine := open(t, isolated)
	var group sync.WaitGroup
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				_, err := engine.Secret("models.providers.openai.apiKey")
				decision := engine.AuthorizeFacts(nil)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil || decision.Allowed {
					t.Error(err, decision)
					return
				}
			}
		}()
	}
	time.Sleep(20 * time.Millisecond)
	_ = engine.Close()
	group.Wait()
	_ = engine.Close()
	if _, err := engine.Reload(context.Background()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := engine.Snapshot(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if decision := engine.AuthorizeFacts(nil); decision.Allowed || decision.HTTPStatus != 500 {
		t.Error(decision)
	}
}

func TestLostEnginesAreFreed(t *testing.T) {
	const count = 20
	freed := make(chan struct{}, count)
	freeLost = func(handle *engineHandle) {
		freeEngine(handle)
		freed <- struct{}{}
	}
	defer func() { freeLost = freeEngine }()
	for range count {
		if _, err := Open(context.Background(), isolated); err != nil {
			t.Fatal(err)
		}
	}
	// One that is closed is not freed again.
	_ = open(t, isolated).Close()
	for got := 0; got < count; {
		runtime.GC()
		select {
		case <-freed:
			got++
		case <-time.After(5 * time.Second):
			t.Fatalf("%d of %d are freed", got, count)
		}
	}
	runtime.GC()
	select {
	case <-freed:
		t.Error("a closed engine is freed again")
	case <-time.After(20 * time.Millisecond):
	}
}
