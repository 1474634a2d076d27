//! What each request does: sessions are opened and closed, pipelines started, fetched from and ended.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use crate::limiter::{Flight, Limiter};
use crate::onprem::{Account, Site};
use crate::powershell::pipeline::Pipeline;
use crate::powershell::shell::{IDLE, Shell};
use crate::powershell::wsman::{
    Ask, CONFIG, EXCHANGE, Fault, LARGEST_ENVELOPE, POWERSHELL, SHELL, TRANSFER, code, fault, guid,
    schema,
};
use crate::tenant::Tenant;
use crate::world::World;
use crate::xml::{leaf, tag, with};

pub(super) fn load_quota(calls: u32, secs: u64, wait_secs: u64) -> Fault {
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
pub(super) struct Session<'a> {
    pub(super) world: &'a Arc<World>,
    pub(super) tenant: &'a Arc<Tenant>,
    pub(super) account: &'a Arc<Account>,
    pub(super) site: &'a Site,
    pub(super) now: Duration,
}

type Answer = Result<(String, String), Fault>;

impl Session<'_> {
    /// What faults can be aimed by: the action, and what its pipeline runs.
    pub(super) fn label(&self, ask: &Ask) -> String {
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

    pub(super) async fn answer(&self, ask: &Ask) -> Answer {
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
    fn quota(&self, limiter: &Arc<Limiter>) -> Result<(), Fault> {
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
