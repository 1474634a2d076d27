//! When a request's first byte goes out: its body is polled as soon as a connection is ready for it, and not before. One that would
//! leave too late doesn't leave at all: whoever allowed it may have given its place, and its right to write, to others by then.

use std::{
    error::Error,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use time::OffsetDateTime;

use crate::Now;

/// Where the moment is noted.
#[derive(Clone)]
pub(crate) struct FirstByte {
    at: Arc<OnceLock<OffsetDateTime>>,
    not_after: OffsetDateTime,
}

impl FirstByte {
    /// Of a request that may leave until then.
    pub(crate) fn until(not_after: OffsetDateTime) -> Self {
        Self {
            at: Arc::default(),
            not_after,
        }
    }

    /// The moment; `None` while nothing went out.
    pub(crate) fn at(&self) -> Option<OffsetDateTime> {
        self.at.get().copied()
    }

    /// The same body, which notes the moment here.
    pub(crate) fn watch(&self, body: reqwest::Body, now: Now) -> reqwest::Body {
        reqwest::Body::wrap(Watched {
            body,
            first: self.clone(),
            now,
        })
    }
}

struct Watched {
    body: reqwest::Body,
    first: FirstByte,
    now: Now,
}

impl Body for Watched {
    type Data = <reqwest::Body as Body>::Data;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.first.at().is_none() {
            let now = (self.now)();
            if now > self.first.not_after {
                return Poll::Ready(Some(Err(
                    "this process was held up: it is too late to send".into(),
                )));
            }
            self.first.at.get_or_init(|| now);
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    // Exact, so that the request has a Content-Length as if the body weren't watched.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_stays_known_and_nothing_is_noted_before_the_body_is_wanted() {
        let first = FirstByte::until(OffsetDateTime::UNIX_EPOCH);
        let body = first.watch("four".into(), || OffsetDateTime::UNIX_EPOCH);
        assert_eq!(body.size_hint().exact(), Some(4));
        assert_eq!(first.at(), None);
        let mut body = Box::pin(body);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(body.as_mut().poll_frame(&mut cx).is_ready());
        assert_eq!(first.at(), Some(OffsetDateTime::UNIX_EPOCH));
    }

    #[test]
    fn what_would_leave_too_late_does_not_leave() {
        let first = FirstByte::until(OffsetDateTime::UNIX_EPOCH);
        let late = || OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_millis(1);
        let mut body = Box::pin(first.watch("four".into(), late));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let polled = body.as_mut().poll_frame(&mut cx);
        assert!(matches!(polled, Poll::Ready(Some(Err(_)))));
        assert_eq!(first.at(), None);
    }
}
