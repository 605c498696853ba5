//! What an error text says: one table of phrases, one pass over the text.
//!
//! Every phrase leaves a mark. Sequences make a mark out of two others that follow each other.
//! Classes look at the marks, from top to bottom; the first one that applies decides. The pass is
//! linear for every text: each place is looked up by its next three bytes, what is compared there
//! is bounded by the table, and nothing ever goes back.

use std::sync::LazyLock;

use crate::error::Reason;

macro_rules! marks {
    ($($mark:ident)*) => {
        /// Something that a text contains.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Mark { $($mark,)* }
        const MARKS: usize = [$(stringify!($mark),)*].len();
    };
}

marks! {
    // What classes look at.
    RequestFormat Overflow Session NotFoundModel Paid402 Tls Billing KeyLimit RateLimit Overloaded
    Revoked Auth ServerError Format Timeout Network
    // What suppresses or refines a class.
    RetryIn PerMinute Reasoning Periodic UsageLimit SpendLimit PerDay Quota QuotaWord Html Country Flagged
    // Parts of sequences.
    ImageExceeds Megabytes InputCount Exceed TotalTokens TotalExceeds MaxOrLimit InputLength
    LengthExceeds MaxTokens MaxTokensExceed Context ModelWord NotExist ModelPath IsNotFound
    Certificate UnableToVerify TlsWord TlsTrouble Insufficient Balance Inactive BillingWord
    Concurrency ConcurrencyEnd Subject Suspended Credential Expired RevokedWord
    CallId
    MustBe
    // The table of status 402.
    SubscriptionQuota QuotaRefresh Billing402 Upgrade LimitWord MaximumAllowed RetryWord
    UsageOrRate Period ResetWord Organization OrganizationState
}

