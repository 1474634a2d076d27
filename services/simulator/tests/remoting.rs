//! PowerShell remoting as its wire has it, without a client's help.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod premises;
mod rig;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use calgrant_simulator::DEMO_KEY_PEM;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockEncryptMut, KeyIvInit};
use num_bigint::BigUint;
use premises::{FULL, IMP, Login, SMALL, open};
use rig::Rig;
use serde_json::{Value, json};
use uuid::Uuid;

const RESOURCE: &str = "http://schemas.microsoft.com/powershell/Microsoft.Exchange";
const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
const CREATE: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Create";
const DELETE: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Delete";
const POOL: Uuid = Uuid::from_u128(0x77);

const CAPABILITY: &str = "<Obj RefId=\"0\"><MS><Version N=\"protocolversion\">2.3</Version><Version N=\"PSVersion\">2.0</Version><Version N=\"SerializationVersion\">1.1.0.1</Version></MS></Obj>";
const INIT: &str = "<Obj RefId=\"0\"><MS><I32 N=\"MinRunspaces\">1</I32><I32 N=\"MaxRunspaces\">1</I32><I32 N=\"PSThreadOptions\">0</I32><I32 N=\"ApartmentState\">2</I32><Nil N=\"HostInfo\"/><Nil N=\"ApplicationArguments\"/></MS></Obj>";

/// A message in one fragment.
fn fragment(object: u64, kind: u32, pipeline: Uuid, text: &str) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend_from_slice(&2_u32.to_le_bytes());
    message.extend_from_slice(&kind.to_le_bytes());
    message.extend_from_slice(&POOL.to_bytes_le());
    message.extend_from_slice(&pipeline.to_bytes_le());
    message.extend_from_slice(text.as_bytes());
    let mut out = object.to_be_bytes().to_vec();
    out.extend_from_slice(&0_u64.to_be_bytes());
    out.push(3);
    out.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&message);
    out
}

fn create_pipeline(commands: &str) -> String {
    format!(
        "<Obj RefId=\"0\"><MS><B N=\"NoInput\">true</B><I32 N=\"ApartmentState\">2</I32><I32 N=\"RemoteStreamOptions\">0</I32>\
         <B N=\"AddToHistory\">false</B><Nil N=\"HostInfo\"/><Obj N=\"PowerShell\" RefId=\"1\"><MS><B N=\"IsNested\">false</B>\
         <Obj N=\"Cmds\" RefId=\"2\"><LST>{commands}</LST></Obj></MS></Obj><B N=\"IsNested\">false</B></MS></Obj>"
    )
}

fn command(name: &str, script: bool, parameters: &[(&str, &str)]) -> String {
    let parameters: String = parameters
        .iter()
        .map(|(name, value)| {
            format!("<Obj RefId=\"9\"><MS><S N=\"N\">{name}</S>{value}</MS></Obj>")
        })
        .collect();
    format!(
        "<Obj RefId=\"3\"><MS><S N=\"Cmd\">{name}</S><B N=\"IsScript\">{script}</B><Obj N=\"Args\" RefId=\"4\"><LST>{parameters}</LST></Obj></MS></Obj>"
    )
}

struct Reply {
    status: u16,
    text: String,
}

impl Reply {
    fn code(&self) -> &str {
        let rest = self.text.split(" Code=\"").nth(1).unwrap_or_default();
        rest.split('"').next().unwrap()
    }

    /// The messages it holds: their kinds and texts.
    fn messages(&self) -> Vec<(u32, String)> {
        let mut bytes = Vec::new();
        for part in self.text.split("<rsp:Stream ").skip(1) {
            let encoded = part.split_once('>').unwrap().1.split('<').next().unwrap();
            bytes.extend(STANDARD.decode(encoded).unwrap());
        }
        let mut messages = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[17..21].try_into().unwrap());
            let end = 21 + usize::try_from(length).unwrap();
            let data = &rest[21..end];
            let kind = u32::from_le_bytes(data[4..8].try_into().unwrap());
            messages.push((kind, String::from_utf8_lossy(&data[43..]).into_owned()));
            rest = &rest[end..];
        }
        messages
    }
}

struct Client<'a> {
    rig: &'a Rig,
    login: Login,
    shell: String,
}

