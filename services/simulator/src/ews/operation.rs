//! The operations, in one table.

use crate::ews::access::Session;
use crate::ews::error::EwsError;
use crate::ews::schema::Shape;
use crate::ews::{folder, item, names, shapes, update};
use crate::xml::{Element, leaf, with};

/// What was done about one part of a request.
type Done = Result<(String, Option<EwsError>), EwsError>;

pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) shape: &'static Shape,
    /// The parts that are worked on one by one: the children of this element of the request, or the element itself.
    parts: Parts,
    run: fn(&Session<'_>, &Element, &Element) -> Done,
    /// What the answer holds for a part that failed.
    nothing: &'static str,
    pub(crate) writes: bool,
}

enum Parts {
    ChildrenOf(&'static str),
    Itself(&'static str),
}

/// Operations of EWS that aren't served.
pub(crate) const UNSERVED: [&str; 14] = [
    "CopyFolder",
    "CopyItem",
    "CreateFolder",
    "DeleteFolder",
    "EmptyFolder",
    "FindPeople",
    "GetServerTimeZones",
    "GetUserAvailabilityRequest",
    "GetUserConfiguration",
    "MoveFolder",
    "MoveItem",
    "SyncFolderHierarchy",
    "SyncFolderItems",
    "UpdateItem",
];

macro_rules! plain {
    ($run:path) => {
        |session, request, part| $run(session, request, part).map(|done| (done, None))
    };
}

const FOLDERS: &str = "<m:Folders/>";
const ITEMS: &str = "<m:Items/>";

pub(crate) static OPERATIONS: [Operation; 10] = [
    Operation {
        name: "GetFolder",
        shape: &shapes::GET_FOLDER,
        parts: Parts::ChildrenOf("FolderIds"),
        run: plain!(folder::get),
        nothing: FOLDERS,
        writes: false,
    },
    Operation {
        name: "UpdateFolder",
        shape: &shapes::UPDATE_FOLDER,
        parts: Parts::ChildrenOf("FolderChanges"),
        run: plain!(update::change),
        nothing: FOLDERS,
        writes: true,
    },
    Operation {
        name: "FindFolder",
        shape: &shapes::FIND_FOLDER,
        parts: Parts::ChildrenOf("ParentFolderIds"),
        run: plain!(folder::find),
        nothing: "",
        writes: false,
    },
    Operation {
        name: "FindItem",
        shape: &shapes::FIND_ITEM,
        parts: Parts::ChildrenOf("ParentFolderIds"),
        run: plain!(item::find),
        nothing: "",
        writes: false,
    },
    Operation {
        name: "GetItem",
        shape: &shapes::GET_ITEM,
        parts: Parts::ChildrenOf("ItemIds"),
        run: plain!(item::get),
        nothing: ITEMS,
        writes: false,
    },
    Operation {
        name: "CreateItem",
        shape: &shapes::CREATE_ITEM,
        parts: Parts::ChildrenOf("Items"),
        run: plain!(item::create),
        nothing: ITEMS,
        writes: true,
    },
    Operation {
        name: "DeleteItem",
        shape: &shapes::DELETE_ITEM,
        parts: Parts::ChildrenOf("ItemIds"),
        run: plain!(item::delete),
        nothing: "",
        writes: true,
    },
    Operation {
        name: "ResolveNames",
        shape: &shapes::RESOLVE_NAMES,
        parts: Parts::Itself("UnresolvedEntry"),
        run: names::resolve,
        nothing: "",
        writes: false,
    },
    Operation {
        name: "ExpandDL",
        shape: &shapes::EXPAND_DL,
        parts: Parts::Itself("Mailbox"),
        run: plain!(names::expand),
        nothing: "",
        writes: false,
    },
    Operation {
        name: "ConvertId",
        shape: &shapes::CONVERT_ID,
        parts: Parts::ChildrenOf("SourceIds"),
        run: plain!(names::convert),
        nothing: "",
        writes: false,
    },
];

impl Operation {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|operation| operation.name == name)
    }

    pub(crate) fn parts<'a>(&self, request: &'a Element) -> &'a [Element] {
        match self.parts {
            Parts::ChildrenOf(name) => request.child(name).map_or(&[], |list| &list.children),
            Parts::Itself(name) => request.child(name).map_or(&[], std::slice::from_ref),
        }
    }

    /// Works on one part.
    pub(crate) fn run(&self, session: &Session<'_>, request: &Element, part: &Element) -> Done {
        (self.run)(session, request, part)
    }

    /// The answer to one part.
    pub(crate) fn message(&self, done: &Done) -> String {
        let (class, inner) = match done {
            Ok((inner, None)) => (
                "Success",
                format!("{}{inner}", leaf("m:ResponseCode", "NoError")),
            ),
            Ok((inner, Some(warning))) => ("Warning", format!("{}{inner}", warning.in_message())),
            Err(error) => ("Error", format!("{}{}", error.in_message(), self.nothing)),
        };
        let name = format!("m:{}ResponseMessage", self.name);
        with(&name, &[("ResponseClass", class)], &inner)
    }
}
