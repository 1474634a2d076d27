//! Services as processes of their own, on a database, a vhost and a school of the test's own.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use calgrant_contract::pb::{
    provisioning::v1::{
        GetOperationRequest, Operation, provisioning_service_client::ProvisioningServiceClient,
    },
    status::v1::{OperationMailbox, status_service_client::StatusServiceClient},
};
use calgrant_simulator::{
    DEMO_CERTIFICATE_PEM, DEMO_KEY_PEM, SETUP_APP, SchoolOptions, TENANT_ID, TRUSTEE,
};
use calgrant_testkit::{Database, School, Vhost, eventually_within, mailboxes};
use tonic::transport::Channel;

/// Longest wait for a process, or an operation.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The key that passwords are sealed with.
pub(crate) const SECRETS_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What licences take, of a site online that is set up.
pub(crate) const LICENSED: &str = "usage_location = \"NL\"\nsku = \"EXCHANGESTANDARD_FACULTY\"";

/// What a site is set up with: two accounts, the group, and more.
pub(crate) fn wanted(more: &str) -> String {
    format!(
        "[site.setup]\ncount = 2\nname = \"sa-mytt-exch-{{n}}@uni.example\"\ngroup = \"{TRUSTEE}\"\ngroup_owners = [\"u000001@uni.example\"]\n{more}\n"
    )
}

/// Status, api and worker; killed with the test.
pub(crate) struct Set {
    pub(crate) school: School,
    pub(crate) database: Database,
    pub(crate) vhost: Vhost,
    folder: PathBuf,
    /// What services log, as `CALGRANT_LOG` takes it.
    log: &'static str,
    processes: HashMap<&'static str, Process>,
}

struct Process {
    child: Child,
    address: String,
    said: Arc<Mutex<Vec<String>>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Set {
    /// All three, and the school applied as the tenant `uni`.
    pub(crate) async fn start(school: &SchoolOptions) -> Self {
        Self::start_logging(school, "info").await
    }

    /// The same at a small school where nothing is prepared.
    pub(crate) async fn start_unprepared() -> Self {
        Self::start(&SchoolOptions {
            mailboxes: 20,
            grantors: 2,
            unprepared: true,
            ..SchoolOptions::default()
        })
        .await
    }

    /// As [`Set::start`], with services that log so.
    pub(crate) async fn start_logging(school: &SchoolOptions, log: &'static str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("calgrant-set-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut set = Self {
            school: School::new(school).await,
            database: Database::new().await,
            vhost: Vhost::new(),
            folder,
            log,
            processes: HashMap::new(),
        };
        for name in ["status", "api", "worker"] {
            set.run(name);
        }
        let file = set.write("tenant.toml", &set.tenant());
        eventually_within(LIMIT, "the tenant is applied", async || {
            set.command(["apply", "-f", &file])
                .output()
                .unwrap()
                .status
                .success()
        })
        .await;
        set
    }

