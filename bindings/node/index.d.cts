/// <reference types="node" />
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** The version of the package. */
export const version: string;

/** A value that is JSON. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Options of every method that gives a promise. */
export interface Abortable {
  /**
   * Ends waiting with the reason of the signal. Work that has begun goes on by itself; what it
   * brings is given back.
   */
  signal?: AbortSignal;
}

/** A failure with a stable code. Its message and details never hold a secret. */
export class OpenClawAuthError extends Error {
  readonly name: 'OpenClawAuthError';
  /** Stable; `docs/errors.md` of the project lists all. */
  readonly code: string;
  /** Which part refused: access, config, gateway, internal, oauth, routing, secret or store. */
  readonly class: string;
  /** What to do about it, if that is not obvious. */
  readonly hint: string | undefined;
  /** Whether trying again later may succeed. */
  readonly retryable: boolean;
  /** Milliseconds after which a new try can succeed. */
  readonly retryAfterMs: number | undefined;
  /** What the code refers to. */
  readonly details: { [key: string]: Json };
  toJSON(): { [key: string]: Json | undefined };
}

/** How to open an engine. Without settings it reads what OpenClaw reads. */
export interface EngineOptions {
  /** The configuration file; read again at every reload. */
  configPath?: string;
  /** The configuration itself, in JSON5. */
  configText?: string;
  /** The configuration itself. */
  config?: object;
  /** The state directory (default: `$OPENCLAW_STATE_DIR` or `~/.openclaw`). */
  stateDir?: string;
  /** Variables that win over those of the process; null takes one away. */
  env?: { [name: string]: string | null | undefined };
  /** Whether the environment of the process and `.env` are seen (default: true). */
  inheritEnv?: boolean;
  /** Whether providers may run programs (default: true). */
  allowExec?: boolean;
  /** Makes a missing `${VAR}` an error (default: false). */
  strictEnv?: boolean;
  /** Makes missing access settings an error, as a server wants it (default: false). */
  requireAccess?: boolean;
  /** Runs programs even if loading is bound to fail, so that all failures are seen. */
  runExecAlways?: boolean;
  /** Longest time that loading may take, in milliseconds. */
  deadlineMs?: number;
  /** Access settings that win over the configuration. */
  access?: { mode?: AuthMethod; token?: string; password?: string; port?: number };
  /** Further secret surfaces, as `addRules` takes them. */
  rules?: Json[];
  /** For tests: a clock that stands at this time, in milliseconds since 1970. */
  manualClock?: number;
  /** For tests: the addresses of this machine, or false when they cannot be found out. */
  ownAddresses?: string[] | false;
}

/** How a caller is authenticated. */
export type AuthMethod = 'none' | 'token' | 'password' | 'trusted-proxy';

/** The request may come in. */
export interface Admission {
  readonly allowed: true;
  /** Numbers the rules that decided. */
  readonly generation: number;
  readonly method: AuthMethod;
  /** Whom a trusted proxy named. */
  readonly user: string | undefined;
  /** The client behind the proxies; undefined when unknown, never a guess. */
  readonly clientIp: string | undefined;
  /** The other end of the connection. */
  readonly peerIp: string | undefined;
  /** The peer is on this machine and nobody seems to be behind it. */
  readonly localDirect: boolean;
}

/** The request may not come in. */
export interface Refusal {
  readonly allowed: false;
  /** Numbers the rules that decided; 0 when none could. */
  readonly generation: number;
  /** Stable, such as `token_missing`. */
  readonly code: string;
  /** A stable word that tells more than the code. */
  readonly reason: string | undefined;
  /** The configured header that the refusal is about. */
  readonly header: string | undefined;
  readonly httpStatus: number;
  /** Code to close an open WebSocket with. */
  readonly wsCloseCode: number;
  /** Milliseconds to wait before the answer. */
  readonly penaltyMs: number;
  readonly retryAfterMs: number | undefined;
  /** Value for `WWW-Authenticate`. */
  readonly challenge: string | undefined;
  /** One sentence; never a value of the request. */
  readonly message: string;
  /** The JSON body of the answer; tells nothing when `gateway.http.hideAuthReasons` says so. */
  readonly body: string;
}

