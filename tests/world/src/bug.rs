//! Mistakes in the parts around the budget code, each of which a check of the world must notice.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A replica goes on starting calls long after its lease.
    LeaseNotFenced,
    /// Now and then a permit isn't handed in when its call ends.
    PermitNotReleased,
    /// A permit is handed in when the request has left.
    PermitReleasedEarly,
    /// The authority doesn't hear of calls that still count in a window.
    WindowShareReissued,
    /// A call without a reply gives up its slot at once.
    AbandonedHoldIgnored,
    /// A step of the authority's clock is not taken note of.
    ClockStepIgnored,
    /// The leases of a silent replica are given away after a second.
    SilentReissued,
    /// A replica doesn't say what it holds beyond what it uses.
    HeldNotTold,
    /// An answer to an earlier renewal is taken for that of the latest.
    LateAnswerTaken,
    /// What one authority writes is overwritten by another that had read before.
    RowNotLocked,
    /// An operator's change comes through after half a minute.
    OperatorIgnored,
    /// The reserve isn't left to others.
    ReserveIgnored,
    /// A pushback stays with the replica that met it.
    PushbackNotShared,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::LeaseNotFenced,
        Self::PermitNotReleased,
        Self::PermitReleasedEarly,
        Self::WindowShareReissued,
        Self::AbandonedHoldIgnored,
        Self::ClockStepIgnored,
        Self::SilentReissued,
        Self::HeldNotTold,
        Self::LateAnswerTaken,
        Self::RowNotLocked,
        Self::OperatorIgnored,
        Self::ReserveIgnored,
        Self::PushbackNotShared,
    ];
}
