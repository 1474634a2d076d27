//! The schema of the operations that are served, as far as they are.

use crate::ews::schema::{Attribute, Content, Named, Ns, Part, Shape, Value};

const MANY: usize = usize::MAX;

const fn shape(attributes: &'static [Attribute], content: Content) -> Shape {
    Shape {
        attributes,
        content,
    }
}

/// Elements in this order, without attributes.
const fn sequence(parts: &'static [Part]) -> Shape {
    shape(&[], Content::Sequence(parts))
}

const fn text(value: Value) -> Shape {
    shape(&[], Content::Text(value))
}

const fn t(name: &'static str, shape: &'static Shape) -> Named {
    Named {
        ns: Ns::T,
        name,
        shape,
    }
}

const fn m(name: &'static str, shape: &'static Shape) -> Named {
    Named {
        ns: Ns::M,
        name,
        shape,
    }
}

const fn one(of: &'static [Named]) -> Part {
    Part {
        least: 1,
        most: 1,
        of,
    }
}

const fn maybe(of: &'static [Named]) -> Part {
    Part {
        least: 0,
        most: 1,
        of,
    }
}

const fn any(of: &'static [Named]) -> Part {
    Part {
        least: 0,
        most: MANY,
        of,
    }
}

const fn some(of: &'static [Named]) -> Part {
    Part {
        least: 1,
        most: MANY,
        of,
    }
}

const fn required(name: &'static str, value: Value) -> Attribute {
    Attribute {
        name,
        required: true,
        value,
    }
}

const fn optional(name: &'static str, value: Value) -> Attribute {
    Attribute {
        name,
        required: false,
        value,
    }
}

static TEXT: Shape = text(Value::Any);
static BOOLEAN: Shape = text(Value::Boolean);
static WHOLE: Shape = text(Value::Whole);
static TIME: Shape = text(Value::Time);
static ANYTHING: Shape = shape(&[], Content::Anything);

/// The server versions a request may be written for.
pub(crate) const VERSIONS: [&str; 8] = [
    "Exchange2007",
    "Exchange2007_SP1",
    "Exchange2010",
    "Exchange2010_SP1",
    "Exchange2010_SP2",
    "Exchange2013",
    "Exchange2013_SP1",
    "Exchange2016",
];

/// Names of folders that every mailbox has.
const DISTINGUISHED: [&str; 37] = [
    "calendar",
    "contacts",
    "deleteditems",
    "drafts",
    "inbox",
    "journal",
    "notes",
    "outbox",
    "sentitems",
    "tasks",
    "msgfolderroot",
    "publicfoldersroot",
    "root",
    "junkemail",
    "searchfolders",
    "voicemail",
    "recoverableitemsroot",
    "recoverableitemsdeletions",
    "recoverableitemsversions",
    "recoverableitemspurges",
    "archiveroot",
    "archivemsgfolderroot",
    "archivedeleteditems",
    "archiveinbox",
    "syncissues",
    "conflicts",
    "localfailures",
    "serverfailures",
    "recipientcache",
    "quickcontacts",
    "conversationhistory",
    "adminauditlogs",
    "todosearch",
    "mycontacts",
    "directory",
    "imcontactlist",
    "favorites",
];

static MAILBOX_TYPE: Shape = text(Value::OneOf(&[
    "Unknown",
    "OneOff",
    "Mailbox",
    "PublicDL",
    "PrivateDL",
    "Contact",
    "PublicFolder",
    "GroupMailbox",
]));
static MAILBOX: Shape = sequence(&[
    maybe(&[t("Name", &TEXT)]),
    maybe(&[t("EmailAddress", &TEXT)]),
    maybe(&[t("RoutingType", &TEXT)]),
    maybe(&[t("MailboxType", &MAILBOX_TYPE)]),
    maybe(&[t("ItemId", &ID)]),
]);
static ID: Shape = shape(
    &[
        required("Id", Value::Any),
        optional("ChangeKey", Value::Any),
    ],
    Content::Empty,
);
static DISTINGUISHED_ID: Shape = shape(
    &[
        required("Id", Value::OneOf(&DISTINGUISHED)),
        optional("ChangeKey", Value::Any),
    ],
    Content::Sequence(&[maybe(&[t("Mailbox", &MAILBOX)])]),
);
const FOLDER_ID: &[Named] = &[
    t("FolderId", &ID),
    t("DistinguishedFolderId", &DISTINGUISHED_ID),
];
static FOLDER_IDS: Shape = sequence(&[some(FOLDER_ID)]);

