//! A model provider for demonstrations: demands its key, answers at once or in pieces.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use openclaw_auth::host::Clock;
use openclaw_auth::{SecretText, mask};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

type Body = Either<Full<Bytes>, Channel<Bytes, Infallible>>;

/// What the provider knows.
struct Mock {
    key: SecretText,
    clock: Arc<dyn Clock>,
}

/// Serves on a bound socket as long as the runtime lives.
///
/// # Errors
///
/// When the socket cannot be used.
pub(super) fn start(
    listener: std::net::TcpListener,
    key: SecretText,
    clock: Arc<dyn Clock>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let mock = Arc::new(Mock { key, clock });
    tokio::spawn(async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log::warn!("the mock provider cannot accept: {error}");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let mock = Arc::clone(&mock);
            let service = service_fn(move |request| answer(Arc::clone(&mock), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    log::debug!("mock provider: {error}");
                }
            });
        }
    });
    Ok(())
}

async fn answer(mock: Arc<Mock>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let Some(key) = bearer(&request).filter(|key| *key == mock.key) else {
        return Ok(failure(
            StatusCode::UNAUTHORIZED,
            "Incorrect API key provided.",
        ));
    };
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/models") => plain(
            StatusCode::OK,
            &json!({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "mock"}]}),
        ),
        (&Method::POST, "/v1/chat/completions") => chat(&mock, &key, request).await,
        _ => failure(StatusCode::NOT_FOUND, "Unknown path."),
    })
}

fn bearer(request: &Request<Incoming>) -> Option<SecretText> {
    let value = request
        .headers()
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    value
        .strip_prefix("Bearer ")
        .map(|key| SecretText::new(key.to_owned()))
}

async fn chat(mock: &Mock, key: &SecretText, request: Request<Incoming>) -> Response<Body> {
    let body = Limited::new(request.into_body(), BODY_LIMIT)
        .collect()
        .await;
    let asked: Option<Value> = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    let Some(asked) = asked else {
        return failure(StatusCode::BAD_REQUEST, "The body is not JSON.");
    };
    let reply = Reply {
        model: asked
            .get("model")
            .and_then(Value::as_str)
            .unwrap_or(MODEL)
            .to_owned(),
        created: mock.clock.now_ms() / 1000,
        text: format!(
            "Hello from the mock provider. The gateway sent me the key {}. You did not have to know it.",
            mask(key.expose())
        ),
    };
    if asked.get("stream").and_then(Value::as_bool) == Some(true) {
        let (sender, channel) = Channel::new(1);
        tokio::spawn(reply.stream(sender));
        let mut response = Response::new(Either::Right(channel));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        );
        response
    } else {
        plain(StatusCode::OK, &reply.whole())
    }
}

/// What the model says.
struct Reply {
    model: String,
    created: u64,
    text: String,
}

impl Reply {
    fn whole(&self) -> Value {
        let words = self.text.split(' ').count();
        self.envelope(
            "chat.completion",
            json!({
                "message": {"role": "assistant", "content": self.text},
                "finish_reason": "stop",
            }),
            Some(
                json!({"prompt_tokens": 1, "completion_tokens": words, "total_tokens": words + 1}),
            ),
        )
    }

    /// Sends one event for each word, with a little thinking between them.
    async fn stream(self, mut sender: Sender<Bytes>) {
        let words = self.text.split_inclusive(' ');
        let deltas = words.map(|word| json!({"delta": {"content": word}, "finish_reason": null}));
        let last = json!({"delta": {}, "finish_reason": "stop"});
        for choice in deltas.chain([last]) {
            let event = self.envelope("chat.completion.chunk", choice, None);
            if sender
                .send_data(Bytes::from(format!("data: {event}\n\n")))
                .await
                .is_err()
            {
                // The caller is gone.
                return;
            }
            sleep(PAUSE).await;
        }
        // Nothing follows whether or not the caller still listens.
        let _ = sender
            .send_data(Bytes::from_static(b"data: [DONE]\n\n"))
            .await;
    }

    fn envelope(&self, object: &str, mut choice: Value, usage: Option<Value>) -> Value {
        if let Value::Object(choice) = &mut choice {
            choice.insert("index".to_owned(), 0.into());
        }
        let mut envelope = json!({
            "id": "chatcmpl-mock",
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": [choice],
        });
        if let (Value::Object(members), Some(usage)) = (&mut envelope, usage) {
            members.insert("usage".to_owned(), usage);
        }
        envelope
    }
}

fn failure(status: StatusCode, message: &str) -> Response<Body> {
    plain(
        status,
        &json!({"error": {"message": message, "type": "invalid_request_error", "code": null}}),
    )
}

fn plain(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(body.to_string()))));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

const MODEL: &str = "mock-1";
const BODY_LIMIT: usize = 1024 * 1024;
const PAUSE: Duration = Duration::from_millis(60);
