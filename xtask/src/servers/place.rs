//! The folder of one run's servers: found, locked while we live, and swept up after a run that was killed.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::clock::Stopwatch;
use crate::process::{User, short};
use crate::workspace;

/// Set for every server, so that a leftover process is known as ours beyond doubt.
pub(super) const MARK: &str = "CALGRANT_SERVERS_DIR";
/// Held by a living xtask as long as its servers run.
const OWNER: &str = "owner.lock";
/// How long a leftover process may take to end before it is killed.
const SWEEP_GRACE: Duration = Duration::from_secs(2);
const SWEEP_LIMIT: Duration = Duration::from_secs(10);

/// A folder for the servers of one run. Dropping it ends what still runs of them, and removes it.
pub(super) struct Place {
    dir: PathBuf,
    _owner: File,
}

impl Place {
    /// Make one under `target/servers`, or where `users` can't get there (a home only its owner may enter), in the
    /// temporary folder.
    pub(super) fn make(users: &[&User]) -> Result<Self> {
        let preferred = workspace::target().join("servers");
        fs::create_dir_all(&preferred)
            .with_context(|| format!("could not create {}", preferred.display()))?;
        let spare = env::temp_dir().join(format!("calgrant-servers-{}", geteuid().as_raw()));
        if spare.is_dir() {
            sweep(&spare)?;
        }
        sweep(&preferred)?;
        let Some(user) = first_shut_out(users, &preferred) else {
            return Self::make_in(&preferred);
        };
        eprintln!(
            "servers: the user {} can't enter {}, so they run in {}",
            user.name,
            preferred.display(),
            spare.display()
        );
        make_own(&spare)?;
        if let Some(user) = first_shut_out(users, &spare) {
            bail!(
                "the user {} can't enter {} either: point TMPDIR at a folder that everybody may enter",
                user.name,
                spare.display()
            );
        }
        Self::make_in(&spare)
    }

    fn make_in(parent: &Path) -> Result<Self> {
        let _lock = lock(parent)?;
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
        let id = id.get(..8).unwrap_or("0");
        let dir = parent.join(format!("{}-{id}", process::id()));
        fs::DirBuilder::new()
            .mode(0o711)
            .create(&dir)
            .with_context(|| format!("could not create {}", dir.display()))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?; // whatever the umask
        let owner = File::create(dir.join(OWNER))?;
        owner.lock().context("could not lock our own folder")?;
        Ok(Self { dir, _owner: owner })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Make a folder in it that belongs to `user`.
    pub(super) fn sub(&self, name: &str, user: Option<&User>) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        give(&dir, user)?;
        Ok(dir)
    }

    /// Write a file in it that belongs to `user`, and that nobody else may read.
    pub(super) fn file(&self, name: &str, text: &str, user: Option<&User>) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400))?;
        give(&path, user)?;
        Ok(path)
    }

    /// Copy the logs to where they outlive the place.
    pub(super) fn keep_logs(&self) -> Option<PathBuf> {
        let kept = workspace::target()
            .join("servers-failed")
            .join(self.dir.file_name()?);
        fs::create_dir_all(&kept).ok()?;
        let mut any = false;
        for dir in [self.dir.clone(), self.dir.join("rabbitmq/log")] {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|ext| ext == "log") {
                    any |= fs::copy(&path, kept.join(entry.file_name())).is_ok();
                }
            }
        }
        any.then_some(kept)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A node killed while it starts leaves its own short-lived helpers, in sessions of their own.
        end_marked(&self.dir);
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("servers: could not remove {}: {error}", self.dir.display());
        }
    }
}

fn give(path: &Path, user: Option<&User>) -> Result<()> {
    if let Some(user) = user {
        chown(path, Some(user.uid), Some(user.gid))
            .with_context(|| format!("could not give {} to {}", path.display(), user.name))?;
    }
    Ok(())
}

/// The temporary folder is everybody's: ours must be ours, not one that somebody laid ready.
fn make_own(dir: &Path) -> Result<()> {
    if let Err(error) = fs::DirBuilder::new().mode(0o711).create(dir)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("could not create {}", dir.display()));
    }
    let found = fs::symlink_metadata(dir)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() {
        bail!(
            "{} is not ours: remove it, or point TMPDIR at another folder",
            dir.display()
        );
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))?;
    Ok(())
}

