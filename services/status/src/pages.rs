//! Page tokens: where to go on, bound to the query they came from.

use std::hash::{DefaultHasher, Hash, Hasher};

use calgrant_contract::refusal;
use calgrant_domain::BadInput;
use tonic::Status;
use uuid::Uuid;

/// A page of a query.
pub(crate) struct Page {
    /// How many.
    pub(crate) size: i64,
    /// The last id of the page before.
    pub(crate) after: Option<Uuid>,
    query: u64,
}

impl Page {
    /// Reads size and token; `query` is everything else of the request.
    pub(crate) fn of(query: &impl Hash, size: i32, token: &str) -> Result<Self, Status> {
        let mut hasher = DefaultHasher::new();
        query.hash(&mut hasher);
        let query = hasher.finish();
        let size = match size {
            0 => 100,
            1..=1000 => i64::from(size),
            _ => {
                return Err(refusal::bad_input(&[BadInput::new(
                    "page_size",
                    size,
                    "1 to 1,000, or 0 for 100",
                )]));
            }
        };
        if token.is_empty() {
            return Ok(Self {
                size,
                after: None,
                query,
            });
        }
        let read = token.split_once('-').and_then(|(of, after)| {
            Some((
                u64::from_str_radix(of, 16).ok()?,
                Uuid::try_parse(after).ok()?,
            ))
        });
        match read {
            Some((of, after)) if of == query => Ok(Self {
                size,
                after: Some(after),
                query,
            }),
            _ => Err(refusal::bad_input(&[BadInput::new(
                "page_token",
                token,
                "not a token of this query; leave it out to begin with the first page",
            )])),
        }
    }

    /// The token after a page that ended with `last`; empty if it wasn't full.
    pub(crate) fn next(&self, count: usize, last: Option<Uuid>) -> String {
        match last {
            Some(last) if i64::try_from(count).unwrap_or(i64::MAX) >= self.size => {
                format!("{:x}-{}", self.query, last.simple())
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_query() {
        let page = Page::of(&"op_1", 2, "").unwrap();
        let token = page.next(2, Some(Uuid::from_u128(9)));
        assert_eq!(
            Page::of(&"op_1", 2, &token).unwrap().after,
            Some(Uuid::from_u128(9))
        );
        assert!(Page::of(&"op_2", 2, &token).is_err());
        assert!(Page::of(&"op_1", 2, "rubbish").is_err() && Page::of(&"op_1", 1001, "").is_err());
        assert_eq!(page.next(1, Some(Uuid::nil())), "");
    }
}