static FIELD: Shape = shape(&[required("FieldURI", Value::FieldUri)], Content::Empty);
static INDEXED_FIELD: Shape = shape(
    &[
        required("FieldURI", Value::NotEmpty),
        required("FieldIndex", Value::Any),
    ],
    Content::Empty,
);
static EXTENDED_FIELD: Shape = shape(
    &[
        optional("DistinguishedPropertySetId", Value::NotEmpty),
        optional("PropertySetId", Value::NotEmpty),
        optional("PropertyTag", Value::NotEmpty),
        optional("PropertyName", Value::NotEmpty),
        optional("PropertyId", Value::Whole),
        required("PropertyType", Value::NotEmpty),
    ],
    Content::Empty,
);
const PATH: &[Named] = &[
    t("FieldURI", &FIELD),
    t("IndexedFieldURI", &INDEXED_FIELD),
    t("ExtendedFieldURI", &EXTENDED_FIELD),
];
static PATHS: Shape = sequence(&[some(PATH)]);
static BASE_SHAPE: Shape = text(Value::OneOf(&[
    "IdOnly",
    "Default",
    "AllProperties",
    "PcxPeopleSearch",
]));
static FOLDER_SHAPE: Shape = sequence(&[
    one(&[t("BaseShape", &BASE_SHAPE)]),
    maybe(&[t("AdditionalProperties", &PATHS)]),
]);
static ITEM_SHAPE: Shape = sequence(&[
    one(&[t("BaseShape", &BASE_SHAPE)]),
    maybe(&[t("IncludeMimeContent", &BOOLEAN)]),
    maybe(&[t("BodyType", &TEXT)]),
    maybe(&[t("UniqueBodyType", &TEXT)]),
    maybe(&[t("NormalizedBodyType", &TEXT)]),
    maybe(&[t("FilterHtmlContent", &BOOLEAN)]),
    maybe(&[t("ConvertHtmlCodePageToUTF8", &BOOLEAN)]),
    maybe(&[t("AdditionalProperties", &PATHS)]),
]);

pub(crate) static GET_FOLDER: Shape = sequence(&[
    one(&[m("FolderShape", &FOLDER_SHAPE)]),
    one(&[m("FolderIds", &FOLDER_IDS)]),
]);

static USER_ID: Shape = sequence(&[
    maybe(&[t("SID", &TEXT)]),
    maybe(&[t("PrimarySmtpAddress", &TEXT)]),
    maybe(&[t("DisplayName", &TEXT)]),
    maybe(&[t("DistinguishedUser", &DISTINGUISHED_USER)]),
    maybe(&[t("ExternalUserIdentity", &TEXT)]),
]);
static DISTINGUISHED_USER: Shape = text(Value::OneOf(&["Default", "Anonymous"]));
static ACTION: Shape = text(Value::OneOf(&["None", "Owned", "All"]));
static CALENDAR_READ: Shape = text(Value::OneOf(&[
    "None",
    "TimeOnly",
    "TimeAndSubjectAndLocation",
    "FullDetails",
]));
static READ: Shape = text(Value::OneOf(&["None", "FullDetails"]));
static CALENDAR_LEVEL: Shape = text(Value::OneOf(&[
    "None",
    "Owner",
    "PublishingEditor",
    "Editor",
    "PublishingAuthor",
    "Author",
    "NoneditingAuthor",
    "Reviewer",
    "Contributor",
    "FreeBusyTimeOnly",
    "FreeBusyTimeAndSubjectAndLocation",
    "Custom",
]));
static LEVEL: Shape = text(Value::OneOf(&[
    "None",
    "Owner",
    "PublishingEditor",
    "Editor",
    "PublishingAuthor",
    "Author",
    "NoneditingAuthor",
    "Reviewer",
    "Contributor",
    "Custom",
]));
static CALENDAR_PERMISSION: Shape = sequence(&[
    one(&[t("UserId", &USER_ID)]),
    maybe(&[t("CanCreateItems", &BOOLEAN)]),
    maybe(&[t("CanCreateSubFolders", &BOOLEAN)]),
    maybe(&[t("IsFolderOwner", &BOOLEAN)]),
    maybe(&[t("IsFolderVisible", &BOOLEAN)]),
    maybe(&[t("IsFolderContact", &BOOLEAN)]),
    maybe(&[t("EditItems", &ACTION)]),
    maybe(&[t("DeleteItems", &ACTION)]),
    maybe(&[t("ReadItems", &CALENDAR_READ)]),
    one(&[t("CalendarPermissionLevel", &CALENDAR_LEVEL)]),
]);
static PERMISSION: Shape = sequence(&[
    one(&[t("UserId", &USER_ID)]),
    maybe(&[t("CanCreateItems", &BOOLEAN)]),
    maybe(&[t("CanCreateSubFolders", &BOOLEAN)]),
    maybe(&[t("IsFolderOwner", &BOOLEAN)]),
    maybe(&[t("IsFolderVisible", &BOOLEAN)]),
    maybe(&[t("IsFolderContact", &BOOLEAN)]),
    maybe(&[t("EditItems", &ACTION)]),
    maybe(&[t("DeleteItems", &ACTION)]),
    maybe(&[t("ReadItems", &READ)]),
    one(&[t("PermissionLevel", &LEVEL)]),
]);
static CALENDAR_PERMISSIONS: Shape =
    sequence(&[any(&[t("CalendarPermission", &CALENDAR_PERMISSION)])]);