/// What must stand around a phrase.
#[derive(Clone, Copy)]
enum Guard {
    Any,
    /// No letter or digit on either side.
    Word,
    /// The text begins with it.
    Start,
    /// None of these, separated by `|`, stands right before it.
    NotAfter(&'static str),
    /// This does not stand right after it.
    NotBefore(&'static str),
    /// A number that is a status: one of these words stands before it, with at most six of space,
    /// quote, `:`, `=`, `#`, `(` between. Not before ` records`.
    Status(&'static str),
    /// As `Status`; also at the start of the text.
    StatusOrStart(&'static str),
}

use Guard::{Any, NotAfter, NotBefore, Start, Status, StatusOrStart, Word};
use Mark as M;

/// Phrases in lower case, separated by `|`, each of at least three bytes. Texts are compared without
/// regard to case.
const PHRASES: &[(Mark, Guard, &str)] = &[
    (
        M::RequestFormat,
        Any,
        "image dimensions exceed|does not support image input|unsupported image input",
    ),
    (M::ImageExceeds, Any, "image exceeds"),
    (M::Megabytes, Any, " mb"),
    (
        M::Overflow,
        Any,
        "request_too_large|request exceeds the maximum size|context length exceeded|\
         context_length_exceeded|context_window_exceeded|maximum context length|\
         prompt is too long|prompt too long|exceeds model context window|\
         model token limit|context overflow:|exceed context limit|\
         too many input tokens|input is too long for model|\
         input is too long for the model|input is too long for requested model|\
         input is too long for the requested model|input too long for model|\
         input too long for the model|input too long for requested model|\
         input too long for the requested model|上下文过长|上下文超出|上下文长度超|超出最大上下文|请压缩上下文",
    ),
    (M::InputCount, Any, "input token count"),
    (M::Exceed, Any, "exceed"),
    (M::TotalTokens, Any, "total tokens"),
    (M::MaxOrLimit, Any, "max|limit"),
    (M::InputLength, Any, "input length"),
    (M::MaxTokens, Any, "max_tokens"),
    (M::Context, Any, "context"),
    (
        M::Reasoning,
        Any,
        "reasoning is required|reasoning is mandatory",
    ),
    (M::PerMinute, Word, "tpm|rpm"),
    (
        M::PerMinute,
        Any,
        "tokens per minute|requests per minute|tokens per day",
    ),
    (
        M::Session,
        NotAfter("oauth |login |sso "),
        "session not found|session does not exist|session expired|session invalid|\
         session has expired|session is invalid|session id not found|\
         session id does not exist|session id expired|session id invalid",
    ),
    (
        M::Session,
        Any,
        "conversation not found|conversation does not exist|conversation expired|\
         conversation invalid|conversation has expired|conversation id not found|\
         conversation id does not exist|conversation id expired|\
         conversation id invalid|no such session|no conversation found",
    ),
    (M::Session, NotBefore(" transcript"), "invalid session"),
    (
        M::NotFoundModel,
        Any,
        "model not found|model_not_found|unknown model|no such model|\
         model identifier is invalid|model has been deactivated|model has been retired|\
         model has been removed",
    ),
    (M::NotFoundModel, NotBefore(" reference"), "invalid model"),
    (M::ModelWord, Any, "model"),
    (M::NotExist, Any, "does not exist"),
    (M::ModelPath, Any, "models/"),
    (M::IsNotFound, Any, "is not found"),
    (
        M::Paid402,
        Status("status|code|http|error|got|returned|received|got a|returned a|received a"),
        "402",
    ),
    (M::Paid402, Start, "402 payment"),
    (
        M::Tls,
        Any,
        "certificate has expired|certificate verify failed|\
         certificate is not yet valid|self signed certificate|self-signed certificate|\
         ssl error",
    ),
    (M::UnableToVerify, Any, "unable to verify"),
    (M::Certificate, Any, "certificate"),
    (M::TlsWord, Word, "tls"),
    (M::TlsTrouble, Word, "handshake|alert"),
    (
        M::Billing,
        Any,
        "payment required|insufficient credit|credit balance|insufficient_balance|\
         insufficient quota|insufficient_quota|requires more credits|plans & billing|\
         billing hard limit|billing_hard_limit|billing_not_active|out of credits|\
         used all available credits|out of extra usage|extra usage is required|\
         out of budget|余额不足|欠费",
    ),
    (M::Insufficient, Any, "insufficient "),
    (M::Balance, Any, "balance"),
    (M::Inactive, Any, "account is not active"),
    (M::BillingWord, Any, "billing"),
    (M::KeyLimit, Any, "key limit exceeded"),
    (
        M::RateLimit,
        Any,
        "rate limit|rate_limit|ratelimit|rate-limit|too many requests|\
         too many concurrent requests|resource exhausted|resource_exhausted|\
         resource has been exhausted|quota exceeded|quota_exceeded|\
         exceeded your current quota|quota limit|usage limit|model_cooldown|\
         exceed max qps|请求过于频繁|调用频率|频率限制|配额不足|配额已用尽|额度不足|额度已用尽",
    ),
    (
        M::RateLimit,
        Word,
        "throttling|throttled|throttlingexception",
    ),
    (M::RateLimit, StatusOrStart("http|status|code|error"), "429"),
    (M::Concurrency, Any, "concurrency limit"),
    (M::ConcurrencyEnd, Any, "reached|breached|exceeded"),
    (
        M::Periodic,
        Any,
        "daily limit|weekly limit|monthly limit|daily usage limit|weekly usage limit|\
         monthly usage limit|daily request limit|weekly request limit|\
         monthly request limit",
    ),
    (M::UsageLimit, Any, "usage limit"),
    (M::SpendLimit, Any, "spend limit|spending limit"),
    (M::PerDay, Any, "per-day"),
    (
        M::Quota,
        Any,
        "insufficient_quota|quota exceeded|exceeded your current quota",
    ),
    (M::QuotaWord, Word, "quota"),
    (
        M::Overloaded,
        Any,
        "overloaded|at capacity|high demand|high load|server is busy|\
         model is not ready|modelnotreadyexception|服务过载|当前负载过高|访问量过大",
    ),
    (
        M::Revoked,
        Any,
        "key has been revoked|key has been disabled|key has been deactivated|\
         key has been deleted|key was revoked|key was disabled|key was deactivated|\
         key was deleted|key is revoked|key is disabled|key is deactivated|\
         key is deleted|api_key_revoked|api_key_disabled|api_key_deactivated|\
         api_key_deleted|deactivated workspace|not allowed for this organization",
    ),
    (M::Subject, Any, "account|consumer|organization|workspace"),
    (
        M::Suspended,
        Any,
        "has been deactivated|has been disabled|has been suspended|is deactivated|\
         is disabled|is suspended|was deactivated|was disabled|was suspended",
    ),
    (
        M::Auth,
        Any,
        "invalid api key|invalid api-key|invalid api_key|invalid apikey|\
         invalid_api_key|incorrect api key|api key not valid|api key expired|\
         invalid x-api-key|invalid token|invalid bearer|authentication_error|\
         authentication failed|authentication required|authentication fails|\
         not authenticated|unauthorized|unauthenticated|forbidden|access denied|\
         permission denied|permission_error|insufficient permission|missing scope:|\
         missing scopes:|re-authenticate|oauth token refresh failed|\
         could not authenticate|could not validate|expired token|expired access token|\
         expired credential|expired api key|no credentials found|no api key found|无权访问|\
         认证失败|鉴权失败|密钥无效",
    ),
    (M::Auth, Status("http|status"), "401|403"),
    (
        M::Credential,
        Any,
        "token|key|credential|oauth session|login session|signature",
    ),
    (M::Expired, NotAfter("not "), "expired"),
    (M::RevokedWord, Any, "revoked"),
    (
        M::ServerError,
        Any,
        "internal server error|internal_error|server_error|internal error|bad gateway|\
         upstream error|upstream connect error|an error occurred while processing|\
         service unavailable|service_unavailable|service temporarily unavailable|\
         http 500|http 501|http 502|http 503|http 504|http 52|reason: error|内部错误|服务器错误|\
         系统错误|系统繁忙",
    ),
    (
        M::Format,
        Any,
        "string should match pattern|tool_use_id|tool_use.id|invalid request format|\
         roles must alternate|incorrect role information|assistant message prefill|\
         must end with a user message|unknown parameter|unsupported parameter",
    ),
    (M::CallId, Any, "tool call id was"),
    (M::MustBe, Any, "must be"),
    (
        M::Timeout,
        Any,
        "timeout|timed out|deadline exceeded|deadline expired|without sending chunks|\
         without sending any chunks|reason: abort|reason: malformed_response|\
         reason: network_error|operation was aborted|请求超时|连接超时",
    ),
    (
        M::Network,
        Any,
        "connection error|connection refused|connection reset|connection aborted|\
         connection closed|network error|network request failed|fetch failed|\
         socket hang up|getaddrinfo|premature close|stream disconnected|stream closed|\
         stream aborted|stream was closed|stream was aborted|网络错误|网络异常",
    ),
    (
        M::Network,
        Word,
        "dns|econnrefused|econnreset|econnaborted|epipe|enotfound|eai_again|\
         ehostunreach|ehostdown|enetunreach|enetreset",
    ),
    (M::Html, Any, "<!doctype html|<html"),
    (
        M::Country,
        Any,
        "unsupported_country|country, region|location is not supported",
    ),
    (M::Flagged, Any, "moderation|flagged"),
    (
        M::RetryIn,
        Any,
        "try again in |retry in |retry after |resets in ",
    ),
    (M::SubscriptionQuota, Any, "subscription quota limit"),
    (
        M::QuotaRefresh,
        Any,
        "automatic quota refresh|rolling time window",
    ),
    (
        M::Billing402,
        Any,
        "insufficient credits|insufficient quota|credit balance|insufficient balance|\
         plans & billing|add more credits|top up|billing hard limit|hard limit reached",
    ),
    (
        M::Upgrade,
        Any,
        "upgrade your plan|upgrade plan|current plan|subscription",
    ),
    (M::LimitWord, Any, "limit"),
    (M::MaximumAllowed, Any, "maximum allowed"),
    (M::RetryWord, Any, "try again|retry|temporary|cooldown"),
    (
        M::UsageOrRate,
        Any,
        "usage limit|rate limit|organization usage",
    ),
    (M::Period, Any, "daily|weekly|monthly"),
    (M::ResetWord, Any, "reset"),
    (M::Organization, Any, "organization|workspace"),
    (
        M::OrganizationState,
        Any,
        "billing period|exceeded|reached|exhausted",
    ),
];

/// A mark made of one that follows another, at most `gap` bytes later.
struct Sequence {
    makes: Mark,
    first: Mark,
    then: Mark,
    gap: usize,
    /// Whether a sentence must not end in between.
    in_sentence: bool,
}

const fn seq(makes: Mark, first: Mark, then: Mark, gap: usize) -> Sequence {
    Sequence {
        makes,
        first,
        then,
        gap,
        in_sentence: false,
    }
}

const FAR: usize = usize::MAX;

const SEQUENCES: &[Sequence] = &[
    seq(M::RequestFormat, M::ImageExceeds, M::Megabytes, 24),
    seq(M::Overflow, M::InputCount, M::Exceed, FAR),
    seq(M::TotalExceeds, M::TotalTokens, M::Exceed, FAR),
    seq(M::Overflow, M::TotalExceeds, M::MaxOrLimit, FAR),
    seq(M::LengthExceeds, M::InputLength, M::Exceed, FAR),
    seq(M::MaxTokensExceed, M::MaxTokens, M::Exceed, FAR),
    seq(M::Overflow, M::LengthExceeds, M::Context, FAR),
    seq(M::Overflow, M::MaxTokensExceed, M::Context, FAR),
    seq(M::NotFoundModel, M::ModelWord, M::NotExist, FAR),
    seq(M::NotFoundModel, M::NotExist, M::ModelWord, FAR),
    seq(M::NotFoundModel, M::ModelPath, M::IsNotFound, 200),
    seq(M::Tls, M::UnableToVerify, M::Certificate, 40),
    seq(M::Tls, M::TlsWord, M::TlsTrouble, 40),
    seq(M::Billing, M::Insufficient, M::Balance, 40),
    seq(M::Billing, M::Inactive, M::BillingWord, FAR),
    seq(M::RateLimit, M::Concurrency, M::ConcurrencyEnd, FAR),
    seq(M::Revoked, M::Subject, M::Suspended, 40),
    Sequence {
        makes: M::Auth,
        first: M::Credential,
        then: M::Expired,
        gap: FAR,
        in_sentence: true,
    },
    seq(M::Auth, M::Credential, M::RevokedWord, FAR),
    seq(M::Format, M::CallId, M::MustBe, FAR),
];

/// One class: the marks that make it, and what else must hold.
struct Class {
    name: &'static str,
    reason: Reason,
    any: &'static [Mark],
    when: fn(&Marks, &str, Option<&str>) -> bool,
}

fn always(_: &Marks, _: &str, _: Option<&str>) -> bool {
    true
}

/// A limit per minute is a rate limit, unless the one request alone is larger than the limit.
fn overflows(marks: &Marks, text: &str, _: Option<&str>) -> bool {
    let throttled = marks.has(M::PerMinute) && !exceeds_its_limit(text);
    !throttled && !marks.has(M::Reasoning)
}

/// Long texts mention billing pages in passing.
fn is_short(marks: &Marks, text: &str, provider: Option<&str>) -> bool {
    let limit_only = !marks.has(M::Billing);
    text.chars().nth(512).is_none() && (!limit_only || provider == Some("openrouter"))
}

const fn class(name: &'static str, reason: Reason, any: &'static [Mark]) -> Class {
    Class {
        name,
        reason,
        any,
        when: always,
    }
}

const CLASSES: &[Class] = &[
    class("text:request", Reason::Format, &[M::RequestFormat]),
    Class {
        when: overflows,
        ..class(
            "text:context_overflow",
            Reason::ContextOverflow,
            &[M::Overflow],
        )
    },
    class(
        "text:session_expired",
        Reason::SessionExpired,
        &[M::Session],
    ),
    class(
        "text:model_not_found",
        Reason::ModelNotFound,
        &[M::NotFoundModel],
    ),
    // The reason of this row is refined by the table of status 402.
    class(PAYMENT, Reason::Billing, &[M::Paid402]),
    class("text:tls", Reason::Network, &[M::Tls]),
    Class {
        when: is_short,
        ..class("text:billing", Reason::Billing, &[M::Billing, M::KeyLimit])
    },
    class("text:rate_limit", Reason::RateLimit, RATE_LIMITS),
    class("text:overloaded", Reason::Overloaded, &[M::Overloaded]),
    class("text:auth_permanent", Reason::AuthPermanent, &[M::Revoked]),
    class("text:auth", Reason::Auth, &[M::Auth]),
    class("text:server_error", Reason::ServerError, &[M::ServerError]),
    class("text:format", Reason::Format, &[M::Format]),
    class("text:timeout", Reason::Timeout, &[M::Timeout]),
    class("text:network", Reason::Network, &[M::Network]),
];

const RATE_LIMITS: &[Mark] = &[M::RateLimit, M::PerMinute, M::Periodic];
const PAYMENT: &str = "text:402";

/// The table of status 402: the first row whose marks are there decides. In a row every group
/// must be met by one of its marks.
const PAYMENT_ROWS: &[(Reason, &[&[Mark]])] = &[
    (
        Reason::RateLimit,
        &[&[M::SubscriptionQuota], &[M::QuotaRefresh]],
    ),
    (Reason::Billing, &[&[M::Billing402]]),
    (
        Reason::Billing,
        &[&[M::Upgrade, M::MaximumAllowed], &[M::LimitWord]],
    ),
    (Reason::RateLimit, &[RATE_LIMITS]),
    (Reason::RateLimit, &[&[M::RetryWord], &[M::UsageOrRate]]),
    (
        Reason::RateLimit,
        &[&[M::Period], &[M::UsageLimit, M::SpendLimit]],
    ),
    (
        Reason::RateLimit,
        &[&[M::Period], &[M::LimitWord], &[M::ResetWord]],
    ),
    (
        Reason::RateLimit,
        &[
            &[M::Organization],
            &[M::LimitWord],
            &[M::SpendLimit, M::OrganizationState],
        ],
    ),
];

/// The marks of one text: where each one ended last, plus one; 0 for none.
pub(super) struct Marks {
    last: [u32; MARKS],
    /// The end of the last sentence that ended before `searched`, and how far that is known.
    sentence: usize,
    searched: usize,
}

impl Marks {
    /// Reads a text in one pass. It must be in lower case.
    pub(super) fn read(text: &str) -> Self {
        let mut marks = Self {
            last: [0; MARKS],
            sentence: 0,
            searched: 0,
        };
        let bytes = text.as_bytes();
        let index = &*INDEX;
        let mut key = 0;
        for (at, byte) in bytes.iter().enumerate() {
            key = (key << 8 | u32::from(*byte)) & KEY_MASK;
            if !index.may_have(key) {
                continue;
            }
            let Some(phrases) = index.phrases(key) else {
                continue;
            };
            let start = at.saturating_sub(KEY_BYTES - 1);
            let rest = bytes.get(start..).unwrap_or_default();
            let head = head_of(rest);
            for phrase in phrases.iter().filter(|phrase| phrase.begins(head, rest)) {
                let end = start + phrase.text.len();
                if let Some((mark, guard, _)) = PHRASES.get(phrase.row)
                    && guard.holds(bytes, start, end)
                {
                    marks.set(bytes, *mark, start, end);
                }
            }
        }
        marks
    }

    pub(super) fn has(&self, mark: Mark) -> bool {
        self.end(mark) != 0
    }

    /// What follows the first phrase after which a time to wait is given.
    pub(super) fn retry_in<'a>(&self, text: &'a str) -> Option<&'a str> {
        text.get(self.end(Mark::RetryIn).checked_sub(1)?..)
    }

    fn end(&self, mark: Mark) -> usize {
        self.last.get(mark as usize).map_or(0, |end| *end as usize)
    }

    fn set(&mut self, text: &[u8], mark: Mark, start: usize, end: usize) {
        for sequence in SEQUENCES.iter().filter(|sequence| sequence.then == mark) {
            let first = self.end(sequence.first);
            let follows = first != 0
                && first - 1 <= start
                && start - (first - 1) <= sequence.gap
                && !(sequence.in_sentence && self.sentence_before(text, start) >= first);
            if follows {
                self.note(sequence.makes, end);
            }
        }
        self.note(mark, end);
    }

    /// Where the last sentence before a place ended. Places come in order, so that every byte is
    /// looked at once.
    fn sentence_before(&mut self, text: &[u8], place: usize) -> usize {
        let news = text.get(self.searched..place).unwrap_or_default();
        for (offset, byte) in news.iter().enumerate() {
            let at = self.searched + offset;
            let ends = *byte == b'\n'
                || (*byte == b' '
                    && at > 0
                    && text.get(at - 1).is_some_and(|b| b".!?".contains(b)));
            if ends {
                self.sentence = at;
            }
        }
        self.searched = self.searched.max(place);
        self.sentence
    }

    fn note(&mut self, mark: Mark, end: usize) {
        if mark == Mark::RetryIn && self.has(mark) {
            return;
        }
        if let Some(slot) = self.last.get_mut(mark as usize) {
            // Texts are cut far below 4 GiB before they come here.
            *slot = u32::try_from(end + 1).unwrap_or(u32::MAX);
        }
    }

    /// The first class that applies: its rule and reason.
    pub(super) fn class(
        &self,
        text: &str,
        provider: Option<&str>,
    ) -> Option<(&'static str, Reason)> {
        let applies = |class: &&Class| {
            class.any.iter().any(|mark| self.has(*mark)) && (class.when)(self, text, provider)
        };
        let class = CLASSES.iter().find(applies)?;
        let reason = if class.name == PAYMENT {
            self.payment()
        } else {
            class.reason
        };
        Some((class.name, reason))
    }

    /// What a request for payment means.
    pub(super) fn payment(&self) -> Reason {
        let met = |group: &&[Mark]| group.iter().any(|mark| self.has(*mark));
        let row = PAYMENT_ROWS
            .iter()
            .find(|(_, groups)| groups.iter().all(&met));
        row.map_or(Reason::Billing, |(reason, _)| *reason)
    }
}

impl Guard {
    fn holds(self, text: &[u8], start: usize, end: usize) -> bool {
        let before = text.get(..start).unwrap_or_default();
        let after = text.get(end..).unwrap_or_default();
        let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let alone = !is_word(before.last()) && !is_word(after.first());
        match self {
            Any => true,
            Word => alone,
            Start => start == 0,
            NotAfter(words) => !words.split('|').any(|word| ends_with(before, word)),
            NotBefore(word) => !starts_with(after, word),
            Status(words) => alone && !starts_with(after, " records") && status_word(before, words),
            StatusOrStart(words) => alone && (before.is_empty() || status_word(before, words)),
        }
    }
}

fn status_word(before: &[u8], words: &str) -> bool {
    let separators = before.iter().rev().take(6);
    let skipped = separators
        .take_while(|byte| b" \"':=#(".contains(byte))
        .count();
    let before = before.get(..before.len() - skipped).unwrap_or_default();
    words.split('|').any(|word| ends_with(before, word))
}

fn ends_with(text: &[u8], word: &str) -> bool {
    let tail = text
        .len()
        .checked_sub(word.len())
        .and_then(|at| text.get(at..));
    tail == Some(word.as_bytes())
}

fn starts_with(text: &[u8], word: &str) -> bool {
    text.starts_with(word.as_bytes())
}

/// Whether a text in lower case of the form `limit <n> … requested <m>` says that `m` is above `n`.
pub(super) fn exceeds_its_limit(text: &str) -> bool {
    let number = |word: &str| {
        let (_, rest) = text.split_once(word)?;
        let rest = rest.trim_start_matches([' ', ':', '=']);
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest.get(..end)?.parse::<u64>().ok()
    };
    matches!((number("limit "), number("requested ")), (Some(limit), Some(asked)) if asked > limit)
}

/// The phrases by their first three bytes: a hash table with open addressing. Made in less time
/// than an automaton takes, and small enough to stay in the nearest cache.
struct Index {
    /// A bit for every hash of a key. Nearly all places of a text end here, which is what makes the
    /// pass quick: the answer is `no` so regularly that processors foresee it.
    filter: [u64; FILTER_BITS / 64],
    /// Key, and where its phrases are. Key 0 is an empty place; no phrase starts with zeros.
    table: [(u32, u16, u16); PLACES],
    /// Sorted by key.
    phrases: Vec<Phrase>,
}

/// One phrase of a row.
struct Phrase {
    row: usize,
    text: &'static [u8],
    /// Its first eight bytes, and which of them count: one comparison rules out nearly all phrases
    /// that begin with the same three.
    head: u64,
    mask: u64,
}

impl Phrase {
    fn new(row: usize, text: &'static str) -> Self {
        let text = text.as_bytes();
        let counted = 8 * text.len().min(8);
        let mask = u64::MAX.checked_shr(64 - counted as u32).unwrap_or(0);
        Self {
            row,
            text,
            head: head_of(text),
            mask,
        }
    }

    /// Whether a text begins with it, whose first bytes are given too.
    fn begins(&self, head: u64, text: &[u8]) -> bool {
        head & self.mask == self.head && text.starts_with(self.text)
    }
}

/// The first eight bytes of a text, the first in the lowest place; zeros where there are none.
fn head_of(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => text
            .iter()
            .rev()
            .fold(0, |head, byte| head << 8 | u64::from(*byte)),
    }
}

const KEY_BYTES: usize = 3;
const KEY_MASK: u32 = 0xFF_FFFF;
/// More than twice the number of keys, and a power of two.
const PLACES: usize = 1024;
/// Two hundred times the number of keys; 8 KiB.
const FILTER_BITS: usize = 1 << 16;

impl Index {
    /// Fibonacci hashing: the upper bits of the product.
    fn hash(key: u32) -> u32 {
        key.wrapping_mul(0x9E37_79B1)
    }

