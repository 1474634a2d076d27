//! Whatever comes, it is read or refused: no panic, no hang, and no more memory than in proportion to its length.

use proptest::prelude::*;
use uuid::Uuid;

use super::{
    clixml::Value,
    fragment::{Joiner, cut},
    message::{Message, kind},
    pipeline::Output,
    wsman::{Ask, read},
};
use crate::ews::fuzz_tests::{cases, hostile};

const ROW: &str = r#"<Obj RefId="0"><TN RefId="0"><T>Deserialized.X</T><T>System.Object</T></TN><ToString>Kalender_x000A_</ToString><Props><S N="FolderName">Kalender</S><Obj N="AccessRights" RefId="1"><TNRef RefId="0"/><LST><Obj RefId="2"><ToString>Author</ToString><I32>1051</I32></Obj></LST></Obj><Ref N="Self" RefId="0"/></Props><MS><Nil N="a"/></MS></Obj>"#;
const STATE: &str = r#"<Obj RefId="0"><MS><I32 N="PipelineState">5</I32><Obj N="ExceptionAsErrorRecord" RefId="1"><MS><Obj N="Exception" RefId="2"><TN RefId="0"><T>A.BException</T></TN><Props><S N="Message">no</S></Props></Obj><S N="FullyQualifiedErrorId">[Server=A,RequestId=b,TimeStamp=c] [FailureCategory=Cmdlet-B] 1,D</S></MS></Obj></MS></Obj>"#;
const ANSWER: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><s:Body><rsp:ReceiveResponse><rsp:Stream Name="stdout" CommandId="00000000-0000-0000-0000-000000000007">AAAA</rsp:Stream><rsp:CommandState CommandId="00000000-0000-0000-0000-000000000007" State="x/CommandState/Done"/></rsp:ReceiveResponse></s:Body></s:Envelope>"#;

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn objects(bytes in hostile(&[ROW, STATE])) {
        if let Ok(value) = Value::parse(&bytes) {
            let _ = (value.text(), value.texts().len(), value.member_text("FolderName"));
        }
        for kind in [kind::PIPELINE_OUTPUT, kind::ERROR_RECORD, kind::WARNING_RECORD, kind::PIPELINE_STATE] {
            let _ = Output::default().take(&Message { kind, pipeline: Uuid::nil(), data: bytes.clone() });
        }
    }

    #[test]
    fn envelopes(bytes in hostile(&[ANSWER])) {
        let command = Uuid::from_u128(7);
        for ask in [
            Ask::Create { shell: command, opening: b"" },
            Ask::Receive { command: Some(command) },
            Ask::Command { command, fragment: b"" },
            Ask::Signal { command },
            Ask::Delete,
        ] {
            let _ = read(&bytes, &ask);
        }
    }

    #[test]
    fn fragments(
        mut bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            proptest::collection::vec((0u64..3, proptest::collection::vec(any::<u8>(), 0..80)), 0..6)
                .prop_map(|all| all.iter().flat_map(|(object, message)| cut(*object, message).concat()).collect()),
        ],
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
        step in 1usize..64,
    ) {
        for (at, byte) in edits {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let (mut joiner, mut size) = (Joiner::default(), 0);
        for part in bytes.chunks(step) {
            let Ok(messages) = joiner.take(part) else { break };
            for message in messages {
                size += message.len();
                let _ = Message::parse(&message);
            }
        }
        prop_assert!(size <= bytes.len());
    }
}
