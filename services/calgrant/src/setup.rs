//! Set-up from the command line: planned, run, watched, shown.

use std::{collections::HashMap, io::Write, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, bail};
use calgrant_contract::{
    pb::setup::v1::{
        CancelSetupRequest, GetSetupRequest, ListSetupsRequest, RunSetupRequest, Setup, SetupAim,
        SetupState, SetupStep, StepState,
    },
    words,
};
use calgrant_domain::{Setting, SiteKind, setup::script};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::{
    cli::OutputArgs,
    exit,
    front::{Front, patiently},
    how::request_id,
    operations::when,
    output::Rows,
    setup_by_token::{self, Given, OwnArgs},
};

/// What to do about a site's set-up.
#[derive(Debug, Subcommand)]
pub(crate) enum SetupCommand {
    /// Makes what is missing of the accounts and the group, and repairs what differs. Safe to run again at any time.
    Run(RunArgs),
    /// Takes an account out of use: out of the group, its licence freed, disabled; not deleted. Name it in `without` in the tenant's file,
    /// apply that, and drain it first.
    RemoveAccount {
        /// Its number.
        #[arg(long)]
        account: u32,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Gives an account a new password. The others go on meanwhile.
    Rotate {
        /// Its number.
        #[arg(long)]
        account: u32,
        #[command(flatten)]
        run: RunArgs,
    },
    /// One run with its steps.
    Show {
        /// set_…
        id: String,
        /// How to print.
        #[arg(long, value_enum, default_value_t = SetupOutput::Table)]
        output: SetupOutput,
    },
    /// Runs, newest first.
    List {
        /// Only this tenant's.
        #[arg(long, default_value = "")]
        tenant: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Ends a run. What was made stays.
    Cancel {
        /// set_…
        id: String,
    },
    /// Prints scripts that Calgrant never runs: a throttling policy for accounts on premises; online the alternative without accounts
    /// and group, RBAC for Applications.
    Scripts {
        /// Whose.
        #[arg(long)]
        tenant: String,
        /// Which site: online or onprem.
        #[arg(long, default_value = "online")]
        site: SiteKind,
    },
}

/// How to print a set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SetupOutput {
    /// Columns.
    Table,
    /// One JSON object.
    Json,
    /// A script to read: what would be done, or was still to be done.
    Powershell,
}

/// A run.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Whose.
    #[arg(long)]
    tenant: String,
    /// Which site: online or onprem.
    #[arg(long, default_value = "online")]
    site: SiteKind,
    /// Only look what would be done, and say it.
    #[arg(long)]
    plan: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = SetupOutput::Table)]
    output: SetupOutput,
    #[command(flatten)]
    own: OwnArgs,
    /// With a credential of your own: a file with the key that passwords are sealed with; the variable `CALGRANT_SECRETS_KEY` otherwise.
    #[arg(long, requires = "own")]
    secrets_key_file: Option<PathBuf>,
    /// Wait until it is done, or waits for a person.
    #[arg(long)]
    wait: bool,
    /// Makes a repeat harmless; new for each run by default.
    #[arg(long)]
    request_id: Option<String>,
    /// Reference to a ticket.
    #[arg(long, default_value = "")]
    ticket: String,
}

/// How often it is looked how far a run is.
const LOOK: Duration = Duration::from_millis(500);

const COLUMNS: &[(&str, usize)] = &[
    ("id", 36),
    ("created", 20),
    ("tenant", 10),
    ("site", 6),
    ("aim", 10),
    ("state", 9),
    ("ended", 20),
    ("requested_by", 15),
    ("ticket", 10),
    ("note", 40),
];

