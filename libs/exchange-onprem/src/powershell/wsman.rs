//! `WSMan`'s envelopes (MS-WSMV), as much as a remote shell takes. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use uuid::Uuid;

use crate::{
    transport::connection::Reply,
    xml::{Element, Ns, escaped},
};

use super::Nonsense;

const RESOURCE: &str = "http://schemas.microsoft.com/powershell/Microsoft.Exchange";
const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
/// Nothing to deliver came within the time: ask again.
const TIMED_OUT: &str = "2150858793";

/// What one shell's requests have in common.
#[derive(Debug, Clone)]
pub(super) struct Addressee {
    /// The URL, as the server knows itself.
    pub(super) url: String,
    /// Ours, for all requests.
    pub(super) session: Uuid,
    /// The server's name for the shell, once it has one.
    pub(super) shell: String,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Ask<'a> {
    /// A shell, with the first messages to it.
    Create { shell: Uuid, opening: &'a [u8] },
    /// What the shell, or one command in it, has to say.
    Receive { command: Option<Uuid> },
    /// To run a command: its first fragment.
    Command { command: Uuid, fragment: &'a [u8] },
    /// A further fragment of a command, or a fragment for the shell itself.
    Send {
        command: Option<Uuid>,
        fragment: &'a [u8],
    },
    /// That a command is over with.
    Signal { command: Uuid },
    /// That the shell is.
    Delete,
}

fn guid(id: Uuid) -> String {
    id.to_string().to_uppercase()
}

/// The attribute that says which command is meant; none for the shell itself.
fn about(command: Option<Uuid>) -> String {
    command.map_or_else(String::new, |id| format!(" CommandId=\"{}\"", guid(id)))
}

fn option(name: &str, value: &str, must: bool) -> String {
    let must = if must { " MustComply=\"true\"" } else { "" };
    format!(
        "<w:OptionSet s:mustUnderstand=\"true\"><w:Option Name=\"{name}\"{must}>{value}</w:Option></w:OptionSet>"
    )
}

impl Addressee {
    /// The envelope of a request.
    pub(super) fn envelope(&self, ask: &Ask) -> String {
        let (action, options, body) = match ask {
            Ask::Create { shell, opening } => (
                format!("{TRANSFER}/Create"),
                option("protocolversion", "2.3", true),
                format!(
                    "<rsp:Shell ShellId=\"{}\"><rsp:InputStreams>stdin pr</rsp:InputStreams><rsp:OutputStreams>stdout</rsp:OutputStreams>\
                    <creationXml xmlns=\"http://schemas.microsoft.com/powershell\">{}</creationXml></rsp:Shell>",
                    guid(*shell),
                    STANDARD.encode(opening)
                ),
            ),
            Ask::Receive { command } => {
                let of = about(*command);
                (
                    format!("{SHELL}/Receive"),
                    option("WSMAN_CMDSHELL_OPTION_KEEPALIVE", "True", false),
                    format!(
                        "<rsp:Receive><rsp:DesiredStream{of}>stdout</rsp:DesiredStream></rsp:Receive>"
                    ),
                )
            }
            Ask::Command { command, fragment } => (
                format!("{SHELL}/Command"),
                option("WINRS_SKIP_CMD_SHELL", "False", false),
                format!(
                    "<rsp:CommandLine CommandId=\"{}\"><rsp:Command/><rsp:Arguments>{}</rsp:Arguments></rsp:CommandLine>",
                    guid(*command),
                    STANDARD.encode(fragment)
                ),
            ),
            Ask::Send { command, fragment } => (
                format!("{SHELL}/Send"),
                String::new(),
                format!(
                    "<rsp:Send><rsp:Stream Name=\"stdin\"{}>{}</rsp:Stream></rsp:Send>",
                    about(*command),
                    STANDARD.encode(fragment)
                ),
            ),
            Ask::Signal { command } => (
                format!("{SHELL}/Signal"),
                String::new(),
                format!(
                    "<rsp:Signal CommandId=\"{}\"><rsp:Code>{SHELL}/signal/Terminate</rsp:Code></rsp:Signal>",
                    guid(*command)
                ),
            ),
            Ask::Delete => (format!("{TRANSFER}/Delete"), String::new(), String::new()),
        };
        let selector = if self.shell.is_empty() {
            String::new()
        } else {
            format!(
                "<w:SelectorSet><w:Selector Name=\"ShellId\">{}</w:Selector></w:SelectorSet>",
                escaped(&self.shell)
            )
        };
        format!(
            "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
            xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
            xmlns:w=\"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd\" \
            xmlns:p=\"http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd\" \
            xmlns:rsp=\"{SHELL}\"><s:Header>\
            <a:Action s:mustUnderstand=\"true\">{action}</a:Action>\
            <p:DataLocale s:mustUnderstand=\"false\" xml:lang=\"en-US\"/>\
            <w:Locale s:mustUnderstand=\"false\" xml:lang=\"en-US\"/>\
            <w:MaxEnvelopeSize s:mustUnderstand=\"true\">153600</w:MaxEnvelopeSize>\
            <a:MessageID>uuid:{}</a:MessageID>\
            <w:OperationTimeout>PT20S</w:OperationTimeout>\
            <a:ReplyTo><a:Address s:mustUnderstand=\"true\">http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>\
            <w:ResourceURI s:mustUnderstand=\"true\">{RESOURCE}</w:ResourceURI>\
            <p:SessionId s:mustUnderstand=\"false\">uuid:{}</p:SessionId>\
            <a:To>{}</a:To>{options}{selector}</s:Header><s:Body>{body}</s:Body></s:Envelope>",
            guid(Uuid::new_v4()),
            guid(self.session),
            escaped(&self.url),
        )
    }
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fault {
    /// `WSMan`'s number, or SOAP's code.
    pub(super) code: String,
    /// In words.
    pub(super) text: String,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// A shell was made, of this name.
    Created(String),
    /// Bytes of the stream, and whether the command is over.
    Received { bytes: Vec<u8>, done: bool },
    /// The command, the fragment, the signal or the end was taken.
    Taken,
    /// Nothing came in time: ask again.
    Nothing,
    /// It was refused.
    Refused(Fault),
}

/// Whether a reply leaves nothing behind on its connection.
pub(super) fn is_clean(reply: &Reply) -> bool {
    matches!(reply.status, 200 | 500) && Element::parse(&reply.body).is_ok()
}

/// Reads an answer.
pub(super) fn read(body: &[u8], ask: &Ask) -> Result<Said, Nonsense> {
    let root = Element::parse(body).map_err(|error| Nonsense::new(error.to_string()))?;
    let body = root
        .is(Ns::Soap12, "Envelope")
        .then(|| root.child(Ns::Soap12, "Body"))
        .flatten()
        .ok_or_else(|| Nonsense::new("no SOAP 1.2 envelope with a body"))?;
    if let Some(fault) = body.child(Ns::Soap12, "Fault") {
        return Ok(refused(fault));
    }
    let inside = |ns, name: &str| {
        let found = body.child(ns, name);
        found.ok_or_else(|| Nonsense::new(format!("an answer without {name}")))
    };
    match ask {
        Ask::Create { .. } => {
            let named = root.find(Ns::Shell, "ShellId").map(|id| id.text.trim());
            let selected = || {
                let found = root.find(Ns::Wsman, "Selector");
                found
                    .filter(|one| one.attribute("Name") == Some("ShellId"))
                    .map(|id| id.text.trim())
            };
            let id = named
                .or_else(selected)
                .filter(|id| !id.is_empty() && id.len() <= 100);
            let id = id.ok_or_else(|| Nonsense::new("a shell without a name"))?;
            Ok(Said::Created(id.to_owned()))
        }
        Ask::Receive { command } => {
            let answer = inside(Ns::Shell, "ReceiveResponse")?;
            let (mut bytes, mut done) = (Vec::new(), false);
            for part in &answer.children {
                let about = part
                    .attribute("CommandId")
                    .and_then(|id| Uuid::parse_str(id).ok());
                if about.is_some() && about != *command {
                    return Err(Nonsense::new("an answer about another command"));
                }
                if part.is(Ns::Shell, "Stream") {
                    let piece = STANDARD.decode(part.text.trim());
                    bytes.extend(piece.map_err(|_| Nonsense::new("a stream that is not Base64"))?);
                } else if part.is(Ns::Shell, "CommandState") {
                    let state = part.attribute("State").unwrap_or_default();
                    done |= state.ends_with("/Done");
                }
            }
            Ok(Said::Received { bytes, done })
        }
        Ask::Command { command, .. } => {
            let answer = inside(Ns::Shell, "CommandResponse")?;
            let id = answer
                .child_text(Ns::Shell, "CommandId")
                .unwrap_or_default();
            if Uuid::parse_str(id).ok() == Some(*command) {
                Ok(Said::Taken)
            } else {
                Err(Nonsense::new("an answer about another command"))
            }
        }
        Ask::Send { .. } => inside(Ns::Shell, "SendResponse").map(|_| Said::Taken),
        Ask::Signal { .. } => inside(Ns::Shell, "SignalResponse").map(|_| Said::Taken),
        Ask::Delete => Ok(Said::Taken),
    }
}

fn refused(fault: &Element) -> Said {
    let wsman = fault.find(Ns::WsmanFault, "WSManFault");
    let number = wsman.and_then(|fault| fault.attribute("Code"));
    if number == Some(TIMED_OUT) {
        return Said::Nothing;
    }
    let sub = fault
        .child(Ns::Soap12, "Code")
        .and_then(|code| code.child(Ns::Soap12, "Subcode"))
        .and_then(|code| code.child_text(Ns::Soap12, "Value"))
        .map(|code| code.rsplit(':').next().unwrap_or_default());
    if number.is_none() && sub == Some("TimedOut") {
        return Said::Nothing;
    }
    let reason = fault
        .child(Ns::Soap12, "Reason")
        .and_then(|reason| reason.child_text(Ns::Soap12, "Text"));
    let message = wsman
        .and_then(|fault| fault.child(Ns::WsmanFault, "Message"))
        .map(|message| message.text.trim())
        .filter(|text| !text.is_empty());
    Said::Refused(Fault {
        code: number
            .or(sub)
            .unwrap_or("wsman_fault")
            .chars()
            .take(80)
            .collect(),
        text: message.or(reason).unwrap_or_default().to_owned(),
    })
}
