//! Rows for people, or for programs. Data goes to stdout, talk to stderr.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Map, Value};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns.
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated, with a header.
    Csv,
}

/// The word of an enumeration's value: its name on the wire without the prefix.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}

/// Prints rows as they come: nothing is collected, however many there are.
pub(crate) struct Rows {
    output: Output,
    columns: &'static [(&'static str, usize)],
    begun: bool,
}

impl Rows {
    /// Rows of these columns, each with its width in a table.
    pub(crate) fn new(output: Output, columns: &'static [(&'static str, usize)]) -> Self {
        Self {
            output,
            columns,
            begun: false,
        }
    }

    /// Prints one row. JSON keeps numbers, lists and objects as they are.
    pub(crate) fn print(&mut self, cells: Vec<Value>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.begun {
            self.begun = true;
            let names: Vec<_> = self
                .columns
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .collect();
            match self.output {
                Output::Table => writeln!(out, "{}", self.table(&names).to_uppercase())?,
                Output::Csv => writeln!(out, "{}", csv(&names))?,
                Output::Json => {}
            }
        }
        match self.output {
            Output::Table => writeln!(out, "{}", self.table(&texts(&cells))),
            Output::Csv => writeln!(out, "{}", csv(&texts(&cells))),
            Output::Json => {
                let object: Map<_, _> = self
                    .columns
                    .iter()
                    .zip(cells)
                    .map(|((name, _), cell)| ((*name).to_owned(), cell))
                    .collect();
                writeln!(out, "{}", Value::Object(object))
            }
        }
    }

    fn table(&self, cells: &[String]) -> String {
        let padded = self
            .columns
            .iter()
            .zip(cells)
            .map(|((_, width), cell)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

/// Cells for people: `added 12, unchanged 3` for an object, `4 9` for a list.
fn texts(cells: &[Value]) -> Vec<String> {
    cells.iter().map(text).collect()
}

fn text(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name} {}", text(value)))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}

fn csv(cells: &[String]) -> String {
    let quoted = cells.iter().map(|cell| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_read_well() {
        let cells = serde_json::json!(["a", 3, {"added": 12, "unchanged": 3}, [4, 9], null]);
        assert_eq!(
            texts(cells.as_array().unwrap()),
            ["a", "3", "added 12, unchanged 3", "4 9", ""]
        );
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        assert_eq!(
            csv(&["a".into(), "b,c".into(), "d\"e".into()]),
            "a,\"b,c\",\"d\"\"e\""
        );
    }
}
