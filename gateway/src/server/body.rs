//! Bodies on their way: requests with limits, answers with an idle limit and an access log line.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use openclaw_auth::Code;
use tokio::time::{Instant, Sleep, sleep};

use super::access_log::Record;
use super::limits::Permit;

/// What goes wrong inside a body.
pub(crate) type BodyError = Box<dyn StdError + Send + Sync>;

/// The body of a request, read within limits. What it met is told through [`BodyFate`].
pub(crate) struct RequestBody {
    content: Request,
    fate: Arc<BodyFate>,
}

enum Request {
    Whole(Option<Bytes>),
    Arriving {
        incoming: Incoming,
        left: u64,
        idle: IdleTimer,
    },
}

impl RequestBody {
    /// Wraps a body: at most `limit` bytes, and no silence longer than `idle`.
    pub(crate) fn new(incoming: Incoming, limit: u64, idle: Duration) -> Self {
        Self {
            content: Request::Arriving {
                incoming,
                left: limit,
                idle: IdleTimer::new(idle),
            },
            fate: Arc::default(),
        }
    }

    /// A body that has arrived wholly, with what became of it.
    pub(crate) fn whole(bytes: Bytes, fate: Arc<BodyFate>) -> Self {
        Self {
            content: Request::Whole(Some(bytes)),
            fate,
        }
    }

    /// What becomes of the body.
    pub(crate) fn fate(&self) -> Arc<BodyFate> {
        Arc::clone(&self.fate)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { content, fate } = &mut *self;
        let (incoming, left, idle) = match content {
            Request::Whole(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            Request::Arriving {
                incoming,
                left,
                idle,
            } => (incoming, left, idle),
        };
        loop {
            match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    idle.rest();
                    // Trailer fields are never headers, and nothing upstream asked for them.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    let size = data.len() as u64;
                    fate.bytes.fetch_add(size, Ordering::Relaxed);
                    let Some(rest) = left.checked_sub(size) else {
                        return fate.fail(TOO_LARGE);
                    };
                    *left = rest;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(_))) => return fate.fail(BROKEN),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if idle.is_over(cx) => return fate.fail(IDLE),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Request::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Request::Arriving { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Request::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Request::Arriving { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// What became of a request body.
#[derive(Debug, Default)]
pub(crate) struct BodyFate {
    fault: AtomicU8,
    bytes: AtomicU64,
}

impl BodyFate {
    /// Bytes received so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn fail(&self, fault: u8) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.fault.store(fault, Ordering::Relaxed);
        Poll::Ready(Some(Err(io::Error::other("request body refused").into())))
    }

    /// Why the body was given up, if it was.
    pub(crate) fn fault(&self) -> Option<Code> {
        match self.fault.load(Ordering::Relaxed) {
            TOO_LARGE => Some(Code::BodyTooLarge),
            IDLE => Some(Code::BodyTimeout),
            BROKEN => Some(Code::BodyIncomplete),
            _ => None,
        }
    }
}

const TOO_LARGE: u8 = 1;
const IDLE: u8 = 2;
const BROKEN: u8 = 3;

/// The body of an answer. Dropping it ends the request: the log line is written then.
pub(crate) struct ReplyBody {
    content: Content,
    record: Option<Record>,
}

enum Content {
    Full(Option<Bytes>),
    Stream(Box<Upstream>),
}

/// What is left of an answer from upstream, and the place it takes among the running ones.
struct Upstream {
    /// What has been read already.
    begun: VecDeque<Bytes>,
    incoming: Incoming,
    idle: IdleTimer,
    watch: Option<Box<dyn Watch>>,
    _permit: Permit,
}

/// Somebody who looks on while an answer passes. Dropped without [`Watch::ended`] when it breaks
/// off.
pub(crate) trait Watch: Send {
    /// The next part.
    fn passed(&mut self, data: &Bytes);
    /// The whole answer has passed.
    fn ended(self: Box<Self>);
}

impl ReplyBody {
    /// A body that is known wholly.
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self {
            content: Content::Full(Some(bytes)),
            record: None,
        }
    }

    /// A body that is passed on as it arrives, after the parts in `begun`, with no silence longer
    /// than `idle`.
    pub(crate) fn stream(
        begun: VecDeque<Bytes>,
        incoming: Incoming,
        idle: Duration,
        permit: Permit,
        watch: Option<Box<dyn Watch>>,
    ) -> Self {
        let mut upstream = Upstream {
            begun,
            incoming,
            idle: IdleTimer::new(idle),
            watch,
            _permit: permit,
        };
        // An answer without a body is never read.
        if upstream.is_over() {
            upstream.end();
        }
        Self {
            content: Content::Stream(Box::new(upstream)),
            record: None,
        }
    }

    /// Attaches the log line of the request.
    pub(crate) fn recorded(mut self, record: Record) -> Self {
        self.record = Some(record);
        self
    }

    fn note(&mut self, note: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            note(record);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match &mut self.content {
            Content::Full(bytes) => Poll::Ready(Ok(bytes.take())),
            Content::Stream(upstream) => upstream.poll_data(cx),
        };
        match next {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Some(data))) => {
                let size = data.len() as u64;
                let ended = self.is_end_stream();
                self.note(|record| record.sent(size, ended));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Ok(None)) => {
                self.note(|record| record.sent(0, true));
                Poll::Ready(None)
            }
            Poll::Ready(Err((code, error))) => {
                self.note(|record| record.broken(code));
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Stream(upstream) => upstream.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Content::Stream(upstream) => upstream.size_hint(),
        }
    }
}

impl Upstream {
    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, (Code, BodyError)>> {
        let polled = self.poll_next(cx);
        if let Poll::Ready(Ok(data)) = &polled {
            if let (Some(data), Some(watch)) = (data, &mut self.watch) {
                watch.passed(data);
            }
            if data.is_none() || self.is_over() {
                self.end();
            }
        }
        polled
    }

    fn end(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.ended();
        }
    }

    fn is_over(&self) -> bool {
        self.begun.is_empty() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let begun: usize = self.begun.iter().map(Bytes::len).sum();
        let (begun, rest) = (begun as u64, self.incoming.size_hint());
        let mut hint = SizeHint::default();
        hint.set_lower(begun + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(begun + upper);
        }
        hint
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, (Code, BodyError)>> {
        if let Some(data) = self.begun.pop_front() {
            return Poll::Ready(Ok(Some(data)));
        }
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.idle.rest();
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err((Code::UpstreamUnreachable, error.into())));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending if self.idle.is_over(cx) => {
                    let error = io::Error::from(io::ErrorKind::TimedOut);
                    return Poll::Ready(Err((Code::UpstreamTimeout, error.into())));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Measures silence: armed by the first wait, disarmed by progress.
struct IdleTimer {
    limit: Duration,
    armed: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            armed: false,
            sleep: None,
        }
    }

    fn rest(&mut self) {
        self.armed = false;
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.armed {
            sleep.as_mut().reset(Instant::now() + limit);
            self.armed = true;
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}
