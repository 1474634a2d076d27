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

    /// Prints one row. A reader that went away ends the program quietly.
    pub(crate) fn print(&mut self, cells: &[String]) -> io::Result<()> {
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
            Output::Table => writeln!(out, "{}", self.table(cells)),
            Output::Csv => writeln!(out, "{}", csv(cells)),
            Output::Json => {
                let object: Map<_, _> = self
                    .columns
                    .iter()
                    .zip(cells)
                    .map(|((name, _), cell)| ((*name).to_owned(), Value::from(cell.as_str())))
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
    fn csv_quotes_what_needs_it() {
        assert_eq!(
            csv(&["a".into(), "b,c".into(), "d\"e".into()]),
            "a,\"b,c\",\"d\"\"e\""
        );
    }
}