/** Whether a request may come in, and as whom. */
export type Decision = Admission | Refusal;
/** The class of decisions, for `instanceof`. */
export const Decision: { readonly prototype: Decision; [Symbol.hasInstance](value: unknown): value is Decision };

/** What is known of a request that is none of node:http. */
export interface RequestFacts {
  /** Address of the peer, with or without port. */
  remote?: string;
  /** Own address of the connection. */
  local?: string;
  /** The header lines in the order of arrival, repeated ones too. One character for each byte. */
  lines?: Iterable<readonly [string, string]>;
  /** Given by other means than headers. */
  token?: string;
  password?: string;
  /** The request asks for an upgrade to a WebSocket (found by itself in the lines). */
  webSocket?: boolean;
  /** The program itself terminated TLS. */
  tls?: boolean;
}

/** The parts of a request of node:http that decisions look at. */
export type RawRequest = Pick<IncomingMessage, 'rawHeaders' | 'socket'>;

/** What a credential is wanted for: `provider`, perhaps with `model`, or `models`. */
export interface LeaseRequest {
  provider?: string;
  model?: string;
  /** Fallback chain of `provider/model`. */
  models?: string[];
  agent?: string;
  /** Session, for the profile that it sticks to. */
  session?: string;
  /** The session's pin when the caller keeps it, with the keys of `SessionEntry`. */
  pin?: SessionEntry;
  newSession?: boolean;
  compactionCount?: number;
  /** Only this profile. */
  profile?: string;
  /** This profile first, if it is available. */
  prefer?: string;
  exclude?: string[];
  /** Whether keys of the environment and the configuration count (default: true). */
  env?: boolean;
  probe?: 'auto' | 'force' | 'never';
  /** How long a token must be valid, in milliseconds. */
  minValidMs?: number;
  /** Whether tokens are refreshed when needed (default: true). */
  refresh?: boolean;
  maxAttempts?: number;
}

/** What became of an attempt. */
export interface Outcome {
  /** HTTP status; from 200 to 399 a success unless something else says otherwise. */
  status?: number;
  /** Headers of the answer. */
  headers?: Iterable<readonly [string, string]> | { [name: string]: string | string[] | undefined };
  /** The beginning of the body of a refusal. */
  body?: string | Uint8Array | object;
  /** Code, type and text of the error when the caller has parsed them. */
  code?: string;
  type?: string;
  message?: string;
  /** A failure below HTTP. */
  transport?: 'cancelled' | 'connect' | 'dns' | 'reset' | 'timeout' | 'tls';
  /** What the caller knows already. */
  reason?: string;
  provider?: string;
  model?: string;
}

/** What a failure meant. */
export interface Classification {
  reason: string;
  scope: string;
  quota: boolean;
  rotatesKeys: boolean;
  rotatesProfiles: boolean;
  penalizes: boolean;
  retryAfterMs: number | null;
  retrySource: string | null;
  status: number | null;
  code: string | null;
  message: string;
  rule: string;
}

/** What a failure means, without a lease. `at` is the time in milliseconds since 1970 (default: now). */
export function classify(outcome: Outcome, at?: number): Classification;

/** One step of a chain. */
export interface Attempt {
  candidateId: string;
  provider: string;
  model: string | null;
  outcome: 'failed' | 'skipped';
  reason: string;
  status: number | null;
  code: string | null;
  rule: string | null;
  at: number;
  message: string;
}

/** What follows a report. */
export type Verdict =
  | { kind: 'done' }
  | { kind: 'retry'; delayMs: number; cause: Classification; candidateId: string }
  | {
      kind: 'exhausted';
      reason: string;
      retryable: boolean;
      soonestAvailableAt: number | null;
      retryAfterMs: number | null;
      advice: string;
      httpStatus: number;
      attempts: Attempt[];
      lastError: { status: number | null; code: string | null; message: string; rule: string };
      message: string;
    };

/** Everything about a lease but its secret. */
export interface LeaseInfo {
  leaseId: string;
  chainId: string;
  attempt: number;
  candidateId: string;
  profileId: string | null;
  provider: string;
  model: string | null;
  kind: CredentialKind;
  source: string;
  expiresAt: number | null;
  meta: {
    accountId: string | null;
    email: string | null;
    projectId: string | null;
    enterpriseUrl: string | null;
  };
  probe: boolean;
  warning: 'in_cooldown' | 'expires_soon' | null;
  skipped: Attempt[];
  switchedModel: boolean;
  acquiredAt: number;
}

