//! A command as a message, and what comes of it. Pure.

use calgrant_domain::Password;

use super::{
    Nonsense,
    clixml::{Value, written},
    message::{Message, kind},
    secure::SessionKey,
};

/// A value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    /// A text.
    Text(String),
    /// Several.
    Texts(Vec<String>),
    /// A switch that is on or off.
    Switch(bool),
    /// A text that only the server reads: it is sealed with the session's key.
    Secret(Password),
}

/// A cmdlet and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// Its name.
    pub(super) name: &'static str,
    /// Its parameters, by name.
    pub(super) parameters: Vec<(&'static str, Argument)>,
}

/// What both sides speak.
pub(super) const CAPABILITY: &str = r#"<Obj RefId="0"><MS><Version N="protocolversion">2.3</Version><Version N="PSVersion">2.0</Version><Version N="SerializationVersion">1.1.0.1</Version></MS></Obj>"#;

/// Asks for a session that runs one command at a time, without a host to ask questions of.
pub(super) const SESSION: &str = r#"<Obj RefId="0"><MS><I32 N="MinRunspaces">1</I32><I32 N="MaxRunspaces">1</I32><Obj N="PSThreadOptions" RefId="1"><TN RefId="0"><T>System.Management.Automation.Runspaces.PSThreadOptions</T><T>System.Enum</T><T>System.ValueType</T><T>System.Object</T></TN><ToString>Default</ToString><I32>0</I32></Obj><Obj N="ApartmentState" RefId="2"><TN RefId="1"><T>System.Management.Automation.Runspaces.ApartmentState</T><T>System.Enum</T><T>System.ValueType</T><T>System.Object</T></TN><ToString>UNKNOWN</ToString><I32>2</I32></Obj><Obj N="HostInfo" RefId="3"><MS><B N="_isHostNull">true</B><B N="_isHostUINull">true</B><B N="_isHostRawUINull">true</B><B N="_useRunspaceHost">true</B></MS></Obj><Nil N="ApplicationArguments"/></MS></Obj>"#;

const LIST_TYPE: &str = "<T>System.Collections.Generic.List`1[[System.Management.Automation.PSObject, System.Management.Automation, Version=1.0.0.0, Culture=neutral, PublicKeyToken=31bf3856ad364e35]]</T><T>System.Object</T>";

impl Command {
    /// Whether it takes a session that has a key.
    pub(super) fn has_secrets(&self) -> bool {
        let mut arguments = self.parameters.iter().map(|(_, argument)| argument);
        arguments.any(|argument| matches!(argument, Argument::Secret(_)))
    }

