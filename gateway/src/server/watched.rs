//! A stream that tells its connection what moves.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::Link;

/// The stream.
pub(crate) struct Watched<S> {
    io: TokioIo<S>,
    link: Arc<Link>,
    /// Whether bytes that arrive are the beginning of a request, as in HTTP/1. Frames of HTTP/2
    /// need not belong to any.
    has_heads: bool,
}

impl<S> Watched<S> {
    /// Watches a stream for a connection.
    pub(crate) fn new(stream: S, link: Arc<Link>, has_heads: bool) -> Self {
        Self {
            io: TokioIo::new(stream),
            link,
            has_heads,
        }
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        self.link.wrote(written.is_ready());
        written
    }
}

impl<S: AsyncRead + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_read(cx, buffer);
        if poll.is_ready() && self.has_heads {
            self.link.read_something();
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> Write for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_flush(cx);
        self.note(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_shutdown(cx);
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(cx, buffers);
        self.note(poll)
    }
}
