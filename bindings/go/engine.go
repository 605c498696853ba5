package openclawauth

import (
	"context"
	"encoding/json"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
)

// Engine holds everything that belongs to one configuration, and keeps it current.
type Engine struct {
	// Held for reading while the library uses the handle, so that Close waits for it.
	mu      sync.RWMutex
	handle  *engineHandle
	cleanup runtime.Cleanup
	logger  *slog.Logger
	filter  atomic.Pointer[filter]
}

// Open reads the configuration and resolves every active secret. It fails with everything that is
// wrong, or the engine is complete. When ctx ends first, Open returns its error; programs that are
// running are not interrupted, and what they bring is thrown away.
func Open(ctx context.Context, config Config) (*Engine, error) {
	handle, err := await(ctx, func() (*engineHandle, error) { return openEngine(&config) }, freeEngine)
	if err != nil {
		return nil, err
	}
	engine := &Engine{handle: handle, logger: config.Logger}
	engine.cleanup = runtime.AddCleanup(engine, freeLost, handle)
	engine.log()
	return engine, nil
}

// freeLost frees an engine that nobody closed. A variable, so that a test can count.
var freeLost = freeEngine

// Close gives the engine back; snapshots stay valid. Calls that are running end first. The second
// Close does nothing. An engine that nobody can reach any more is closed by the garbage collector.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.handle != nil {
		e.cleanup.Stop()
		freeEngine(e.handle)
		e.handle = nil
	}
	return nil
}

// Reload reads and resolves everything again and swaps it in as one. On failure the last good
// snapshot stays in use, and [Engine.Degraded] says so. When ctx ends first, Reload returns its
// error, and the reload goes on by itself.
func (e *Engine) Reload(ctx context.Context) (Report, error) {
	return await(ctx, func() (Report, error) {
		var report Report
		err := e.with(func(handle *engineHandle) error {
			text, err := reloadEngine(handle)
			if err != nil {
				return err
			}
			return json.Unmarshal([]byte(text), &report)
		})
		e.log()
		return report, err
	}, func(Report) {})
}

// Generation numbers what is in use, from 1 up; 0 after Close.
func (e *Engine) Generation() (generation uint64) {
	_ = e.with(func(handle *engineHandle) error {
		generation = generationOf(handle)
		return nil
	})
	return generation
}

// Degraded reports whether the last reload failed, so that older secrets are in use.
func (e *Engine) Degraded() bool {
	degraded := true
	_ = e.with(func(handle *engineHandle) error {
		degraded = isDegraded(handle)
		return nil
	})
	return degraded
}

// FilesChanged reports whether a file behind the configuration has changed since it was last
// loaded. Call it from a ticker, and [Engine.Reload] when it says yes.
func (e *Engine) FilesChanged() (changed bool, err error) {
	err = e.with(func(handle *engineHandle) error {
		changed, err = filesChanged(handle)
		return err
	})
	return changed, err
}

// Secret is the secret at a configuration path, such as "models.providers.openai.apiKey", in the
// current generation. Whoever needs several that belong together takes a [Engine.Snapshot].
func (e *Engine) Secret(path string) (string, error) {
	snapshot, err := e.Snapshot()
	if err != nil {
		return "", err
	}
	defer snapshot.Close()
	return snapshot.Secret(path)
}

// NextEvent takes the oldest event that waits. With [Config.Logger] there are none left.
func (e *Engine) NextEvent() (event Event, ok bool, err error) {
	err = e.with(func(handle *engineHandle) error {
		text, found, err := nextEvent(handle)
		if err != nil || !found {
			return err
		}
		ok = true
		return json.Unmarshal([]byte(text), &event)
	})
	return event, ok, err
}

// log hands the events that wait to the logger.
func (e *Engine) log() {
	if e.logger == nil {
		return
	}
	for {
		event, ok, err := e.NextEvent()
		if err != nil || !ok {
			return
		}
		level := slog.LevelInfo
		if event.Level == "warn" {
			level = slog.LevelWarn
		}
		e.logger.Log(context.Background(), level, event.Message,
			slog.String("code", event.Code), slog.Uint64("generation", event.Generation),
			slog.Any("changedOwners", event.ChangedOwners))
	}
}

// with runs a call on the handle, which stays valid meanwhile.
func (e *Engine) with(call func(*engineHandle) error) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.handle == nil {
		return ErrClosed
	}
	return call(e.handle)
}

// await runs a call that cannot be interrupted, and leaves it behind when ctx ends.
func await[T any](ctx context.Context, call func() (T, error), discard func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if ctx.Done() == nil {
		return call()
	}
	done := make(chan result, 1)
	go func() {
		value, err := call()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				discard(r.value)
			}
		}()
		return none, ctx.Err()
	}
}