/// The first of these users that can't pass through this folder. Asked, not worked out from modes: mounts and access
/// lists have a say too.
fn first_shut_out<'u>(users: &[&'u User], dir: &Path) -> Option<&'u User> {
    users.iter().copied().find(|user| {
        let asked = short(Path::new("test"), Some(user))
            .arg("-x")
            .arg(dir)
            .current_dir("/")
            .status();
        !asked.is_ok_and(|status| status.success())
    })
}

fn lock(parent: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(parent.join("lock"))?;
    file.lock()
        .with_context(|| format!("could not lock {}", parent.display()))?;
    Ok(file)
}

/// Stop and remove what runs left behind that were killed: those whose lock nobody holds.
fn sweep(parent: &Path) -> Result<()> {
    let _lock = lock(parent)?;
    for entry in fs::read_dir(parent)?.flatten() {
        let dir = entry.path();
        if !dir.is_dir() || is_owned(&dir) {
            continue;
        }
        eprintln!(
            "servers: sweeping up {}, left by a run that was killed",
            dir.display()
        );
        end_marked(&dir);
        if let Err(error) = fs::remove_dir_all(&dir) {
            eprintln!("servers: could not remove {}: {error}", dir.display());
        }
    }
    Ok(())
}

fn is_owned(dir: &Path) -> bool {
    // Made and locked under the parent's lock, which we hold: one without a lock file is debris.
    File::open(dir.join(OWNER)).is_ok_and(|file| file.try_lock().is_err())
}

/// End every process that carries the mark of that place: first asked, then killed, until none is left, because those
/// that end may be starting others.
fn end_marked(dir: &Path) {
    let watch = Stopwatch::start();
    while watch.elapsed() < SWEEP_LIMIT {
        let left = marked(dir);
        if left.is_empty() {
            return;
        }
        let signal = if watch.elapsed() < SWEEP_GRACE {
            Signal::INT
        } else {
            Signal::KILL
        };
        for pid in left {
            // It may have ended meanwhile.
            let _gone = kill_process(pid, signal);
        }
        thread::sleep(Duration::from_millis(50));
    }
    eprintln!("servers: processes of {} could not be ended", dir.display());
}

/// The processes whose environment holds the mark of that place. One that has ended, and waits for its parent, has none.
fn marked(dir: &Path) -> Vec<Pid> {
    let mark = format!("{MARK}={}", dir.display());
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            // Unreadable: somebody else's.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == mark.as_bytes())
        })
        .filter_map(Pid::from_raw)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = env::temp_dir().join(format!("xtask-place-{name}-{}", process::id()));
        fs::create_dir_all(&dir).expect("made");
        dir
    }

    #[test]
    fn a_place_is_kept_while_owned_and_swept_after() {
        let parent = scratch("sweep");
        let place = Place::make_in(&parent).expect("made");
        sweep(&parent).expect("swept");
        assert!(place.dir().is_dir(), "a living run's place was swept");

        let left = parent.join("1-dead");
        fs::create_dir(&left).expect("made");
        fs::write(left.join(OWNER), "").expect("written");
        sweep(&parent).expect("swept");
        assert!(!left.exists(), "a dead run's place was kept");

        let dir = place.dir().to_owned();
        drop(place);
        assert!(!dir.exists());
        fs::remove_dir_all(parent).expect("removed");
    }

    #[test]
    fn leftover_processes_are_ended_and_strangers_are_not() {
        let dir = scratch("end");
        let spawn = |mark: &Path| {
            process::Command::new("cat")
                .env(MARK, mark)
                .stdin(process::Stdio::piped())
                .spawn()
                .expect("spawned")
        };
        let (mut ours, mut stranger) = (spawn(&dir), spawn(&dir.join("x")));
        let _open = ours.stdin.take(); // or waiting for it would close it, and end it
        // A process that was started a moment ago may not show its environment yet.
        while marked(&dir).is_empty() {
            thread::yield_now();
        }
        let reaper = thread::spawn(move || ours.wait());
        end_marked(&dir);
        assert!(!reaper.join().expect("joined").expect("waited").success());
        assert!(
            stranger.try_wait().expect("waits").is_none(),
            "ended a stranger"
        );
        stranger.kill().expect("killed");
        stranger.wait().expect("waited");
        fs::remove_dir_all(dir).expect("removed");
    }
}