async fn ask(rig: &Rig, login: Login, action: &str, head: &str, body: &str) -> Reply {
    let text = format!(
        "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:wsa=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:wsman=\"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd\" xmlns:rsp=\"{SHELL}\"><s:Header>\
         <wsa:Action s:mustUnderstand=\"true\">{action}</wsa:Action><wsman:MaxEnvelopeSize>153600</wsman:MaxEnvelopeSize>\
         <wsa:MessageID>uuid:{}</wsa:MessageID><wsman:OperationTimeout>PT0.2S</wsman:OperationTimeout>\
         <wsa:ReplyTo><wsa:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</wsa:Address></wsa:ReplyTo>\
         <wsa:To>http://mbx01/PowerShell/</wsa:To>{head}</s:Header><s:Body>{body}</s:Body></s:Envelope>",
        Uuid::new_v4()
    );
    let reply = rig
        .client
        .post(format!("{}/PowerShell/", rig.url))
        .basic_auth(login.0, Some(login.1))
        .header("content-type", "application/soap+xml;charset=UTF-8")
        .body(text)
        .send()
        .await
        .unwrap();
    Reply {
        status: reply.status().as_u16(),
        text: reply.text().await.unwrap(),
    }
}

fn resource(uri: &str) -> String {
    format!("<wsman:ResourceURI>{uri}</wsman:ResourceURI>")
}

async fn create(rig: &Rig, login: Login, uri: &str) -> Reply {
    let bytes = [
        fragment(1, 0x0001_0002, Uuid::nil(), CAPABILITY),
        fragment(2, 0x0001_0004, Uuid::nil(), INIT),
    ]
    .concat();
    let options = "<wsman:OptionSet><wsman:Option Name=\"protocolversion\" MustComply=\"true\">2.3</wsman:Option></wsman:OptionSet>";
    let body = format!(
        "<rsp:Shell><rsp:InputStreams>stdin pr</rsp:InputStreams><rsp:OutputStreams>stdout</rsp:OutputStreams>\
         <creationXml xmlns=\"http://schemas.microsoft.com/powershell\">{}</creationXml></rsp:Shell>",
        STANDARD.encode(bytes)
    );
    ask(
        rig,
        login,
        CREATE,
        &format!("{}{options}", resource(uri)),
        &body,
    )
    .await
}

impl<'a> Client<'a> {
    async fn open(rig: &'a Rig, login: Login) -> Self {
        let reply = create(rig, login, RESOURCE).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let rest = reply
            .text
            .split("<w:Selector Name=\"ShellId\">")
            .nth(1)
            .unwrap();
        let shell = rest.split('<').next().unwrap().to_owned();
        Self { rig, login, shell }
    }

    async fn ask(&self, action: &str, body: &str) -> Reply {
        let head = format!(
            "{}<wsman:SelectorSet><wsman:Selector Name=\"ShellId\">{}</wsman:Selector></wsman:SelectorSet>",
            resource(RESOURCE),
            self.shell
        );
        ask(self.rig, self.login, action, &head, body).await
    }

    async fn start(&self, id: Uuid, commands: &str) -> Reply {
        let bytes = fragment(3, 0x0002_1006, id, &create_pipeline(commands));
        let body = format!(
            "<rsp:CommandLine CommandId=\"{id}\"><rsp:Command/><rsp:Arguments>{}</rsp:Arguments></rsp:CommandLine>",
            STANDARD.encode(bytes)
        );
        self.ask(&format!("{SHELL}/Command"), &body).await
    }

    async fn receive(&self, id: Option<Uuid>) -> Reply {
        let id = id
            .map(|id| format!(" CommandId=\"{id}\""))
            .unwrap_or_default();
        let body =
            format!("<rsp:Receive><rsp:DesiredStream{id}>stdout</rsp:DesiredStream></rsp:Receive>");
        self.ask(&format!("{SHELL}/Receive"), &body).await
    }

    /// Runs commands to their end: the messages, and the pipeline's last state.
    async fn run(&self, commands: &str) -> (Vec<(u32, String)>, String) {
        let id = Uuid::new_v4();
        let started = self.start(id, commands).await;
        assert_eq!(started.status, 200, "{}", started.text);
        let mut all = Vec::new();
        loop {
            let reply = self.receive(Some(id)).await;
            all.extend(reply.messages());
            if reply.text.contains("CommandState/Done") {
                break;
            }
        }
        let (_, last) = all.pop().unwrap();
        (all, last)
    }
}

fn text(value: &str) -> String {
    format!("<S N=\"V\">{value}</S>")
}

