//! A pipeline: commands one after the other, each with what the one before it put out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::cmdlet::{self, Command, Output};
use crate::exchange::Front;
use crate::faults::About;
use crate::onprem::{Overload, Site, Work};
use crate::parameters::Parameters;
use crate::powershell::clixml;
use crate::powershell::command::{Asked, Invocation};
use crate::powershell::outbox::Outbox;
use crate::powershell::psrp::kind;
use crate::powershell::record::{self, COMPLETED, FAILED, Failure, STOPPED};
use crate::powershell::shell::Shell;
use crate::query::Params;
use crate::replica::Place;
use crate::reply::CmdletError;
use crate::tenant::Tenant;
use crate::world::World;

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) id: Uuid,
    pub(crate) outbox: Outbox,
    /// Waits for the end of its input.
    asked: Mutex<Option<Asked>>,
    /// What it runs, for those who aim faults.
    label: Mutex<String>,
}

impl Pipeline {
    pub(crate) fn new(id: Uuid) -> Self {
        Self {
            id,
            outbox: Outbox::default(),
            asked: Mutex::default(),
            label: Mutex::default(),
        }
    }

    /// Keeps what it is to run until its input has come.
    pub(crate) fn hold(&self, asked: Asked) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
    }

    pub(crate) fn release(&self) -> Option<Asked> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(crate) fn label(&self) -> String {
        self.label
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_label(&self, asked: &Asked) {
        let names: Vec<&str> = asked
            .commands
            .iter()
            .map(|command| command.name.as_str())
            .collect();
        *self.label.lock().unwrap_or_else(PoisonError::into_inner) = names.join(" | ");
    }

    fn put(&self, shell: &Shell, kind: u32, text: &str) {
        self.outbox.put(shell.message(kind, self.id, text));
    }

    fn end(&self, shell: &Shell, state: u32, failure: Option<(&Failure, &str)>) {
        self.put(
            shell,
            kind::PIPELINE_STATE,
            &record::pipeline_state(state, failure),
        );
        self.outbox.close();
    }

    /// The client wants it to stop; what it is doing is done all the same.
    pub(crate) fn stop(&self, shell: &Shell) {
        if !self.outbox.is_closed() {
            let stopped = Failure::of_shell(
                "System.Management.Automation.PipelineStoppedException",
                "PipelineStopped",
                14,
                "The pipeline has been stopped.",
            );
            self.end(shell, STOPPED, Some((&stopped, "")));
        }
    }
}

/// Runs a pipeline to its end, whether or not anybody fetches what it says.
pub(crate) async fn run(
    world: Arc<World>,
    shell: Arc<Shell>,
    pipeline: Arc<Pipeline>,
    asked: Asked,
) {
    let Ok(_runspace) = shell.runspaces.acquire().await else {
        return;
    };
    let mut inputs: Vec<Option<Value>> = vec![None];
    let last = asked.commands.len() - 1;
    for (number, invocation) in asked.commands.iter().enumerate() {
        let mut outputs = Vec::new();
        for input in inputs {
            if pipeline.outbox.is_closed() {
                return; // it was stopped
            }
            match invoke(&world, &shell, &pipeline, invocation, input.as_ref()).await {
                Ok(values) => outputs.extend(values),
                Err(failure) if failure.is_terminating() => {
                    world
                        .judge
                        .refused(&format!("PowerShell {}", failure.exception));
                    pipeline.end(&shell, FAILED, Some((&failure, &invocation.name)));
                    return;
                }
                Err(failure) => {
                    world
                        .judge
                        .refused(&format!("PowerShell {}", failure.exception));
                    let text = failure.record("", &invocation.name);
                    pipeline.put(&shell, kind::ERROR_RECORD, &text);
                }
            }
        }
        if number == last {
            let plain = world.dials().plain_properties;
            for value in &outputs {
                let text = clixml::object(type_of(&invocation.name), value, plain);
                pipeline.put(&shell, kind::PIPELINE_OUTPUT, &text);
            }
        }
        inputs = outputs.into_iter().map(Some).collect();
    }
    pipeline.end(&shell, COMPLETED, None);
}

