//! WS-Management: the requests that open sessions, run pipelines in them, and fetch what they say.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use crate::ews::{page, unauthorised};
use crate::faults::About;
use crate::limiter::Flight;
use crate::onprem::{Account, Site, sign_in};
use crate::powershell::command;
use crate::powershell::pipeline::{self, Pipeline};
use crate::powershell::psrp::{Message, kind};
use crate::powershell::record::{self, OPENED};
use crate::powershell::shell::{IDLE, Shell};
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::world::World;
use crate::xml::{self, Element, escaped, leaf, tag, with};

const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
const ANONYMOUS: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";
const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
const POWERSHELL: &str = "http://schemas.microsoft.com/powershell";
const FAULT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault";
const CONFIG: &str = "http://schemas.microsoft.com/wbem/wsman/1/config";
const EXCHANGE: &str = "http://schemas.microsoft.com/powershell/Microsoft.Exchange";
const KIND: &str = "application/soap+xml;charset=UTF-8";

/// The most a client may ask an answer to hold, in bytes, and what it is when it asks for nothing.
const LARGEST_ENVELOPE: usize = 512_000;
const ENVELOPE: usize = 153_600;

/// The codes of faults.
mod code {
    pub(super) const ACCESS_DENIED: u64 = 5;
    pub(super) const SCHEMA: u64 = 2_150_858_817;
    pub(super) const TIMED_OUT: u64 = 2_150_858_793;
    pub(super) const NO_RESOURCE: u64 = 2_150_858_811;
    pub(super) const NO_SHELL: u64 = 2_150_858_843;
    pub(super) const TOO_MANY_SHELLS: u64 = 2_150_859_173;
    pub(super) const LOAD_QUOTA: u64 = 2_150_859_174;
}

/// A request's header, as far as it counts.
struct Ask {
    action: String,
    message: String,
    resource: String,
    shell: Option<Uuid>,
    room: usize,
    wait: Duration,
    options: Vec<(String, String)>,
    body: Element,
}

/// What is answered with a fault.
#[derive(Debug)]
struct Fault {
    code: u64,
    sub: &'static str,
    text: String,
}

fn fault(code: u64, sub: &'static str, text: impl Into<String>) -> Fault {
    Fault {
        code,
        sub,
        text: text.into(),
    }
}

fn schema(text: impl Into<String>) -> Fault {
    fault(code::SCHEMA, "w:SchemaValidationError", text)
}

/// Reads `PT20S` and its like.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = text
        .trim()
        .strip_prefix("PT")?
        .strip_suffix('S')?
        .parse::<f64>()
        .ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn guid(text: &str) -> Option<Uuid> {
    Uuid::parse_str(text.trim().trim_start_matches("uuid:")).ok()
}

