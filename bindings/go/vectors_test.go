//go:build cgo

package openclawauth

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const vectors = "../../tests/vectors/"

// The examples of access decisions that every language runs.
type accessVectors struct {
	Decisions []struct {
		ID         string
		Config     json.RawMessage
		Env        map[string]string
		Request    *facts
		Interfaces []string
		Fails      bool `json:"interfaceDiscoveryFails"`
		Expect     struct {
			OK                   bool
			Method, Code, Header *string
			User, Reason         *string
			ClientIP             *string
			Status               *int
		}
	}
	Limiter []struct {
		ID        string
		RateLimit json.RawMessage
		Config    map[string]map[string]json.RawMessage
		Steps     []struct {
			T          uint64
			Remote     string
			Cred       *string
			Headers    [][2]string
			Code       string
			RetryAfter *int
		}
	}
}

type facts struct {
	Remote, Local, Kind string
	Headers             [][2]string
	Credentials         *struct{ Token, Password string }
}

func (f *facts) facts() *Facts {
	if f == nil {
		return nil
	}
	facts := &Facts{Remote: f.Remote, Local: f.Local, WebSocket: f.Kind == "websocket"}
	for _, line := range f.Headers {
		// One character stands for one byte.
		value := make([]byte, 0, len(line[1]))
		for _, c := range line[1] {
			value = append(value, byte(c))
		}
		facts.Headers = append(facts.Headers, Header{line[0], string(value)})
	}
	if f.Credentials != nil {
		facts.Token, facts.Password = f.Credentials.Token, f.Credentials.Password
	}
	return facts
}

func readAccess(t *testing.T) (vectors_ accessVectors) {
	t.Helper()
	text, err := os.ReadFile(vectors + "access.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &vectors_); err != nil {
		t.Fatal(err)
	}
	return vectors_
}

func TestAccessVectors(t *testing.T) {
	ran, skipped := 0, 0
	for _, v := range readAccess(t).Decisions {
		// The list of this host's own addresses cannot be replaced from here.
		if len(v.Interfaces) > 0 || v.Fails {
			skipped++
			continue
		}
		ran++
		engine, err := Open(context.Background(), Config{
			ConfigText: string(v.Config), Env: v.Env, NoProcessEnv: true, RequireAccess: true,
		})
		if err != nil {
			// Settings with which no engine opens are refused with the same code.
			if v.Expect.Status == nil || *v.Expect.Status != 500 || !errors.Is(err, &Error{Code: *v.Expect.Code}) {
				t.Errorf("%s: %v", v.ID, err)
			}
			continue
		}
		d := engine.AuthorizeFacts(v.Request.facts())
		_ = engine.Close()
		client := ""
		if d.ClientIP.IsValid() {
			client = d.ClientIP.String()
		}
		same := func(name, found string, expected *string) {
			if expected != nil && found != *expected {
				t.Errorf("%s: %s is %q: %+v", v.ID, name, found, d)
			}
		}
		if d.Allowed != v.Expect.OK {
			t.Errorf("%s: %+v", v.ID, d)
		}
		same("method", string(d.Method), v.Expect.Method)
		same("user", d.User, v.Expect.User)
		same("client", client, v.Expect.ClientIP)
		same("code", d.Code, v.Expect.Code)
		same("header", d.Header, v.Expect.Header)
		same("reason", d.Reason, v.Expect.Reason)
		if v.Expect.Status != nil && d.HTTPStatus != *v.Expect.Status {
			t.Errorf("%s: %+v", v.ID, d)
		}
	}
	t.Logf("%d ran, %d skipped", ran, skipped)
	if ran < 200 {
		t.Error("too few ran")
	}
}

func TestLimiterVectors(t *testing.T) {
	for _, v := range readAccess(t).Limiter {
		var auth map[string]any
		if err := json.Unmarshal(v.Config["gateway"]["auth"], &auth); err != nil {
			t.Fatal(err)
		}
		auth["rateLimit"] = v.RateLimit
		v.Config["gateway"]["auth"], _ = json.Marshal(auth)
		config, err := json.Marshal(v.Config)
		if err != nil {
			t.Fatal(err)
		}
		engine := open(t, Config{ConfigText: string(config), NoProcessEnv: true, manualClock: 1790000000000})
		now := uint64(0)
		for _, step := range v.Steps {
			if err := advance(engine.handle, step.T-now); err != nil {
				t.Fatal(err)
			}
			now = step.T
			f := (&facts{Remote: step.Remote, Headers: step.Headers}).facts()
			if step.Cred != nil {
				f.Token = "not the token at all"
				if *step.Cred == "good" {
					f.Token = auth["token"].(string)
				}
			}
			d := engine.AuthorizeFacts(f)
			code := d.Code
			if d.Allowed {
				code = "ok"
			}
			wait := 0
			if step.RetryAfter != nil {
				wait = *step.RetryAfter
			}
			if code != step.Code || int((d.RetryAfter+999e6)/1e9) != wait {
				t.Errorf("%s at %d: %+v", v.ID, now, d)
			}
		}
	}
}