    /// Starts a service; a second time on the port it had before.
    pub(crate) fn run(&mut self, name: &'static str) {
        let before = self.processes.remove(name);
        let listen = before
            .as_ref()
            .map_or("127.0.0.1:0", |process| process.address.as_str());
        let status = self.processes.get("status");
        let status = status.map_or_else(String::new, |status| format!("http://{}", status.address));
        let upper = name.to_uppercase();
        let mut command = Command::new(env!("CARGO_BIN_EXE_calgrant"));
        command
            .arg(name)
            .env(format!("CALGRANT_{upper}_LISTEN"), listen)
            .env("DATABASE_URL", self.database.url())
            .env("AMQP_URL", self.vhost.url())
            .env("CALGRANT_LOG", self.log)
            .env("CALGRANT_SECRETS_KEY", SECRETS_KEY)
            .stderr(Stdio::piped());
        if name == "status" {
            // What a killed process had leased is free again after these: a test doesn't wait two minutes for it.
            command
                .env("CALGRANT_STATUS_LONGEST_CALL_MILLIS", "5000")
                .env("CALGRANT_STATUS_ABANDONED_HOLD_MILLIS", "1000");
        } else {
            command.env(format!("CALGRANT_{upper}_STATUS_URL"), status);
        }
        drop(before);
        let mut child = command.spawn().unwrap();
        let (sender, receiver) = mpsc::channel();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&said);
        let log = BufReader::new(child.stderr.take().unwrap());
        // The log is read to its end, or the process would block on a full pipe; it is shown if the test fails.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, address)) = line
                    .split_once("serves ")
                    .and_then(|(_, rest)| rest.split_once(" at "))
                {
                    let address = address.split(' ').next().unwrap_or_default().to_owned();
                    // Only the first one is waited for.
                    let _late = sender.send(address);
                }
                eprintln!("{name}: {line}");
                kept.lock().unwrap().push(line);
            }
        });
        let address = receiver
            .recv_timeout(LIMIT)
            .unwrap_or_else(|_| panic!("{name} said no address"));
        let process = Process {
            child,
            address,
            said,
        };
        self.processes.insert(name, process);
    }

    /// `kill -9`, and started again.
    pub(crate) fn kill_and_run(&mut self, name: &'static str) {
        let process = self.processes.get_mut(name).unwrap();
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        self.run(name);
    }

    /// SIGTERM; started again when it has ended in order.
    pub(crate) async fn stop_and_run(&mut self, name: &'static str) {
        self.stop(name).await;
        self.run(name);
    }

    /// SIGTERM, until it has ended in order, and has said so.
    pub(crate) async fn stop(&mut self, name: &'static str) {
        let process = self.processes.get_mut(name).unwrap();
        let pid = process.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(asked.success());
        let ended = self.ends(name).await;
        assert!(ended.success(), "{name}: {ended:?}");
        self.says(name, &format!("{name} stopped in order")).await;
    }

    /// Waits until a service has ended.
    pub(crate) async fn ends(&mut self, name: &'static str) -> ExitStatus {
        let process = self.processes.get_mut(name).unwrap();
        let mut ended = None;
        eventually_within(LIMIT, "the process ends", async || {
            ended = process.child.try_wait().unwrap();
            ended.is_some()
        })
        .await;
        ended.unwrap()
    }

    /// Waits until a service has said something.
    pub(crate) async fn says(&self, name: &'static str, text: &str) {
        let said = Arc::clone(&self.processes[name].said);
        eventually_within(LIMIT, "a service says something", async || {
            said.lock().unwrap().iter().any(|line| line.contains(text))
        })
        .await;
    }

    /// All that services have said so far, and the command line of each that runs.
    pub(crate) fn emitted(&self) -> String {
        let mut all = String::new();
        for (name, process) in &self.processes {
            // One that was stopped has none any more.
            let line = std::fs::read(format!("/proc/{}/cmdline", process.child.id()));
            let line = line.unwrap_or_default();
            all.push_str(&format!("{name} {}\n", String::from_utf8_lossy(&line)));
            all.push_str(&process.said.lock().unwrap().join("\n"));
        }
        all
    }

    /// A folder of the set's own.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// The operator's command line.
    pub(crate) fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calgrant"));
        command
            .args(arguments)
            .env("CALGRANT_API", self.api_url())
            .env(
                "CALGRANT_STATUS",
                format!("http://{}", self.processes["status"].address),
            )
            .env("CALGRANT_CALLER", "test");
        command
    }

    pub(crate) fn api_url(&self) -> String {
        format!("http://{}", self.processes["api"].address)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Submits by the command line. Answers the operation's id.
    pub(crate) fn submit<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self
            .command(["delegate", "--tenant", "uni", "--output", "json"])
            .args(arguments)
            .args(["--trustee", TRUSTEE])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        rows(&output)[0]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn operation(&self, id: &str) -> Option<Operation> {
        let channel = Channel::from_shared(self.api_url()).unwrap().connect_lazy();
        let request = GetOperationRequest { id: id.to_owned() };
        let answer = ProvisioningServiceClient::new(channel)
            .get_operation(request)
            .await;
        answer.ok().map(tonic::Response::into_inner)
    }

    /// Waits until an operation is as wanted. Services may be away meanwhile.
    pub(crate) async fn until(&self, id: &str, wanted: impl Fn(&Operation) -> bool) -> Operation {
        let mut last = None;
        eventually_within(LIMIT, "an operation is as wanted", async || {
            last = self.operation(id).await;
            last.as_ref().is_some_and(&wanted)
        })
        .await;
        last.unwrap()
    }

    pub(crate) async fn mailboxes(&self, operation: &str) -> Vec<OperationMailbox> {
        let channel = Channel::from_shared(self.api_url()).unwrap().connect_lazy();
        let listed = mailboxes(&StatusServiceClient::new(channel), operation).await;
        listed.unwrap()
    }

    /// Applies a tenant's file with this text.
    pub(crate) fn apply(&self, tenant: &str) {
        let file = self.write("applied.toml", tenant);
        let applied = self.command(["apply", "-f", &file]).output().unwrap();
        assert!(applied.status.success(), "{}", said(&applied));
    }

    /// The tenant's file, with an account that may set the site up.
    pub(crate) fn tenant_with_setup(&self) -> String {
        let secret = self.write("set-up", "setup-secret");
        format!(
            r#"{}[[site.account]]
name = "set-up"
purpose = ["setup"]
client_id = "{SETUP_APP}"
secret = {{ file = "{secret}" }}
"#,
            self.tenant()
        )
    }

    /// The file of a tenant on premises alone, with a set-up account, by PowerShell; and more of its grantor.
    pub(crate) fn onprem_tenant(&self, of_grantor: &str) -> String {
        let [reader, grantor, secret] = ["sa-reader", "sa-onprem-1", "sa-setup"]
            .map(|name| self.write(name, &format!("{name}-secret")));
        let authority = self.write("ca.pem", self.school.certificate().unwrap());
        let (url, ldap) = (self.school.url(), self.school.ldaps());
        format!(
            r#"name = "uni"
[[site]]
kind = "onprem"
write_path = "powershell"
[site.onprem]
powershell_url = "{url}/PowerShell/"
powershell_sign_in = "basic"
ldap_url = "{ldap}"
ca_file = "{authority}"
[[site.account]]
name = "reader"
purpose = ["reader"]
user = 'UNI\sa-reader'
secret = {{ file = "{reader}" }}
[[site.account]]
name = "sa-1"
purpose = ["grantor"]
user = 'UNI\sa-onprem-1'
secret = {{ file = "{grantor}" }}
{of_grantor}
[[site.account]]
name = "set-up"
purpose = ["setup"]
user = 'UNI\sa-setup'
secret = {{ file = "{secret}" }}
"#
        )
    }

    /// The tenant's file.
    pub(crate) fn tenant(&self) -> String {
        let url = self.school.url();
        let key = self.write("key.pem", DEMO_KEY_PEM);
        let certificate = self.write("certificate.pem", DEMO_CERTIFICATE_PEM);
        let reader = self.write("reader", "reader-secret");
        let second = self.write("grantor-2", "grantor-secret-2");
        format!(
            r#"name = "uni"
[[site]]
kind = "online"
directory_id = "{TENANT_ID}"
login_url = "{url}"
graph_url = "{url}"
admin_url = "{url}"
park_first_secs = 1
[[site.account]]
name = "reader"
purpose = ["reader"]
client_id = "aaaaaaaa-0000-0000-0000-000000000000"
secret = {{ file = "{reader}" }}
[[site.account]]
name = "sa-1"
purpose = ["grantor"]
client_id = "bbbbbbbb-0000-0000-0000-000000000001"
certificate = {{ key = {{ file = "{key}" }}, certificate = {{ file = "{certificate}" }} }}
max_in_flight = 8
workers = 8
[[site.account]]
name = "sa-2"
purpose = ["grantor"]
client_id = "bbbbbbbb-0000-0000-0000-000000000002"
secret = {{ file = "{second}" }}
max_in_flight = 8
workers = 8
"#
        )
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.processes.clear();
        let _gone_already = std::fs::remove_dir_all(&self.folder);
    }
}

/// The JSON objects that a command printed.
pub(crate) fn rows(output: &Output) -> Vec<serde_json::Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// What a command said on stderr.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
