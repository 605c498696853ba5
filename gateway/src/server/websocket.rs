//! `/ws`: JSON messages over a WebSocket (RFC 6455), opened only for callers who may come in.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use openclaw_auth::Code;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::body::ReplyBody;
use super::checks;
use super::command::Command;
use super::connection::{Surroundings, stopped};
use super::core_api::Identity;
use super::failure::Failure;
use super::link::Link;
use super::routes::Call;
use super::status;

/// Answers a handshake; the caller is known already. The messages follow in a task of their own.
///
/// # Errors
///
/// `websocket_required` when the request is no handshake.
pub(crate) fn open(
    call: &Call<'_>,
    identity: Identity,
    mut request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Failure> {
    let accept = accept(&request).ok_or(Code::WebsocketRequired)?;
    let protocol = offers_ours(request.headers());
    let upgrade = hyper::upgrade::on(&mut request);
    let session = Session {
        around: call.around.clone(),
        link: Arc::clone(call.link),
        headers: std::mem::take(request.headers_mut()),
        identity,
        generation: call.current.snapshot.generation(),
        generations: call.state.reloader.generations(),
        malformed: 0,
        unanswered: 0,
    };
    tokio::spawn(async move {
        let _counted = session.around.state.metrics.websocket();
        match upgrade.await {
            Ok(upgraded) => session.run(upgraded).await,
            Err(error) => log::debug!("{}: no upgrade: {error}", session.link.peer),
        }
    });
    let mut response = Response::new(ReplyBody::full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if protocol {
        let name = HeaderValue::from_static(PROTOCOL);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    Ok(response)
}

/// The answer to the key of a handshake; `None` when the request is no handshake
/// (RFC 6455, section 4.2.1).
fn accept<B>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let only = |name| {
        let mut lines = headers.get_all(name).iter();
        lines.next().filter(|_| lines.next().is_none())
    };
    let names_upgrade = tokens(headers, header::CONNECTION).any(|token| token == "upgrade");
    let version = only(header::SEC_WEBSOCKET_VERSION)?;
    let key = only(header::SEC_WEBSOCKET_KEY)?.as_bytes();
    let is_handshake = request.version() == Version::HTTP_11
        && checks::is_websocket(headers)
        && names_upgrade
        && version.as_bytes() == b"13"
        && is_key(key);
    is_handshake.then(|| HeaderValue::from_str(&derive_accept_key(key)).ok())?
}

/// Whether this is the base64 form of sixteen bytes.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.len() == 24
        && key
            .strip_suffix(b"==")
            .is_some_and(|digits| digits.iter().all(is_digit))
}

/// Whether the client offers our sub-protocol. Others, and tokens beside it, are never answered.
fn offers_ours(headers: &HeaderMap) -> bool {
    tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).any(|token| token == PROTOCOL)
}

