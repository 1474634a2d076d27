//! Processor time and memory that processes have used, as Linux tells of them.

use std::{collections::BTreeMap, fs};

use anyhow::Context;

/// Ticks of processor time in a second: what Linux tells programs on every machine we build for.
const TICKS: f64 = 100.0;

/// Processes whose use is measured, by name.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    alone: BTreeMap<String, u32>,
    /// Those whose children work for them.
    families: BTreeMap<String, u32>,
}

/// What was used until a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used {
    /// Processor time, user's and system's, in seconds.
    pub(crate) seconds: BTreeMap<String, f64>,
    /// The most memory ever, in KiB; of a family that of its largest member.
    pub(crate) peak_kib: BTreeMap<String, u64>,
}

impl Used {
    /// Seconds used since `earlier`.
    pub(crate) fn seconds_since(&self, earlier: &Self) -> BTreeMap<String, f64> {
        let before = |name: &String| earlier.seconds.get(name).copied().unwrap_or(0.0);
        let now = self.seconds.iter();
        now.map(|(name, seconds)| (name.clone(), seconds - before(name)))
            .collect()
    }
}

/// A line of `/proc/<pid>/stat`, as far as it is of use.
struct Stat {
    parent: u32,
    own: u64,
    /// Of children that have ended.
    ended: u64,
}

impl Usage {
    pub(crate) fn of(processes: impl Iterator<Item = (String, u32)>) -> Self {
        Self {
            alone: processes.collect(),
            families: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, name: &str, pid: u32) {
        if stat(pid).is_ok() {
            self.alone.insert(name.to_owned(), pid);
        }
    }

    /// The family of which this is a child. Nothing is added if it isn't of this machine.
    pub(crate) fn add_parent_of(&mut self, name: &str, pid: u32) {
        if let Ok(stat) = stat(pid) {
            self.families.insert(name.to_owned(), stat.parent);
        }
    }

    /// What they have used by now.
    ///
    /// # Errors
    /// One has ended.
    pub(crate) fn look(&self) -> anyhow::Result<Used> {
        let mut used = Used::default();
        for (name, pid) in &self.alone {
            let stat = stat(*pid).with_context(|| format!("{name} has ended"))?;
            used.seconds.insert(name.clone(), seconds(stat.own));
            used.peak_kib.insert(name.clone(), peak_kib(*pid)?);
        }
        for (name, head) in &self.families {
            let stat_of_head = stat(*head).with_context(|| format!("{name} has ended"))?;
            let mut ticks = stat_of_head.own + stat_of_head.ended;
            let mut peak = peak_kib(*head)?;
            for entry in fs::read_dir("/proc")?.flatten() {
                let pid = entry.file_name().to_str().and_then(|pid| pid.parse().ok());
                // It may end while we look.
                let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat(pid).ok()?))) else {
                    continue;
                };
                if stat.parent == *head {
                    ticks += stat.own;
                    peak = peak.max(peak_kib(pid).unwrap_or(0));
                }
            }
            used.seconds.insert(name.clone(), seconds(ticks));
            used.peak_kib.insert(name.clone(), peak);
        }
        Ok(used)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time in seconds")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS
}

/// The most memory a process ever took, in KiB, but for what it shares with others: Postgres' cache has a size that is set, and counts in
/// full for each of its processes that has touched all of it.
///
/// # Errors
/// There is no such process.
pub(crate) fn peak_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.with_context(|| format!("no {name}"))?.trim();
        Ok(number.trim_end_matches(" kB").parse()?)
    };
    Ok(kib("VmHWM:")?.saturating_sub(kib("RssShmem:")?))
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Its name comes before, in parentheses, and may hold anything.
    let (_, rest) = line.rsplit_once(')').context("no name")?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let number = |at: usize| -> anyhow::Result<u64> {
        Ok(fields.get(at).context("it is too short")?.parse()?)
    };
    Ok(Stat {
        parent: u32::try_from(number(1)?)?,
        own: number(11)? + number(12)?,
        ended: number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_use_something_ourselves() {
        let us = std::process::id();
        let usage = Usage::of([("us".to_owned(), us)].into_iter());
        let used = usage.look().unwrap();
        assert!(used.peak_kib["us"] > 0);
        assert!(used.seconds_since(&Used::default())["us"] >= 0.0);
        assert!(stat(us).unwrap().parent > 0);
    }
}