// Examples of parts that are not built yet.
var later = map[string]bool{
	"P01": true, "P02": true, "P03": true, "P04": true, "P05": true, "T08": true,
}

type secretsVector struct {
	ID, Op          string
	Env             map[string]string
	Files           map[string]struct{ Text, SymlinkTo, Mode *string }
	Exec            map[string]struct{ Sh, Mode *string }
	Config          json.RawMessage
	WorkspaceDotenv *string
	Then            struct {
		Error    string
		Failures []any
		Values   map[string]json.RawMessage
		Inactive map[string]string
		Line     *int
		Column   *int
		Reason   *string
	}
}

func TestSecretsVectors(t *testing.T) {
	file, err := os.Open(vectors + "secrets.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	saved := os.Environ()
	defer func() {
		os.Clearenv()
		for _, variable := range saved {
			name, value, _ := strings.Cut(variable, "=")
			os.Setenv(name, value)
		}
	}()
	defer syscall.Umask(syscall.Umask(0o022))
	ran := 0
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v secretsVector
		home, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(lines.Text(), "%H%", home)
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if (v.Op == "load" || v.Op == "activate") && !later[v.ID] {
			ran++
			v.prepare(t, home)
			v.run(t)
		}
	}
	t.Logf("%d ran", ran)
	if ran < 180 {
		t.Error("too few ran")
	}
}

func (v *secretsVector) prepare(t *testing.T, home string) {
	write := func(path, text string, mode *string, usual os.FileMode) {
		if mode != nil {
			bits, err := strconv.ParseUint(*mode, 8, 32)
			if err != nil {
				t.Fatal(err)
			}
			usual = os.FileMode(bits)
		}
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, usual))
		if err != nil {
			t.Fatal(err)
		}
	}
	os.Clearenv()
	os.Setenv("HOME", home)
	os.Setenv("PATH", "/usr/bin:/bin")
	for name, value := range v.Env {
		os.Setenv(name, value)
	}
	for path, f := range v.Files {
		switch {
		case f.Text != nil:
			write(path, *f.Text, f.Mode, 0o600)
		default:
			_ = os.MkdirAll(filepath.Dir(path), 0o755)
			err := syscall.Mkfifo(path, 0o600)
			if f.SymlinkTo != nil {
				_ = os.Remove(path)
				err = os.Symlink(*f.SymlinkTo, path)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for path, program := range v.Exec {
		write(path, "#!/bin/sh\n"+*program.Sh+"\n", program.Mode, 0o700)
	}
	if v.Config != nil {
		write(filepath.Join(home, ".openclaw/openclaw.json"), string(v.Config), nil, 0o600)
	}
	if v.WorkspaceDotenv != nil {
		write(filepath.Join(home, ".env"), *v.WorkspaceDotenv, nil, 0o600)
	}
}

func (v *secretsVector) run(t *testing.T) {
	engine, err := Open(context.Background(), Config{})
	if err != nil {
		v.failed(t, err)
		return
	}
	defer engine.Close()
	if v.Then.Error != "" {
		t.Errorf("%s: opens", v.ID)
	}
	for path, expected := range v.Then.Values {
		secret, err := engine.Secret(path)
		var want string
		if json.Unmarshal(expected, &want) != nil {
			// Objects come as compact JSON.
			if err != nil || !json.Valid([]byte(secret)) || secret[0] != expected[0] {
				t.Errorf("%s: %s: %v", v.ID, path, err)
			}
		} else if secret != want || err != nil {
			t.Errorf("%s: %s: %v", v.ID, path, err)
		}
	}
	for path := range v.Then.Inactive {
		if _, err := engine.Secret(path); !errors.Is(err, ErrSecret) {
			t.Errorf("%s: %s: %v", v.ID, path, err)
		}
	}
}

func (v *secretsVector) failed(t *testing.T, err error) {
	var failure *Error
	if !errors.As(err, &failure) || (v.Then.Error == "" && v.Then.Failures == nil) {
		t.Errorf("%s: %v", v.ID, err)
		return
	}
	type problem struct {
		Code, Severity, Reason string
		Line, Column           int
	}
	var details struct{ Failures, Issues []problem }
	if err := json.Unmarshal(failure.Details, &details); err != nil {
		t.Fatal(err)
	}
	all := details.Failures
	for _, issue := range details.Issues {
		if issue.Severity == "error" {
			all = append(all, issue)
		}
	}
	if len(all) == 0 || (v.Then.Error != "" && !strings.EqualFold(all[0].Code, v.Then.Error)) {
		t.Errorf("%s: %v: %s", v.ID, err, failure.Details)
		return
	}
	first := all[0]
	if (v.Then.Line != nil && first.Line != *v.Then.Line) ||
		(v.Then.Column != nil && first.Column != *v.Then.Column) ||
		(v.Then.Reason != nil && first.Reason != *v.Then.Reason) {
		t.Errorf("%s: %s", v.ID, failure.Details)
	}
	if strings.Contains(err.Error()+string(failure.Details), "CANARY") {
		t.Errorf("%s: a secret in an error", v.ID)
	}
}