#[tokio::test]
async fn a_session_opens_runs_a_command_and_closes() {
    let rig = open().await;
    let client = Client::open(&rig, FULL).await;
    let kinds: Vec<u32> = client
        .receive(None)
        .await
        .messages()
        .iter()
        .map(|(kind, _)| *kind)
        .collect();
    assert_eq!(kinds, [0x0001_0002, 0x0002_1009, 0x0002_1005]);
    let waited = client.receive(None).await;
    assert_eq!((waited.status, waited.code()), (500, "2150858793"));
    let identity = text("bob@school.example:\\Kalender");
    let rights = "<Obj N=\"V\" RefId=\"11\"><TN RefId=\"5\"><T>System.Object[]</T></TN><LST><S>Author</S></LST></Obj>";
    let group = text("delegates@school.example");
    let add = command(
        "Add-MailboxFolderPermission",
        false,
        &[
            ("Identity", &identity),
            ("User", &group),
            ("AccessRights", rights),
        ],
    );
    let (output, state) = client.run(&add).await;
    assert!(
        state.contains("<I32 N=\"PipelineState\">4</I32>"),
        "{state}"
    );
    assert_eq!(output[0].0, 0x0004_1004);
    assert!(
        output[0].1.contains("<ToString>Author</ToString>"),
        "{}",
        output[0].1
    );
    assert!(
        rig.list("bob@school.example")
            .await
            .contains(&("delegates@school.example".to_owned(), 7195))
    );
    let (output, state) = client.run(&add).await;
    assert!(state.contains(">4<"));
    assert_eq!(output[0].0, 0x0004_1005);
    assert!(
        output[0].1.contains(
            "<S N=\"ErrorCategory_Reason\">UserAlreadyExistsInPermissionEntryException</S>"
        )
    );
    // the cloud's own parameters aren't here
    let routed = command(
        "Get-MailboxFolderPermission",
        false,
        &[
            ("Identity", &identity),
            ("UseCustomRouting", "<B N=\"V\">true</B>"),
        ],
    );
    assert!(
        client
            .run(&routed)
            .await
            .1
            .contains("ParameterBindingException")
    );
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["calls"]["Add-MailboxFolderPermission"], 2);
    assert_eq!(report["managed_entries_changed"], 1);
    assert_eq!(client.ask(DELETE, "").await.status, 200);
    assert_eq!(client.receive(None).await.code(), "2150858843");
}

#[tokio::test]
async fn there_is_no_language_and_only_what_the_role_has() {
    let rig = open().await;
    let client = Client::open(&rig, SMALL).await;
    for (commands, id) in [
        (command("Get-Mailbox", true, &[]), "ScriptsNotAllowed"),
        (
            command("Where-Object", false, &[]),
            "CommandNotFoundException",
        ),
        (
            command("Add-MailboxFolderPermission", false, &[]),
            "CommandNotFoundException",
        ),
    ] {
        let (output, state) = client.run(&commands).await;
        assert!(output.is_empty());
        assert!(
            state.contains("<I32 N=\"PipelineState\">5</I32>") && state.contains(id),
            "{state}"
        );
    }
    let client = Client::open(&rig, FULL).await;
    let removal = command(
        "Remove-MailboxFolderPermission",
        false,
        &[
            ("Identity", &text("bob@school.example:\\Kalender")),
            ("User", &text("eva@school.example")),
        ],
    );
    assert!(client.run(&removal).await.1.contains("prompts the user"));
    // what one command puts out is whom the next is about
    let pipe = command(
        "Get-Mailbox",
        false,
        &[("Identity", &text("school.example/Teachers/ada"))],
    ) + &command(
        "Get-MailboxFolderStatistics",
        false,
        &[("FolderScope", &text("Calendar"))],
    );
    let (output, _) = client.run(&pipe).await;
    assert_eq!(output.len(), 3);
    assert!(
        output
            .iter()
            .any(|(_, text)| text.contains("<S N=\"FolderPath\">/Agenda</S>"))
    );
    // in the cloud
    let cloud = command(
        "Get-Mailbox",
        false,
        &[("Identity", &text("cloud@school.example"))],
    );
    assert!(
        client.run(&cloud).await.0[0]
            .1
            .contains("ManagementObjectNotFoundException")
    );
}

