//! The parameters of a cmdlet call.

use serde_json::{Map, Value};

use crate::reply::CmdletError;

/// The parameters of one call; names are case-insensitive.
pub(crate) struct Parameters<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Parameters<'a> {
    /// Refuses names this cmdlet doesn't have.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), CmdletError> {
        match self
            .0
            .keys()
            .find(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name)))
        {
            Some(name) => Err(CmdletError::parameter(format!(
                "A parameter cannot be found that matches parameter name '{name}'."
            ))),
            None => Ok(()),
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.value(name).and_then(Value::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&'a str, CmdletError> {
        self.text(name).filter(|text| !text.is_empty()).ok_or_else(|| {
            CmdletError::parameter(format!(
                "Cannot process command because of one or more missing mandatory parameters: {name}."
            ))
        })
    }

    /// One string or an array of strings.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<&'a str>, CmdletError> {
        let wrong = || {
            CmdletError::parameter(format!(
                "Cannot process argument transformation on parameter '{name}'."
            ))
        };
        match self.value(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().ok_or_else(wrong))
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    /// A whole number, 0 when it isn't given.
    pub(crate) fn count(&self, name: &str) -> Result<usize, CmdletError> {
        let Some(value) = self.value(name) else {
            return Ok(0);
        };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| {
            CmdletError::parameter(format!(
                "Cannot process argument transformation on parameter '{name}'."
            ))
        })
    }

    /// How many objects are wanted at most.
    pub(crate) fn result_size(&self) -> Result<usize, CmdletError> {
        match self.value("ResultSize") {
            None => Ok(1000),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("Unlimited") => Ok(usize::MAX),
            Some(value) => value
                .as_u64()
                .or_else(|| value.as_str()?.parse().ok())
                .and_then(|size| usize::try_from(size).ok())
                .ok_or_else(|| {
                    CmdletError::parameter(
                        "Cannot process argument transformation on parameter 'ResultSize'.",
                    )
                }),
        }
    }
}
