//! Filters of searches: taken apart, with the attributes they are about (RFC 4511, 4.5.1.7).

use yasna::{ASN1Result, BERReader, BERReaderSeq, Tag, TagClass};

use crate::ldap::message::{boolean, bytes, invalid, text};
use crate::ldap::schema::Attribute;

/// A filter. Attributes that the schema doesn't have are none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Present(Option<&'static Attribute>),
    Equal(Assertion),
    AtLeast(Assertion),
    AtMost(Assertion),
    Pieces(Option<&'static Attribute>, Pieces),
    /// By a rule that is named by its number.
    Rule(String, Assertion),
}

/// A value that an attribute is compared with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assertion {
    pub(crate) attribute: Option<&'static Attribute>,
    pub(crate) value: Vec<u8>,
}

/// What a value begins with, holds in this order, and ends with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pieces {
    pub(crate) first: Option<Vec<u8>>,
    pub(crate) middle: Vec<Vec<u8>>,
    pub(crate) last: Option<Vec<u8>>,
}

impl Filter {
    /// Whether it asks anything about this attribute.
    pub(crate) fn is_about(&self, name: &str) -> bool {
        let is = |attribute: &Option<&Attribute>| attribute.is_some_and(|it| it.name == name);
        match self {
            Self::All(filters) | Self::Any(filters) => {
                filters.iter().any(|filter| filter.is_about(name))
            }
            Self::Not(filter) => filter.is_about(name),
            Self::Present(attribute) | Self::Pieces(attribute, _) => is(attribute),
            Self::Equal(assertion) | Self::AtLeast(assertion) | Self::AtMost(assertion) => {
                is(&assertion.attribute)
            }
            Self::Rule(_, assertion) => is(&assertion.attribute),
        }
    }
}

/// Takes a filter apart. How deep it goes is bounded by the decoder.
///
/// # Errors
/// It isn't one.
pub(crate) fn read(reader: BERReader<'_, '_>) -> ASN1Result<Filter> {
    let tag = reader.lookahead_tag()?;
    if tag.tag_class != TagClass::ContextSpecific {
        return Err(invalid());
    }
    match tag.tag_number {
        0 => several(reader, tag).map(Filter::All),
        1 => several(reader, tag).map(Filter::Any),
        2 => reader
            .read_tagged(tag, read)
            .map(|filter| Filter::Not(Box::new(filter))),
        3 | 8 => comparison(reader, tag).map(Filter::Equal),
        4 => reader.read_tagged_implicit(tag, |reader| reader.read_sequence(pieces)),
        5 => comparison(reader, tag).map(Filter::AtLeast),
        6 => comparison(reader, tag).map(Filter::AtMost),
        7 => {
            let name = reader.read_tagged_implicit(tag, text)?;
            Ok(Filter::Present(Attribute::named(&name)))
        }
        9 => reader.read_tagged_implicit(tag, |reader| reader.read_sequence(rule)),
        _ => Err(invalid()),
    }
}

fn several(reader: BERReader<'_, '_>, tag: Tag) -> ASN1Result<Vec<Filter>> {
    reader.read_tagged_implicit(tag, |reader| reader.collect_set_of(read))
}

fn comparison(reader: BERReader<'_, '_>, tag: Tag) -> ASN1Result<Assertion> {
    reader.read_tagged_implicit(tag, |reader| {
        reader.read_sequence(|parts| {
            let name = text(parts.next())?;
            Ok(Assertion {
                attribute: Attribute::named(&name),
                value: parts.next().read_bytes()?,
            })
        })
    })
}

fn pieces(parts: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Filter> {
    let name = text(parts.next())?;
    let mut pieces = Pieces::default();
    let mut count = 0;
    parts.next().read_sequence_of(|reader| {
        let tag = reader.lookahead_tag()?;
        let value = reader.read_tagged_implicit(tag, bytes)?;
        let is_over = pieces.last.is_some();
        match tag.tag_number {
            0 if count == 0 => pieces.first = Some(value),
            1 if !is_over => pieces.middle.push(value),
            2 if !is_over => pieces.last = Some(value),
            _ => return Err(invalid()),
        }
        count += 1;
        Ok(())
    })?;
    if count == 0 {
        return Err(invalid());
    }
    Ok(Filter::Pieces(Attribute::named(&name), pieces))
}

fn rule(parts: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Filter> {
    let mut named = |number| {
        parts.read_optional(|reader| reader.read_tagged_implicit(Tag::context(number), text))
    };
    let (rule, name) = (named(1)?, named(2)?);
    let value = parts.next().read_tagged_implicit(Tag::context(3), bytes)?;
    parts.read_optional(|reader| reader.read_tagged_implicit(Tag::context(4), boolean))?;
    let assertion = Assertion {
        attribute: name.as_deref().and_then(Attribute::named),
        value,
    };
    Ok(match rule {
        Some(rule) => Filter::Rule(rule, assertion),
        None => Filter::Equal(assertion),
    })
}