#[tokio::test]
async fn wrong_doors_are_closed() {
    let rig = open().await;
    let windows = create(
        &rig,
        FULL,
        "http://schemas.microsoft.com/powershell/Microsoft.PowerShell",
    )
    .await;
    assert_eq!((windows.status, windows.code()), (500, "2150858811"));
    assert_eq!(create(&rig, IMP, RESOURCE).await.code(), "5");
    assert_eq!(create(&rig, (FULL.0, "wrong"), RESOURCE).await.status, 401);
    // a session is its account's own
    let client = Client::open(&rig, FULL).await;
    let thief = Client {
        login: SMALL,
        shell: client.shell.clone(),
        rig: &rig,
    };
    assert_eq!(thief.receive(None).await.code(), "2150858843");
    // and ends when nobody asks for a quarter of an hour
    rig.advance(900_000).await;
    assert_eq!(client.receive(None).await.code(), "2150858843");
    let broken = client
        .ask(&format!("{SHELL}/Command"), "<rsp:CommandLine/>")
        .await;
    assert_eq!(broken.status, 500);
}

#[tokio::test]
async fn sessions_and_commands_are_counted() {
    let rig = open().await;
    let first = Client::open(&rig, SMALL).await;
    let second = Client::open(&rig, SMALL).await;
    let third = create(&rig, SMALL, RESOURCE).await;
    assert_eq!((third.status, third.code()), (500, "2150859173"));
    assert!(third.text.contains("maximum number of 2 concurrent shells"));
    assert_eq!(second.ask(DELETE, "").await.status, 200);
    let again = Client::open(&rig, SMALL).await;
    let read = command(
        "Get-Mailbox",
        false,
        &[("Identity", &text("bob@school.example"))],
    );
    for client in [&first, &again, &first] {
        assert!(client.run(&read).await.1.contains(">4<"));
    }
    let over = first.start(Uuid::new_v4(), &read).await;
    assert_eq!((over.status, over.code()), (500, "2150859174"));
    assert!(
        over.text
            .contains("The user load quota of 3 requests per 60 seconds has been exceeded.")
    );
    let report = rig.get("/_simulator/report").await;
    let violations: &Value = &report["violations_by_app"]["sa-small@school.example"];
    assert_eq!(violations["PowerShellMaxConcurrency: 2"], 1);
    assert_eq!(violations["PowerShellMaxCmdlets: 3 in 60 s"], 1);
    let shells = &report["onprem"]["33333333-4444-5555-6666-777777777777"]["accounts"]["sa-small@school.example"]
        ["shells"];
    assert_eq!(*shells, json!({"open": 2, "peak": 2, "refused": 1}));
}

#[tokio::test]
async fn what_is_stopped_is_done_all_the_same() {
    let rig = open().await;
    let client = Client::open(&rig, FULL).await;
    assert_eq!(
        rig.put("/_simulator/dials", json!({"cmdlet_latency_ms": 300}))
            .await,
        200
    );
    let id = Uuid::new_v4();
    let add = command(
        "Add-MailboxFolderPermission",
        false,
        &[
            ("Identity", &text("bob@school.example:\\Kalender")),
            ("User", &text("delegates@school.example")),
            ("AccessRights", &text("Author")),
        ],
    );
    assert_eq!(client.start(id, &add).await.status, 200);
    rig.until("/_simulator/report", |report| {
        report["calls"]["Add-MailboxFolderPermission"] == 1
    })
    .await;
    let stop = format!(
        "<rsp:Signal CommandId=\"{id}\"><rsp:Code>powershell/signal/ctrl_c</rsp:Code></rsp:Signal>"
    );
    assert_eq!(
        client.ask(&format!("{SHELL}/Signal"), &stop).await.status,
        200
    );
    let end = client.receive(Some(id)).await;
    assert!(end.text.contains("CommandState/Done"));
    assert!(
        end.messages()[0]
            .1
            .contains("<I32 N=\"PipelineState\">3</I32>")
    );
    rig.until("/_simulator/report", |report| report["writes"] == 1)
        .await;
}

#[tokio::test]
async fn answers_get_lost_by_the_command_they_are_of() {
    let rig = open().await;
    let client = Client::open(&rig, FULL).await;
    let dials = json!({"faults": {"error_after_effect": {"times": 1, "only": "Receive Get-Mailbox"}, "transient_400": {"times": 1, "only": "Get-Mailbox"}}});
    assert_eq!(rig.put("/_simulator/dials", dials).await, 200);
    let id = Uuid::new_v4();
    let read = command(
        "Get-Mailbox",
        false,
        &[("Identity", &text("bob@school.example"))],
    );
    assert_eq!(client.start(id, &read).await.status, 200);
    assert!(client.receive(Some(id)).await.status >= 500);
    // what was fetched is gone; the next of its kind comes through
    let (output, state) = client.run(&read).await;
    assert!(state.contains(">4<"));
    assert!(output[0].1.contains("<S N=\"DisplayName\">Bob Noyce</S>"));
}

