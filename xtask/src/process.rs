//! Starting programs so that they can be stopped: each in a process group of its own, so that Ctrl-C at the terminal
//! reaches xtask first, which then stops them in order.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::clock::Stopwatch;
use crate::signals;
use crate::workspace;

/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long an interrupted command may take to end before it is killed.
const COMMAND_GRACE: Duration = Duration::from_secs(20);
/// Between two calls of what is done beside a command.
const MEANWHILE: Duration = Duration::from_secs(1);
/// Lines of a log shown when its program failed.
const TAIL_LINES: usize = 25;

/// A user of this machine a server runs as, when we are root.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// Looks the user up in `/etc/passwd`.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string("/etc/passwd").ok()?, name)
    }

    fn parse(passwd: &str, name: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self {
                name: name.to_owned(),
                uid,
                gid,
            })
        })
    }
}

/// A command for a program that ends with us, even if we are killed, and runs as `user` if one is given.
///
/// `at_our_death` is the signal the kernel sends it then. The caller must be the main thread: to the kernel, "we"
/// are the thread that starts it.
pub(crate) fn bound(program: &Path, user: Option<&User>, at_our_death: &str) -> Command {
    if workspace::on_path("setpriv").is_none() && user.is_none() {
        return Command::new(program); // not Linux: an orderly end still stops it
    }
    let mut command = as_user(user);
    command
        .args(["--pdeathsig", at_our_death])
        .arg("--")
        .arg(program);
    command
}

/// A command for a short-lived program, run as `user` if one is given.
pub(crate) fn short(program: &Path, user: Option<&User>) -> Command {
    if user.is_none() {
        return Command::new(program);
    }
    let mut command = as_user(user);
    command.arg("--").arg(program);
    command
}

fn as_user(user: Option<&User>) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(User { uid, gid, .. }) = user {
        command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
        command.args(["--init-groups", "--no-new-privs"]);
    }
    command
}

/// A program running in the background, its output in a file.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// How it is asked to stop, and how long it may take.
    stop_by: (Signal, Duration),
    stopped: bool,
}

impl Process {
    /// Start it in its own process group with its output appended to `log`.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        log: &Path,
        stop_by: Signal,
        limit: Duration,
    ) -> Result<Self> {
        let out = open_log(log)?;
        let err = out.try_clone()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            stop_by: (stop_by, limit),
            stopped: false,
        })
    }

    /// Wait until `ready` says so; fails when the program ends first, when it takes too long, and on Ctrl-C.
    pub(crate) fn wait_until(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let watch = Stopwatch::start();
        while !ready() {
            signals::check()?;
            if let Some(status) = self.child.try_wait()? {
                self.stopped = true;
                bail!(
                    "{} ended while starting ({status}); the end of its log:\n{}",
                    self.name,
                    tail(&self.log)
                );
            }
            if watch.elapsed() > limit {
                let (name, secs) = (&self.name, limit.as_secs());
                bail!(
                    "{name} was not ready within {secs} s; the end of its log:\n{}",
                    tail(&self.log)
                );
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        !self.stopped && matches!(self.child.try_wait(), Ok(None))
    }

    /// Ask it to stop, wait, and kill what is left of its group.
    pub(crate) fn stop(&mut self) {
        self.stop_by(self.stop_by.0);
    }

    /// The same, by another signal.
    pub(crate) fn stop_by(&mut self, signal: Signal) {
        if self.stopped {
            return;
        }
        let limit = self.stop_by.1;
        let had_signals = signals::count();
        signal_group(&self.child, signal);
        let watch = Stopwatch::start();
        while watch.elapsed() < limit && signals::count() < had_signals + 2 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
        signal_group(&self.child, Signal::KILL);
        if let Err(error) = self.child.wait() {
            eprintln!("{}: could not wait for its end: {error}", self.name);
        }
        self.stopped = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Run a command to its end, output to ours; on Ctrl-C it is stopped and the interruption returned.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus> {
    run_beside(command, || {})
}

/// Like [`run`], and calls `meanwhile` about every second until the command has ended.
pub(crate) fn run_beside(command: &mut Command, meanwhile: impl FnMut()) -> Result<ExitStatus> {
    let child = command
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| could_not_run(command))?;
    wait(child, meanwhile)
}

/// Like [`run`], but everything the program prints on stdout and stderr is also handed to `see`, line by line.
pub(crate) fn run_seen(command: &mut Command, see: impl Fn(&str) + Sync) -> Result<ExitStatus> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().with_context(|| could_not_run(command))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(|| copy_lines(out, std::io::stdout(), &see));
        scope.spawn(|| copy_lines(err, std::io::stderr(), &see));
        wait(child, || {})
    })
}

