//! An entry's rights as eight flags, and the named levels.
//!
//! Names and contents: Microsoft's documentation of `CalendarPermissionLevel` and its EWS Managed API.

use crate::Rights;

/// Which items may be edited, or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extent {
    /// None.
    None,
    /// One's own.
    Owned,
    /// All.
    All,
}

impl Extent {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::None, Self::Owned, Self::All];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Owned => "Owned",
            Self::All => "All",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }
}

/// How much of an item may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadExtent {
    /// Nothing.
    None,
    /// When one is busy.
    TimeOnly,
    /// That, and with what and where.
    TimeAndSubjectAndLocation,
    /// Everything.
    FullDetails,
}

impl ReadExtent {
    /// Every value.
    pub const ALL: &'static [Self] = &[
        Self::None,
        Self::TimeOnly,
        Self::TimeAndSubjectAndLocation,
        Self::FullDetails,
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::TimeOnly => "TimeOnly",
            Self::TimeAndSubjectAndLocation => "TimeAndSubjectAndLocation",
            Self::FullDetails => "FullDetails",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }
}

/// What an entry allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flags {
    /// To create items.
    pub create_items: bool,
    /// To create folders inside.
    pub create_subfolders: bool,
    /// The folder's owner: may change this very list.
    pub owner: bool,
    /// Sees that the folder is there.
    pub visible: bool,
    /// Is named as the folder's contact. Allows nothing.
    pub contact: bool,
    /// Which items may be edited.
    pub edit: Extent,
    /// Which items may be deleted.
    pub delete: Extent,
    /// What may be read.
    pub read: ReadExtent,
}

/// A named set of flags, or [`Self::Custom`] for the sets that have no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "Exchange's own names")]
pub enum Level {
    None,
    Owner,
    PublishingEditor,
    Editor,
    PublishingAuthor,
    Author,
    NoneditingAuthor,
    Reviewer,
    Contributor,
    FreeBusyTimeOnly,
    FreeBusyTimeAndSubjectAndLocation,
    Custom,
}

const fn flags(
    [create_items, create_subfolders]: [bool; 2],
    edit: Extent,
    delete: Extent,
    [contact, owner, visible]: [bool; 3],
    read: ReadExtent,
) -> Option<Flags> {
    Some(Flags {
        create_items,
        create_subfolders,
        owner,
        visible,
        contact,
        edit,
        delete,
        read,
    })
}

const T: bool = true;
const F: bool = false;

/// Create, create folders; edit; delete; contact, owner, visible; read.
#[rustfmt::skip]
const LEVELS: &[(Level, &str, Option<Flags>)] = &[
    (Level::None, "None", flags([F, F], Extent::None, Extent::None, [F, F, F], ReadExtent::None)),
    (Level::Contributor, "Contributor", flags([T, F], Extent::None, Extent::None, [F, F, T], ReadExtent::None)),
    (Level::Reviewer, "Reviewer", flags([F, F], Extent::None, Extent::None, [F, F, T], ReadExtent::FullDetails)),
    (Level::NoneditingAuthor, "NoneditingAuthor", flags([T, F], Extent::None, Extent::Owned, [F, F, T], ReadExtent::FullDetails)),
    (Level::Author, "Author", flags([T, F], Extent::Owned, Extent::Owned, [F, F, T], ReadExtent::FullDetails)),
    (Level::PublishingAuthor, "PublishingAuthor", flags([T, T], Extent::Owned, Extent::Owned, [F, F, T], ReadExtent::FullDetails)),
    (Level::Editor, "Editor", flags([T, F], Extent::All, Extent::All, [F, F, T], ReadExtent::FullDetails)),
    (Level::PublishingEditor, "PublishingEditor", flags([T, T], Extent::All, Extent::All, [F, F, T], ReadExtent::FullDetails)),
    (Level::Owner, "Owner", flags([T, T], Extent::All, Extent::All, [T, T, T], ReadExtent::FullDetails)),
    (Level::FreeBusyTimeOnly, "FreeBusyTimeOnly", flags([F, F], Extent::None, Extent::None, [F, F, F], ReadExtent::TimeOnly)),
    (Level::FreeBusyTimeAndSubjectAndLocation, "FreeBusyTimeAndSubjectAndLocation", flags([F, F], Extent::None, Extent::None, [F, F, F], ReadExtent::TimeAndSubjectAndLocation)),
    (Level::Custom, "Custom", None),
];

impl Level {
    /// Every level.
    pub fn all() -> impl Iterator<Item = Self> {
        LEVELS.iter().map(|(level, ..)| *level)
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        LEVELS
            .iter()
            .find(|(level, ..)| *level == self)
            .map_or("Custom", |(_, name, _)| name)
    }

    /// The level of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let row = LEVELS.iter().find(|(_, known, _)| *known == name);
        row.map(|(level, ..)| *level)
    }

    /// The flags the name stands for; `None` for [`Self::Custom`].
    pub fn flags(self) -> Option<Flags> {
        let row = LEVELS.iter().find(|(level, ..)| *level == self);
        row.and_then(|(.., flags)| *flags)
    }
}

impl Flags {
    /// The level a server reports for these flags. Two names cover variants of their flags too: `None` with the
    /// folder visible or as its contact, `Owner` without being the contact.
    pub fn level(self) -> Level {
        let named = |flags: Self| {
            let row = LEVELS.iter().find(|(.., known)| *known == Some(flags));
            row.map(|(level, ..)| *level)
        };
        let bare = Self {
            visible: false,
            contact: false,
            ..self
        };
        let owner = Self {
            contact: true,
            ..self
        };
        named(self)
            .or_else(|| named(bare).filter(|level| *level == Level::None))
            .or_else(|| named(owner).filter(|level| *level == Level::Owner))
            .unwrap_or(Level::Custom)
    }

    /// These flags as rights.
    pub fn rights(self) -> Rights {
        let mut bits = 0;
        for (set, bit) in [
            (self.read == ReadExtent::FullDetails, 0x1),
            (self.create_items, 0x2),
            (self.edit != Extent::None, 0x8),
            (self.delete != Extent::None, 0x10),
            (self.edit == Extent::All, 0x20),
            (self.delete == Extent::All, 0x40),
            (self.create_subfolders, 0x80),
            (self.owner, 0x100),
            (self.contact, 0x200),
            (self.visible, 0x400),
            (self.read == ReadExtent::TimeOnly, 0x800),
            (self.read == ReadExtent::TimeAndSubjectAndLocation, 0x1800),
        ] {
            if set {
                bits |= bit;
            }
        }
        Rights(bits)
    }

    /// Rights as flags.
    pub fn of(rights: Rights) -> Self {
        let has = |bit: u16| rights.0 & bit != 0;
        let extent = |all, owned| match (has(all), has(owned)) {
            (true, _) => Extent::All,
            (false, true) => Extent::Owned,
            (false, false) => Extent::None,
        };
        Self {
            create_items: has(0x2),
            create_subfolders: has(0x80),
            owner: has(0x100),
            visible: has(0x400),
            contact: has(0x200),
            edit: extent(0x20, 0x8),
            delete: extent(0x40, 0x10),
            read: match (has(0x1), has(0x1000), has(0x800)) {
                (true, ..) => ReadExtent::FullDetails,
                (_, true, _) => ReadExtent::TimeAndSubjectAndLocation,
                (.., true) => ReadExtent::TimeOnly,
                _ => ReadExtent::None,
            },
        }
    }
}