/// The modulus, the public and the private exponent of the demo key.
fn demo_key() -> [BigUint; 3] {
    let lines = DEMO_KEY_PEM.lines();
    let body: String = lines.filter(|line| !line.starts_with("-----")).collect();
    let whole = STANDARD.decode(body).unwrap();
    let inner = yasna::parse_der(&whole, |reader| {
        reader.read_sequence(|reader| {
            reader.next().read_u8()?;
            reader.next().read_der()?;
            reader.next().read_bytes()
        })
    });
    let numbers = yasna::parse_der(&inner.unwrap(), |reader| {
        reader.collect_sequence_of(|reader| Ok(reader.read_bigint_bytes()?.0))
    });
    let numbers = numbers.unwrap();
    [1, 2, 3].map(|at| BigUint::from_bytes_be(&numbers[at]))
}

/// A text under a session's key, as it stands in CLIXML.
fn sealed(key: &[u8], text: &str) -> String {
    let mut units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = units.len();
    units.resize(length + 16, 0);
    let key: [u8; 32] = key.try_into().unwrap();
    let sealing = cbc::Encryptor::<aes::Aes256>::new(&key.into(), &[0_u8; 16].into());
    let sealed = sealing.encrypt_padded_mut::<Pkcs7>(&mut units, length);
    format!("<SS N=\"V\">{}</SS>", STANDARD.encode(sealed.unwrap()))
}

#[tokio::test]
async fn a_password_comes_under_the_key_of_the_session() {
    let rig = open().await;
    let roles = json!({"management_roles": ["Mail Recipient Creation"]});
    let path = "/_simulator/accounts/sa-full@school.example";
    assert_eq!(rig.put(path, roles).await, 200);
    let client = Client::open(&rig, FULL).await;
    client.receive(None).await;
    let unsealed = command(
        "New-Mailbox",
        false,
        &[
            ("Name", &text("svc-1")),
            ("UserPrincipalName", &text("svc-1@school.example")),
            ("Password", &sealed(&[7; 32], "Long-enough-1")),
        ],
    );
    // before there is a key, nothing can be opened
    let (_, state) = client.run(&unsealed).await;
    assert!(state.contains("be decrypted"), "{state}");
    let [modulus, public, private] = demo_key();
    let mut blob = vec![6, 2, 0, 0, 0, 0xA4, 0, 0];
    blob.extend_from_slice(b"RSA1\x00\x08\x00\x00");
    blob.extend_from_slice(&65_537_u32.to_le_bytes());
    blob.extend_from_slice(&modulus.to_bytes_le());
    assert_eq!((public, blob.len()), (BigUint::from(65_537_u32), 276));
    let key = format!(
        "<Obj RefId=\"0\"><MS><S N=\"PublicKey\">{}</S></MS></Obj>",
        STANDARD.encode(blob)
    );
    let bytes = fragment(4, 0x0001_0005, Uuid::nil(), &key);
    let body = format!(
        "<rsp:Send><rsp:Stream Name=\"stdin\">{}</rsp:Stream></rsp:Send>",
        STANDARD.encode(bytes)
    );
    let sent = client.ask(&format!("{SHELL}/Send"), &body).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    let (kind, answer) = client.receive(None).await.messages().remove(0);
    assert_eq!(kind, 0x0001_0006);
    let encoded = answer
        .split("<S N=\"EncryptedSessionKey\">")
        .nth(1)
        .unwrap();
    let blob = STANDARD.decode(encoded.split('<').next().unwrap()).unwrap();
    let padded = BigUint::from_bytes_le(&blob[12..]).modpow(&private, &modulus);
    let padded = padded.to_bytes_be();
    let key = &padded[padded.len() - 32..];
    let new = command(
        "New-Mailbox",
        false,
        &[
            ("Name", &text("svc-1")),
            ("UserPrincipalName", &text("svc-1@school.example")),
            ("Password", &sealed(key, "Long-enough-1")),
        ],
    );
    let (output, state) = client.run(&new).await;
    assert!(state.contains(">4<"), "{state}");
    assert!(
        output[0].1.contains("<S N=\"SamAccountName\">svc-1</S>"),
        "{}",
        output[0].1
    );
    let signed_in = create(&rig, ("SCHOOL\\svc-1", "Long-enough-1"), RESOURCE).await;
    // the password is right, and the account has no role
    assert_eq!((signed_in.status, signed_in.code()), (500, "5"));
}