    /// The message that creates the pipeline.
    ///
    /// # Errors
    /// A secret is to be sealed, and there is no key.
    pub(super) fn serialised(&self, key: Option<&SessionKey>) -> Result<String, Nonsense> {
        let mut arguments = String::new();
        // Numbers only need to differ.
        for (at, (name, argument)) in self.parameters.iter().enumerate() {
            let (id, list_id) = (100 + 2 * at, 101 + 2 * at);
            let value = match argument {
                Argument::Text(text) => format!("<S N=\"V\">{}</S>", written(text)),
                Argument::Switch(on) => format!("<B N=\"V\">{on}</B>"),
                Argument::Secret(secret) => {
                    let key = key.ok_or_else(|| Nonsense::new("the session has no key"))?;
                    format!("<SS N=\"V\">{}</SS>", key.seal(secret.reveal()))
                }
                Argument::Texts(texts) => {
                    let texts: String = texts
                        .iter()
                        .map(|text| format!("<S>{}</S>", written(text)))
                        .collect();
                    format!(
                        "<Obj N=\"V\" RefId=\"{list_id}\"><TN RefId=\"{list_id}\"><T>System.Object[]</T><T>System.Array</T><T>System.Object</T></TN><LST>{texts}</LST></Obj>"
                    )
                }
            };
            arguments += &format!(
                "<Obj RefId=\"{id}\"><MS><S N=\"N\">{}</S>{value}</MS></Obj>",
                written(name)
            );
        }
        let merges: String = [
            "MergeToResult",
            "MergePreviousResults",
            "MergeError",
            "MergeWarning",
            "MergeVerbose",
            "MergeDebug",
            "MergeInformation",
        ]
        .iter()
        .enumerate()
        .map(|(at, name)| {
            format!(
                "<Obj N=\"{name}\" RefId=\"{}\"><TNRef RefId=\"3\"/><ToString>None</ToString><I32>0</I32></Obj>",
                20 + at
            )
        })
        .collect();
        let command = format!(
            "<Obj RefId=\"6\"><MS><S N=\"Cmd\">{}</S><B N=\"IsScript\">false</B><Nil N=\"UseLocalScope\"/>\
            <Obj N=\"MergeMyResult\" RefId=\"7\"><TN RefId=\"3\"><T>System.Management.Automation.Runspaces.PipelineResultTypes</T><T>System.Enum</T><T>System.ValueType</T><T>System.Object</T></TN><ToString>None</ToString><I32>0</I32></Obj>\
            {merges}<Obj N=\"Args\" RefId=\"10\"><TNRef RefId=\"2\"/><LST>{arguments}</LST></Obj></MS></Obj>",
            written(self.name)
        );
        Ok(format!(
            "<Obj RefId=\"0\"><MS><B N=\"NoInput\">true</B>\
            <Obj N=\"ApartmentState\" RefId=\"1\"><TN RefId=\"0\"><T>System.Management.Automation.Runspaces.ApartmentState</T><T>System.Enum</T><T>System.ValueType</T><T>System.Object</T></TN><ToString>UNKNOWN</ToString><I32>2</I32></Obj>\
            <Obj N=\"RemoteStreamOptions\" RefId=\"2\"><TN RefId=\"1\"><T>System.Management.Automation.Runspaces.RemoteStreamOptions</T><T>System.Enum</T><T>System.ValueType</T><T>System.Object</T></TN><ToString>None</ToString><I32>0</I32></Obj>\
            <B N=\"AddToHistory\">false</B>\
            <Obj N=\"HostInfo\" RefId=\"3\"><MS><B N=\"_isHostNull\">true</B><B N=\"_isHostUINull\">true</B><B N=\"_isHostRawUINull\">true</B><B N=\"_useRunspaceHost\">true</B></MS></Obj>\
            <Obj N=\"PowerShell\" RefId=\"4\"><MS><B N=\"IsNested\">false</B><Nil N=\"ExtraCmds\"/>\
            <Obj N=\"Cmds\" RefId=\"5\"><TN RefId=\"2\">{LIST_TYPE}</TN><LST>{command}</LST></Obj>\
            <Nil N=\"History\"/><B N=\"RedirectShellErrorOutputPipe\">false</B></MS></Obj>\
            <B N=\"IsNested\">false</B></MS></Obj>"
        ))
    }
}

/// An error of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ErrorRecord {
    /// The exception's short name: what errors are known by.
    pub(super) reason: String,
    /// Its text.
    pub(super) text: String,
    /// The server's id of the command, where the record names it.
    pub(super) request_id: String,
}

