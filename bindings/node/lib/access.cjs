'use strict';

const native = require('../native.cjs');
const { call, rebuilt } = require('./errors.cjs');

// Flags of a request.
const WEB_SOCKET = 1;
const TLS = 2;
const NO_REQUEST = 4;

// What a header line is to a decision; several may hold.
const WANTED = 1;
const UPGRADE = 2;
/** What HTTP/2 has instead of `Host`. */
const AUTHORITY = 4;

/** Most names that are remembered; more come from somebody who plays with them. */
const MOST_NAMES = 1000;

// Texts are packed one character for each byte.
const BEYOND_BYTES = /[^\0-\xff]/;

/** Whether a request may come in, and as whom. */
class Decision {
  constructor(allowed, generation) {
    this.allowed = allowed;
    this.generation = generation;
  }
}

/** Judges requests for one engine. Never throws: what cannot be judged is refused. */
class Access {
  #slot;
  /** The generation to which what follows belongs; -1 for none. */
  #generation = -1;
  #names = new Map();
  #exact = new Set();
  #prefixes = [];

  constructor(slot) {
    this.#slot = slot;
  }

  close() {
    this.#slot = 0;
    this.#generation = -1;
  }

  /** Judges a request of node:http, node:https or the compatible part of node:http2. */
  request(request) {
    const { socket } = request;
    const front = `${socket.remoteAddress ?? ''}\0${socket.localAddress ?? ''}\0\0\0`;
    return this.#judge(front, request.rawHeaders, socket.encrypted ? TLS : 0);
  }

  /** Judges facts that were put together by hand; null for a request of which nothing is known. */
  facts(facts) {
    if (facts === null) return this.#ask(NO_REQUEST, 0, '');
    const { front, raw } = flat(facts);
    return this.#judge(front, raw, (facts.webSocket ? WEB_SOCKET : 0) | (facts.tls ? TLS : 0));
  }

  /** The address of the client behind the trusted proxies, if it is known. */
  clientIp(facts) {
    const { front, raw } = flat(facts);
    let packed = front;
    for (const text of raw) packed += `${text}\0`;
    if (BEYOND_BYTES.test(packed)) return undefined;
    return call(native.clientIp, this.#slot, 4 + raw.length, packed) ?? undefined;
  }

  #judge(front, raw, flags) {
    for (;;) {
      if (this.#generation === -1) {
        try {
          this.#renew();
        } catch (error) {
          return fault(rebuilt(error), 500);
        }
      }
      let packed = front;
      let parts = 4;
      let asked = flags;
      for (let i = 0; i < raw.length; i += 2) {
        const name = raw[i];
        let kind = this.#names.get(name);
        if (kind === undefined) kind = this.#classify(name);
        if (kind === 0) continue;
        if (kind & WANTED) {
          packed += `${kind & AUTHORITY ? 'Host' : name}\0${raw[i + 1]}\0`;
          parts += 2;
        }
        if (kind & UPGRADE && raw[i + 1].toLowerCase() === 'websocket') asked |= WEB_SOCKET;
      }
      // That there are lines is a fact too.
      if (parts === 4 && raw.length > 0) {
        packed += `${raw[0]}\0\0`;
        parts += 2;
      }
      const decision = BEYOND_BYTES.test(packed) ? fault(NOT_BYTES, 400) : this.#ask(asked, parts, packed);
      // After a reload other names may count.
      if (decision.generation === this.#generation || decision.generation === 0) return decision;
      this.#generation = -1;
    }
  }

  #ask(flags, parts, packed) {
    let told;
    try {
      told = native.authorize(this.#slot, flags, parts, packed);
    } catch (error) {
      const failure = rebuilt(error);
      return fault(failure, failure.code === 'invalid_argument' ? 400 : 500);
    }
    const fields = told.split('\0');
    return fields[0] === '1' ? admission(fields) : refusal(fields);
  }

  #classify(name) {
    if (name === ':authority') return this.#remember(name, WANTED | AUTHORITY);
    // Look-alikes count as the name itself.
    const folded = name.toLowerCase().replace(/[^a-z0-9]/g, '-');
    const wanted = this.#exact.has(folded) || this.#prefixes.some((prefix) => folded.startsWith(prefix));
    return this.#remember(name, (wanted ? WANTED : 0) | (folded === 'upgrade' ? UPGRADE : 0));
  }

  #remember(name, kind) {
    if (this.#names.size >= MOST_NAMES) this.#names.clear();
    this.#names.set(name, kind);
    return kind;
  }

  #renew() {
    const [generation, wanted] = native.wantedHeaders(this.#slot).split('\0');
    this.#names.clear();
    this.#exact.clear();
    this.#prefixes = [];
    for (const name of wanted.split(',')) {
      if (name.endsWith('*')) this.#prefixes.push(name.slice(0, -1));
      else this.#exact.add(name);
    }
    this.#generation = Number(generation);
  }
}

/** Facts as the texts that are packed. */
function flat(facts) {
  const { remote, local, token, password, lines = [] } = facts;
  const front = `${remote ?? ''}\0${local ?? ''}\0${bytes(token)}\0${bytes(password)}\0`;
  const raw = [];
  for (const [name, value] of lines) raw.push(String(name), String(value));
  return { front, raw };
}

/** A secret may be any text; it is compared as UTF-8. */
function bytes(text) {
  return text ? Buffer.from(text, 'utf8').toString('latin1') : '';
}

function admission(fields) {
  const decision = new Decision(true, Number(fields[1]));
  decision.method = fields[2];
  decision.user = fields[6] || undefined;
  decision.clientIp = fields[4] || undefined;
  decision.peerIp = fields[5] || undefined;
  decision.localDirect = fields[3] === '1';
  return decision;
}

function refusal(fields) {
  const decision = new Decision(false, Number(fields[1]));
  decision.code = fields[2];
  decision.httpStatus = Number(fields[3]);
  decision.wsCloseCode = Number(fields[4]);
  decision.penaltyMs = Number(fields[5]);
  decision.retryAfterMs = Number(fields[6]) || undefined;
  decision.reason = fields[7] || undefined;
  decision.header = fields[8] || undefined;
  decision.challenge = fields[9] || undefined;
  decision.message = fields[10];
  decision.body = fields[11];
  return decision;
}

const NOT_BYTES = { code: 'invalid_argument', message: 'the request holds what is no header text' };

/** The refusal of what cannot be judged. */
function fault({ code, message }, status) {
  const type = status === 400 ? 'invalid_request_error' : 'server_error';
  const decision = new Decision(false, 0);
  decision.code = code;
  decision.httpStatus = status;
  decision.wsCloseCode = status === 500 ? 1011 : 1008;
  decision.penaltyMs = 0;
  decision.message = message;
  decision.body = JSON.stringify({ error: { message, type, code } });
  return decision;
}

module.exports = { Access, Decision };