fn read(text: &str) -> Result<Ask, Fault> {
    let root = xml::parse(text).map_err(|wrong| schema(wrong.reason))?;
    if !root.is(SOAP, "Envelope") {
        return Err(schema("The request isn't a SOAP 1.2 envelope."));
    }
    let mut parts = root.children.into_iter();
    let (Some(head), Some(body), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(schema("The envelope holds a header and a body."));
    };
    if !head.is(SOAP, "Header") || !body.is(SOAP, "Body") {
        return Err(schema("The envelope holds a header and a body."));
    }
    let find = |ns: &str, name: &str| head.children.iter().find(|part| part.is(ns, name));
    let needed = |ns: &str, name: &str| {
        find(ns, name)
            .map(|part| part.text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .ok_or_else(|| schema(format!("The header {name} is missing.")))
    };
    needed(ADDRESSING, "To")?;
    let reply_to = find(ADDRESSING, "ReplyTo").and_then(|reply| reply.child_text("Address"));
    if reply_to != Some(ANONYMOUS) {
        return Err(schema("The header ReplyTo isn't the anonymous address."));
    }
    let message = needed(ADDRESSING, "MessageID")?;
    if guid(&message).is_none() {
        return Err(schema("The header MessageID isn't uuid: and a GUID."));
    }
    let selectors = find(WSMAN, "SelectorSet").map_or(&[][..], |set| &set.children);
    let shell = selectors
        .iter()
        .find(|selector| selector.attribute("Name") == Some("ShellId"))
        .and_then(|selector| guid(&selector.text));
    let options = find(WSMAN, "OptionSet").map_or(&[][..], |set| &set.children);
    let options = options.iter().map(|option| {
        let name = option.attribute("Name").unwrap_or_default();
        (name.to_owned(), option.text.trim().to_owned())
    });
    let room = find(WSMAN, "MaxEnvelopeSize").and_then(|size| size.text.trim().parse().ok());
    let wait = find(WSMAN, "OperationTimeout").and_then(|wait| seconds(&wait.text));
    Ok(Ask {
        action: needed(ADDRESSING, "Action")?,
        message,
        resource: needed(WSMAN, "ResourceURI")?,
        shell,
        room: room.unwrap_or(ENVELOPE).clamp(8192, LARGEST_ENVELOPE),
        wait: wait.unwrap_or(Duration::from_secs(60)),
        options: options.collect(),
        body,
    })
}

fn envelope(action: &str, relates_to: &str, body: &str) -> String {
    format!(
        "<s:Envelope xml:lang=\"en-US\" xmlns:s=\"{SOAP}\" xmlns:a=\"{ADDRESSING}\" xmlns:x=\"{TRANSFER}\" \
         xmlns:w=\"{WSMAN}\" xmlns:rsp=\"{SHELL}\"><s:Header>{}{}{}{}</s:Header><s:Body>{body}</s:Body></s:Envelope>",
        leaf("a:Action", action),
        leaf(
            "a:MessageID",
            &format!("uuid:{}", Uuid::new_v4().to_string().to_uppercase())
        ),
        leaf("a:To", ANONYMOUS),
        leaf("a:RelatesTo", relates_to),
    )
}

fn faulted(server: &str, relates_to: &str, fault: &Fault) -> Reply {
    let side = match fault.sub {
        "w:TimedOut" | "w:QuotaLimit" | "w:InternalError" => "s:Receiver",
        _ => "s:Sender",
    };
    let text = escaped(&fault.text);
    let detail = with(
        "f:WSManFault",
        &[
            ("xmlns:f", FAULT),
            ("Code", &fault.code.to_string()),
            ("Machine", server),
        ],
        &tag("f:Message", &text),
    );
    let code = format!(
        "{}{}",
        leaf("s:Value", side),
        tag("s:Subcode", &leaf("s:Value", fault.sub))
    );
    let body = tag(
        "s:Fault",
        &format!(
            "{}{}{}",
            tag("s:Code", &code),
            tag("s:Reason", &with("s:Text", &[("xml:lang", "en-US")], &text)),
            tag("s:Detail", &detail),
        ),
    );
    let action = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault";
    Reply::text(500, KIND, envelope(action, relates_to, &body))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(crate) async fn handle(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    world.judge.onprem_round_trip("powershell");
    if let Some(reply) = world.outage() {
        return page(reply);
    }
    let (tenant, account) = match sign_in(&world, text(&headers, header::AUTHORIZATION)) {
        Ok(signed_in) => signed_in,
        Err(reason) => return unauthorised(&world, reason),
    };
    let Some(site) = &tenant.site else {
        return unauthorised(&world, "no site");
    };
    let kind = text(&headers, header::CONTENT_TYPE).unwrap_or_default();
    if !kind.to_lowercase().starts_with("application/soap+xml") {
        world.judge.refused("415 PowerShell");
        return Reply::text(
            415,
            "text/html",
            "Content-Type must be application/soap+xml",
        );
    }
    let asked = str::from_utf8(&body)
        .map_err(|_| schema("The body isn't UTF-8."))
        .and_then(read);
    let ask = match asked {
        Ok(ask) => ask,
        Err(wrong) => {
            world
                .judge
                .refused("PowerShell: no request of WS-Management");
            return faulted(&site.server, "", &wrong);
        }
    };
    let session = Session {
        world: &world,
        tenant: &tenant,
        account: &account,
        site,
        now: world.clock.now(),
    };
    let label = session.label(&ask);
    let about = About {
        kind: &label,
        app: &account.name,
    };
    if let Some(fault) = early_fault(&world, site, &ask, about) {
        return fault;
    }
    let reply = match session.answer(&ask).await {
        Ok((action, body)) => Reply::text(200, KIND, envelope(&action, &ask.message, &body)),
        Err(wrong) => {
            if wrong.code != code::TIMED_OUT {
                world
                    .judge
                    .refused(&format!("PowerShell fault {}", wrong.code));
            }
            faulted(&site.server, &ask.message, &wrong)
        }
    };
    if world.fault("lost_reply", about) {
        return Reply::broken();
    }
    if world.fault("error_after_effect", about) {
        return page(Reply::failed(world.dice.below(4)));
    }
    if world.fault("half_response", about) {
        return reply.half();
    }
    reply
}

fn early_fault(world: &World, site: &Site, ask: &Ask, about: About<'_>) -> Option<Reply> {
    for (name, way) in [
        ("unavailable_503", 2),
        ("server_error_500", 0),
        ("gateway_timeout_504", 3),
    ] {
        if world.fault(name, about) {
            return Some(page(Reply::failed(way)));
        }
    }
    if world.fault("connection_reset", about) {
        return Some(Reply::broken());
    }
    if world.fault("token_expired_401", about) {
        return Some(unauthorised(world, "injected"));
    }
    let starts = ask.action == format!("{SHELL}/Command");
    if starts && world.fault("throttle_429", about) {
        let quota = load_quota(1, 1, 1 + world.dice.below(3));
        return Some(faulted(&site.server, &ask.message, &quota));
    }
    None
}

fn load_quota(calls: u32, secs: u64, wait_secs: u64) -> Fault {
    fault(
        code::LOAD_QUOTA,
        "w:QuotaLimit",
        format!(
            "The WS-Management service cannot process the request. The user load quota of {calls} requests per {secs} \
             seconds has been exceeded. Send future requests at a slower rate or raise the quota for this user. The next \
             request from this user will not be approved for at least {} milliseconds.",
            wait_secs * 1000
        ),
    )
}

/// One request's caller.
struct Session<'a> {
    world: &'a Arc<World>,
    tenant: &'a Arc<Tenant>,
    account: &'a Arc<Account>,
    site: &'a Site,
    now: Duration,
}

type Answer = Result<(String, String), Fault>;

impl Session<'_> {
    /// What faults can be aimed by: the action, and what its pipeline runs.
    fn label(&self, ask: &Ask) -> String {
        let action = ask.action.rsplit('/').next().unwrap_or_default();
        let stream = ask.body.at_path(&["Receive", "DesiredStream"]);
        let command = stream.and_then(|stream| guid(stream.attribute("CommandId")?));
        let shell = ask
            .shell
            .and_then(|id| self.site.shells.get(id, self.account, self.now));
        let runs = command.and_then(|id| Some(shell?.pipelines().get(&id)?.label()));
        format!("WSMan {action} {}", runs.unwrap_or_default())
            .trim()
            .to_owned()
    }

    async fn answer(&self, ask: &Ask) -> Answer {
        let response = format!("{}Response", ask.action);
        if ask.action == format!("{TRANSFER}/Get") && ask.resource == CONFIG {
            let size = (LARGEST_ENVELOPE / 1024).to_string();
            let config = with(
                "cfg:Config",
                &[("xmlns:cfg", CONFIG)],
                &leaf("cfg:MaxEnvelopeSizekb", &size),
            );
            return Ok((response, config));
        }
        if ask.resource != EXCHANGE {
            return Err(fault(
                code::NO_RESOURCE,
                "w:InvalidResourceURI",
                "The WS-Management service cannot process the request. The resource URI is not supported.",
            ));
        }
        let body = match ask
            .action
            .strip_prefix(TRANSFER)
            .or_else(|| ask.action.strip_prefix(SHELL))
        {
            Some("/Create") => self.create(ask).await?,
            Some("/Delete") => {
                let shell = self.shell(ask)?;
                self.site.shells.close(shell.id);
                String::new()
            }
            Some("/Command") => self.command(ask)?,
            Some("/Send") => self.send(ask)?,
            Some("/Receive") => self.receive(ask).await?,
            Some("/Signal") => self.signal(ask)?,
            _ => {
                let text = format!("The action {} is not supported by the service.", ask.action);
                return Err(fault(code::SCHEMA, "a:ActionNotSupported", text));
            }
        };
        Ok((response, body))
    }

    fn shell(&self, ask: &Ask) -> Result<Arc<Shell>, Fault> {
        let found = ask
            .shell
            .and_then(|id| self.site.shells.get(id, self.account, self.now));
        found.ok_or_else(|| {
            let id = ask.shell.unwrap_or_default().to_string().to_uppercase();
            fault(
                code::NO_SHELL,
                "w:InvalidSelectors",
                format!("The request for the Windows Remote Shell with ShellId {id} failed because the shell was not found on the server."),
            )
        })
    }

    async fn create(&self, ask: &Ask) -> Result<String, Fault> {
        let rights = self.account.rights();
        let may = rights.remote_powershell && !self.account.app.cmdlets().is_empty();
        if !may {
            let text = format!(
                "Processing data from remote server failed with the following error message: [ClientAccessServer={}] \
                 The user \"{}\" isn't assigned to any management roles, or remote PowerShell is off for it.",
                self.site.server, self.account.name
            );
            return Err(fault(code::ACCESS_DENIED, "w:AccessDenied", text));
        }
        let asked = ask.body.child("Shell").filter(|shell| *shell.ns == *SHELL);
        let asked = asked.ok_or_else(|| schema("The body has no Shell."))?;
        let input = asked.child_text("InputStreams").unwrap_or_default();
        if !input.split(' ').any(|name| name == "stdin")
            || asked.child_text("OutputStreams") != Some("stdout")
        {
            return Err(schema(
                "InputStreams must be \"stdin pr\", and OutputStreams \"stdout\".",
            ));
        }
        let version = ask
            .options
            .iter()
            .find(|(name, _)| name == "protocolversion");
        if !version.is_some_and(|(_, version)| version.starts_with("2.")) {
            return Err(schema(
                "The option protocolversion is missing, or isn't 2.x.",
            ));
        }
        let creation = asked
            .child("creationXml")
            .filter(|xml| *xml.ns == *POWERSHELL);
        let creation = creation.ok_or_else(|| schema("The Shell has no creationXml."))?;
        let id = asked
            .attribute("ShellId")
            .and_then(guid)
            .unwrap_or_else(Uuid::new_v4);
        self.quota(&self.account.runspaces)?;
        let account = Arc::clone(self.account);
        let shell = Arc::new(Shell::new(id, Arc::clone(self.tenant), account, self.now));
        self.feed(&shell, &creation.text)?;
        let most = rights.policy.powershell_max_concurrency.0;
        let added = self.site.shells.add(Arc::clone(&shell), most, self.now);
        added.map_err(|most| {
            let limit = format!("PowerShellMaxConcurrency: {most}");
            self.world.judge.violation(&self.account.name, &limit, self.now.as_millis());
            fault(
                code::TOO_MANY_SHELLS,
                "w:QuotaLimit",
                format!("The WS-Management service cannot process the request. This user is allowed a maximum number of {most} concurrent shells, which has been exceeded. Close existing shells or raise the quota for this user."),
            )
        })?;
        self.world.judge.call("WSMan Create", &self.account.name);
        let latency = Duration::from_millis(self.world.dials().shell_latency_ms);
        self.site.clock(self.world).pass(latency).await;
        Ok(self.created(id))
    }

    fn created(&self, id: Uuid) -> String {
        let id = id.to_string().to_uppercase();
        let selector = with("w:Selector", &[("Name", "ShellId")], &id);
        let reference = format!(
            "{}{}",
            leaf("w:ResourceURI", EXCHANGE),
            tag("w:SelectorSet", &selector)
        );
        let resource = format!(
            "{}{}",
            leaf(
                "a:Address",
                &format!("https://{}/PowerShell/", self.site.server)
            ),
            tag("a:ReferenceParameters", &reference)
        );
        let shell: String = [
            ("rsp:ShellId", id.as_str()),
            ("rsp:ResourceUri", EXCHANGE),
            ("rsp:Owner", &self.account.name),
            ("rsp:ClientIP", "127.0.0.1"),
            ("rsp:IdleTimeOut", &format!("PT{}.000S", IDLE.as_secs())),
            ("rsp:InputStreams", "stdin pr"),
            ("rsp:OutputStreams", "stdout"),
            ("rsp:ShellRunTime", "P0DT0H0M0S"),
            ("rsp:ShellInactivity", "P0DT0H0M0S"),
        ]
        .iter()
        .map(|(name, value)| leaf(name, value))
        .collect();
        format!(
            "{}{}",
            tag("x:ResourceCreated", &resource),
            tag("rsp:Shell", &shell)
        )
    }

    /// A request that counts against a number per time.
    fn quota(&self, limiter: &Arc<crate::limiter::Limiter>) -> Result<(), Fault> {
        let started = Flight::start(&self.world.clock, [Arc::clone(limiter)]);
        started.map(drop).map_err(|refusal| {
            self.world
                .judge
                .violation(&self.account.name, &refusal.limit, self.now.as_millis());
            let window = limiter.meter().window(self.now);
            let (calls, _, secs) = window.unwrap_or((1, 0, 1));
            load_quota(calls, secs, refusal.retry_after.unwrap_or(1))
        })
    }

    /// Takes fragments of messages, and does what those say that are complete.
    fn feed(&self, shell: &Arc<Shell>, encoded: &str) -> Result<(), Fault> {
        let bytes = STANDARD
            .decode(encoded.trim())
            .map_err(|_| schema("The stream isn't base64."))?;
        let messages = {
            let mut incoming = shell
                .incoming
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            incoming.take(&bytes).map_err(schema)?
        };
        for message in messages {
            self.message(shell, &message)?;
        }
        Ok(())
    }

    fn message(&self, shell: &Arc<Shell>, message: &Message) -> Result<(), Fault> {
        match message.kind {
            kind::SESSION_CAPABILITY => {
                if !message.text.contains("protocolversion") {
                    return Err(schema("SESSION_CAPABILITY has no protocolversion."));
                }
            }
            kind::INIT_RUNSPACEPOOL => {
                for name in [
                    "MinRunspaces",
                    "MaxRunspaces",
                    "PSThreadOptions",
                    "ApartmentState",
                    "HostInfo",
                ] {
                    if !message.text.contains(&format!("N=\"{name}\"")) {
                        return Err(schema(format!("INIT_RUNSPACEPOOL has no {name}.")));
                    }
                }
                shell.name_pool(message.pool);
                for (kind, text) in [
                    (kind::SESSION_CAPABILITY, record::capability().to_owned()),
                    (
                        kind::APPLICATION_PRIVATE_DATA,
                        record::private_data().to_owned(),
                    ),
                    (kind::RUNSPACEPOOL_STATE, record::pool_state(OPENED)),
                ] {
                    shell.outbox.put(shell.message(kind, Uuid::nil(), &text));
                }
            }
            kind::CREATE_PIPELINE => {
                let pipeline = self.pipeline(shell, message.pipeline)?;
                let asked = command::read(&message.text).map_err(schema)?;
                pipeline.set_label(&asked);
                if asked.no_input {
                    self.start(shell, pipeline, asked);
                } else {
                    pipeline.hold(asked);
                }
            }
            kind::PIPELINE_INPUT => {}
            kind::END_OF_PIPELINE_INPUT => {
                let pipeline = self.pipeline(shell, message.pipeline)?;
                if let Some(asked) = pipeline.release() {
                    self.start(shell, pipeline, asked);
                }
            }
            _ => {
                return Err(schema(format!(
                    "A message of the kind {:#x} isn't known.",
                    message.kind
                )));
            }
        }
        Ok(())
    }

    fn start(&self, shell: &Arc<Shell>, pipeline: Arc<Pipeline>, asked: command::Asked) {
        let run = pipeline::run(Arc::clone(self.world), Arc::clone(shell), pipeline, asked);
        self.world.tasks.spawn(run);
    }

    fn pipeline(&self, shell: &Shell, id: Uuid) -> Result<Arc<Pipeline>, Fault> {
        let found = shell.pipelines().get(&id).map(Arc::clone);
        found.ok_or_else(|| {
            let text = format!(
                "The command with CommandId {id} was not found in the shell of {}.",
                self.account.name
            );
            fault(code::NO_SHELL, "w:InvalidSelectors", text)
        })
    }

    fn command(&self, ask: &Ask) -> Result<String, Fault> {
        let shell = self.shell(ask)?;
        let line = ask
            .body
            .child("CommandLine")
            .ok_or_else(|| schema("The body has no CommandLine."))?;
        let id = match line.attribute("CommandId") {
            Some(id) => guid(id).ok_or_else(|| schema("The CommandId isn't a GUID."))?,
            None => Uuid::new_v4(),
        };
        if line.child("Command").is_none() {
            return Err(schema("The CommandLine has no Command."));
        }
        let arguments = line
            .child_text("Arguments")
            .ok_or_else(|| schema("The CommandLine has no Arguments."))?;
        self.quota(&self.account.cmdlets)?;
        let fresh = Arc::new(Pipeline::new(id));
        if shell.pipelines().insert(id, fresh).is_some() {
            return Err(schema("The CommandId is used already."));
        }
        if let Err(wrong) = self.feed(&shell, arguments) {
            shell.pipelines().remove(&id);
            return Err(wrong);
        }
        let id = id.to_string().to_uppercase();
        Ok(tag("rsp:CommandResponse", &leaf("rsp:CommandId", &id)))
    }

    fn send(&self, ask: &Ask) -> Result<String, Fault> {
        let shell = self.shell(ask)?;
        let streams = ask
            .body
            .child("Send")
            .map_or(&[][..], |send| &send.children);
        for stream in streams {
            self.feed(&shell, &stream.text)?;
        }
        Ok("<rsp:SendResponse/>".to_owned())
    }

    async fn receive(&self, ask: &Ask) -> Result<String, Fault> {
        let shell = self.shell(ask)?;
        let stream = ask.body.at_path(&["Receive", "DesiredStream"]);
        let stream = stream.ok_or_else(|| schema("The body has no DesiredStream."))?;
        if !stream.text.split_whitespace().any(|name| name == "stdout") {
            return Err(schema("The stream isn't stdout."));
        }
        let command = match stream.attribute("CommandId") {
            Some(id) => Some(guid(id).ok_or_else(|| schema("The CommandId isn't a GUID."))?),
            None => None,
        };
        let pipeline = match command {
            Some(id) => Some(self.pipeline(&shell, id)?),
            None => None,
        };
        let outbox = pipeline
            .as_ref()
            .map_or(&shell.outbox, |pipeline| &pipeline.outbox);
        // base64 takes four thirds, and the envelope its share
        let room = ask.room * 3 / 4 - 4096;
        let fetched = outbox.fetch(room, ask.wait).await.ok_or_else(|| {
            fault(
                code::TIMED_OUT,
                "w:TimedOut",
                "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.",
            )
        })?;
        let id = command.map(|id| id.to_string().to_uppercase());
        let mut attributes = vec![("Name", "stdout")];
        attributes.extend(id.as_deref().map(|id| ("CommandId", id)));
        let stream =
            |fragment: &Vec<u8>| with("rsp:Stream", &attributes, &STANDARD.encode(fragment));
        let mut body: String = fetched.fragments.iter().map(stream).collect();
        if let Some(id) = id.as_deref().filter(|_| fetched.done) {
            let state = format!("{SHELL}/CommandState/Done");
            body.push_str(&with(
                "rsp:CommandState",
                &[("CommandId", id), ("State", &state)],
                "",
            ));
        }
        Ok(tag("rsp:ReceiveResponse", &body))
    }

    fn signal(&self, ask: &Ask) -> Result<String, Fault> {
        let shell = self.shell(ask)?;
        let signal = ask
            .body
            .child("Signal")
            .ok_or_else(|| schema("The body has no Signal."))?;
        let id = signal.attribute("CommandId").and_then(guid);
        let id = id.ok_or_else(|| schema("The Signal has no CommandId."))?;
        let pipeline = self.pipeline(&shell, id)?;
        let code = signal.child_text("Code").unwrap_or_default().to_lowercase();
        match code.rsplit('/').next() {
            Some("terminate") => drop(shell.pipelines().remove(&id)),
            Some("ctrl_c" | "crtl_c") => pipeline.stop(&shell),
            _ => return Err(schema("The Signal has a code that isn't known.")),
        }
        Ok("<rsp:SignalResponse/>".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, seconds};

    #[test]
    fn waits_are_read() {
        for (text, wait) in [
            ("PT20S", Some(20_000)),
            ("PT0.5S", Some(500)),
            ("20", None),
            ("PT1M", None),
        ] {
            assert_eq!(seconds(text), wait.map(Duration::from_millis), "{text}");
        }
    }
}
