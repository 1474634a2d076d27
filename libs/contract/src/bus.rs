//! Jobs and results as they travel on RabbitMQ, to and from the domain.

use std::time::Duration;

use calgrant_domain::{
    Address, Aim, BadInput, Calendar, DeadCause, Detail, Job, JobId, MailboxId, Observed,
    OperationId, Reading, reading::Report,
};
use prost::Message as _;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::pb::bus::v1 as pb;

/// What this version understands of jobs and results. Grows when a reader must know something new: a message says which version it
/// needs, and waits where that isn't reached yet.
pub const VERSION: u32 = 2;

/// Content type of a job.
pub const JOB: &str = "application/x-protobuf; type=calgrant.bus.v1.Job";
/// Content type of a result by itself.
pub const RESULT: &str = "application/x-protobuf; type=calgrant.bus.v1.Result";
/// Content type of several results.
pub const RESULTS: &str = "application/x-protobuf; type=calgrant.bus.v1.Results";

/// By what readers know a job, or its result, that they have had already; empty if those bytes are no id.
pub fn message_id(job: &[u8]) -> String {
    let id = Uuid::from_slice(job).map(|id| JobId::from_uuid(id).to_string());
    id.unwrap_or_default()
}

/// Why a message can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is wrong in itself.
    #[error("{0}")]
    Malformed(String),
    /// A later version understands it.
    #[error("it was made for version {needs}, and this is version {VERSION}")]
    Newer {
        /// The least version that does.
        needs: u32,
    },
}

impl Unreadable {
    /// The same as the cause of a dead letter.
    pub fn cause(&self) -> DeadCause {
        match self {
            Self::Malformed(_) => DeadCause::Malformed,
            Self::Newer { .. } => DeadCause::Newer,
        }
    }

    fn of(what: &str, bad: &impl std::fmt::Display) -> Self {
        Self::Malformed(format!("not a {what}: {bad}"))
    }
}

/// A job that can't be read, and what of it is needed to give it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableJob {
    /// Why.
    pub why: Unreadable,
    /// The job, its operation and its delivery, if it is one for a later version.
    pub named: Option<(JobId, OperationId, u32)>,
}

/// Reads a job. One for a later version is told from one that is wrong.
///
/// # Errors
/// It can't be read.
pub fn read_job(body: &[u8]) -> Result<Job, UnreadableJob> {
    let wrong = |why| UnreadableJob { why, named: None };
    let wire = pb::Job::decode(body).map_err(|bad| wrong(Unreadable::of("Job", &bad)))?;
    if let Err(why) = readable(wire.needs_version) {
        let ids = uuid("id", &wire.id).and_then(|id| Ok((id, uuid("operation", &wire.operation)?)));
        let named = ids.ok().map(|(job, operation)| {
            (
                JobId::from_uuid(job),
                OperationId::from_uuid(operation),
                wire.delivery,
            )
        });
        return Err(UnreadableJob { why, named });
    }
    wire.try_into()
        .map_err(|bad: BadInput| wrong(Unreadable::of("Job", &bad)))
}

/// One message for these results: its content type and its body. A result by itself travels as every version reads it.
pub fn results_message<'r>(
    results: impl Iterator<Item = &'r JobResult>,
) -> (&'static str, Vec<u8>) {
    let results: Vec<_> = results.map(pb::Result::from).collect();
    if let [alone] = results.as_slice() {
        return (RESULT, alone.encode_to_vec());
    }
    let wire = pb::Results {
        results,
        needs_version: 2,
    };
    (RESULTS, wire.encode_to_vec())
}

/// The results of a message, each as it would travel by itself.
///
/// # Errors
/// The message can't be read. Whether each of them can, [`read_result`] finds out.
pub fn results_of(content_type: &str, body: &[u8]) -> Result<Vec<pb::Result>, Unreadable> {
    if content_type != RESULTS {
        let wire = pb::Result::decode(body);
        return Ok(vec![wire.map_err(|bad| Unreadable::of("Result", &bad))?]);
    }
    let wire = pb::Results::decode(body).map_err(|bad| Unreadable::of("Results", &bad))?;
    readable(wire.needs_version)?;
    Ok(wire.results)
}

/// Reads a result.
///
/// # Errors
/// It can't be read.
pub fn read_result(wire: pb::Result) -> Result<JobResult, Unreadable> {
    readable(wire.needs_version)?;
    wire.try_into()
        .map_err(|bad: BadInput| Unreadable::of("Result", &bad))
}

fn readable(needs: u32) -> Result<(), Unreadable> {
    if needs > VERSION {
        Err(Unreadable::Newer { needs })
    } else {
        Ok(())
    }
}