static PERMISSIONS: Shape = sequence(&[any(&[t("Permission", &PERMISSION)])]);
static UNKNOWN_ENTRIES: Shape = sequence(&[any(&[t("UnknownEntry", &TEXT)])]);
static CALENDAR_PERMISSION_SET: Shape = sequence(&[
    one(&[t("CalendarPermissions", &CALENDAR_PERMISSIONS)]),
    maybe(&[t("UnknownEntries", &UNKNOWN_ENTRIES)]),
]);
static PERMISSION_SET: Shape = sequence(&[
    one(&[t("Permissions", &PERMISSIONS)]),
    maybe(&[t("UnknownEntries", &UNKNOWN_ENTRIES)]),
]);
static CALENDAR_FOLDER: Shape = sequence(&[
    maybe(&[t("FolderId", &ID)]),
    maybe(&[t("ParentFolderId", &ID)]),
    maybe(&[t("FolderClass", &TEXT)]),
    maybe(&[t("DisplayName", &TEXT)]),
    maybe(&[t("TotalCount", &WHOLE)]),
    maybe(&[t("ChildFolderCount", &WHOLE)]),
    any(&[t("ExtendedProperty", &ANYTHING)]),
    maybe(&[t("EffectiveRights", &ANYTHING)]),
    maybe(&[t("SharingEffectiveRights", &TEXT)]),
    maybe(&[t("PermissionSet", &CALENDAR_PERMISSION_SET)]),
]);
static FOLDER: Shape = sequence(&[
    maybe(&[t("FolderId", &ID)]),
    maybe(&[t("ParentFolderId", &ID)]),
    maybe(&[t("FolderClass", &TEXT)]),
    maybe(&[t("DisplayName", &TEXT)]),
    maybe(&[t("TotalCount", &WHOLE)]),
    maybe(&[t("ChildFolderCount", &WHOLE)]),
    any(&[t("ExtendedProperty", &ANYTHING)]),
    maybe(&[t("EffectiveRights", &ANYTHING)]),
    maybe(&[t("PermissionSet", &PERMISSION_SET)]),
    maybe(&[t("UnreadCount", &WHOLE)]),
]);
static SET_FIELD: Shape = sequence(&[
    one(PATH),
    one(&[t("Folder", &FOLDER), t("CalendarFolder", &CALENDAR_FOLDER)]),
]);
static DELETE_FIELD: Shape = sequence(&[one(PATH)]);
static UPDATES: Shape = sequence(&[some(&[
    t("SetFolderField", &SET_FIELD),
    t("AppendToFolderField", &SET_FIELD),
    t("DeleteFolderField", &DELETE_FIELD),
])]);
static FOLDER_CHANGE: Shape = sequence(&[one(FOLDER_ID), one(&[t("Updates", &UPDATES)])]);
static FOLDER_CHANGES: Shape = sequence(&[some(&[t("FolderChange", &FOLDER_CHANGE)])]);