/// Runs the command.
pub(crate) async fn run(front: Front, command: &SetupCommand) -> anyhow::Result<ExitCode> {
    match command {
        SetupCommand::Run(args) => begin(front, args, SetupAim::Ensure, 0).await,
        SetupCommand::RemoveAccount { account, run } => {
            begin(front, run, SetupAim::Remove, *account).await
        }
        SetupCommand::Rotate { account, run } => {
            begin(front, run, SetupAim::Rotate, *account).await
        }
        SetupCommand::Show { id, output } => {
            let setup = get(&front, id).await?;
            print(&front, &setup, *output).await?;
            Ok(code(&setup))
        }
        SetupCommand::List { tenant, output } => list(front, tenant, output).await,
        SetupCommand::Cancel { id } => {
            let request = CancelSetupRequest { id: id.clone() };
            let setup = front.setup.clone().cancel_setup(request).await?;
            eprintln!("{}", state(setup.get_ref()));
            Ok(ExitCode::SUCCESS)
        }
        SetupCommand::Scripts { tenant, site } => {
            let setting = setting(&front, tenant, *site).await?;
            let text = match site {
                SiteKind::Online => script::application_rbac(&setting),
                SiteKind::Onprem => script::throttling(&setting),
            };
            std::io::stdout().lock().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn begin(
    front: Front,
    args: &RunArgs,
    aim: SetupAim,
    account: u32,
) -> anyhow::Result<ExitCode> {
    // Before anything is stored: what is wrong with the credential is said at once.
    let given = if args.own.is_given() {
        let key = setup_by_token::key(args.secrets_key_file.as_deref())?;
        let spec = front.tenant(&args.tenant).await?;
        let site = spec.site(args.site);
        let site = site.with_context(|| format!("{} has no {} site", args.tenant, args.site))?;
        let lent = args.own.lent(site).await?;
        lent.map(|lent| (Given::new(lent, key), spec))
    } else {
        None
    };
    let request = RunSetupRequest {
        tenant: args.tenant.clone(),
        site: words::site_kind_to_wire(args.site),
        aim: aim.into(),
        account,
        validate_only: args.plan,
        by_caller: args.own.is_given(),
        request_id: request_id(args.request_id.as_ref()),
        ticket: args.ticket.clone(),
    };
    // Its request_id makes a repeat harmless.
    let setup = patiently(|| {
        let (mut api, request) = (front.setup.clone(), request.clone());
        async move { api.run_setup(request).await }
    })
    .await?;
    eprintln!("{} is accepted", setup.id);
    let watched = async {
        if args.wait || args.plan || args.own.is_given() {
            watch(&front, &setup.id).await
        } else {
            Ok(setup.clone())
        }
    };
    let ended = match given {
        None => watched.await?,
        Some((given, spec)) => {
            let carried = setup_by_token::carry_out(&front, &spec, args.site, &setup.id, given);
            tokio::select! {
                ended = watched => ended?,
                failed = carried => bail!("{:#}; {} stays, and goes on when you run this again", failed.err().unwrap_or_else(|| anyhow!("it was given up")), setup.id),
            }
        }
    };
    print(&front, &ended, args.output).await?;
    Ok(code(&ended))
}

async fn get(front: &Front, id: &str) -> anyhow::Result<Setup> {
    let got = patiently(|| {
        let (mut api, id) = (front.setup.clone(), id.to_owned());
        async move { api.get_setup(GetSetupRequest { id }).await }
    });
    Ok(got.await?)
}

/// Waits until it has ended, or waits for a person; says what happens on stderr.
async fn watch(front: &Front, id: &str) -> anyhow::Result<Setup> {
    let mut told: HashMap<String, String> = HashMap::new();
    let mut blocked = 0;
    loop {
        let setup = get(front, id).await?;
        for step in &setup.steps {
            let line = format!("{} {}", step_word(step.state()), step.says);
            if step.state() != StepState::Due && told.get(&step.name) != Some(&line) {
                eprintln!("{:<12} {line}", step.name);
                told.insert(step.name.clone(), line);
            }
        }
        match setup.state() {
            SetupState::Done | SetupState::Planned | SetupState::Cancelled => return Ok(setup),
            // What was mended just now is looked at once more.
            SetupState::Blocked if blocked > 3 => return Ok(setup),
            SetupState::Blocked => blocked += 1,
            _ => blocked = 0,
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn list(front: Front, tenant: &str, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let mut rows = Rows::new(output.output, COLUMNS);
    let mut page_token = String::new();
    loop {
        let request = ListSetupsRequest {
            tenant: tenant.to_owned(),
            page_size: 100,
            page_token,
        };
        let page = front.setup.clone().list_setups(request).await?.into_inner();
        for setup in &page.setups {
            rows.print(vec![
                setup.id.as_str().into(),
                when(setup.create_time.as_ref()).into(),
                setup.tenant.as_str().into(),
                site(setup).into(),
                aim(setup).into(),
                state(setup).into(),
                when(setup.end_time.as_ref()).into(),
                setup.requested_by.as_str().into(),
                setup.ticket.as_str().into(),
                setup.note.as_str().into(),
            ])?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

async fn print(front: &Front, setup: &Setup, output: SetupOutput) -> anyhow::Result<()> {
    let text = match output {
        SetupOutput::Table => table(setup),
        SetupOutput::Json => format!("{}\n", as_json(setup)),
        SetupOutput::Powershell => {
            let kind = words::site_kind("site", setup.site)?;
            let setting = setting(front, &setup.tenant, kind).await?;
            script::preamble(&setting) + &steps_as_powershell(setup)
        }
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

fn table(setup: &Setup) -> String {
    let mut text = format!("{} {} {}\n", setup.id, aim(setup), state(setup));
    if !setup.note.is_empty() {
        text.push_str(&format!("{}\n", setup.note));
    }
    for step in &setup.steps {
        let word = step_word(step.state());
        text.push_str(&format!("  {:<14} {word:<8} {}\n", step.name, step.says));
        for did in &step.did {
            text.push_str(&format!("  {:<14} {:<8} did: {did}\n", "", ""));
        }
    }
    text
}

fn as_json(setup: &Setup) -> serde_json::Value {
    let steps = setup.steps.iter().map(|step| {
        json!({
            "name": step.name,
            "state": step_word(step.state()),
            "says": step.says,
            "did": step.did,
            "script": step.script,
            "next": when(step.next_time.as_ref()),
        })
    });
    json!({
        "id": setup.id,
        "tenant": setup.tenant,
        "site": site(setup),
        "aim": aim(setup),
        "state": state(setup),
        "plan": setup.validate_only,
        "note": setup.note,
        "created": when(setup.create_time.as_ref()),
        "ended": when(setup.end_time.as_ref()),
        "steps": steps.collect::<Vec<_>>(),
    })
}

fn steps_as_powershell(setup: &Setup) -> String {
    let mut text = String::new();
    for step in &setup.steps {
        if step.script.is_empty() {
            text.push_str(&format!(
                "\n# {}: {}\n",
                step.name,
                step.says.replace(char::is_control, " ")
            ));
        } else {
            text.push_str(&format!("\n{}", step.script));
        }
    }
    text
}

async fn setting(front: &Front, name: &str, kind: SiteKind) -> anyhow::Result<Setting> {
    let spec = front.tenant(name).await?;
    let site = spec
        .site(kind)
        .with_context(|| format!("{name} has no {kind} site"))?;
    let setup = site.setup.clone().with_context(|| {
        format!("the {kind} site of {name} has no setup: say in its file, under [site.setup], what is wanted")
    })?;
    Ok(Setting {
        tenant: spec.name.clone(),
        site: kind,
        spec: setup,
    })
}

fn site(setup: &Setup) -> String {
    words::site_kind("site", setup.site).map_or_else(|_| String::new(), |kind| kind.to_string())
}

fn state(setup: &Setup) -> String {
    words::setup_state("state", setup.state)
        .map_or_else(|_| "unknown".to_owned(), |state| state.to_string())
}

fn aim(setup: &Setup) -> String {
    match setup.aim() {
        SetupAim::Ensure | SetupAim::Unspecified => "ensure".to_owned(),
        SetupAim::Remove => format!("remove/{}", setup.account),
        SetupAim::Rotate => format!("rotate/{}", setup.account),
    }
}

fn step_word(state: StepState) -> String {
    words::step_state("state", state.into())
        .map_or_else(|_| "unknown".to_owned(), |state| state.to_string())
}

fn code(setup: &Setup) -> ExitCode {
    let refused = |step: &SetupStep| step.state() == StepState::Refused;
    match setup.state() {
        SetupState::Blocked => ExitCode::from(exit::HELD),
        SetupState::Cancelled => ExitCode::from(exit::OPERATION_FAILED),
        SetupState::Planned if setup.steps.iter().any(refused) => ExitCode::from(exit::HELD),
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_every_step() {
        let step = |name: &str, says: &str, script: &str| SetupStep {
            name: name.to_owned(),
            state: StepState::Planned.into(),
            says: says.to_owned(),
            script: script.to_owned(),
            ..SetupStep::default()
        };
        let setup = Setup {
            steps: vec![
                step("user/1", "would make it", "# user/1\nNew-MgUser\n"),
                step("seats", "there are\nenough", ""),
            ],
            ..Setup::default()
        };
        let text = steps_as_powershell(&setup);
        assert_eq!(
            text,
            "\n# user/1\nNew-MgUser\n\n# seats: there are enough\n"
        );
    }
}