/** Kinds of credentials. */
export type CredentialKind = 'api_key' | 'token' | 'oauth' | 'aws_sdk' | 'none';

/**
 * A credential, lent for one attempt. After the verdict `retry` it is the next one. Neither
 * printing it nor `JSON.stringify` shows the secret.
 */
export class Lease {
  private constructor();
  /** The secret; empty for kinds that need none. */
  get secret(): string;
  /** A copy of the secret that `close` overwrites. */
  secretBuffer(): Buffer;
  get id(): string;
  /** Identifies all leases of one request. */
  get chainId(): string;
  /** Number in the chain, from 1. */
  get attempt(): number;
  /** Such as `anthropic:work` or `env:OPENAI_API_KEYS#2`. */
  get candidateId(): string;
  get profileId(): string | undefined;
  get provider(): string;
  get model(): string | undefined;
  get kind(): CredentialKind;
  get source(): string;
  /** Account id of OAuth, for providers that want it in a header. */
  get accountId(): string | undefined;
  toJSON(): LeaseInfo;
  /**
   * Says what became of the attempt. A success is answered at once, a failure by a promise, because
   * the store may have to be written or a token refreshed: `await` is always right.
   */
  report(outcome: Outcome, options?: Abortable): Verdict | Promise<Verdict>;
  /** The same, blocking. */
  reportSync(outcome: Outcome): Verdict;
  /** Gives the credential back; without a report that says nothing about it. */
  close(): void;
  [Symbol.dispose](): void;
}

/** A secret surface of the configuration. */
export interface Surface {
  path: string;
  state: 'ready' | 'inactive';
  reason: string | null;
  origin: string;
  owners: string[];
  ref: string | null;
}

/** One generation: secrets and settings that belong together. */
export class Snapshot {
  private constructor();
  get generation(): number;
  /** Milliseconds since 1970. */
  get activatedAt(): number;
  /** The secret at a configuration path, such as `models.providers.openai.apiKey`. */
  secret(path: string): string;
  /** The secret of a reference, by its label `source:provider:id`. */
  secretRef(label: string): string;
  /** A setting that is not secret; undefined when it is not there. */
  value(path: string): Json | undefined;
  /** The configuration for showing, without secrets. */
  config(): Json;
  surfaces(): Surface[];
  /** Warnings about the configuration files. */
  issues(): { [key: string]: Json }[];
  /** What loading noticed. */
  diagnostics(): { [key: string]: Json }[];
  close(): void;
  [Symbol.dispose](): void;
}

/** What a reload did. */
export interface ReloadReport {
  generation: number;
  previousGeneration: number;
  unchanged: boolean;
  changedPaths: string[];
  changedOwners: string[];
  removedPaths: string[];
  warningCount: number;
  warnings: { [key: string]: Json }[];
  diagnostics: { [key: string]: Json }[];
  elapsedMs: number;
  providers: { source: string; provider: string; refs: number; runs: number; elapsedMs: number }[];
}

/** What loading a configuration would give. */
export interface PreflightReport {
  ok: boolean;
  error: { [key: string]: Json } | null;
  failures: { [key: string]: Json }[];
  notAttempted: Json[];
  diagnostics: { [key: string]: Json }[];
  warnings: { [key: string]: Json }[];
  activePaths: string[];
  inactivePaths: string[];
  refsChecked: number;
  skippedExecRefs: number;
}

/** Something that happened. */
export interface EngineEvent {
  /** From 1 up, without gaps but for `dropped`. */
  seq: number;
  dropped: number;
  level: 'info' | 'warn';
  /** Such as `SECRETS_RELOADED`. */
  code: string;
  at: number;
  generation: number;
  message: string;
  error: Json;
  changedOwners: string[];
}

/** What is remembered about a session, with the keys of OpenClaw. */
export interface SessionEntry {
  providerOverride?: string;
  modelOverride?: string;
  authProfileOverride?: string;
  authProfileOverrideSource?: 'auto' | 'user';
  authProfileOverrideCompactionCount?: number;
}

/** A model that can be selected. */
export interface ModelChoice {
  number: number;
  model: string;
  aliases: string[];
  /** `ok`, `cooling 4m`, `disabled 3h` or `missing`. */
  availability: string;
  current: boolean;
}