/// A result as status receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobResult {
    /// The job.
    pub job: JobId,
    /// Its operation.
    pub operation: OperationId,
    /// Which handing out it answers.
    pub delivery: u32,
    /// What was read; `None` when no worker took the job in time.
    pub report: Option<Report>,
    /// The calendar, if it was found on the way.
    pub calendar: Option<Calendar>,
    /// The account that did it; empty if none.
    pub account: String,
    /// Calls to the server it took.
    pub calls: u32,
    /// When it was read, by the worker's clock.
    pub read_at: OffsetDateTime,
}

/// The 16 bytes of an id.
///
/// # Errors
/// There are not 16.
pub fn uuid(field: &str, bytes: &[u8]) -> Result<Uuid, BadInput> {
    Uuid::from_slice(bytes).map_err(|_| {
        BadInput::new(
            field,
            format!("{} bytes", bytes.len()),
            "an id has 16 bytes",
        )
    })
}

/// Parses a field, naming it if that fails.
///
/// # Errors
/// As the type says.
pub fn parse<T: std::str::FromStr<Err = BadInput>>(field: &str, raw: &str) -> Result<T, BadInput> {
    raw.parse().map_err(|bad: BadInput| bad.within(field))
}

impl From<&Calendar> for pb::Calendar {
    fn from(calendar: &Calendar) -> Self {
        Self {
            folder_id: calendar.folder_id.clone(),
            path: calendar.path.clone(),
        }
    }
}

impl From<pb::Calendar> for Calendar {
    fn from(calendar: pb::Calendar) -> Self {
        Self {
            folder_id: calendar.folder_id,
            path: calendar.path,
        }
    }
}

impl From<Observed> for pb::Observed {
    fn from(observed: Observed) -> Self {
        match observed {
            Observed::Absent => Self::default(),
            Observed::Present(rights) => Self {
                present: true,
                rights: rights.to_string(),
            },
        }
    }
}

impl TryFrom<pb::Observed> for Observed {
    type Error = BadInput;

    fn try_from(observed: pb::Observed) -> Result<Self, BadInput> {
        if observed.present {
            parse("rights", &observed.rights).map(Self::Present)
        } else {
            Ok(Self::Absent)
        }
    }
}

fn aim(job: &pb::Job) -> Result<Aim, BadInput> {
    use pb::job::Instead;
    let observed = |field: &str, raw: &Option<pb::Observed>| -> Result<Observed, BadInput> {
        let read = raw.clone().unwrap_or_default().try_into();
        read.map_err(|bad: BadInput| bad.within(field))
    };
    Ok(match &job.instead {
        None => Aim::Grant {
            role: parse("role", &job.role)?,
            lower_higher: job.lower_higher,
        },
        Some(Instead::PutBack(back)) => Aim::PutBack {
            left: observed("left", &back.left)?,
            to: observed("to", &back.to)?,
        },
        Some(Instead::Verify(verify)) => Aim::Verify {
            expected: parse("expected", &verify.expected)?,
            role: parse("role", &verify.role)?,
            lower_higher: verify.lower_higher,
            repair: verify.repair,
        },
    })
}

impl From<&Job> for pb::Job {
    fn from(job: &Job) -> Self {
        use pb::job::Instead;
        let (role, lower_higher, instead) = match job.aim {
            Aim::Grant { role, lower_higher } => (role.to_string(), lower_higher, None),
            Aim::PutBack { left, to } => {
                let back = pb::PutBack {
                    left: Some(left.into()),
                    to: Some(to.into()),
                };
                (String::new(), false, Some(Instead::PutBack(back)))
            }
            Aim::Verify {
                expected,
                role,
                lower_higher,
                repair,
            } => {
                let verify = pb::Verify {
                    expected: expected.to_string(),
                    role: role.to_string(),
                    lower_higher,
                    repair,
                };
                (String::new(), false, Some(Instead::Verify(verify)))
            }
        };
        Self {
            id: job.id.as_uuid().into_bytes().to_vec(),
            operation: job.operation.as_uuid().into_bytes().to_vec(),
            tenant: job.tenant.to_string(),
            site: job.site.to_string(),
            mailbox: job.mailbox.as_uuid().into_bytes().to_vec(),
            address: job.address.to_string(),
            calendar: job.calendar.as_ref().map(Into::into),
            licensed: job.licensed,
            trustee: job.trustee.to_string(),
            role,
            lower_higher,
            instead,
            validate_only: job.validate_only,
            phase: job.phase.to_string(),
            delivery: job.delivery,
            needs_version: 1,
        }
    }
}

impl TryFrom<pb::Job> for Job {
    type Error = BadInput;

