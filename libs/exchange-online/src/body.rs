//! The body of a reply, read once.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// What came after the headers.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// It is JSON.
    Json(Value),
    /// It is something else, or nothing.
    Other(Vec<u8>),
}

impl Body {
    /// Reads it; a byte order mark before it does no harm.
    pub(crate) fn read(bytes: Vec<u8>) -> Self {
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        serde_json::from_slice(text).map_or_else(|_| Self::Other(bytes), Self::Json)
    }

    pub(crate) fn json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::Other(_) => None,
        }
    }

    /// What it says as JSON; null if it isn't.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Json(value) => value,
            Self::Other(_) => Value::Null,
        }
    }

    /// What it holds, if it is what is asked for.
    ///
    /// # Errors
    /// It isn't.
    pub(crate) fn holds<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match self {
            Self::Json(value) => T::deserialize(value),
            Self::Other(bytes) => serde_json::from_slice(bytes),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Other(bytes) if bytes.is_empty())
    }

    /// As text, to look for words in.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Json(value) => value.to_string().into(),
            Self::Other(bytes) => String::from_utf8_lossy(bytes),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Other(Vec::new())
    }
}