    fn place(key: u32) -> usize {
        (Self::hash(key) >> 22) as usize % PLACES
    }

    fn bit(key: u32) -> (usize, u64) {
        let bit = (Self::hash(key) >> 16) as usize % FILTER_BITS;
        (bit / 64, 1 << (bit % 64))
    }

    fn may_have(&self, key: u32) -> bool {
        let (word, bit) = Self::bit(key);
        self.filter.get(word).is_some_and(|word| word & bit != 0)
    }

    fn phrases(&self, key: u32) -> Option<&[Phrase]> {
        let mut place = Self::place(key);
        loop {
            let (known, start, end) = self.table.get(place).copied().unwrap_or_default();
            if known == key {
                return self.phrases.get(usize::from(start)..usize::from(end));
            }
            if known == 0 {
                return None;
            }
            place = (place + 1) % PLACES;
        }
    }
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let key_of = |phrase: &[u8]| {
        let head = phrase.iter().take(KEY_BYTES);
        head.fold(0, |key, byte| key << 8 | u32::from(*byte))
    };
    let rows = PHRASES.iter().enumerate();
    let mut phrases: Vec<Phrase> = rows
        .flat_map(|(row, (_, _, all))| all.split('|').map(move |one| Phrase::new(row, one)))
        .collect();
    phrases.sort_by_key(|phrase| (key_of(phrase.text), phrase.row));
    let mut table = [(0, 0, 0); PLACES];
    let mut filter = [0; FILTER_BITS / 64];
    for (at, phrase) in phrases.iter().enumerate() {
        let (key, at) = (key_of(phrase.text), u16::try_from(at).unwrap_or(u16::MAX));
        let (word, bit) = Index::bit(key);
        if let Some(word) = filter.get_mut(word) {
            *word |= bit;
        }
        let mut place = Index::place(key);
        while let Some(slot) = table.get_mut(place) {
            if slot.0 == 0 {
                *slot = (key, at, at);
            }
            if slot.0 == key {
                slot.2 = at + 1;
                break;
            }
            place = (place + 1) % PLACES;
        }
    }
    Index {
        filter,
        table,
        phrases,
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> &'static str {
        let text = text.to_ascii_lowercase();
        Marks::read(&text)
            .class(&text, None)
            .map_or("-", |(rule, _)| rule)
    }

