//! The catalogue of EWS' codes: each classed once.

use calgrant_domain::Reason;

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The account's balance is spent, or the server is busy: nothing was done.
    SlowDown,
    /// More calls at once than the account may have: nothing was done.
    TooManyAtOnce,
    /// Not now.
    Retry,
    /// Somebody else changed the folder between read and write: read again.
    Conflict,
    /// The mailbox isn't there, or isn't there now.
    Park,
    /// The folder isn't there, or is kept from us.
    NoFolder,
    /// The account's right to act doesn't reach this mailbox.
    OutOfScope,
    /// A person must act on the account.
    PauseAccount,
    /// The caller's account is disabled; where we act for somebody, theirs may be meant.
    Disabled,
    /// Trying again can't help.
    GiveUp(Reason),
}

use Class::{Conflict, GiveUp, NoFolder, OutOfScope, Park, PauseAccount, Retry};

/// Codes, and what they mean.
pub(crate) const CATALOGUE: &[(&str, Class)] = &[
    ("ErrorServerBusy", Class::SlowDown),
    ("ErrorExceededConnectionCount", Class::TooManyAtOnce),
    // Transient.
    ("ErrorTimeoutExpired", Retry),
    ("ErrorInternalServerTransientError", Retry),
    ("ErrorInternalServerError", Retry),
    ("ErrorTooManyObjectsOpened", Retry),
    ("ErrorInsufficientResources", Retry),
    ("ErrorNotEnoughMemory", Retry),
    ("ErrorMailboxStoreUnavailable", Retry),
    ("ErrorMailboxFailover", Retry),
    ("ErrorConnectionFailed", Retry),
    ("ErrorADUnavailable", Retry),
    ("ErrorADOperation", Retry),
    ("ErrorNoRespondingCASInDestinationSite", Retry),
    ("ErrorProxyRequestProcessingFailed", Retry),
    ("ErrorProxyServiceDiscoveryFailed", Retry),
    ("ErrorClientDisconnected", Retry),
    ("ErrorBatchProcessingStopped", Retry),
    // Between read and write.
    ("ErrorIrresolvableConflict", Conflict),
    ("ErrorChangeKeyRequiredForWriteOperations", Conflict),
    ("ErrorStaleObject", Conflict),
    ("ErrorInvalidChangeKey", Conflict),
    ("ErrorChangeKeyRequired", Conflict),
    // The mailbox.
    ("ErrorMailboxMoveInProgress", Park),
    ("ErrorNonExistentMailbox", Park),
    ("ErrorCannotFindUser", Park),
    ("ErrorMissingEmailAddress", Park),
    ("ErrorFolderNotFound", NoFolder),
    ("ErrorItemNotFound", NoFolder),
    ("ErrorInvalidId", NoFolder),
    ("ErrorInvalidIdMalformed", NoFolder),
    ("ErrorInvalidIdEmpty", NoFolder),
    ("ErrorInvalidSmtpAddress", GiveUp(Reason::NotFound)),
    ("ErrorMailboxConfiguration", GiveUp(Reason::Rejected)),
    // What the account may do.
    ("ErrorAccessDenied", OutOfScope),
    ("ErrorImpersonateUserDenied", OutOfScope),
    ("ErrorImpersonationFailed", OutOfScope),
    ("ErrorImpersonationDenied", PauseAccount),
    ("ErrorPasswordExpired", PauseAccount),
    ("ErrorPasswordChangeRequired", PauseAccount),
    ("ErrorProxyGroupSidLimitExceeded", PauseAccount),
    ("ErrorAccountDisabled", Class::Disabled),
    // The list.
    ("ErrorInvalidUserInfo", GiveUp(Reason::TrusteeRefused)),
    ("ErrorInvalidUserSid", GiveUp(Reason::TrusteeRefused)),
    (
        "ErrorMissingUserIdInformation",
        GiveUp(Reason::TrusteeRefused),
    ),
    (
        "ErrorPermissionNotAllowedByPolicy",
        GiveUp(Reason::SharingPolicy),
    ),
    (
        "ErrorDuplicateUserIdsSpecified",
        GiveUp(Reason::ListNotRebuildable),
    ),
    (
        "ErrorCannotSetPermissionUnknownEntries",
        GiveUp(Reason::ListNotRebuildable),
    ),
    ("ErrorInvalidPermissionSettings", GiveUp(Reason::Rejected)),
    (
        "ErrorDistinguishedUserNotSupported",
        GiveUp(Reason::FolderRefused),
    ),
    (
        "ErrorCannotSetCalendarPermissionOnNonCalendarFolder",
        GiveUp(Reason::FolderRefused),
    ),
    (
        "ErrorCannotSetNonCalendarPermissionOnCalendarFolder",
        GiveUp(Reason::Rejected),
    ),
    // The request.
    ("ErrorSchemaValidation", GiveUp(Reason::Rejected)),
    ("ErrorInvalidServerVersion", GiveUp(Reason::Rejected)),
    ("ErrorCrossSiteRequest", GiveUp(Reason::Rejected)),
    ("ErrorQuotaExceeded", GiveUp(Reason::Rejected)),
    ("ErrorInvalidRequest", GiveUp(Reason::Rejected)),
    ("ErrorCorruptData", GiveUp(Reason::Rejected)),
    ("ErrorNameResolutionNoResults", GiveUp(Reason::NotFound)),
    (
        "ErrorNameResolutionMultipleResults",
        GiveUp(Reason::Ambiguous),
    ),
    ("ErrorNameResolutionNoMailbox", GiveUp(Reason::Rejected)),
    // Faults without a code of EWS.
    ("soap_client", GiveUp(Reason::Rejected)),
    ("soap_server", Retry),
    // Answers that are none.
    ("empty_answer", Retry),
    ("nul_answer", Retry),
    ("html_page", Retry),
    ("not_xml", Retry),
    ("xml_with_document_type", Retry),
    ("too_much_xml", Retry),
    ("not_soap", Retry),
    ("other_answer", Retry),
    ("other_count", Retry),
    ("no_code", Retry),
    ("no_folder", Retry),
    ("no_folder_id", Retry),
    ("other_request", Retry),
    ("no_calendar_folder", GiveUp(Reason::NoCalendar)),
    ("no_list", OutOfScope),
    // It holds what we don't know: we couldn't write it back.
    ("unread_list", GiveUp(Reason::ListNotRebuildable)),
];

/// What a code means, if it is known.
pub(crate) fn class(code: &str) -> Option<Class> {
    let row = CATALOGUE.iter().find(|(known, _)| *known == code);
    row.map(|(_, class)| *class)
}