pub(crate) static UPDATE_FOLDER: Shape = sequence(&[one(&[m("FolderChanges", &FOLDER_CHANGES)])]);

static PAGE: Shape = shape(
    &[
        optional("MaxEntriesReturned", Value::Whole),
        required("Offset", Value::Whole),
        required("BasePoint", Value::OneOf(&["Beginning", "End"])),
    ],
    Content::Empty,
);
static CALENDAR_VIEW: Shape = shape(
    &[
        optional("MaxEntriesReturned", Value::Whole),
        required("StartDate", Value::Time),
        required("EndDate", Value::Time),
    ],
    Content::Empty,
);
const TRAVERSAL: Attribute = required(
    "Traversal",
    Value::OneOf(&["Shallow", "Deep", "SoftDeleted"]),
);

pub(crate) static FIND_FOLDER: Shape = shape(
    &[TRAVERSAL],
    Content::Sequence(&[
        one(&[m("FolderShape", &FOLDER_SHAPE)]),
        maybe(&[m("IndexedPageFolderView", &PAGE)]),
        maybe(&[m("Restriction", &ANYTHING)]),
        one(&[m("ParentFolderIds", &FOLDER_IDS)]),
    ]),
);

pub(crate) static FIND_ITEM: Shape = shape(
    &[required(
        "Traversal",
        Value::OneOf(&["Shallow", "SoftDeleted", "Associated"]),
    )],
    Content::Sequence(&[
        one(&[m("ItemShape", &ITEM_SHAPE)]),
        maybe(&[
            m("IndexedPageItemView", &PAGE),
            m("CalendarView", &CALENDAR_VIEW),
        ]),
        maybe(&[m("Restriction", &ANYTHING)]),
        maybe(&[m("SortOrder", &ANYTHING)]),
        one(&[m("ParentFolderIds", &FOLDER_IDS)]),
        maybe(&[m("QueryString", &TEXT)]),
    ]),
);

static ITEM_IDS: Shape = sequence(&[some(&[t("ItemId", &ID)])]);

pub(crate) static GET_ITEM: Shape = sequence(&[
    one(&[m("ItemShape", &ITEM_SHAPE)]),
    one(&[m("ItemIds", &ITEM_IDS)]),
]);

const SENDING: Value = Value::OneOf(&["SendToNone", "SendOnlyToAll", "SendToAllAndSaveCopy"]);

pub(crate) static DELETE_ITEM: Shape = shape(
    &[
        required(
            "DeleteType",
            Value::OneOf(&["HardDelete", "SoftDelete", "MoveToDeletedItems"]),
        ),
        optional("SendMeetingCancellations", SENDING),
        optional(
            "AffectedTaskOccurrences",
            Value::OneOf(&["AllOccurrences", "SpecifiedOccurrenceOnly"]),
        ),
        optional("SuppressReadReceipts", Value::Boolean),
    ],
    Content::Sequence(&[one(&[m("ItemIds", &ITEM_IDS)])]),
);

