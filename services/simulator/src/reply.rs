//! Answers as values, so that a batch can hold them, and the error shapes of both services.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::clock::Clock;

/// Where objects are looked for online.
pub(crate) const DOMAIN_CONTROLLER: &str = "AB1P190A01DC002.EURP190A001.PROD.OUTLOOK.COM";
const JSON: &str = "application/json; charset=utf-8";

#[derive(Debug)]
pub(crate) enum Content {
    Json(Value),
    /// A text, with its media type.
    Text(&'static str, String),
    Nul,
    /// An answer that breaks off in the middle, with its media type.
    Half(&'static str, String),
    /// The connection breaks instead of answering.
    Broken,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content: Content,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content: Content::Json(body),
        }
    }

    /// A text of this media type.
    pub(crate) fn text(status: u16, kind: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content: Content::Text(kind, text.into()),
        }
    }

    pub(crate) fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }

    pub(crate) fn broken() -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            content: Content::Broken,
        }
    }

    /// The same answer, breaking off in the middle.
    pub(crate) fn half(mut self) -> Self {
        self.content = match self.content {
            Content::Json(body) => Content::Half(JSON, body.to_string()),
            Content::Text(kind, text) => Content::Half(kind, text),
            other => other,
        };
        self
    }

    /// An error as Graph, and Exchange outside of cmdlets, write it.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let id = Uuid::new_v4().to_string();
        let date = Clock::utc();
        let date = date.replace_nanosecond(0).unwrap_or(date).format(&Rfc3339);
        let inner =
            json!({"date": date.unwrap_or_default(), "request-id": id, "client-request-id": id});
        Self::json(
            status,
            json!({"error": {"code": code, "message": message, "innerError": inner}}),
        )
        .with("request-id", id)
    }

    pub(crate) fn throttled(retry_after: Option<u64>) -> Self {
        Self::error(429, "TooManyRequests", "Too many requests").retry_after(retry_after)
    }

    /// Says when to come back, or doesn't.
    pub(crate) fn retry_after(self, seconds: Option<u64>) -> Self {
        match seconds {
            Some(seconds) => self.with("retry-after", seconds.to_string()),
            None => self,
        }
    }

    pub(crate) fn unavailable() -> Self {
        Self::error(503, "ServiceUnavailable", "The service is unavailable.")
    }

    /// One of the four ways in which a server or what stands before it fails.
    pub(crate) fn failed(way: u64) -> Self {
        match way {
            0 => Self::error(
                500,
                "InternalServerError",
                "An internal server error occurred.",
            ),
            1 => Self::error(502, "BadGateway", "The connection to the backend was lost."),
            2 => Self::unavailable(),
            _ => Self::error(504, "GatewayTimeout", "The backend didn't answer in time."),
        }
    }

    /// Exchange's way to refuse a cmdlet: nothing in the body, the reason in a header.
    pub(crate) fn forbidden(reason: &str) -> Self {
        Self {
            status: 403,
            headers: Vec::new(),
            content: Content::Nul,
        }
        .with(
            "x-ms-diagnostics",
            format!("2000003;reason=\"{reason}\";error_category=\"unauthorized\""),
        )
    }

    /// One answer of a batch.
    pub(crate) fn into_batch_item(self, id: &Value, with_status: bool) -> Value {
        let headers: serde_json::Map<String, Value> = self
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let body = match self.content {
            Content::Json(body) => body,
            Content::Nul => json!("\0"),
            Content::Text(..) | Content::Half(..) | Content::Broken => Value::Null,
        };
        let mut item = json!({"id": id, "headers": headers, "body": body});
        if with_status {
            item["status"] = self.status.into();
        }
        item
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut length = None;
        let broken = matches!(self.content, Content::Broken);
        let nul = matches!(self.content, Content::Nul);
        let kind = match &self.content {
            Content::Text(kind, _) | Content::Half(kind, _) => *kind,
            Content::Json(_) | Content::Nul | Content::Broken => JSON,
        };
        let body = match self.content {
            Content::Json(body) => Body::from(body.to_string()),
            Content::Text(_, text) => Body::from(text),
            Content::Nul => Body::from("\0"),
            Content::Half(_, body) => {
                let mut bytes = body.into_bytes();
                length = Some(bytes.len());
                bytes.truncate(bytes.len() / 2);
                Body::from_stream(ReaderStream::new(Cut(Cursor::new(bytes))))
            }
            Content::Broken => Body::empty(),
        };
        let mut response = Response::new(body);
        if broken {
            response.extensions_mut().insert(Hangup);
        }
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if nul {
            // it says so, and it isn't
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        for (name, value) in self.headers {
            let Ok(value) = HeaderValue::from_str(&value) else {
                continue;
            };
            let name = HeaderName::from_static(name);
            if name == header::WWW_AUTHENTICATE {
                // one for each way to sign in
                headers.append(name, value);
            } else {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// Marks a response that must not be sent: the connection is cut instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hangup;

/// Some bytes, then an error, so that the server drops the connection.
struct Cut(Cursor<Vec<u8>>);

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.0.get_ref().len() as u64 > self.0.position();
        if left {
            return Pin::new(&mut self.0).poll_read(context, buffer);
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

/// An error a cmdlet ended with.
#[derive(Debug, Clone)]
pub(crate) struct CmdletError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) id: &'static str,
    pub(crate) exception: &'static str,
    pub(crate) text: String,
}

impl CmdletError {
    pub(crate) fn not_found(object: &str) -> Self {
        Self {
            status: 404,
            code: "NotFound",
            id: "Ex6F9304",
            exception: "Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException",
            text: format!(
                "The operation couldn't be performed because object '{object}' couldn't be found on \
                 '{DOMAIN_CONTROLLER}'."
            ),
        }
    }

    pub(crate) fn new(exception: &'static str, text: impl Into<String>) -> Self {
        Self {
            status: 400,
            code: "BadRequest",
            id: "",
            exception,
            text: text.into(),
        }
    }

    pub(crate) fn parameter(text: impl Into<String>) -> Self {
        Self::new(
            "System.Management.Automation.ParameterBindingException",
            text,
        )
    }

    pub(crate) fn ambiguous(object: &str) -> Self {
        Self {
            status: 400,
            code: "BadRequest",
            id: "Ex9E65A2",
            exception: "Microsoft.Exchange.Configuration.Tasks.ManagementObjectAmbiguousException",
            text: format!(
                "The operation couldn't be performed because object '{object}' matches multiple entries."
            ),
        }
    }

    fn message(&self) -> String {
        format!("{}|{}|{}", self.id, self.exception, self.text)
    }
}

impl From<CmdletError> for Reply {
    fn from(error: CmdletError) -> Self {
        Self::json(
            error.status,
            cmdlet_error(error.code, "Client", &error.message()),
        )
    }
}

/// The error a proxied call ends with: JSON inside the message, the real error inside of that.
pub(crate) fn proxied(reply: &Reply) -> Reply {
    let busy = "CmdletProxyNotAvailableFailure|Microsoft.Exchange.Data.Storage.ServerBusyException|The server is busy.";
    let (status, inner) = match &reply.content {
        Content::Json(body) if reply.status >= 400 => {
            let message = body["error"]["details"][0]["message"].as_str();
            (reply.status, message.unwrap_or(busy).to_owned())
        }
        _ => (400, busy.to_owned()),
    };
    let message = json!({
        "ClassName": "Microsoft.Exchange.Configuration.CmdletProxyException",
        "Message": format!(
            "Error on proxy command 'MailboxFolderPermission' to server AM0P190MB0001.EURP190.PROD.OUTLOOK.COM: \
             Server version 15.20.9000.0000, Proxy method PSWS: {inner}"
        ),
    });
    Reply::json(
        status,
        cmdlet_error("BadRequest", "ServerOperation", &message.to_string()),
    )
}

/// A transient error that looks like a client's mistake.
pub(crate) fn transient_400() -> Reply {
    let message = "|Microsoft.Exchange.Data.Storage.ServerBusyException|The server is too busy to process the request: BackendCommunicationException.";
    Reply::json(400, cmdlet_error("BadRequest", "ServerOperation", message))
}

/// An error that comes with status 200: the reply's own, or a transient one.
pub(crate) fn error_in_200(mut reply: Reply) -> Reply {
    if reply.status >= 400 && matches!(reply.content, Content::Json(_)) {
        reply.status = 200;
        return reply;
    }
    let message = "|Microsoft.Exchange.Data.Directory.ADTransientException|A transient error occurred: TransientException.";
    Reply::json(
        200,
        cmdlet_error("ServiceUnavailable", "ServerOperation", message),
    )
}

fn cmdlet_error(code: &str, origin: &str, message: &str) -> Value {
    json!({
        "error": {
            "code": code, "message": "Error executing cmdlet",
            "details": [{"code": origin, "target": "", "message": message}],
            "innererror": {
                "message": "Error executing cmdlet",
                "type": "Microsoft.Exchange.Admin.OData.Core.ODataServiceException",
                "stacktrace": "   at Microsoft.Exchange.Admin.OData.Core.Execute()",
                "internalexception": {
                    "message": "Exception of type 'Microsoft.Exchange.Management.PSDirectInvoke.DirectInvokeCmdletExecutionException' was thrown.",
                    "type": "Microsoft.Exchange.Management.PSDirectInvoke.DirectInvokeCmdletExecutionException",
                    "stacktrace": "",
                },
            },
        },
        "adminapi.warnings@odata.type": "#Collection(String)",
        "@adminapi.warnings": [],
    })
}
