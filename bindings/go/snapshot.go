package openclawauth

import (
	"encoding/json"
	"runtime"
	"sync"
)

// Snapshot is one generation: secrets that belong together. It is immutable, and outlives its
// engine. Secrets are copied out of it as Go strings, which Go cannot wipe.
type Snapshot struct {
	mu      sync.RWMutex
	handle  *snapshotHandle
	cleanup runtime.Cleanup
}

// Snapshot returns the current generation. Close it when the work is done.
func (e *Engine) Snapshot() (*Snapshot, error) {
	var handle *snapshotHandle
	err := e.with(func(engine *engineHandle) error {
		handle = snapshotOf(engine)
		return nil
	})
	if err != nil {
		return nil, err
	}
	snapshot := &Snapshot{handle: handle}
	snapshot.cleanup = runtime.AddCleanup(snapshot, freeSnapshot, handle)
	return snapshot, nil
}

// Close gives the snapshot back; its secrets are wiped with the last holder. The second Close does
// nothing.
func (s *Snapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle != nil {
		s.cleanup.Stop()
		freeSnapshot(s.handle)
		s.handle = nil
	}
	return nil
}

// Generation numbers the snapshot, from 1 up; 0 after Close.
func (s *Snapshot) Generation() (generation uint64) {
	_ = s.with(func(handle *snapshotHandle) error {
		generation = snapshotGeneration(handle)
		return nil
	})
	return generation
}

// Secret is the secret at a configuration path. [ErrSecret] means that its setting is not active,
// [ErrNotFound] that there is no secret.
func (s *Snapshot) Secret(path string) (secret string, err error) {
	err = s.with(func(handle *snapshotHandle) error {
		secret, err = secretAt(handle, path)
		return err
	})
	return secret, err
}

// SecretByRef is the secret of a reference "source:provider:id" that this generation resolved.
func (s *Snapshot) SecretByRef(reference string) (secret string, err error) {
	err = s.with(func(handle *snapshotHandle) error {
		secret, err = secretByRef(handle, reference)
		return err
	})
	return secret, err
}

// Diagnostics lists what loading noticed.
func (s *Snapshot) Diagnostics() (list []Diagnostic, err error) {
	err = s.with(func(handle *snapshotHandle) error {
		text, err := diagnosticsOf(handle)
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &list)
	})
	return list, err
}

func (s *Snapshot) with(call func(*snapshotHandle) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.handle == nil {
		return ErrClosed
	}
	return call(s.handle)
}