fn type_of(cmdlet: &str) -> &'static str {
    match cmdlet.to_lowercase().as_str() {
        "get-mailbox" | "new-mailbox" => "Microsoft.Exchange.Data.Directory.Management.Mailbox",
        "get-distributiongroup" | "new-distributiongroup" => {
            "Microsoft.Exchange.Data.Directory.Management.DistributionGroup"
        }
        "get-command" => "System.Management.Automation.CmdletInfo",
        "get-mailboxfolderstatistics" => {
            "Microsoft.Exchange.Management.Tasks.MailboxFolderConfiguration"
        }
        name if name.ends_with("mailboxfolderpermission") => {
            "Microsoft.Exchange.Management.StoreTasks.MailboxFolderPermission"
        }
        _ => "System.Management.Automation.PSCustomObject",
    }
}

/// Runs one command on one input.
async fn invoke(
    world: &World,
    shell: &Shell,
    pipeline: &Pipeline,
    invocation: &Invocation,
    input: Option<&Value>,
) -> Result<Vec<Value>, Failure> {
    if invocation.is_script {
        return Err(Failure::no_language());
    }
    let name = invocation.name.as_str();
    let (tenant, account) = (&shell.tenant, &shell.account);
    cmdlet::note_deletion(world, name);
    if name.eq_ignore_ascii_case(GET_COMMAND) {
        return Ok(commands(&account.app.cmdlets(), &invocation.parameters));
    }
    let Some(site) = tenant.site.as_ref().filter(|_| account.app.may_run(name)) else {
        return Err(Failure::unknown_command(name));
    };
    world.judge.call(name, &account.name);
    let mut parameters = invocation.parameters.clone();
    if let Some(wrong) = &invocation.wrong {
        let error = CmdletError::parameter(wrong.clone());
        return Err(Failure::of_cmdlet(&error, name, &site.server, ""));
    }
    if let Some(input) = input {
        bind(&mut parameters, input);
    }
    let clock = site.clock(world);
    let work = Work::start(&clock, &account.powershell)
        .map_err(|overload| over_budget(world, site, shell, name, overload))?;
    let dials = world.dials();
    let about = About {
        kind: name,
        app: &account.name,
    };
    let slow = if world.fault("slow_call", about) {
        dials.slow_call_ms
    } else {
        0
    };
    let jitter = world.dice.below(dials.latency_jitter_ms + 1);
    let latency = Duration::from_millis(dials.cmdlet_latency_ms + jitter + slow);
    clock.pass(latency).await;
    let done = if world.fault("transient_400", about) {
        Err(CmdletError::new(
            "Microsoft.Exchange.Data.Directory.ADTransientException",
            "The directory server isn't available at the moment. Try again later.",
        ))
    } else {
        perform(world, shell, name, &mut parameters)
    };
    let delay = work.finish().await;
    if !delay.is_zero() {
        let text = format!(
            "Micro delay applied. Actual delayed: {} msecs, Enforced: True.",
            delay.as_millis()
        );
        pipeline.put(shell, kind::WARNING_RECORD, &record::warning(&text));
    }
    let target = parameters
        .get("Identity")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let output = done.map_err(|error| Failure::of_cmdlet(&error, name, &site.server, target))?;
    if let Some(warning) = &output.warning {
        pipeline.put(shell, kind::WARNING_RECORD, &record::warning(warning));
    }
    Ok(output.value)
}

/// What every session has: it says which cmdlets there are, by names with stars.
const GET_COMMAND: &str = "Get-Command";

fn commands(allowed: &[String], parameters: &Map<String, Value>) -> Vec<Value> {
    let patterns: Vec<&str> = match parameters.get("Name") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name],
        _ => vec!["*"],
    };
    let is_meant = |name: &str| patterns.iter().any(|pattern| is_like(name, pattern));
    let names = cmdlet::existing(allowed).into_iter();
    let names = names.filter(|name| is_meant(name));
    names.map(|name| json!({"Name": name})).collect()
}

