use std::time::Duration;

use super::{super::catalogue::CATALOGUE, *};

fn fault(code: &str) -> Fault {
    Fault {
        code: code.to_owned(),
        text: "why".to_owned(),
        ..Fault::default()
    }
}

#[test]
fn every_code_is_classed_once_and_means_something_wherever_it_comes() {
    for (at, (code, _)) in CATALOGUE.iter().enumerate() {
        assert!(
            !CATALOGUE[..at].iter().any(|(known, _)| known == code),
            "{code} is there twice"
        );
        for asked in [Asked::Calendar, Asked::Folder, Asked::Several] {
            for acting in [false, true] {
                let error = classify(&fault(code), asked, acting, "id");
                assert_eq!(error.detail.server_code, *code);
                assert_eq!(error.detail.request_id, "id");
                // A fault of several mailboxes gives none of them up.
                let of_all = matches!(
                    error.meaning,
                    Meaning::Retry
                        | Meaning::PauseAccount
                        | Meaning::WaitUntil { .. }
                        | Meaning::TooManyAtOnce { .. }
                );
                assert!(
                    asked != Asked::Several || of_all,
                    "{code}: {:?}",
                    error.meaning
                );
            }
        }
    }
}

#[test]
fn codes() {
    use Meaning::{FolderGone, GiveUp, Park, PauseAccount, Retry};
    for (code, asked, acting, want) in [
        (
            "ErrorExceededConnectionCount",
            Asked::Folder,
            true,
            Meaning::TooManyAtOnce { after: None },
        ),
        ("ErrorInternalServerError", Asked::Folder, true, Retry),
        ("ErrorTimeoutExpired", Asked::Folder, true, Retry),
        ("ErrorBatchProcessingStopped", Asked::Folder, true, Retry),
        ("ErrorIrresolvableConflict", Asked::Folder, true, Retry),
        ("ErrorMailboxMoveInProgress", Asked::Folder, true, Park),
        ("ErrorNonExistentMailbox", Asked::Calendar, true, Park),
        (
            "ErrorFolderNotFound",
            Asked::Calendar,
            true,
            GiveUp(Reason::NoCalendar),
        ),
        ("ErrorItemNotFound", Asked::Folder, true, FolderGone),
        (
            "ErrorAccessDenied",
            Asked::Folder,
            false,
            GiveUp(Reason::OutOfWriteScope),
        ),
        (
            "ErrorImpersonateUserDenied",
            Asked::Calendar,
            true,
            GiveUp(Reason::OutOfWriteScope),
        ),
        // What stops the account.
        (
            "ErrorImpersonationDenied",
            Asked::Calendar,
            true,
            PauseAccount,
        ),
        ("ErrorPasswordExpired", Asked::Folder, false, PauseAccount),
        (
            "ErrorPasswordChangeRequired",
            Asked::Folder,
            false,
            PauseAccount,
        ),
        ("ErrorAccountDisabled", Asked::Folder, false, PauseAccount),
        (
            "ErrorAccountDisabled",
            Asked::Folder,
            true,
            GiveUp(Reason::Rejected),
        ),
        (
            "ErrorInvalidUserInfo",
            Asked::Folder,
            true,
            GiveUp(Reason::TrusteeRefused),
        ),
        (
            "ErrorPermissionNotAllowedByPolicy",
            Asked::Folder,
            true,
            GiveUp(Reason::SharingPolicy),
        ),
        (
            "ErrorCannotSetPermissionUnknownEntries",
            Asked::Folder,
            true,
            GiveUp(Reason::ListNotRebuildable),
        ),
        (
            "ErrorOfNobodysAcquaintance",
            Asked::Folder,
            true,
            GiveUp(Reason::Rejected),
        ),
    ] {
        assert_eq!(
            classify(&fault(code), asked, acting, "").meaning,
            want,
            "{code}"
        );
    }
}

#[test]
fn the_servers_delay_is_heeded_also_where_it_is_hidden() {
    let busy = |after| Meaning::WaitUntil {
        scope: Scope::Account,
        after,
    };
    assert_eq!(
        classify(&fault("ErrorServerBusy"), Asked::Folder, true, "").meaning,
        busy(None)
    );
    let hidden = Fault {
        inner: "ErrorServerBusy".into(),
        back_off: Some(Duration::from_millis(297_749)),
        ..fault("ErrorInternalServerError")
    };
    let error = classify(&hidden, Asked::Several, false, "");
    assert_eq!(error.meaning, busy(Some(Duration::from_millis(297_749))));
    assert_eq!(
        error.detail.server_code,
        "ErrorInternalServerError/ErrorServerBusy"
    );
}
