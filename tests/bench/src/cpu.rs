//! Processor time that processes took, by `/proc/<pid>/stat` (proc(5): fields 14 and 15, user and system time in ticks).

use std::{fs, time::Duration};

use anyhow::Context;

/// Linux shows times in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// What one process took so far.
pub(crate) fn of_process(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    let (_, ticks) = parsed(&stat).context(path)?;
    Ok(ticks)
}

/// What all processes of that name took so far, those that have ended since left out.
pub(crate) fn of_all(name: &str) -> anyhow::Result<Duration> {
    let mut sum = Duration::ZERO;
    for entry in fs::read_dir("/proc")? {
        // It may have ended meanwhile; most entries are no processes.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else {
            continue;
        };
        if let Some((_, ticks)) = parsed(&stat).filter(|(found, _)| *found == name) {
            sum += ticks;
        }
    }
    Ok(sum)
}

/// Name and time. The name stands in brackets and may hold anything, brackets too.
fn parsed(stat: &str) -> Option<(&str, Duration)> {
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = tail.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((name, TICK * (user + system)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 10 0 0 0 150 25 0 0 20 0 4 0";
        let wanted = Duration::from_millis(1750);
        assert_eq!(parsed(stat), Some(("a) b", wanted)));
        assert_eq!(parsed("nothing"), None);
    }

    #[test]
    fn this_process_is_found() {
        assert!(of_process(std::process::id()).is_ok());
    }
}
