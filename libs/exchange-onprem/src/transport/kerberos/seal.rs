//! A connection's context, in which bodies are sealed and opened.

use calgrant_exchange::{CallError, Meaning};
use calgrant_gssapi::Context;

use super::{
    failure::{Stage, classed},
    multipart,
    spnego::Scheme,
};
use crate::transport::connection::Reply;

/// A kind of encryption pads by less than this, in bytes.
const PADDING: usize = 32;

/// What a connection has agreed on with its server.
pub(crate) struct Seal {
    pub(super) context: Context,
    /// How it was agreed on.
    pub(super) scheme: Scheme,
    /// The server's service.
    pub(super) service: String,
}

impl Seal {
    /// The type and the bytes of a sealed body.
    ///
    /// # Errors
    /// The context has run out: another connection will do.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Result<(String, Vec<u8>), CallError> {
        let sealed = self.context.seal(plain).map_err(|failure| CallError {
            meaning: Meaning::Retry,
            ..classed(&failure, Stage::Service, &self.service)
        })?;
        let length = plain.len() + sealed.padding;
        let body = multipart::write(self.scheme, length, &sealed.signature, &sealed.bytes);
        Ok((multipart::content_type(self.scheme), body))
    }

    /// Opens an answer. One that isn't sealed may be anybody's: nothing but the status of an error is kept of it.
    ///
    /// # Errors
    /// It is an answer in clear, or was sealed by somebody else.
    pub(crate) fn open(&mut self, reply: &mut Reply) -> Result<(), CallError> {
        if !multipart::is_sealed(&reply.header("content-type")) {
            reply.body.clear();
            return if (200..300).contains(&reply.status) {
                Err(unanswered(
                    "not_sealed",
                    "the answer came in clear, though the connection seals: somebody may stand between",
                ))
            } else {
                Ok(())
            };
        }
        let parts = multipart::read(&reply.body).map_err(|why| {
            unanswered(
                "unexpected_answer",
                &format!("a sealed answer that isn't one: {why}"),
            )
        })?;
        let plain = self
            .context
            .unseal(parts.signature, parts.sealed)
            .map_err(|failure| {
                let why = format!("the sealed answer can't be opened ({failure})");
                unanswered("not_sealed", &why)
            })?;
        if !(plain.len()..plain.len() + PADDING).contains(&parts.length) {
            return Err(unanswered(
                "unexpected_answer",
                "a sealed answer of another length than it says",
            ));
        }
        reply.body = plain;
        Ok(())
    }
}

/// The request may have been carried out, whatever stands in for its answer.
fn unanswered(code: &str, text: &str) -> CallError {
    CallError {
        unanswered: true,
        ..CallError::new(Meaning::Retry, code, calgrant_exchange::one_line(text))
    }
}
