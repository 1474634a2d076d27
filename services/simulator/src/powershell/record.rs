//! Records: what a pipeline says besides its output.

use crate::clock::Clock;
use crate::powershell::clixml::text;
use crate::reply::{CmdletError, DOMAIN_CONTROLLER};
use uuid::Uuid;

/// States of a runspace pool and of a pipeline.
pub(crate) const OPENED: u32 = 2;
pub(crate) const STOPPED: u32 = 3;
pub(crate) const COMPLETED: u32 = 4;
pub(crate) const FAILED: u32 = 5;

/// What the names of PowerShell's own exceptions begin with.
const OF_POWERSHELL: &str = "System.Management.Automation.";

/// What goes wrong in a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Name of the exception with its namespaces.
    pub(crate) exception: &'static str,
    pub(crate) text: String,
    /// Number of the error's category.
    category: u32,
    id: String,
    target: String,
}

impl Failure {
    /// An error of PowerShell itself, which ends the pipeline.
    pub(crate) fn of_shell(
        exception: &'static str,
        id: &str,
        category: u32,
        text: impl Into<String>,
    ) -> Self {
        Self {
            exception,
            text: text.into(),
            category,
            id: id.to_owned(),
            target: String::new(),
        }
    }

    pub(crate) fn no_language() -> Self {
        Self::of_shell(
            "System.Management.Automation.PSNotSupportedException",
            "ScriptsNotAllowed",
            1,
            "The syntax is not supported by this runspace. This can occur if the runspace is in no-language mode.",
        )
    }

    pub(crate) fn unknown_command(name: &str) -> Self {
        Self::of_shell(
            "System.Management.Automation.CommandNotFoundException",
            "CommandNotFoundException",
            13,
            format!(
                "The term '{name}' is not recognized as the name of a cmdlet, function, script file, or operable program. \
                 Check the spelling of the name, or if a path was included, verify that the path is correct and try again."
            ),
        )
    }

