//go:build cgo

package openclawauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

type profilesVectors struct {
	Now   uint64
	Cases []struct {
		ID                string
		Env               map[string]string
		Config            json.RawMessage
		Store, StoreLater json.RawMessage
		Steps             []profilesStep
	}
}

type profilesStep struct {
	Op, Provider, Model, Agent, Session, Profile, Prefer string
	As, On, Message, Shown, What                         string
	Models                                               []string
	NewSession                                           bool `json:"new_session"`
	CompactionCount                                      int  `json:"compaction_count"`
	Ms                                                   uint64
	Signal                                               profilesSignal
	Value                                                Session
	Expect                                               json.RawMessage
}

type profilesSignal struct {
	Status                     int
	Code, Kind, Message, Body  string
	Headers                    map[string]string
	Transport, Provider, Model string
	Reason                     Reason
}

func (s *profilesSignal) outcome() Outcome {
	header := http.Header{}
	for name, value := range s.Headers {
		header.Set(name, value)
	}
	return Outcome{
		Failed: true, Reason: s.Reason, Status: s.Status, Transport: s.Transport, Message: s.Message,
		Body: []byte(s.Body), Code: s.Code, Type: s.Kind, Header: header,
	}
}

func TestProfilesVectors(t *testing.T) {
	text, err := os.ReadFile(vectors + "profiles.json")
	if err != nil {
		t.Fatal(err)
	}
	var all profilesVectors
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Cases) < 200 {
		t.Error("too few")
	}
	for _, c := range all.Cases {
		state := t.TempDir()
		w := &profilesWorld{store: filepath.Join(state, "agents/main/agent/auth-profiles.json"), leases: map[string]*Lease{}}
		w.write(t, c.Store)
		config := Config{ConfigText: string(c.Config), StateDir: state, Env: c.Env, NoProcessEnv: true, manualClock: all.Now}
		if config.ConfigText == "" {
			config.ConfigText = "{}"
		}
		w.engine = open(t, config)
		w.write(t, c.StoreLater)
		for number, step := range c.Steps {
			if err := w.step(&step); err != nil {
				t.Errorf("%s step %d %s: %v", c.ID, number, step.Op, err)
				break
			}
		}
		for _, lease := range w.leases {
			lease.Close()
		}
		w.engine.Close()
	}
}

type profilesWorld struct {
	store  string
	engine *Engine
	leases map[string]*Lease
}

