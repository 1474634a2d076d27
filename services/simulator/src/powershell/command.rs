//! The commands of a pipeline, read from the message that starts it.

use serde_json::{Map, Value};

use crate::powershell::clixml::Objects;
use crate::xml;

/// One command of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Invocation {
    pub(crate) name: String,
    pub(crate) is_script: bool,
    pub(crate) parameters: Map<String, Value>,
    /// What is wrong with its arguments.
    pub(crate) wrong: Option<String>,
}

/// What a client asks to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) commands: Vec<Invocation>,
    /// Nothing is piped in.
    pub(crate) no_input: bool,
}

/// Parameters every cmdlet has, which say nothing to the server.
const COMMON: [&str; 12] = [
    "ErrorAction",
    "ErrorVariable",
    "InformationAction",
    "InformationVariable",
    "OutBuffer",
    "OutVariable",
    "PipelineVariable",
    "Verbose",
    "Debug",
    "WarningAction",
    "WarningVariable",
    "ProgressAction",
];

const NEEDED: [&str; 7] = [
    "NoInput",
    "ApartmentState",
    "RemoteStreamOptions",
    "AddToHistory",
    "HostInfo",
    "PowerShell",
    "IsNested",
];

/// Reads `CREATE_PIPELINE`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(text: &str) -> Result<Asked, String> {
    let root = xml::parse(text).map_err(|wrong| wrong.reason)?;
    let objects = Objects::of(&root);
    for name in NEEDED {
        if objects.member(&root, name).is_none() {
            return Err(format!("CREATE_PIPELINE has no {name}"));
        }
    }
    let shell = objects
        .member(&root, "PowerShell")
        .ok_or("there is no PowerShell")?;
    let list = objects.member(shell, "Cmds").ok_or("there are no Cmds")?;
    let commands = objects
        .items(list)
        .into_iter()
        .map(|command| {
            let text = |name: &str| {
                objects
                    .member(command, name)
                    .and_then(|at| objects.value(at))
            };
            let name = text("Cmd").and_then(|name| name.as_str().map(str::to_owned));
            let is_script = text("IsScript").and_then(|is| is.as_bool());
            let mut invocation = Invocation {
                name: name.ok_or("a command has no Cmd")?,
                is_script: is_script.ok_or("a command has no IsScript")?,
                parameters: Map::new(),
                wrong: None,
            };
            let list = objects.member(command, "Args");
            let list = list.map(|list| objects.items(list)).unwrap_or_default();
            for argument in list {
                let named = objects
                    .member(argument, "N")
                    .and_then(|at| objects.value(at));
                let value = objects.member(argument, "V");
                let value = value.map_or(Some(Value::Null), |at| objects.value(at));
                add(&mut invocation, named.as_ref(), value);
            }
            Ok::<_, String>(invocation)
        })
        .collect::<Result<Vec<_>, _>>()?;
    if commands.is_empty() {
        return Err("a pipeline has no command".to_owned());
    }
    let no_input = objects
        .member(&root, "NoInput")
        .and_then(|at| objects.value(at));
    Ok(Asked {
        commands,
        no_input: no_input == Some(Value::Bool(true)),
    })
}

fn add(invocation: &mut Invocation, name: Option<&Value>, value: Option<Value>) {
    let Some(value) = value else {
        let text = "Cannot process argument transformation: a value has a type that the cmdlet doesn't take.";
        invocation.wrong = Some(text.to_owned());
        return;
    };
    let name = match name.and_then(Value::as_str) {
        Some(name) => name
            .trim_start_matches('-')
            .trim_end_matches(':')
            .to_owned(),
        // the first without a name is the identity, and there is no second
        None if !invocation.parameters.contains_key("Identity") => "Identity".to_owned(),
        None => {
            let text = "A positional parameter cannot be found that accepts the argument given.";
            invocation.wrong = Some(text.to_owned());
            return;
        }
    };
    if COMMON
        .iter()
        .any(|common| common.eq_ignore_ascii_case(&name))
    {
        return;
    }
    // a switch has no value
    let value = if value.is_null() {
        Value::Bool(true)
    } else {
        value
    };
    if invocation
        .parameters
        .keys()
        .any(|known| known.eq_ignore_ascii_case(&name))
    {
        invocation.wrong = Some(format!(
            "Cannot bind parameter because parameter '{name}' is specified more than once."
        ));
    }
    invocation.parameters.insert(name, value);
}
