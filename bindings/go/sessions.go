package openclawauth

import "encoding/json"

// Session is what is remembered about a conversation, with the keys of OpenClaw's session entries.
// Empty fields are not set.
type Session struct {
	Provider string `json:"providerOverride,omitempty"`
	Model    string `json:"modelOverride,omitempty"`
	Profile  string `json:"authProfileOverride,omitempty"`
	// ProfileSource is "user" or "auto".
	ProfileSource string `json:"authProfileOverrideSource,omitempty"`
	// ProfileCompactionCount says how often the session had been compacted when the profile was
	// chosen automatically.
	ProfileCompactionCount *int64 `json:"authProfileOverrideCompactionCount,omitempty"`
}

// ModelChoice is a model that can be selected.
type ModelChoice struct {
	Number  int      `json:"number"`
	Model   string   `json:"model"`
	Aliases []string `json:"aliases"`
	// Availability is "ok", "cooling 4m", "disabled 3h" or "missing".
	Availability string `json:"availability"`
	Current      bool   `json:"current"`
}

// ChatReply is what came of a message with a "/model" command.
type ChatReply struct {
	// Directive is "list", "pick", "reset", "select", "show" or "status".
	Directive string `json:"directive"`
	// Rest is the message without the command.
	Rest    string  `json:"rest"`
	Session Session `json:"session"`
	// Model and Profile are those in use now.
	Model         string `json:"model"`
	Profile       string `json:"profile"`
	ProfileSource string `json:"profileSource"`
	// Fingerprint of the list, for a later selection by number.
	Fingerprint string        `json:"fingerprint"`
	Models      []ModelChoice `json:"models"`
}

// Chat carries out the "/model ..." command in a message, if there is one; nil without. Pass only
// messages of people who may change the session. shown is the fingerprint of the list that the
// person saw; agent and shown may be empty. On failure the session has not changed.
func (e *Engine) Chat(agent, session, message, shown string) (reply *ChatReply, err error) {
	err = e.document(&reply, callChat, agent, session, message, shown)
	return reply, err
}

// Models lists the models that a session can select.
func (e *Engine) Models(agent, session string) (models []ModelChoice, err error) {
	err = e.document(&models, callModels, agent, session)
	return models, err
}

// Session tells what is remembered about a session.
func (e *Engine) Session(key string) (session Session, err error) {
	err = e.document(&session, callSession, key)
	return session, err
}

// SetSession replaces what is remembered about a session; the zero value forgets it.
func (e *Engine) SetSession(key string, session Session) error {
	text, err := json.Marshal(session)
	if err != nil {
		return err
	}
	return e.document(nil, callSetSession, key, string(text))
}

// ExportSessions is everything that is remembered about sessions, for [Engine.ImportSessions].
func (e *Engine) ExportSessions() (sessions json.RawMessage, err error) {
	err = e.document(&sessions, callExport)
	return sessions, err
}

// ImportSessions takes over what [Engine.ExportSessions] gave.
func (e *Engine) ImportSessions(sessions json.RawMessage) error {
	return e.document(nil, callImport, string(sessions))
}