impl ErrorRecord {
    fn read(value: &Value) -> Self {
        let exception = value.member("Exception");
        let last_name = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let id = value
            .member_text("FullyQualifiedErrorId")
            .unwrap_or_default();
        let between = |from: &str, to: char| {
            let rest = id.split_once(from)?.1;
            Some(rest.split(to).next()?.trim().to_owned())
        };
        let by_type = exception.and_then(|exception| match exception {
            Value::Object(object) => object
                .types
                .first()
                .map(|name| last_name(name.strip_prefix("Deserialized.").unwrap_or(name))),
            _ => None,
        });
        let by_id = between("[FailureCategory=", ']').map(|category| {
            category
                .split_once('-')
                .map_or(category.clone(), |(_, name)| name.to_owned())
        });
        let reason = value
            .member_text("ErrorCategory_Reason")
            .map(last_name)
            .filter(|reason| !reason.is_empty())
            .or(by_id)
            .or(by_type)
            .unwrap_or_default();
        let text = exception
            .and_then(|exception| {
                exception
                    .member_text("Message")
                    .or_else(|| exception.text())
            })
            .or_else(|| value.member_text("ErrorCategory_Message"))
            .or_else(|| value.text())
            .unwrap_or_default();
        Self {
            reason,
            text: text.to_owned(),
            request_id: between("RequestId=", ',').unwrap_or_default(),
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Output {
    /// Its rows.
    pub(super) rows: Vec<Value>,
    /// Its errors.
    pub(super) errors: Vec<ErrorRecord>,
    /// Its warnings.
    pub(super) warnings: Vec<String>,
    /// How it ended, once it has: whether well.
    pub(super) ended: Option<bool>,
}

/// More rows, errors or warnings than these no command of ours has.
const MOST: usize = 20_000;

impl Output {
    /// Takes a message about the pipeline.
    pub(super) fn take(&mut self, message: &Message) -> Result<(), Nonsense> {
        if self.rows.len() + self.errors.len() + self.warnings.len() >= MOST {
            return Err(Nonsense::new("more output than any command of ours has"));
        }
        match message.kind {
            kind::PIPELINE_OUTPUT => self.rows.push(Value::parse(&message.data)?),
            kind::ERROR_RECORD => {
                let record = Value::parse(&message.data)?;
                self.errors.push(ErrorRecord::read(&record));
            }
            kind::WARNING_RECORD => {
                let record = Value::parse(&message.data)?;
                let text = record
                    .member_text("InformationalRecord_Message")
                    .or_else(|| record.member_text("Message"))
                    .or_else(|| record.text());
                self.warnings.push(text.unwrap_or_default().to_owned());
            }
            kind::PIPELINE_STATE => {
                let state = Value::parse(&message.data)?;
                match state.member_text("PipelineState") {
                    Some("4") => self.ended = Some(true),
                    Some("3" | "5") => {
                        self.ended = Some(false);
                        if let Some(record) = state.member("ExceptionAsErrorRecord") {
                            self.errors.push(ErrorRecord::read(record));
                        }
                    }
                    _ => {}
                }
            }
            // Progress, verbose talk, questions to a host there isn't.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_command_is_well_formed_and_names_its_parameters() {
        let command = Command {
            name: "Add-MailboxFolderPermission",
            parameters: vec![
                (
                    "Identity",
                    Argument::Text("ada@uni.example:\\K<a>lender".into()),
                ),
                (
                    "AccessRights",
                    Argument::Texts(vec!["CreateItems".into(), "ReadItems".into()]),
                ),
                ("Confirm", Argument::Switch(false)),
            ],
        };
        let text = command.serialised(None).unwrap();
        let value = Value::parse(text.as_bytes()).unwrap();
        let commands = value
            .member("PowerShell")
            .and_then(|it| it.member("Cmds"))
            .unwrap();
        let Value::Object(Object {
            inner: Some(list), ..
        }) = commands
        else {
            panic!("{commands:?}")
        };
        let Value::List(commands) = &**list else {
            panic!("{list:?}")
        };
        assert_eq!(
            commands[0].member_text("Cmd"),
            Some("Add-MailboxFolderPermission")
        );
        assert_eq!(commands[0].member_text("IsScript"), Some("false"));
        for part in [
            "ada@uni.example:\\K&lt;a&gt;lender",
            "<S>CreateItems</S><S>ReadItems</S>",
            "<B N=\"V\">false</B>",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }

    use super::super::clixml::Object;

    #[test]
    fn a_secret_needs_a_key_and_is_not_shown() {
        let command = Command {
            name: "New-Mailbox",
            parameters: vec![("Password", Argument::Secret(Password::new("hunter2")))],
        };
        assert!(command.has_secrets());
        assert!(command.serialised(None).is_err());
        assert!(!format!("{command:?}").contains("hunter2"));
    }

    #[test]
    fn errors_are_known_by_their_reason() {
        let record = |more: &str| {
            format!(
                r#"<Obj RefId="0"><ToString>whole</ToString><MS><Obj N="Exception" RefId="1"><TN RefId="0"><T>Deserialized.Microsoft.Exchange.Management.StoreTasks.UserNotFoundInPermissionEntryException</T><T>System.Exception</T></TN><ToString>e</ToString><Props><S N="Message">There is no existing permission entry found for user: X.</S></Props></Obj><S N="FullyQualifiedErrorId">[Server=MBX01,RequestId=11-22,TimeStamp=1] [FailureCategory=Cmdlet-UserNotFoundInPermissionEntryException] ABCDEF01,X</S>{more}</MS></Obj>"#
            )
        };
        for more in [
            r#"<S N="ErrorCategory_Reason">UserNotFoundInPermissionEntryException</S>"#,
            "",
        ] {
            let mut output = Output::default();
            let message = Message {
                kind: kind::ERROR_RECORD,
                pipeline: Uuid::nil(),
                data: record(more).into_bytes(),
            };
            output.take(&message).unwrap();
            let error = &output.errors[0];
            assert_eq!(error.reason, "UserNotFoundInPermissionEntryException");
            assert!(error.text.starts_with("There is no existing"));
            assert_eq!(error.request_id, "11-22");
        }
        // The one that ended the command is inside its last state.
        let state = format!(
            r#"<Obj RefId="0"><MS><I32 N="PipelineState">5</I32>{}</MS></Obj>"#,
            record("").replacen("<Obj RefId", "<Obj N=\"ExceptionAsErrorRecord\" RefId", 1)
        );
        let mut output = Output::default();
        output
            .take(&Message {
                kind: kind::PIPELINE_STATE,
                pipeline: Uuid::nil(),
                data: state.into_bytes(),
            })
            .unwrap();
        assert_eq!((output.ended, output.errors.len()), (Some(false), 1));
    }
}