/** What came of a message with a `/model` directive. */
export interface ChatReply {
  directive: {
    kind: 'list' | 'other' | 'pick' | 'reset' | 'select' | 'show' | 'status';
    number: number | null;
    model: string | null;
    profile: string | null;
  };
  /** The message without the directive. */
  rest: string;
  session: SessionEntry;
  view: { [key: string]: Json };
}

/** A stored credential, without its secret. */
export interface ProfileInfo {
  id: string;
  provider: string;
  type: CredentialKind;
  masked: string;
  label: string | null;
  eligible: boolean;
  reasonCode: string;
  expiresAt: number | null;
  unavailableUntil: number | null;
  reason: string | null;
  models: { [model: string]: { until: number; reason: string | null } };
  errorCount: number;
  lastUsed: number | null;
  lastGood: boolean;
  owner: 'main' | 'own';
}

/** Every credential of an agent. */
export interface ProfileList {
  agentId: string;
  authStorePath: string;
  degraded: boolean;
  profiles: ProfileInfo[];
  rejected: { id: string; reason: string }[];
  env: { id: string; provider: string; kind: CredentialKind; masked: string | null; source: string }[];
}

/** Stored and effective order of a provider. */
export interface OrderInfo {
  agentId: string;
  agentDir: string | null;
  provider: string;
  authStorePath: string;
  order: string[] | null;
  effective: string[];
  source: string;
}

/** Models, credentials and how long they last: the document of `openclaw-auth models status`. */
export interface StatusReport {
  schemaVersion: number;
  configPath: string;
  agentId: string;
  agentDir: string;
  defaultModel: string;
  resolvedDefault: string;
  fallbacks: string[];
  imageModel: string | null;
  imageFallbacks: string[];
  aliases: { [alias: string]: string };
  allowed: string[];
  auth: {
    storePath: string;
    inherit: string;
    providersWithOAuth: string[];
    missingProvidersInUse: string[];
    providers: ({ provider: string } & { [key: string]: Json })[];
    unusableProfiles: { [key: string]: Json }[];
    oauth: { warnAfterMs: number; profiles: { [key: string]: Json }[]; providers: { [key: string]: Json }[] };
    shellEnvFallback: { enabled: boolean; appliedKeys: string[] };
  };
  check: { exitCode: number; reasons: Json[]; ignored: Json[] };
  hints: Json[];
  diagnostics: Json[];
}

interface StatusOptions {
  agent?: string;
  /** Only these providers (default: all). */
  providers?: string[];
  /** How soon the end of a token is worth a warning, in milliseconds (default: a day). */
  warnWithinMs?: number;
}

/** What is wrong with an installation: the document of `openclaw-auth doctor`. */
export interface DoctorReport {
  schemaVersion: number;
  ok: boolean;
  checksRun: number;
  checksSkipped: number;
  findings: {
    checkId: string;
    severity: string;
    message: string;
    path?: string;
    line?: number;
    column?: number;
    agentId?: string;
    provider?: string;
    profileId?: string;
    fixHint?: string;
    fixable: boolean;
  }[];
}

interface DoctorOptions {
  /** Only the store of this agent (default: all). */
  agent?: string;
  /** Only these checks (default: all). */
  only?: string[];
  skip?: string[];
  /** Also contacts token endpoints and the running gateway (default: nobody). */
  deep?: boolean;
  /** Runs programs of providers (default: none). */
  allowExec?: boolean;
}

/** A key or token to be stored. */
export interface NewProfile {
  agent?: string;
  /** By convention `provider:name`. */
  profile: string;
  provider: string;
  type?: 'api_key' | 'token';
  /** The secret, or else `ref`. */
  secret?: string;
  /** Where the secret is: a label `source:provider:id`. */
  ref?: string;
  /** End of a token, in milliseconds since 1970. */
  expiresAt?: number;
  email?: string;
  displayName?: string;
  replace?: boolean;
}

/** A sign-in that worked. */
export interface LoginDone {
  agentId: string;
  profileId: string;
  provider: string;
  type: 'oauth';
  email: string | null;
  accountId: string | null;
  expiresAt: number | null;
  storePath: string;
  warnings: string[];
  defaultModel: string | null;
}

