//! When a request's first byte goes out: its body is polled as soon as a connection is ready for it, and not before.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use time::OffsetDateTime;

use crate::Now;

/// Where the moment is noted.
#[derive(Clone, Default)]
pub(crate) struct FirstByte(Arc<OnceLock<OffsetDateTime>>);

impl FirstByte {
    /// The moment; `None` while nothing went out.
    pub(crate) fn at(&self) -> Option<OffsetDateTime> {
        self.0.get().copied()
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
    type Error = <reqwest::Body as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let now = self.now;
        self.first.0.get_or_init(now);
        Pin::new(&mut self.body).poll_frame(cx)
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
        let first = FirstByte::default();
        let body = first.watch("four".into(), || OffsetDateTime::UNIX_EPOCH);
        assert_eq!(body.size_hint().exact(), Some(4));
        assert_eq!(first.at(), None);
        let mut body = Box::pin(body);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(body.as_mut().poll_frame(&mut cx).is_ready());
        assert_eq!(first.at(), Some(OffsetDateTime::UNIX_EPOCH));
    }
}