    fn try_from(job: pb::Job) -> Result<Self, BadInput> {
        let aim = aim(&job)?;
        Ok(Self {
            id: JobId::from_uuid(uuid("id", &job.id)?),
            operation: OperationId::from_uuid(uuid("operation", &job.operation)?),
            tenant: parse("tenant", &job.tenant)?,
            site: parse("site", &job.site)?,
            mailbox: MailboxId::from_uuid(uuid("mailbox", &job.mailbox)?),
            address: parse::<Address>("address", &job.address)?,
            calendar: job.calendar.map(Into::into),
            licensed: job.licensed,
            trustee: parse("trustee", &job.trustee)?,
            aim,
            validate_only: job.validate_only,
            phase: parse("phase", &job.phase)?,
            delivery: job.delivery,
        })
    }
}

/// Milliseconds, as contracts count durations.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&JobResult> for pb::Result {
    fn from(result: &JobResult) -> Self {
        use pb::result::Reading as Wire;
        let detail = result
            .report
            .as_ref()
            .map(|report| report.detail.clone())
            .unwrap_or_default();
        Self {
            job: result.job.as_uuid().into_bytes().to_vec(),
            operation: result.operation.as_uuid().into_bytes().to_vec(),
            delivery: result.delivery,
            server_code: detail.server_code,
            server_text: detail.server_text,
            request_id: detail.request_id,
            calendar: result.calendar.as_ref().map(Into::into),
            account: result.account.clone(),
            calls: result.calls,
            read_at_millis: i64::try_from(result.read_at.unix_timestamp_nanos() / 1_000_000)
                .unwrap_or(0),
            needs_version: 1,
            reading: Some(match result.report.as_ref().map(|report| &report.reading) {
                None => Wire::Returned(true),
                Some(Reading::Seen(seen)) => Wire::Seen((*seen).into()),
                Some(Reading::Wrote(seen)) => Wire::Wrote((*seen).into()),
                Some(Reading::Retry) => Wire::Retry(true),
                Some(Reading::NotReady) => Wire::NotReady(true),
                Some(Reading::Later(after)) => Wire::Later(millis(*after)),
                Some(Reading::GaveUp(reason)) => Wire::GaveUp(reason.to_string()),
            }),
        }
    }
}

impl TryFrom<pb::Result> for JobResult {
    type Error = BadInput;

