//! A request body that can be sent more than once: what has arrived is kept, within limits, until
//! a provider has accepted the request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::super::body::{BodyError, RequestBody};

/// The bytes that all requests together keep for another attempt.
#[derive(Debug)]
pub(crate) struct Budget {
    most: u64,
    used: AtomicU64,
}

impl Budget {
    /// At most this many bytes.
    pub(crate) fn new(most: u64) -> Self {
        Self {
            most,
            used: AtomicU64::new(0),
        }
    }

    /// Bytes that are kept now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.most;
        if !taken {
            self.give_back(bytes);
        }
        taken
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The body of a request, for as many attempts as it takes.
pub(super) struct Replay(Arc<Shared>);

struct Shared {
    source: Mutex<Source>,
    size: SizeHint,
    is_empty: bool,
    budget: Arc<Budget>,
}

struct Source {
    rest: RequestBody,
    kept: Vec<Bytes>,
    kept_bytes: u64,
    most: u64,
    /// Whether everything that has arrived is kept.
    is_whole: bool,
    /// Number of the attempt that may read.
    attempt: u32,
    /// Next of the kept parts that it reads.
    next: usize,
}

impl Replay {
    /// Keeps at most `most` bytes of a body.
    pub(super) fn new(rest: RequestBody, most: u64, budget: &Arc<Budget>) -> Self {
        Self(Arc::new(Shared {
            size: rest.size_hint(),
            is_empty: rest.is_end_stream(),
            source: Mutex::new(Source {
                rest,
                kept: Vec::new(),
                kept_bytes: 0,
                most,
                is_whole: true,
                attempt: 0,
                next: 0,
            }),
            budget: Arc::clone(budget),
        }))
    }

    /// The body for the next attempt, from its beginning. Earlier ones break off.
    pub(super) fn attempt(&self) -> Attempt {
        let mut source = self.0.source.lock();
        source.attempt += 1;
        source.next = 0;
        Attempt {
            shared: Arc::clone(&self.0),
            number: source.attempt,
            has_begun: false,
        }
    }

    /// Whether another attempt can have the whole body.
    pub(super) fn can_repeat(&self) -> bool {
        self.0.source.lock().is_whole
    }

    /// No other attempt will follow: nothing more is kept.
    pub(super) fn settle(&self) {
        self.0.source.lock().settle(&self.0.budget);
    }
}

impl Source {
    fn keep(&mut self, data: &Bytes, budget: &Budget) {
        if !self.is_whole {
            return;
        }
        let size = data.len() as u64;
        if self.kept_bytes + size > self.most || !budget.take(size) {
            self.forget(budget);
            return;
        }
        self.kept_bytes += size;
        self.kept.push(data.clone());
    }

    fn settle(&mut self, budget: &Budget) {
        self.is_whole = false;
        // The attempt that is under way may not have read all of it.
        if self.next >= self.kept.len() {
            self.forget(budget);
        }
    }

    fn forget(&mut self, budget: &Budget) {
        self.is_whole = false;
        budget.give_back(std::mem::take(&mut self.kept_bytes));
        self.kept = Vec::new();
        self.next = 0;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let source = self.source.get_mut();
        source.forget(&self.budget);
    }
}

/// The body of one attempt.
pub(crate) struct Attempt {
    shared: Arc<Shared>,
    number: u32,
    has_begun: bool,
}

impl Body for Attempt {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.has_begun = true;
        let budget = &self.shared.budget;
        let mut source = self.shared.source.lock();
        if source.attempt != self.number {
            let late = io::Error::other("another attempt has this body");
            return Poll::Ready(Some(Err(late.into())));
        }
        if let Some(part) = source.kept.get(source.next).cloned() {
            source.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if !source.is_whole {
            source.forget(budget);
        }
        let polled = Pin::new(&mut source.rest).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            source.keep(data, budget);
            source.next = source.kept.len();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.shared.is_empty
    }

    fn size_hint(&self) -> SizeHint {
        match self.has_begun {
            false => self.shared.size,
            true => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn body(text: &'static str) -> RequestBody {
        RequestBody::whole(Bytes::from_static(text.as_bytes()), Arc::default())
    }

    #[tokio::test]
    async fn a_body_is_sent_again_from_its_beginning() {
        let budget = Arc::new(Budget::new(100));
        let replay = Replay::new(body("abc"), 10, &budget);
        let first = replay.attempt();
        assert_eq!(first.size_hint().exact(), Some(3));
        assert_eq!(first.collect().await.unwrap().to_bytes(), "abc");
        assert!(replay.can_repeat());
        let mut stale = replay.attempt();
        let last = replay.attempt();
        assert!(stale.frame().await.unwrap().is_err(), "superseded");
        assert_eq!(last.size_hint().exact(), Some(3));
        assert_eq!(last.collect().await.unwrap().to_bytes(), "abc");
        assert_eq!(budget.used(), 3);
        replay.settle();
        assert!(!replay.can_repeat());
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_settled_body_is_still_sent_to_its_end() {
        let budget = Arc::new(Budget::new(100));
        let replay = Replay::new(body("abc"), 10, &budget);
        replay.attempt().collect().await.unwrap();
        let second = replay.attempt();
        replay.settle();
        assert_eq!(budget.used(), 3, "not read yet");
        assert_eq!(second.collect().await.unwrap().to_bytes(), "abc");
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn what_is_too_large_is_sent_once() {
        for (most, total, repeats) in [(3, 3, true), (2, 100, false), (100, 2, false)] {
            let budget = Arc::new(Budget::new(total));
            let replay = Replay::new(body("abc"), most, &budget);
            let sent = replay.attempt().collect().await.unwrap().to_bytes();
            assert_eq!(sent, "abc");
            assert_eq!(replay.can_repeat(), repeats, "{most} of {total}");
            drop(replay);
            assert_eq!(budget.used(), 0);
        }
    }
}