/// Run a short command without showing its output, which becomes the error text if it fails.
pub(crate) fn run_quietly(command: &mut Command, log: &Path) -> Result<()> {
    let out = open_log(log)?;
    let err = out.try_clone()?;
    let status = run(command.stdout(out).stderr(err))?;
    if !status.success() {
        bail!(
            "{} ({status}); the end of its output:\n{}",
            could_not_run(command),
            tail(log)
        );
    }
    Ok(())
}

fn could_not_run(command: &Command) -> String {
    let arguments = command
        .get_args()
        .map(|a| a.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    format!(
        "`{} {arguments}` failed",
        command.get_program().to_string_lossy()
    )
}

/// Like [`run`], and calls `serve` every few milliseconds; what the program started and left is ended with it.
pub(crate) fn run_serving(command: &mut Command, mut serve: impl FnMut()) -> Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| could_not_run(command))?;
    let mut asked = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // It stops its processes in order; a second signal is passed on as well.
        if signals::count() > asked {
            asked = signals::count();
            signal_alone(&child, Signal::INT);
        }
        serve();
        thread::sleep(LOOK_EVERY);
    };
    signal_group(&child, Signal::KILL);
    signals::check()?;
    Ok(status)
}

fn wait(mut child: Child, mut meanwhile: impl FnMut()) -> Result<ExitStatus> {
    let mut last = Stopwatch::start();
    loop {
        if last.elapsed() >= MEANWHILE {
            meanwhile();
            last = Stopwatch::start();
        }
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Err(interrupted) = signals::check() {
            let had_signals = signals::count();
            signal_group(&child, Signal::INT);
            let watch = Stopwatch::start();
            while watch.elapsed() < COMMAND_GRACE && signals::count() == had_signals {
                if child.try_wait()?.is_some() {
                    break;
                }
                thread::sleep(LOOK_EVERY);
            }
            signal_group(&child, Signal::KILL);
            child.wait()?;
            return Err(interrupted.into());
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn signal_alone(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended, which is what we want.
        let _gone = kill_process(pid, signal);
    }
}

/// Signals the group of a child of ours: the child, and those it started that are still there.
fn signal_group(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // The only failure is that nobody is left in the group, which is what we want.
        let _nobody_left = kill_process_group(pid, signal);
    }
}

fn copy_lines(from: Option<impl std::io::Read>, mut to: impl std::io::Write, see: impl Fn(&str)) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        // Nobody listening to us is no reason to stop the program.
        let _closed = to.write_all(&line).and_then(|()| to.flush());
        see(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

pub(crate) fn open_log(log: &Path) -> Result<File> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
    }
    let file = OpenOptions::new().create(true).append(true).open(log);
    file.with_context(|| format!("could not write {}", log.display()))
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let lines = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    let mut shown = String::new();
    for line in lines {
        shown.push_str("    ");
        shown.push_str(line);
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres:x:104:110:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        let user = User::parse(passwd, "postgres").expect("listed");
        assert_eq!((user.uid, user.gid), (104, 110));
        assert!(User::parse(passwd, "post").is_none());
    }

    #[test]
    fn output_is_seen_and_the_exit_code_kept() {
        let seen = std::sync::Mutex::new(Vec::new());
        let see = |line: &str| seen.lock().expect("no panic").push(line.to_owned());
        let status =
            run_seen(Command::new("sh").args(["-c", "echo one; exit 7"]), see).expect("runs");
        assert_eq!(status.code(), Some(7));
        assert_eq!(*seen.lock().expect("no panic"), ["one"]);
    }
}