fn tokens(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = String> + use<'_> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|token| token.trim().to_ascii_lowercase())
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// An open WebSocket, with what is needed to judge again whether it may stay open.
struct Session {
    around: Surroundings,
    link: Arc<Link>,
    headers: HeaderMap,
    identity: Identity,
    generation: u64,
    generations: watch::Receiver<u64>,
    malformed: u32,
    /// Pings without an answer.
    unanswered: u32,
}

/// Why a session ends.
enum End {
    /// With a close frame.
    Close(CloseCode, &'static str),
    /// The peer has closed, or is gone.
    Gone,
}

impl Session {
    async fn run(mut self, upgraded: Upgraded) {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .max_message_size(Some(MESSAGE))
            .max_frame_size(Some(MESSAGE));
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let end = self.converse(&mut socket).await;
        if let End::Close(code, reason) = end {
            let frame = CloseFrame {
                code,
                reason: reason.into(),
            };
            let farewell = async {
                socket.close(Some(frame)).await?;
                // Until the peer has answered; what it sends meanwhile is not read.
                while socket.next().await.is_some_and(|message| message.is_ok()) {}
                Ok::<_, WsError>(())
            };
            if !matches!(timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
                log::debug!("{}: no answer to a close frame", self.link.peer);
            }
        }
    }

    async fn converse(&mut self, socket: &mut Socket) -> End {
        let hello = json!({
            "event": "hello",
            "identity": self.identity.to_json(),
            "snapshot": self.generation,
        });
        if let Err(end) = self.send(socket, Message::text(hello.to_string())).await {
            return end;
        }
        // A snapshot that came between the handshake and now.
        self.generations.mark_changed();
        let every = self.around.state.limits.ping;
        let mut pings = interval_at(Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.around.stop.clone();
        loop {
            let next = tokio::select! {
                message = socket.next() => self.heard(socket, message).await,
                _ = pings.tick() => self.ping(socket).await,
                Ok(()) = self.generations.changed() => self.judge_again(),
                () = stopped(&mut stop) => {
                    Err(End::Close(CloseCode::Away, "the gateway stops"))
                }
            };
            if let Err(end) = next {
                return end;
            }
        }
    }

    async fn heard(
        &mut self,
        socket: &mut Socket,
        message: Option<Result<Message, WsError>>,
    ) -> Result<(), End> {
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(fault(&error)),
            None => return Err(End::Gone),
        };
        self.unanswered = 0;
        let answer = match message {
            Message::Text(text) => self.answer(&text).await,
            Message::Binary(_) => self.malformed("messages are JSON texts"),
            // Pings are answered by the library, and so is a close frame: the next read ends.
            _ => return Ok(()),
        }?;
        self.send(socket, Message::text(answer.to_string())).await
    }

    async fn answer(&mut self, text: &str) -> Result<Value, End> {
        let Ok(Value::Object(call)) = serde_json::from_str(text) else {
            return self.malformed("a message is a JSON object");
        };
        let id = match call.get("id") {
            Some(id @ (Value::Number(_) | Value::String(_))) => id.clone(),
            _ => return self.malformed("`id` must be a number or a text"),
        };
        let Some(method) = call.get("method").and_then(Value::as_str) else {
            return self.malformed("`method` must be a text");
        };
        let state = &self.around.state;
        let result = match method {
            "whoami" => self.identity.to_json(),
            "status" => status::document(state, &state.current()).await,
            "command" => match self.command(&call).await {
                Ok(done) => done,
                Err(failure) => {
                    let error = error(failure.code(), failure.message());
                    return Ok(json!({"id": id, "ok": false, "error": error}));
                }
            },
            "ping" => json!({"pong": true}),
            _ => {
                let error = error(Code::MethodUnknown, "there is no such method");
                return Ok(json!({"id": id, "ok": false, "error": error}));
            }
        };
        Ok(json!({"id": id, "ok": true, "result": result}))
    }

    /// The other members of the message are those of a command.
    async fn command(&self, call: &Map<String, Value>) -> Result<Value, Failure> {
        let members = call
            .iter()
            .filter(|(name, _)| *name != "id" && *name != "method");
        let members: Map<String, Value> = members
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let command = Command::read(Value::Object(members).to_string().as_bytes())?;
        let core = &self.around.state.core;
        command.run(core, &self.identity, None).await
    }

    /// Counts a message that cannot be understood; too many end the session.
    fn malformed(&mut self, reason: &str) -> Result<Value, End> {
        self.malformed += 1;
        if self.malformed > MALFORMED {
            let code = Code::MessageInvalid.as_str();
            return Err(End::Close(CloseCode::Policy, code));
        }
        Ok(json!({"id": null, "ok": false, "error": error(Code::MessageInvalid, reason)}))
    }

    async fn ping(&mut self, socket: &mut Socket) -> Result<(), End> {
        if self.unanswered >= UNANSWERED {
            return Err(End::Gone);
        }
        self.unanswered += 1;
        self.send(socket, Message::Ping(Bytes::new())).await
    }

    /// A new snapshot: whether the caller would still be let in, by the handshake's facts.
    fn judge_again(&mut self) -> Result<(), End> {
        let current = self.around.state.current();
        let generation = current.snapshot.generation();
        if generation == self.generation {
            return Ok(());
        }
        self.generation = generation;
        if current.settings.is_exposed {
            let code = Code::GatewayBindWithoutAuth.as_str();
            return Err(End::Close(CloseCode::Policy, code));
        }
        match current
            .snapshot
            .authorize_again(&self.link.facts(&self.headers))
        {
            Ok(identity) => {
                self.identity = identity;
                Ok(())
            }
            Err(denied) => {
                log::info!("{}: WebSocket closed: {}", self.link.peer, denied.code);
                let code = match denied.status {
                    500.. => CloseCode::Error,
                    _ => CloseCode::Policy,
                };
                Err(End::Close(code, denied.code.as_str()))
            }
        }
    }

    /// Sends a message to a peer that takes it in time.
    async fn send(&self, socket: &mut Socket, message: Message) -> Result<(), End> {
        let sent = timeout(self.around.state.limits.write_stall, socket.send(message)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// How a session ends that broke the protocol.
fn fault(error: &WsError) -> End {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => {
            End::Close(CloseCode::Size, "message too long")
        }
        WsError::Utf8(_) => End::Close(CloseCode::Invalid, "not UTF-8"),
        WsError::Protocol(_) => End::Close(CloseCode::Protocol, "protocol error"),
        _ => End::Gone,
    }
}

fn error(code: Code, message: &str) -> Value {
    json!({"code": code.as_str(), "message": message})
}

/// Our sub-protocol.
const PROTOCOL: &str = "openclaw.v1";
/// Most bytes of a message.
const MESSAGE: usize = 1024 * 1024;
/// Bytes that are read at once.
const BUFFER: usize = 4 * 1024;
/// Messages that cannot be understood before the session ends.
const MALFORMED: u32 = 10;
/// Pings without an answer before the session ends.
const UNANSWERED: u32 = 2;
/// How long the peer has for its close frame.
const FAREWELL: Duration = Duration::from_secs(1);
