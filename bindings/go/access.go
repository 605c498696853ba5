package openclawauth

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Method says how a caller was authenticated.
type Method string

// Methods of authentication.
const (
	MethodNone         Method = "none"
	MethodToken        Method = "token"
	MethodPassword     Method = "password"
	MethodTrustedProxy Method = "trusted-proxy"
)

// Decision says whether a request may come in, and as whom. The zero value says no.
type Decision struct {
	// Allowed reports whether the request may come in.
	Allowed bool
	// Method is how the caller was authenticated, if allowed.
	Method Method
	// User is whom a trusted proxy named; empty for the other methods.
	User string
	// ClientIP is the client behind the proxies; the zero value if unknown, never a guess.
	ClientIP netip.Addr
	// PeerIP is the other end of the connection; the zero value if unknown.
	PeerIP netip.Addr
	// LocalPeer reports that the peer is on this host and nobody seems to be behind it.
	LocalPeer bool
	// Generation numbers the rules that decided.
	Generation uint64

	// Code of the refusal, stable, for example "token_missing".
	Code string
	// Reason is a stable word that tells more than the code; often empty.
	Reason string
	// Header is the configured header that the refusal is about; it may be empty.
	Header string
	// HTTPStatus to answer a refusal with.
	HTTPStatus int
	// WebSocketCloseCode to close an open WebSocket with.
	WebSocketCloseCode int
	// Challenge asks for a WWW-Authenticate header.
	Challenge bool
	// HideReason asks to send the status only.
	HideReason bool
	// Penalty is the time to wait before the refusal is sent.
	Penalty time.Duration
	// RetryAfter is the time until another attempt makes sense; 0 for none.
	RetryAfter time.Duration
}

// refusal is for requests that cannot be judged, as after Close.
var refusal = Decision{Code: "internal_error", HTTPStatus: 500, WebSocketCloseCode: 1011}

// Header is one header line, as received.
type Header struct {
	Name  string
	Value string
}

// Facts is what is known of a request that is no [http.Request].
type Facts struct {
	// Remote is the address of the peer, with or without port.
	Remote string
	// Local is the own address of the connection; it may be empty.
	Local string
	// Headers are the lines in the order of arrival, repeated ones too.
	Headers []Header
	// Token and Password were given by other means than headers. When both are empty, the headers
	// are looked at.
	Token, Password string
	// WebSocket says that the request asks for an upgrade to one.
	WebSocket bool
	// TLS says that the program itself terminated TLS on the connection.
	TLS bool
}

// Authorize judges a request by the current generation. It looks at r.RemoteAddr, the header lines,
// r.Host and r.TLS, does not wait, and allocates nothing but the user's name.
//
// Do not let another middleware rewrite r.RemoteAddr first: the decision rests on who is really at
// the other end.
func (e *Engine) Authorize(r *http.Request) Decision {
	return e.judge(func(p *packer, f *filter) {
		p.start(r.RemoteAddr, "", "")
		p.local(r)
		p.header("Host", r.Host)
		webSocket := false
		for name, values := range r.Header {
			if f.wants(name) {
				for _, value := range values {
					p.header(name, value)
				}
			}
			webSocket = webSocket || (name == "Upgrade" && asksForWebSocket(values))
		}
		p.connection(webSocket, r.TLS != nil)
	})
}

// AuthorizeFacts judges what is known of a request; nil means that nothing is known.
func (e *Engine) AuthorizeFacts(facts *Facts) Decision {
	if facts == nil {
		decision := refusal
		_ = e.with(func(handle *engineHandle) error {
			decision = Decision{}
			authorizeNothing(handle, &decision)
			return nil
		})
		return decision
	}
	return e.judge(func(p *packer, _ *filter) {
		p.start(facts.Remote, facts.Token, facts.Password)
		p.text(localLen, facts.Local)
		for _, line := range facts.Headers {
			p.header(line.Name, line.Value)
		}
		p.connection(facts.WebSocket, facts.TLS)
	})
}

// judge packs and judges. The filter belongs to a generation: after a reload it judges once more.
func (e *Engine) judge(pack func(*packer, *filter)) Decision {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.handle == nil {
		return refusal
	}
	p := packers.Get().(*packer)
	defer p.release()
	var decision Decision
	for {
		f := e.currentFilter()
		pack(p, f)
		authorizePacked(e.handle, p, &decision)
		if decision.Generation == f.generation || decision.Generation == 0 {
			return decision
		}
		decision = Decision{}
		e.filter.CompareAndSwap(f, nil)
	}
}

func (e *Engine) currentFilter() *filter {
	if f := e.filter.Load(); f != nil {
		return f
	}
	f := newFilter(wantedHeaders(e.handle))
	e.filter.Store(f)
	return f
}

func asksForWebSocket(values []string) bool {
	for _, value := range values {
		if strings.EqualFold(value, "websocket") {
			return true
		}
	}
	return false
}

// packer lays the facts end to end, as oca_authorize_packed takes them.
type packer struct {
	bytes       []byte
	lens        []uint32
	kind, flags uint32
}

var packers = sync.Pool{New: func() any {
	return &packer{bytes: make([]byte, 0, 1024), lens: make([]uint32, 0, 64)}
}}

const (
	absentLen = ^uint32(0)
	// Place of the own address among the lengths. It lies second, so it is packed second.
	localLen = 1
)

// start puts remote and, for later, room for the own address and the credentials.
func (p *packer) start(remote, token, password string) {
	p.wipe()
	p.lens = append(p.lens[:0], absentLen, absentLen, absentLen, absentLen)
	p.text(0, remote)
	p.text(2, token)
	p.text(3, password)
}

// text puts one of the four texts in front; empty is absent. Those that lie behind are moved.
func (p *packer) text(place int, text string) {
	if text == "" {
		return
	}
	at := 0
	for _, length := range p.lens[:place] {
		if length != absentLen {
			at += int(length)
		}
	}
	p.lens[place] = uint32(len(text))
	p.bytes = append(p.bytes, text...)
	copy(p.bytes[at+len(text):], p.bytes[at:])
	copy(p.bytes[at:], text)
}

// local puts the own address of the connection, when the server says it.
func (p *packer) local(r *http.Request) {
	address, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return
	}
	before := len(p.bytes)
	p.bytes = address.AddrPort().AppendTo(p.bytes)
	p.lens[localLen] = uint32(len(p.bytes) - before)
}

func (p *packer) header(name, value string) {
	p.bytes = append(append(p.bytes, name...), value...)
	p.lens = append(p.lens, uint32(len(name)), uint32(len(value)))
}

func (p *packer) connection(webSocket, tls bool) {
	p.kind, p.flags = 0, 0
	if webSocket {
		p.kind = 1
	}
	if tls {
		p.flags = 1
	}
}

// wipe empties the buffer, which may hold a token.
func (p *packer) wipe() {
	clear(p.bytes)
	p.bytes = p.bytes[:0]
}

// release gives the packer back.
func (p *packer) release() {
	p.wipe()
	if cap(p.bytes) <= 64<<10 {
		packers.Put(p)
	}
}