/** An access token. */
export interface OauthToken {
  access: string;
  expiresAt: number | null;
  accountId: string | null;
  /** `stored`, `refreshed`, `adopted`, `peer` or `external:<program>`. */
  source: string;
  warning: { [key: string]: Json } | null;
}

/** How to sign in. */
export interface LoginOptions extends Abortable {
  agent?: string;
  profile?: string;
  /** Replaces a key or token of the same id. */
  replace?: boolean;
  timeoutMs?: number;
}

/** A sign-in that is under way. */
export class Login {
  private constructor();
  /** The address that a person opens in a browser. */
  get url(): string;
  get state(): string;
  get redirectUri(): string;
  get provider(): string;
  get label(): string;
  /** The addresses that are listened on; empty when only pasting is possible. */
  get addresses(): string[];
  /** Whether the person's browser is probably on another machine. */
  get isRemote(): boolean;
  get remainingMs(): number;
  get hasEnded(): boolean;
  get warnings(): string[];
  /** Waits for the browser; what it brings is for `complete`. */
  listen(options?: Abortable & { timeoutMs?: number }): Promise<string | undefined>;
  /** Exchanges the code in an address or pasted text, and stores the profile. */
  complete(address: string, options?: Abortable): Promise<LoginDone>;
  /** Waits for the browser and completes; undefined when nobody came in time. */
  finish(options?: Abortable & { timeoutMs?: number }): Promise<LoginDone | undefined>;
  /** The token request, for programs that send it themselves. It holds the code. */
  request(address: string): { method: string; url: string; headers: { [name: string]: string }; body: string };
  /** The answer to that request. */
  accept(status: number, body: string, options?: Abortable): Promise<LoginDone>;
  close(): void;
  [Symbol.dispose](): void;
}

interface OfAgent {
  /** Agent whose profiles are used (default: the default agent). */
  agent?: string;
}
interface OfProfile extends OfAgent {
  profile: string;
}
interface OfProvider extends OfAgent {
  provider: string;
}

/**
 * Everything that belongs to one configuration, kept current. Methods that may take time give a
 * promise and have a twin that blocks, for scripts.
 */
export class Engine {
  private constructor();
  /** Reads the configuration and resolves every active secret: fails with all reasons, or is complete. */
  static open(options?: EngineOptions & Abortable): Promise<Engine>;
  static openSync(options?: EngineOptions): Engine;
  /** The engine that another thread of this process has opened, by its `id`. */
  static attach(id: number): Engine;
  /** Examines an installation that need not be able to open. Changes nothing. */
  static doctor(installation?: EngineOptions, options?: DoctorOptions & Abortable): Promise<DoctorReport>;
  static doctorSync(installation?: EngineOptions, options?: DoctorOptions): DoctorReport;
  /** Tells threads of this process which engine it is; 0 after `close`. */
  get id(): number;
  /** The generation in use, from 1 up. */
  get generation(): number;
  /** Whether the last reload failed, so that older secrets are in use. */
  get degraded(): boolean;
  get leasesOut(): number;
  /** Gives the engine back; it goes when the last thread has done so. Snapshots and leases stay valid. */
  close(): void;
  [Symbol.dispose](): void;

  /** The secret at a configuration path, such as `models.providers.openai.apiKey`. */
  secret(path: string): string;
  snapshot(): Snapshot;

  /**
   * Judges a request of node:http by its raw header lines, or facts; without either nothing is
   * known. Never throws: what cannot be judged is refused.
   */
  authorize(request: RawRequest | RequestFacts | null | undefined): Decision;
  /** The address of the client behind the trusted proxies; undefined when unknown. */
  clientIp(request: RawRequest | RequestFacts): string | undefined;

  /** Lends a credential. */
  lease(request: LeaseRequest & Abortable): Promise<Lease>;
  leaseSync(request: LeaseRequest): Lease;
  /** A lease if there is one without waiting, else null: then `lease` finds out. */
  tryLease(request: LeaseRequest): Lease | null;

