package openclawauth

import (
	"encoding/json"
	"log/slog"
	"time"
)

// Config says how to open an [Engine]. The zero value reads what OpenClaw reads:
// $OPENCLAW_CONFIG_PATH or ~/.openclaw/openclaw.json, and the environment of the process.
type Config struct {
	// ConfigPath is the configuration file. It is read again at every reload.
	ConfigPath string
	// ConfigText is the configuration itself, in JSON5, instead of a file.
	ConfigText string
	// StateDir is the state directory; $OPENCLAW_STATE_DIR or ~/.openclaw if empty.
	StateDir string
	// Env holds variables that win over those of the process.
	Env map[string]string
	// NoProcessEnv hides the environment of the process and .env: only Env is seen.
	NoProcessEnv bool
	// NoExec forbids providers to run programs.
	NoExec bool
	// NoNetwork forbids logins and refreshes to talk to providers.
	NoNetwork bool
	// ReadOnly creates and changes no file: the use of credentials is kept in memory.
	ReadOnly bool
	// Registry tells which settings of the program's own hold secrets: an object with rules,
	// activate, deactivate, plugins and envNames; see docs/secrets.md of the project.
	Registry json.RawMessage
	// StrictEnv makes a missing ${VAR} an error.
	StrictEnv bool
	// RequireAccess makes missing access settings an error, as a server wants it.
	RequireAccess bool
	// Deadline is the longest time that loading may take; 0 for no limit.
	Deadline time.Duration
	// Logger gets the events of the engine; nil keeps them for [Engine.NextEvent].
	Logger *slog.Logger

	// For tests: milliseconds since 1970 at which a clock stands that only they move.
	manualClock uint64
}

// settings is what the library takes as JSON.
func (c *Config) settings() (string, error) {
	settings := struct {
		StrictEnv     bool  `json:"strictEnv"`
		RequireAccess bool  `json:"requireAccess"`
		DeadlineMs    int64 `json:"deadlineMs,omitempty"`
	}{c.StrictEnv, c.RequireAccess, c.Deadline.Milliseconds()}
	text, err := json.Marshal(settings)
	return string(text), err
}

// Event is something that happened to an engine.
type Event struct {
	// Seq numbers the events from 1 up.
	Seq uint64 `json:"seq"`
	// Dropped counts the events before this one that nobody took in time.
	Dropped uint64 `json:"dropped"`
	// Level is "info" or "warn".
	Level string `json:"level"`
	// Code is stable, for example SECRETS_RELOADED.
	Code string `json:"code"`
	// At is the time in milliseconds since 1970.
	At int64 `json:"at"`
	// Generation is the one in use after the event.
	Generation uint64 `json:"generation"`
	// Message is one sentence.
	Message string `json:"message"`
	// Error is the failure that the event is about, as JSON; it may be nil.
	Error json.RawMessage `json:"error"`
	// ChangedOwners are the parts of the configuration whose secrets changed.
	ChangedOwners []string `json:"changedOwners"`
}

// Report is what a reload did.
type Report struct {
	// Generation is the one in use now.
	Generation uint64 `json:"generation"`
	// PreviousGeneration is the one before.
	PreviousGeneration uint64 `json:"previousGeneration"`
	// Unchanged says that there was nothing new, so that the generation stayed.
	Unchanged bool `json:"unchanged"`
	// ChangedPaths are the settings whose secret is new, changed, or became active or inactive.
	ChangedPaths []string `json:"changedPaths"`
	// ChangedOwners are the parts of the configuration to which they belong.
	ChangedOwners []string `json:"changedOwners"`
	// RemovedPaths are the settings that no longer hold a secret.
	RemovedPaths []string `json:"removedPaths"`
}

// Diagnostic is something that loading noticed.
type Diagnostic struct {
	// Code is stable.
	Code string `json:"code"`
	// Severity is "error", "warning" or "info"; it may be empty.
	Severity string `json:"severity"`
	// Path is the setting, if it is about one.
	Path string `json:"path"`
	// Message is one sentence.
	Message string `json:"message"`
}