    fn try_from(result: pb::Result) -> Result<Self, BadInput> {
        use pb::result::Reading as Wire;
        let reading = match result.reading {
            None => return Err(BadInput::missing("reading", "a result says what was read")),
            Some(Wire::Returned(_)) => None,
            Some(Wire::Seen(seen)) => Some(Reading::Seen(
                seen.try_into()
                    .map_err(|bad: BadInput| bad.within("seen"))?,
            )),
            Some(Wire::Wrote(seen)) => Some(Reading::Wrote(
                seen.try_into()
                    .map_err(|bad: BadInput| bad.within("wrote"))?,
            )),
            Some(Wire::Retry(_)) => Some(Reading::Retry),
            Some(Wire::NotReady(_)) => Some(Reading::NotReady),
            Some(Wire::Later(after)) => Some(Reading::Later(Duration::from_millis(after))),
            Some(Wire::GaveUp(reason)) => Some(Reading::GaveUp(parse("gave_up", &reason)?)),
        };
        let detail = Detail {
            server_code: result.server_code,
            server_text: result.server_text,
            request_id: result.request_id,
        };
        Ok(Self {
            job: JobId::from_uuid(uuid("job", &result.job)?),
            operation: OperationId::from_uuid(uuid("operation", &result.operation)?),
            delivery: result.delivery,
            report: reading.map(|reading| Report { reading, detail }),
            calendar: result.calendar.map(Into::into),
            account: result.account,
            calls: result.calls,
            read_at: OffsetDateTime::from_unix_timestamp_nanos(
                i128::from(result.read_at_millis) * 1_000_000,
            )
            .map_err(|_| BadInput::new("read_at_millis", result.read_at_millis, "not a time"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calgrant_domain::{AccessRole, Phase, Reason, SiteKind};

    #[test]
    fn jobs_survive_the_bus_and_only_grants_carry_a_right_to_give() {
        let author = Observed::Present("Author".parse().unwrap());
        for aim in [
            Aim::Grant {
                role: AccessRole::AUTHOR,
                lower_higher: true,
            },
            Aim::PutBack {
                left: author,
                to: Observed::Absent,
            },
            Aim::PutBack {
                left: Observed::Absent,
                to: author,
            },
            Aim::Verify {
                expected: "Owner".parse().unwrap(),
                role: AccessRole::AUTHOR,
                lower_higher: false,
                repair: true,
            },
        ] {
            let job = Job {
                id: JobId::from_uuid(Uuid::from_u128(1)),
                operation: OperationId::from_uuid(Uuid::from_u128(2)),
                tenant: "uni".parse().unwrap(),
                site: SiteKind::Online,
                mailbox: MailboxId::from_uuid(Uuid::from_u128(3)),
                address: "ada@uni.example".parse().unwrap(),
                calendar: None,
                licensed: None,
                trustee: "team@uni.example".parse().unwrap(),
                aim,
                validate_only: false,
                phase: Phase::Grant,
                delivery: 1,
            };
            let wire = pb::Job::from(&job);
            assert_eq!(wire.role.is_empty(), !matches!(aim, Aim::Grant { .. }));
            assert_eq!(Job::try_from(wire).unwrap(), job);
        }
    }

    #[test]
    fn results_survive_the_bus() {
        for reading in [
            None,
            Some(Reading::Seen(Observed::Absent)),
            Some(Reading::Wrote(Observed::Present("Author".parse().unwrap()))),
            Some(Reading::Retry),
            Some(Reading::NotReady),
            Some(Reading::Later(Duration::from_millis(1500))),
            Some(Reading::GaveUp(Reason::Ambiguous)),
        ] {
            let result = JobResult {
                job: JobId::from_uuid(Uuid::from_u128(1)),
                operation: OperationId::from_uuid(Uuid::from_u128(2)),
                delivery: 3,
                report: reading.map(|reading| Report {
                    reading,
                    detail: Detail {
                        server_code: "X".into(),
                        ..Detail::default()
                    },
                }),
                calendar: Some(Calendar {
                    folder_id: "id".into(),
                    path: "\\Kalender".into(),
                }),
                account: "sa-1".into(),
                calls: 4,
                read_at: OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap(),
            };
            assert_eq!(
                JobResult::try_from(pb::Result::from(&result)).unwrap(),
                result
            );
        }
    }

    #[test]
    fn what_a_later_version_made_is_no_junk() {
        let job = pb::Job {
            id: vec![1; 16],
            operation: vec![2; 16],
            delivery: 3,
            phase: "of the future".into(),
            needs_version: VERSION + 1,
            ..Default::default()
        };
        let UnreadableJob { why, named } = read_job(&job.encode_to_vec()).unwrap_err();
        assert_eq!(why, Unreadable::Newer { needs: VERSION + 1 });
        assert_eq!(named.unwrap().2, 3);
        let of_today = pb::Job {
            needs_version: VERSION,
            ..job
        };
        let UnreadableJob { why, named } = read_job(&of_today.encode_to_vec()).unwrap_err();
        assert!(matches!(why, Unreadable::Malformed(_)) && named.is_none());
        let result = pb::Result {
            needs_version: VERSION + 1,
            ..Default::default()
        };
        let newer = Unreadable::Newer { needs: VERSION + 1 };
        assert_eq!(read_result(result), Err(newer.clone()));
        let several = pb::Results {
            needs_version: VERSION + 1,
            ..Default::default()
        };
        let several = several.encode_to_vec();
        assert_eq!(results_of(RESULTS, &several), Err(newer));
        for kind in [RESULT, RESULTS] {
            let junk = results_of(kind, b"junk");
            assert!(matches!(junk, Err(Unreadable::Malformed(_))), "{kind}");
        }
    }

    #[test]
    fn results_travel_together_and_by_themselves() {
        let result = |job: u128| JobResult {
            job: JobId::from_uuid(Uuid::from_u128(job)),
            operation: OperationId::from_uuid(Uuid::from_u128(7)),
            delivery: 1,
            report: None,
            calendar: None,
            account: String::new(),
            calls: 0,
            read_at: OffsetDateTime::UNIX_EPOCH,
        };
        for count in 1..4 {
            let results: Vec<_> = (0..count).map(result).collect();
            let (kind, body) = results_message(results.iter());
            assert_eq!(kind == RESULT, count == 1);
            let wire = results_of(kind, &body).unwrap();
            let read: Result<Vec<_>, _> = wire.into_iter().map(read_result).collect();
            assert_eq!(read.unwrap(), results);
        }
        // A version that knows of no such message takes it for a result, and sees that it is too old for it.
        let (_, body) = results_message([result(1), result(2)].iter());
        assert_eq!(pb::Result::decode(&*body).unwrap().needs_version, 2);
    }

    #[test]
    fn a_message_without_reading_is_refused_by_name() {
        assert_eq!(
            JobResult::try_from(pb::Result::default())
                .unwrap_err()
                .field,
            "reading"
        );
    }
}