    #[test]
    fn every_phrase_is_found_by_its_first_bytes() {
        for (_, _, phrases) in PHRASES {
            assert_eq!(*phrases, phrases.to_lowercase());
            for phrase in phrases.split('|') {
                assert!(phrase.len() >= KEY_BYTES);
                let key = phrase
                    .bytes()
                    .take(KEY_BYTES)
                    .fold(0, |key, byte| key << 8 | u32::from(byte));
                let known = INDEX.phrases(key).unwrap_or_default();
                assert!(
                    known.iter().any(|known| known.text == phrase.as_bytes()),
                    "{phrase}"
                );
            }
        }
    }

    #[test]
    fn guards_keep_chance_matches_out() {
        for (text, rule) in [
            ("request id req_429a failed", "-"),
            ("The number 429 appears in this text", "-"),
            ("429 slow down", "text:rate_limit"),
            ("upstream said: error code: 429", "text:rate_limit"),
            ("HTTP 429", "text:rate_limit"),
            ("status=\"429\"", "text:rate_limit"),
            ("status        429", "-"),
            ("got a 402 from upstream", PAYMENT),
            ("got 402 records", "-"),
            ("402 Payment due", PAYMENT),
            ("invalid model reference", "-"),
            ("invalid model", "text:model_not_found"),
            ("invalid session transcript", "-"),
            ("Your OAuth session expired", "text:auth"),
            ("the session expired", "text:session_expired"),
            ("your token. It expired", "-"),
            ("your token has not expired", "-"),
            ("your token has expired", "text:auth"),
            ("stpm is a word", "-"),
            ("model gpt-9 does not exist", "text:model_not_found"),
            ("the file does not exist", "-"),
            ("Reasoning is required; prompt is too long", "-"),
            ("Organization 'x' has been suspended", "text:auth_permanent"),
            ("image exceeds 5 MB maximum", "text:request"),
            (
                "total tokens 9 exceeds the max of 8",
                "text:context_overflow",
            ),
            ("certificate has expired", "text:tls"),
        ] {
            assert_eq!(class(text), rule, "{text}");
        }
    }

    #[test]
    fn a_limit_per_minute_is_an_overflow_only_when_the_request_alone_is_larger() {
        let text = "prompt is too long, tokens per minute (TPM): Limit 8000, Requested 8098";
        assert_eq!(class(text), "text:context_overflow");
        let text = "prompt is too long, (TPM): Limit 8000, Used 7000, Requested 1500";
        assert_eq!(class(text), "text:rate_limit");
    }

    #[test]
    fn billing_words_count_in_short_texts_only() {
        let text = format!("{} insufficient credits", "x".repeat(480));
        assert_eq!(class(&text), "text:billing");
        let text = format!("{} insufficient credits", "x".repeat(500));
        assert_eq!(class(&text), "-");
    }
}
