//! What clients ask, taken apart as RFC 4511 (4) writes it down.

use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, BERReaderSeq, Tag, TagClass};

use crate::ldap::filter::{self, Filter};

/// One message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: i32,
    pub(crate) request: Request,
    pub(crate) controls: Vec<Control>,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Request {
    Bind(Bind),
    Unbind,
    Search(Search),
    Abandon,
    /// An extended operation, by its number.
    Extended(String),
    /// A change or a comparison, by the number of its tag.
    Other(u64),
}

/// Somebody says who they are.
#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) version: i64,
    pub(crate) name: String,
    /// The password; `None` where another way to sign in was chosen.
    pub(crate) password: Option<String>,
}

/// How far down a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Base,
    OneLevel,
    Subtree,
}

#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) base: String,
    pub(crate) scope: Scope,
    /// The most entries that are wanted; 0 for all.
    pub(crate) size_limit: usize,
    pub(crate) types_only: bool,
    pub(crate) filter: Filter,
    pub(crate) attributes: Vec<String>,
}

/// Something that is asked in addition.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) number: String,
    pub(crate) critical: bool,
    pub(crate) value: Option<Vec<u8>>,
}

/// What a page of a search is asked with (RFC 2696).
#[derive(Debug)]
pub(crate) struct Paging {
    pub(crate) size: usize,
    pub(crate) cookie: Vec<u8>,
}

/// What isn't what it should be.
pub(crate) fn invalid() -> ASN1Error {
    ASN1Error::new(ASN1ErrorKind::Invalid)
}

/// A text.
pub(crate) fn text(reader: BERReader<'_, '_>) -> ASN1Result<String> {
    String::from_utf8(reader.read_bytes()?).map_err(|_| invalid())
}

pub(crate) fn bytes(reader: BERReader<'_, '_>) -> ASN1Result<Vec<u8>> {
    reader.read_bytes()
}

pub(crate) fn boolean(reader: BERReader<'_, '_>) -> ASN1Result<bool> {
    reader.read_bool()
}

fn whole(reader: BERReader<'_, '_>) -> ASN1Result<i32> {
    reader.read_i32()
}

fn nothing(reader: BERReader<'_, '_>) -> ASN1Result<()> {
    reader.read_null()
}

impl Message {
    /// Takes a message apart.
    ///
    /// # Errors
    /// It isn't one.
    pub(crate) fn read(message: &[u8]) -> ASN1Result<Self> {
        yasna::parse_ber(message, |reader| {
            reader.read_sequence(|parts| {
                let id = parts.next().read_i32()?;
                let request = request(parts.next())?;
                let controls = parts.read_optional(|reader| {
                    reader.read_tagged_implicit(Tag::context(0), |reader| {
                        reader.collect_sequence_of(control)
                    })
                })?;
                // answers that nobody asked for have the number 0
                if id < 1 {
                    return Err(invalid());
                }
                Ok(Self {
                    id,
                    request,
                    controls: controls.unwrap_or_default(),
                })
            })
        })
    }
}

impl Paging {
    /// Reads the value of the control.
    ///
    /// # Errors
    /// It isn't one.
    pub(crate) fn read(value: &[u8]) -> ASN1Result<Self> {
        yasna::parse_ber(value, |reader| {
            reader.read_sequence(|parts| {
                let size = parts.next().read_i32()?;
                let cookie = parts.next().read_bytes()?;
                let size = usize::try_from(size).map_err(|_| invalid())?;
                Ok(Self { size, cookie })
            })
        })
    }
}

fn request(reader: BERReader<'_, '_>) -> ASN1Result<Request> {
    let tag = reader.lookahead_tag()?;
    if tag.tag_class != TagClass::Application {
        return Err(invalid());
    }
    match tag.tag_number {
        0 => sequence(reader, tag, bind).map(Request::Bind),
        2 => reader
            .read_tagged_implicit(tag, nothing)
            .map(|()| Request::Unbind),
        3 => sequence(reader, tag, search).map(Request::Search),
        16 => reader
            .read_tagged_implicit(tag, whole)
            .map(|_| Request::Abandon),
        23 => sequence(reader, tag, |parts| {
            let number = parts.next().read_tagged_implicit(Tag::context(0), text)?;
            parts.read_optional(|reader| reader.read_tagged_implicit(Tag::context(1), bytes))?;
            Ok(Request::Extended(number))
        }),
        other @ (6 | 8 | 10 | 12 | 14) => reader.read_tagged_der().map(|_| Request::Other(other)),
        _ => Err(invalid()),
    }
}

fn sequence<T>(
    reader: BERReader<'_, '_>,
    tag: Tag,
    read: impl for<'a, 'b> FnOnce(&mut BERReaderSeq<'a, 'b>) -> ASN1Result<T>,
) -> ASN1Result<T> {
    reader.read_tagged_implicit(tag, |reader| reader.read_sequence(read))
}

fn bind(parts: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Bind> {
    let version = parts.next().read_i64()?;
    let name = text(parts.next())?;
    let how = parts.next();
    let tag = how.lookahead_tag()?;
    let password = match tag.tag_number {
        0 if tag.tag_class == TagClass::ContextSpecific => {
            Some(how.read_tagged_implicit(tag, text)?)
        }
        3 if tag.tag_class == TagClass::ContextSpecific => sequence(how, tag, |parts| {
            text(parts.next())?;
            parts.read_optional(bytes)?;
            Ok(None)
        })?,
        _ => return Err(invalid()),
    };
    Ok(Bind {
        version,
        name,
        password,
    })
}

fn search(parts: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Search> {
    let base = text(parts.next())?;
    let scope = match parts.next().read_enum()? {
        0 => Scope::Base,
        1 => Scope::OneLevel,
        2 => Scope::Subtree,
        _ => return Err(invalid()),
    };
    // aliases are not a thing of this directory, so how they are followed makes no difference
    if !(0..=3).contains(&parts.next().read_enum()?) {
        return Err(invalid());
    }
    let size_limit = usize::try_from(parts.next().read_i32()?).map_err(|_| invalid())?;
    if parts.next().read_i32()? < 0 {
        return Err(invalid());
    }
    Ok(Search {
        base,
        scope,
        size_limit,
        types_only: parts.next().read_bool()?,
        filter: filter::read(parts.next())?,
        attributes: parts.next().collect_sequence_of(text)?,
    })
}

fn control(reader: BERReader<'_, '_>) -> ASN1Result<Control> {
    reader.read_sequence(|parts| {
        Ok(Control {
            number: text(parts.next())?,
            critical: parts.read_optional(boolean)?.unwrap_or_default(),
            value: parts.read_optional(bytes)?,
        })
    })
}
