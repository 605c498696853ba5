package openclawauth

import (
	"context"
	"encoding/json"
	"time"
)

// StatusReport is what `openclaw-auth models status --json` prints: the fields that programs ask
// for most, and the whole document in JSON.
type StatusReport struct {
	AgentID string `json:"agentId"`
	// DefaultModel as it is configured, and ResolvedDefault as "provider/model".
	DefaultModel    string `json:"defaultModel"`
	ResolvedDefault string `json:"resolvedDefault"`
	// JSON is the whole document.
	JSON json.RawMessage `json:"-"`
}

// Status reports models, credentials and how long they last, secrets masked; an empty agent means
// the default agent. It contacts nobody.
func (e *Engine) Status(agent string) (report StatusReport, err error) {
	if err = e.document(&report.JSON, callStatus, agent); err != nil {
		return report, err
	}
	return report, json.Unmarshal(report.JSON, &report)
}

// Check is what a status comes to.
type Check int

// What a status comes to.
const (
	// CheckOK: every credential is there and lasts.
	CheckOK Check = 0
	// CheckExpired: one has run out or is missing.
	CheckExpired Check = 1
	// CheckExpiring: one ends soon.
	CheckExpiring Check = 2
)

// CheckStatus says what [Engine.Status] comes to. within is how soon the end of a token counts as
// soon; 0 for a day.
func (e *Engine) CheckStatus(agent string, within time.Duration) (found Check, err error) {
	err = e.with(func(handle *engineHandle) error {
		number, err := statusCheck(handle, agent, uint64(max(within.Milliseconds(), 0)))
		found = Check(number)
		return err
	})
	return found, err
}

// DoctorOptions say how far [Engine.Doctor] goes. The zero value reads files only.
type DoctorOptions struct {
	// Agent to examine; all if empty.
	Agent string
	// AllowExec runs the programs of exec providers.
	AllowExec bool
	// AllowNetwork contacts token endpoints and the gateway.
	AllowNetwork bool
}

// DoctorReport is what examining an installation found.
type DoctorReport struct {
	OK            bool            `json:"ok"`
	ChecksRun     int             `json:"checksRun"`
	ChecksSkipped int             `json:"checksSkipped"`
	Findings      []DoctorFinding `json:"findings"`
}

// DoctorFinding is one thing that was found.
type DoctorFinding struct {
	CheckID   string `json:"checkId"`
	Severity  string `json:"severity"`
	Message   string `json:"message"`
	Path      string `json:"path"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	AgentID   string `json:"agentId"`
	Provider  string `json:"provider"`
	ProfileID string `json:"profileId"`
	FixHint   string `json:"fixHint"`
	// Fixable says that `openclaw-auth doctor --fix` can repair it.
	Fixable bool `json:"fixable"`
}

// Doctor examines the installation as it is on disk, and changes nothing. When ctx ends first, it
// returns the error of ctx.
func (e *Engine) Doctor(ctx context.Context, options DoctorOptions) (DoctorReport, error) {
	how := ""
	if options.AllowExec {
		how += "exec "
	}
	if options.AllowNetwork {
		how += "network"
	}
	return await(ctx, func() (report DoctorReport, err error) {
		err = e.document(&report, callDoctor, options.Agent, how)
		return report, err
	}, func(DoctorReport) {})
}