static CALENDAR_ITEM: Shape = sequence(&[
    maybe(&[t("MimeContent", &ANYTHING)]),
    maybe(&[t("ItemId", &ID)]),
    maybe(&[t("ParentFolderId", &ID)]),
    maybe(&[t("ItemClass", &TEXT)]),
    maybe(&[t("Subject", &TEXT)]),
    maybe(&[t("Sensitivity", &TEXT)]),
    maybe(&[t("Body", &ANYTHING)]),
    maybe(&[t("Categories", &ANYTHING)]),
    maybe(&[t("Importance", &TEXT)]),
    maybe(&[t("ReminderDueBy", &TIME)]),
    maybe(&[t("ReminderIsSet", &BOOLEAN)]),
    maybe(&[t("ReminderMinutesBeforeStart", &WHOLE)]),
    any(&[t("ExtendedProperty", &ANYTHING)]),
    maybe(&[t("Culture", &TEXT)]),
    maybe(&[t("UID", &TEXT)]),
    maybe(&[t("Start", &TIME)]),
    maybe(&[t("End", &TIME)]),
    maybe(&[t("IsAllDayEvent", &BOOLEAN)]),
    maybe(&[t("LegacyFreeBusyStatus", &TEXT)]),
    maybe(&[t("Location", &TEXT)]),
    maybe(&[t("IsResponseRequested", &BOOLEAN)]),
    maybe(&[t("RequiredAttendees", &ANYTHING)]),
    maybe(&[t("OptionalAttendees", &ANYTHING)]),
    maybe(&[t("Resources", &ANYTHING)]),
    maybe(&[t("Recurrence", &ANYTHING)]),
    maybe(&[t("MeetingTimeZone", &ANYTHING)]),
    maybe(&[t("StartTimeZone", &ANYTHING)]),
    maybe(&[t("EndTimeZone", &ANYTHING)]),
    maybe(&[t("ConferenceType", &WHOLE)]),
    maybe(&[t("AllowNewTimeProposal", &BOOLEAN)]),
    maybe(&[t("IsOnlineMeeting", &BOOLEAN)]),
]);
static ITEMS: Shape = sequence(&[some(&[
    t("CalendarItem", &CALENDAR_ITEM),
    t("Message", &ANYTHING),
    t("Task", &ANYTHING),
    t("Contact", &ANYTHING),
])]);
static TARGET_FOLDER: Shape = sequence(&[one(FOLDER_ID)]);

pub(crate) static CREATE_ITEM: Shape = shape(
    &[
        optional(
            "MessageDisposition",
            Value::OneOf(&["SaveOnly", "SendOnly", "SendAndSaveCopy"]),
        ),
        optional("SendMeetingInvitations", SENDING),
    ],
    Content::Sequence(&[
        maybe(&[m("SavedItemFolderId", &TARGET_FOLDER)]),
        one(&[m("Items", &ITEMS)]),
    ]),
);

pub(crate) static RESOLVE_NAMES: Shape = shape(
    &[
        required("ReturnFullContactData", Value::Boolean),
        optional(
            "SearchScope",
            Value::OneOf(&[
                "ActiveDirectory",
                "ActiveDirectoryContacts",
                "Contacts",
                "ContactsActiveDirectory",
            ]),
        ),
        optional(
            "ContactDataShape",
            Value::OneOf(&["IdOnly", "Default", "AllProperties"]),
        ),
    ],
    Content::Sequence(&[
        maybe(&[m("ParentFolderIds", &FOLDER_IDS)]),
        one(&[m("UnresolvedEntry", &NOT_EMPTY)]),
    ]),
);
static NOT_EMPTY: Shape = text(Value::NotEmpty);

pub(crate) static EXPAND_DL: Shape = sequence(&[one(&[m("Mailbox", &MAILBOX)])]);

const ID_FORMATS: Value = Value::OneOf(&[
    "EwsLegacyId",
    "EwsId",
    "EntryId",
    "HexEntryId",
    "StoreId",
    "OwaId",
]);
static ALTERNATE_ID: Shape = shape(
    &[
        required("Format", ID_FORMATS),
        required("Id", Value::Any),
        required("Mailbox", Value::NotEmpty),
        optional("IsArchive", Value::Boolean),
    ],
    Content::Empty,
);
static SOURCE_IDS: Shape = sequence(&[some(&[t("AlternateId", &ALTERNATE_ID)])]);

pub(crate) static CONVERT_ID: Shape = shape(
    &[required("DestinationFormat", ID_FORMATS)],
    Content::Sequence(&[one(&[m("SourceIds", &SOURCE_IDS)])]),
);

/// One of the names of a user, in the header that asks to act as one.
pub(crate) static IMPERSONATION: Shape = sequence(&[one(&[t("ConnectingSID", &CONNECTING)])]);
static CONNECTING: Shape = sequence(&[one(&[
    t("PrincipalName", &TEXT),
    t("SID", &TEXT),
    t("PrimarySmtpAddress", &TEXT),
    t("SmtpAddress", &TEXT),
])]);
/// The version a request is written for.
pub(crate) static REQUEST_VERSION: Shape =
    shape(&[optional("Version", Value::Any)], Content::Empty);