/// Whether a name is like a pattern, in which a star stands for anything.
fn is_like(name: &str, pattern: &str) -> bool {
    let (name, pattern) = (name.to_lowercase(), pattern.to_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else {
        return name == pattern;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// What comes through the pipe is whom a cmdlet is about.
fn bind(parameters: &mut Map<String, Value>, input: &Value) {
    let identity = ["PrimarySmtpAddress", "Identity"]
        .iter()
        .find_map(|name| input.get(name));
    if let Some(identity) = identity {
        parameters
            .entry("Identity")
            .or_insert_with(|| identity.clone());
    }
}

fn over_budget(
    world: &World,
    site: &Site,
    shell: &Shell,
    cmdlet: &str,
    overload: Overload,
) -> Failure {
    let wait = match overload {
        Overload::Busy(wait) => site.clock(world).for_client(wait).as_millis(),
        Overload::Connections(_) => 0,
    };
    let name = &shell.account.name;
    let at_ms = world.clock.now().as_millis();
    world
        .judge
        .violation(name, "PowerShellCutoffBalance", at_ms);
    let error = CmdletError::new(
        "Microsoft.Exchange.Data.Directory.OverBudgetException",
        format!("The budget of {name} is used up; it is available again in {wait} milliseconds."),
    );
    Failure::of_cmdlet(&error, cmdlet, &site.server, name)
}

fn perform(
    world: &World,
    shell: &Shell,
    name: &str,
    parameters: &mut Map<String, Value>,
) -> Result<Output, CmdletError> {
    let removes = name.to_lowercase().starts_with("remove-");
    let confirm = parameters
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("Confirm"));
    if removes && confirm.is_none_or(|(_, value)| *value != json!(false)) {
        return Err(CmdletError::new(
            "System.Management.Automation.PSInvalidOperationException",
            "A command that prompts the user failed because the host program or the command type does not support user \
             interaction. The host was attempting to request confirmation.",
        ));
    }
    let place = place(&shell.tenant, parameters)?;
    let query = Params::parse("");
    let command = Command {
        world,
        tenant: &shell.tenant,
        app: &shell.account.app,
        front: Front::Shell,
        url: "",
        query: &query,
        page: usize::MAX,
        body: &Value::Null,
        place,
        key: shell.key(),
    };
    let unknown = || CmdletError::parameter(format!("{name} isn't simulated."));
    cmdlet::perform(&command, name, &Parameters(parameters)).ok_or_else(unknown)?
}

/// The domain controller a cmdlet reads from and writes to: the one it names, else the session's own.
fn place(tenant: &Tenant, parameters: &Map<String, Value>) -> Result<Place, CmdletError> {
    let controllers = tenant.site.iter().flat_map(|site| &site.controllers);
    let controllers: Vec<&String> = controllers.collect();
    let Some(name) = Parameters(parameters).text("DomainController") else {
        return Ok(Place::Controller(controllers.len().saturating_sub(1)));
    };
    let is = |short: &&String| {
        let full = format!("{short}.{}", tenant.domain);
        short.eq_ignore_ascii_case(name) || full.eq_ignore_ascii_case(name)
    };
    let found = controllers.iter().position(is);
    found.map(Place::Controller).ok_or_else(|| {
        CmdletError::new(
            "Microsoft.Exchange.Data.Directory.SuitabilityDirectoryException",
            format!("The server \"{name}\" isn't a domain controller of this forest, or can't be reached."),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn a_star_stands_for_anything() {
        for (name, pattern, wanted) in [
            ("New-Mailbox", "*-mailbox", true),
            ("Get-MailboxFolderPermission", "*-Mailbox", false),
            ("Add-DistributionGroupMember", "*-DistributionGroup*", true),
            ("Add-DistributionGroupMember", "*Group*Me*r", true),
            ("Get-Mailbox", "Get-Mailbox", true),
            ("Get-Mailbox", "*", true),
            ("Get-Mailbox", "Set-*", false),
        ] {
            assert_eq!(is_like(name, pattern), wanted, "{name} {pattern}");
        }
    }
}