  /** Reads and resolves everything again and swaps it in as one, or keeps the last good secrets. */
  reload(options?: Abortable): Promise<ReloadReport>;
  reloadSync(): ReloadReport;
  /** The same from this JSON5 text, once. */
  reloadText(text: string, options?: Abortable): Promise<ReloadReport>;
  reloadTextSync(text: string): ReloadReport;
  /** Tries a configuration without using it; without a text the one on disk. */
  preflight(options?: { text?: string; allowExec?: boolean; paths?: string[] } & Abortable): Promise<PreflightReport>;
  preflightSync(options?: { text?: string; allowExec?: boolean; paths?: string[] }): PreflightReport;
  /** Reports models and credentials without contacting anybody. */
  status(options?: StatusOptions & Abortable): Promise<StatusReport>;
  statusSync(options?: StatusOptions): StatusReport;
  /** Examines the installation. Changes nothing. */
  doctor(options?: DoctorOptions & Abortable): Promise<DoctorReport>;
  doctorSync(options?: DoctorOptions): DoctorReport;
  /** Looks for plain secrets, references that do not resolve, and leftovers. */
  audit(options?: { allowExec?: boolean } & Abortable): Promise<{ [key: string]: Json }>;
  auditSync(options?: { allowExec?: boolean }): { [key: string]: Json };
  /** Every place that holds a secret; with `empty` also those that could. */
  targets(options?: { empty?: boolean } & Abortable): Promise<{ [key: string]: Json }[]>;
  targetsSync(options?: { empty?: boolean }): { [key: string]: Json }[];
  /** Puts back what was redacted in a document that `Snapshot.config` gave, for writing it. */
  restoreRedacted(config: Json, options?: Abortable): Promise<Json>;
  restoreRedactedSync(config: Json): Json;
  /** Whether a file behind the configuration has changed since it was loaded. */
  filesChanged(): boolean;
  /** For tests: moves the manual clock. */
  clockAdvance(ms: number): void;
  /** Takes the events that wait. */
  events(): EngineEvent[];
  /** Adds secret surfaces of the program's own; they count from the next reload. */
  addRules(rules: Json[]): void;
  /** Removes rules whose id starts so; how many there were. */
  removeRules(prefix: string): number;

  profiles(options?: OfAgent & { provider?: string } & Abortable): Promise<ProfileList>;
  profilesSync(options?: OfAgent & { provider?: string }): ProfileList;
  addProfile(profile: NewProfile & Abortable): Promise<void>;
  addProfileSync(profile: NewProfile): void;
  removeProfile(options: OfProfile & Abortable): Promise<void>;
  removeProfileSync(options: OfProfile): void;
  /** Whether a profile may be used for a provider: `ok` or why not. */
  eligibility(options: OfProfile & OfProvider & Abortable): Promise<string>;
  eligibilitySync(options: OfProfile & OfProvider): string;
  /** Stored and effective order of a provider. */
  order(options: OfProvider & Abortable): Promise<OrderInfo>;
  orderSync(options: OfProvider): OrderInfo;
  /** Sets the order of a provider; without profiles it is taken away. */
  setOrder(options: OfProvider & { profiles?: string[] } & Abortable): Promise<void>;
  setOrderSync(options: OfProvider & { profiles?: string[] }): void;
  /** The profiles in the order in which they would be tried now. */
  profileOrder(options: OfProvider & { model?: string; prefer?: string } & Abortable): Promise<string[]>;
  profileOrderSync(options: OfProvider & { model?: string; prefer?: string }): string[];
  /** Takes windows away from a profile, or from all. */
  clearCooldown(options?: OfAgent & { profile?: string; what?: 'all' | 'cooldown' | 'disabled' | 'models' } & Abortable): Promise<void>;
  clearCooldownSync(options?: OfAgent & { profile?: string; what?: 'all' | 'cooldown' | 'disabled' | 'models' }): void;
  /** The candidates of a provider beyond its profiles. */
  envCandidates(provider: string): { id: string; kind: CredentialKind }[];
  /** Writes usage that waits for the store; whether nothing is left. Call it before the end. */
  flush(options?: Abortable): Promise<boolean>;
  flushSync(): boolean;

  /** Carries out the `/model` directive in a message, if there is one. */
  chat(options: OfAgent & { session: string; message: string; shown?: string } & Abortable): Promise<ChatReply | undefined>;
  chatSync(options: OfAgent & { session: string; message: string; shown?: string }): ChatReply | undefined;
  models(options: OfAgent & { session: string } & Abortable): Promise<ModelChoice[]>;
  modelsSync(options: OfAgent & { session: string }): ModelChoice[];
  /** The models of a fallback chain. */
  modelChain(options?: OfAgent & { requested?: string; fallbacks?: string[] } & Abortable): Promise<string[]>;
  modelChainSync(options?: OfAgent & { requested?: string; fallbacks?: string[] }): string[];
  session(session: string): SessionEntry;
  setSession(session: string, entry: SessionEntry): void;
  exportSessions(): Json;
  importSessions(sessions: Json): void;

