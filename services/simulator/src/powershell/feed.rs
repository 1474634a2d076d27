//! The messages of PSRP that clients send, and what they set going.

use std::sync::{Arc, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use crate::powershell::clixml::Objects;
use crate::powershell::command;
use crate::powershell::pipeline::{self, Pipeline};
use crate::powershell::psrp::{Message, kind};
use crate::powershell::record::{self, OPENED};
use crate::powershell::session::Session;
use crate::powershell::shell::Shell;
use crate::powershell::wsman::{Fault, code, fault, schema};
use crate::xml;

impl Session<'_> {
    /// Takes fragments of messages, and does what those say that are complete.
    pub(super) fn feed(&self, shell: &Arc<Shell>, encoded: &str) -> Result<(), Fault> {
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
            kind::PUBLIC_KEY => {
                let root = xml::parse(&message.text).map_err(|wrong| schema(wrong.reason))?;
                let objects = Objects::of(&root);
                let public = objects.member(&root, "PublicKey");
                let public = public.ok_or_else(|| schema("PUBLIC_KEY has no PublicKey."))?;
                let sealed = shell.agree(&public.text).map_err(schema)?;
                let answer = record::session_key(&sealed);
                let kind = kind::ENCRYPTED_SESSION_KEY;
                shell.outbox.put(shell.message(kind, Uuid::nil(), &answer));
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

    pub(super) fn pipeline(&self, shell: &Shell, id: Uuid) -> Result<Arc<Pipeline>, Fault> {
        let found = shell.pipelines().get(&id).map(Arc::clone);
        found.ok_or_else(|| {
            let text = format!(
                "The command with CommandId {id} was not found in the shell of {}.",
                self.account.name
            );
            fault(code::NO_SHELL, "w:InvalidSelectors", text)
        })
    }
}