    /// An error a cmdlet wrote.
    pub(crate) fn of_cmdlet(error: &CmdletError, cmdlet: &str, server: &str, target: &str) -> Self {
        let reason = short(error.exception);
        if error.exception.starts_with(OF_POWERSHELL) {
            let class = cmdlet.replace('-', "");
            return Self::of_shell(
                error.exception,
                &format!("{reason},{class}"),
                5,
                error.text.clone(),
            );
        }
        let stamp = Clock::utc();
        let class = cmdlet.replace('-', "");
        let request = Uuid::new_v4();
        let number = target.bytes().fold(0x811C_9DC5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let host = server.split('.').next().unwrap_or(server);
        Self {
            exception: error.exception,
            text: error.text.replace(DOMAIN_CONTROLLER, server),
            category: if reason.contains("NotFound") { 13 } else { 7 },
            id: format!(
                "[Server={host},RequestId={request},TimeStamp={}/{}/{} {}:{:02}:{:02}] \
                 [FailureCategory=Cmdlet-{reason}] {number:X},Microsoft.Exchange.Management.StoreTasks.{class}",
                u8::from(stamp.month()),
                stamp.day(),
                stamp.year(),
                stamp.hour(),
                stamp.minute(),
                stamp.second(),
            ),
            target: target.to_owned(),
        }
    }

    /// Whether it ends the pipeline, instead of standing beside its output.
    pub(crate) fn is_terminating(&self) -> bool {
        self.exception.starts_with(OF_POWERSHELL)
    }

    /// The record; `name` is that of a member that holds it.
    pub(crate) fn record(&self, name: &str, cmdlet: &str) -> String {
        let (message, reason) = (text(&self.text), short(self.exception));
        let target = text(&self.target);
        format!(
            "<Obj{name} RefId=\"1\"><TN RefId=\"0\"><T>System.Management.Automation.ErrorRecord</T><T>System.Object</T></TN>\
             <ToString>{message}</ToString><MS>\
             <Obj N=\"Exception\" RefId=\"2\"><TN RefId=\"1\"><T>{}</T><T>System.Exception</T><T>System.Object</T></TN>\
             <ToString>{}: {message}</ToString><Props><S N=\"Message\">{message}</S><Nil N=\"InnerException\"/></Props></Obj>\
             <S N=\"TargetObject\">{target}</S>\
             <S N=\"FullyQualifiedErrorId\">{}</S><Nil N=\"InvocationInfo\"/>\
             <I32 N=\"ErrorCategory_Category\">{}</I32><S N=\"ErrorCategory_Activity\">{cmdlet}</S>\
             <S N=\"ErrorCategory_Reason\">{reason}</S><S N=\"ErrorCategory_TargetName\">{target}</S>\
             <S N=\"ErrorCategory_TargetType\">String</S><S N=\"ErrorCategory_Message\">{reason}: ({target}:String) [{cmdlet}], {reason}</S>\
             <B N=\"SerializeExtendedInfo\">false</B></MS></Obj>",
            self.exception,
            self.exception,
            text(&self.id),
            self.category,
        )
    }
}

fn short(exception: &str) -> &str {
    exception.rsplit('.').next().unwrap_or(exception)
}

/// The state of a pipeline, with the error it ended by.
pub(crate) fn pipeline_state(state: u32, failure: Option<(&Failure, &str)>) -> String {
    let error =
        failure.map(|(failure, cmdlet)| failure.record(" N=\"ExceptionAsErrorRecord\"", cmdlet));
    format!(
        "<Obj RefId=\"0\"><MS><I32 N=\"PipelineState\">{state}</I32>{}</MS></Obj>",
        error.unwrap_or_default()
    )
}

pub(crate) fn pool_state(state: u32) -> String {
    format!("<Obj RefId=\"0\"><MS><I32 N=\"RunspaceState\">{state}</I32></MS></Obj>")
}

pub(crate) fn warning(words: &str) -> String {
    let words = text(words);
    format!(
        "<Obj RefId=\"0\"><TN RefId=\"0\"><T>System.Management.Automation.WarningRecord</T>\
         <T>System.Management.Automation.InformationalRecord</T><T>System.Object</T></TN><ToString>{words}</ToString><MS>\
         <S N=\"InformationalRecord_Message\">{words}</S><B N=\"InformationalRecord_SerializeInvocationInfo\">false</B>\
         <Obj N=\"InformationalRecord_PipelineIterationInfo\" RefId=\"1\"><TN RefId=\"1\">\
         <T>System.Collections.ObjectModel.ReadOnlyCollection`1[[System.Int32, mscorlib, Version=4.0.0.0, Culture=neutral, PublicKeyToken=b77a5c561934e089]]</T>\
         <T>System.Object</T></TN><LST><I32>0</I32><I32>1</I32></LST></Obj></MS></Obj>"
    )
}

/// What a server says of itself.
pub(crate) fn capability() -> &'static str {
    "<Obj RefId=\"0\"><MS><Version N=\"protocolversion\">2.3</Version><Version N=\"PSVersion\">2.0</Version>\
     <Version N=\"SerializationVersion\">1.1.0.1</Version></MS></Obj>"
}

/// The session's key, sealed.
pub(crate) fn session_key(sealed: &str) -> String {
    format!("<Obj RefId=\"0\"><MS><S N=\"EncryptedSessionKey\">{sealed}</S></MS></Obj>")
}

pub(crate) fn private_data() -> &'static str {
    "<Obj RefId=\"0\"><MS><Obj N=\"ApplicationPrivateData\" RefId=\"1\"><TN RefId=\"0\">\
     <T>System.Management.Automation.PSPrimitiveDictionary</T><T>System.Collections.Hashtable</T><T>System.Object</T></TN>\
     <DCT><En><S N=\"Key\">SupportedVersions</S><S N=\"Value\">2.0.0.0</S></En></DCT></Obj></MS></Obj>"
}