  /** Starts a sign-in at a provider. */
  oauth(provider: string, options?: LoginOptions): Promise<Login>;
  oauthProviders(): string[];
  /** The access token of a profile, refreshed when it is due. */
  oauthToken(profile: string, options?: OfAgent & { minValidMs?: number; force?: boolean } & Abortable): Promise<OauthToken>;
  oauthTokenSync(profile: string, options?: OfAgent & { minValidMs?: number; force?: boolean }): OauthToken;
  /** Another token than the one that the provider has just refused. */
  oauthUnauthorized(profile: string, token: string, options?: OfAgent & Abortable): Promise<OauthToken>;
  oauthUnauthorizedSync(profile: string, token: string, options?: OfAgent): OauthToken;
  /** Links a profile to the login of another program: `codex-cli`, `claude-cli`. */
  oauthLink(program: string, options?: OfAgent & Abortable): Promise<LoginDone>;
  oauthLinkSync(program: string, options?: OfAgent): LoginDone;
  /** Whether another program is signed in here. */
  externalLogin(program: string, options?: Abortable): Promise<boolean>;
  externalLoginSync(program: string): boolean;
}

/** Puts the credential of a lease into headers, where its provider wants it. */
export function applyCredential(headers: Headers, lease: Lease): void;

/** How `createFetch` leases. */
export interface FetchOptions extends LeaseRequest {
  /** Puts the credential into a request (default: `applyCredential`). */
  apply?: (headers: Headers, lease: Lease) => void;
  /** What sends (default: the global one). */
  fetch?: (request: Request) => Promise<Response>;
  /** The only origins that get the credential (default: all that this fetch is asked for). */
  origins?: string[];
  /** Reasons for which the next credential is tried (default: `['rate_limit']`). */
  rotateOn?: string[];
}

/**
 * A `fetch` that sends each request with a leased credential, and again with the next one when the
 * provider says that the limit of this one is reached. Answers are streamed.
 */
export function createFetch(engine: Engine, options: FetchOptions): typeof globalThis.fetch;

/** A request that was let through. */
export type Authorized<R> = R & { openclawAuth: Admission };

/** Middleware for Express and Connect; the decision is `request.openclawAuth`. Put it first. */
export function middleware(
  engine: Engine,
): (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;

/** A listener of node:http whose handler sees only requests that may come in. */
export function guard(
  engine: Engine,
  handler: (request: Authorized<IncomingMessage>, response: ServerResponse) => void,
): (request: IncomingMessage, response: ServerResponse) => void;

/** A listener for `upgrade` whose handler sees only requests that may come in. */
export function guardUpgrade(
  engine: Engine,
  handler: (request: Authorized<IncomingMessage>, socket: Duplex, head: Buffer) => void,
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** Answers a request that may not come in. */
export function refuse(response: ServerResponse, decision: Refusal): Promise<void>;

/** A plugin for Fastify 5: `app.register(fastifyAuth, { engine })`; then `request.openclawAuth`. */
export function fastifyAuth(app: any, options: { engine: Engine }): Promise<void>;

/**
 * A handler of fetch style. `facts` says who is at the other end; without facts the request is
 * refused.
 */
export function guardFetch<Rest extends unknown[]>(
  engine: Engine,
  handler: (request: Request, decision: Admission, ...rest: Rest) => Response | Promise<Response>,
  facts: (request: Request, ...rest: Rest) => RawRequest | RequestFacts | null | undefined,
): (request: Request, ...rest: Rest) => Promise<Response>;

/**
 * Middleware for Hono; the decision is `c.get('openclawAuth')`. On @hono/node-server the request of
 * node:http is found by itself; elsewhere `facts` says who is at the other end.
 */
export function honoAuth(
  engine: Engine,
  facts?: (context: any) => RawRequest | RequestFacts | null | undefined,
): (context: any, next: () => Promise<void>) => Promise<Response | void>;