func (w *profilesWorld) write(t *testing.T, content json.RawMessage) {
	if content == nil {
		return
	}
	err := errors.Join(os.MkdirAll(filepath.Dir(w.store), 0o700), os.WriteFile(w.store, content, 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

func (w *profilesWorld) step(s *profilesStep) error {
	e := w.engine
	switch s.Op {
	case "advance":
		return advance(e.handle, s.Ms)
	case "flush":
		done, err := e.Flush()
		return same(done, true, err)
	case "eligibility":
		word, err := e.Eligibility("", s.Profile, s.Provider)
		return matches(s.Expect, word, err)
	case "order":
		order, err := e.ProfileOrder("", s.Provider, s.Model, s.Prefer)
		return matches(s.Expect, order.Effective, err)
	case "env":
		keys, err := e.Keys(s.Provider)
		shown := []string{}
		for _, key := range keys {
			shown = append(shown, key.ID+" "+string(key.Kind))
		}
		return matches(s.Expect, shown, err)
	case "keys":
		return matches(s.Expect, w.keys(s.Provider), nil)
	case "classify":
		// The library tells more than the Go struct.
		outcome := s.Signal.outcome()
		text, err := classify(e.handle, s.Signal.Provider, s.Signal.Model, &outcome)
		return matches(s.Expect, json.RawMessage(text), err)
	case "lease":
		return w.lease(s)
	case "fail":
		return w.fail(s)
	case "succeed":
		verdict, err := w.leases[s.On].Report(Outcome{})
		var want struct{ Error string }
		_ = json.Unmarshal(s.Expect, &want)
		return same(codeOf(err)+fmt.Sprint(verdict.Kind), want.Error+"0", nil)
	case "release":
		return w.leases[s.On].Close()
	case "record":
		text, err := os.ReadFile(w.store)
		if err != nil {
			return err
		}
		var store struct{ UsageStats map[string]json.RawMessage }
		err = json.Unmarshal(text, &store)
		return matches(s.Expect, store.UsageStats[s.Profile], err)
	case "events":
		return w.events(s)
	case "set_session":
		return e.SetSession(s.Session, s.Value)
	case "session":
		var want Session
		if err := json.Unmarshal(s.Expect, &want); err != nil {
			return err
		}
		if want.Profile != "" && want.ProfileSource == "" {
			want.ProfileSource = "user"
		}
		found, err := e.Session(s.Session)
		return same(found, want, err)
	case "chat":
		return w.chat(s)
	case "clear":
		return e.ClearCooldown(context.Background(), "", s.Profile, s.What)
	}
	return errors.New("unknown step")
}

// keys are those of a provider as rotation finds them.
func (w *profilesWorld) keys(provider string) []string {
	found := []string{}
	lease, err := w.engine.Lease(context.Background(), LeaseRequest{Provider: provider})
	if err != nil {
		return found
	}
	defer lease.Close()
	for lease.Secret() != "" {
		found = append(found, lease.Secret())
		if verdict, err := lease.Report(Outcome{Failed: true, Status: 429}); err != nil || verdict.Kind != Retry {
			break
		}
	}
	return found
}

func (w *profilesWorld) lease(s *profilesStep) error {
	lease, err := w.engine.Lease(context.Background(), LeaseRequest{
		Provider: s.Provider, Model: s.Model, Models: s.Models, Agent: s.Agent, Session: s.Session,
		Profile: s.Profile, NewSession: s.NewSession, CompactionCount: s.CompactionCount,
	})
	if err != nil {
		var failure *Error
		if !errors.As(err, &failure) {
			return err
		}
		found := map[string]any{}
		_ = json.Unmarshal(failure.Details, &found)
		found["error"], found["soonest"] = failure.Code, found["soonestAvailableAt"]
		if failure.RetryAfter > 0 {
			found["retryAfterMs"] = failure.RetryAfter.Milliseconds()
		}
		var want map[string]any
		if err := json.Unmarshal(s.Expect, &want); err != nil {
			return err
		}
		if part, ok := want["messageHas"].(string); ok && strings.Contains(failure.Message, part) {
			found["messageHas"] = part
		}
		return matches(s.Expect, found, nil)
	}
	name := s.As
	if name == "" {
		name = "l"
	}
	w.leases[name] = lease
	c := lease.Credential()
	text, err := leaseDocument(lease.handle, false)
	var found map[string]any
	if err := errors.Join(err, json.Unmarshal([]byte(text), &found)); err != nil {
		return err
	}
	metadata, err := lease.Metadata()
	skipped := []string{}
	for _, one := range metadata.Skipped {
		skipped = append(skipped, one.CandidateID+" "+one.Reason)
	}
	found["candidate"], found["credential"] = metadata.CandidateID, c.Secret()
	found["kind"], found["source"], found["skipped"] = c.Kind, c.Source, skipped
	return matches(s.Expect, found, err)
}

func (w *profilesWorld) fail(s *profilesStep) error {
	lease := w.leases[s.On]
	verdict, err := lease.Report(s.Signal.outcome())
	if err != nil {
		return err
	}
	var want map[string]any
	if err := json.Unmarshal(s.Expect, &want); err != nil {
		return err
	}
	if verdict.Kind == Retry {
		metadata, err := lease.Metadata()
		found := map[string]any{"retry": metadata.CandidateID, "switchedModel": metadata.SwitchedModel}
		if model := lease.Credential().Model; model != "" {
			found["model"] = model
		}
		if id, ok := want["retry"].(string); !ok || id == "" {
			// Any will do.
			found["retry"] = want["retry"]
		}
		return matches(s.Expect, found, err)
	}
	text, err := leaseDocument(lease.handle, true)
	end, err2 := lease.End()
	var found map[string]any
	if err := errors.Join(err, err2, json.Unmarshal([]byte(text), &found)); err != nil {
		return err
	}
	tried := slices.DeleteFunc(end.Attempts, func(a Attempt) bool { return a.Outcome != "failed" })
	last, _ := found["lastError"].(map[string]any)
	found["exhausted"], found["attempts"], found["soonest"] = end.Reason, len(tried), found["soonestAvailableAt"]
	found["lastStatus"], found["lastMessage"] = last["status"], last["message"]
	return matches(s.Expect, found, nil)
}

func (w *profilesWorld) events(s *profilesStep) error {
	// Looking at a store is what makes it report.
	_, _ = w.engine.ProfileOrder("", "a", "", "")
	seen := map[string]bool{}
	for {
		event, ok, err := w.engine.NextEvent()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		seen[event.Code] = true
	}
	var want []string
	if err := json.Unmarshal(s.Expect, &want); err != nil {
		return err
	}
	for _, code := range want {
		if !seen[code] {
			return fmt.Errorf("no %s in %v", code, seen)
		}
	}
	return nil
}

func (w *profilesWorld) chat(s *profilesStep) error {
	reply, err := w.engine.Chat("", s.Session, s.Message, s.Shown)
	var want *struct {
		Error, Message, Directive string
		Rest                      *string
		Session                   *Session
	}
	if err := json.Unmarshal(s.Expect, &want); err != nil {
		return err
	}
	var failure *Error
	switch {
	case errors.As(err, &failure):
		return same([2]string{failure.Code, failure.Message}, [2]string{want.Error, want.Message}, nil)
	case err != nil || reply == nil || want == nil:
		return same(reply == nil, want == nil, err)
	case want.Directive != reply.Directive, want.Rest != nil && *want.Rest != reply.Rest:
		return fmt.Errorf("%+v", reply)
	case want.Session != nil:
		return same(reply.Session, *want.Session, nil)
	}
	return nil
}

func codeOf(err error) string {
	var failure *Error
	if errors.As(err, &failure) {
		return failure.Code
	}
	return ""
}

func same[T any](found, want T, err error) error {
	if err == nil && !reflect.DeepEqual(found, want) {
		err = fmt.Errorf("%+v instead of %+v", found, want)
	}
	return err
}

// matches reports whether everything that is expected is there; null stands for nothing.
func matches(expect json.RawMessage, found any, err error) error {
	text, err2 := json.Marshal(found)
	var a, b any
	if err := errors.Join(err, err2, json.Unmarshal(expect, &a), json.Unmarshal(text, &b)); err != nil {
		return err
	}
	if !subset(a, b) {
		return fmt.Errorf("%s instead of %s", text, expect)
	}
	return nil
}

func subset(expect, found any) bool {
	switch expect := expect.(type) {
	case map[string]any:
		found, ok := found.(map[string]any)
		for key, value := range expect {
			ok = ok && subset(value, found[key])
		}
		return ok
	case []any:
		found, ok := found.([]any)
		return ok && slices.EqualFunc(expect, found, subset)
	}
	return reflect.DeepEqual(expect, found)
}
