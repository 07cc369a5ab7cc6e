//! What the commands print and how: sentences and tables for people, JSON for programs, colours only where
//! a person at a terminal wants them.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::human::{printable, printable_json};

/// Columns that tables are laid out for where no terminal says how wide it is.
const DEFAULT_WIDTH: u16 = 100;
/// A terminal that says it is narrower breaks the lines itself.
const NARROWEST: u16 = 72;

/// Standard output of one command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
}

/// The meaning of a state, for shape and colour. The shape says the same as the colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// Somebody should look.
    Warning,
    /// Something is wrong.
    Bad,
    /// Neither good nor bad.
    Quiet,
}

impl Tone {
    fn colour(self) -> Color {
        match self {
            Self::Good => Color::Green,
            Self::Warning => Color::Yellow,
            Self::Bad => Color::Red,
            Self::Quiet => Color::DarkGrey,
        }
    }

    fn escape(self) -> &'static str {
        match self {
            Self::Good => "\u{1b}[32m",
            Self::Warning => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
            Self::Quiet => "\u{1b}[90m",
        }
    }

    /// The tone and the shape of a state's word, an adapter's or a delivery's.
    pub(crate) fn of(state: &str) -> (Self, &'static str) {
        match state {
            "live" | "confirmed" | "done" | "ok" => (Self::Good, "●"),
            "waiting" | "slowed" | "retrying" | "retry" => (Self::Warning, "▲"),
            "disabled" | "parked" | "dead" | "rejected" | "delivery_limit" | "undelivered" | "failed" => {
                (Self::Bad, "■")
            }
            "idle" | "pending" => (Self::Quiet, "○"),
            "discarded" | "expired" => (Self::Quiet, "–"),
            _ => (Self::Quiet, "?"),
        }
    }
}

impl Output {
    /// Standard output as it is: `json` was asked for or not; colours if it is a terminal and `NO_COLOR`
    /// (<https://no-color.org>) is not set.
    pub(crate) fn detect(json: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json,
            colour: io::stdout().is_terminal() && !refused,
        }
    }

    /// Output without colours, for tests of what is printed.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self {
            json: false,
            colour: false,
        }
    }

    /// Whether programs read it.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// One line.
    pub(crate) fn line(self, text: impl AsRef<str>) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_ref().as_bytes())?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }

    /// One value as indented JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> io::Result<()> {
        self.line(printable_json(&serde_json::to_string_pretty(value)?))
    }

    /// One value as one line of JSON.
    pub(crate) fn json_line(self, value: &impl Serialize) -> io::Result<()> {
        self.line(printable_json(&serde_json::to_string(value)?))
    }

    /// An empty table with these column names; a name that begins with `>` is of a column of numbers.
    pub(crate) fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(header.iter().map(|name| {
            let cell = Cell::new(name.trim_start_matches('>'));
            if self.colour {
                cell.add_attribute(Attribute::Dim)
            } else {
                cell
            }
        }));
        let last = header.len().saturating_sub(1);
        for (index, name) in header.iter().enumerate() {
            if let Some(column) = table.column_mut(index) {
                column.set_padding((0, if index == last { 0 } else { 2 }));
                if name.starts_with('>') {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        let width = table
            .width()
            .filter(|width| *width >= NARROWEST)
            .unwrap_or(DEFAULT_WIDTH);
        table.set_width(width);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }

    /// A table's lines, without blanks at their ends.
    pub(crate) fn print_table(self, table: &Table) -> io::Result<()> {
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// A state's shape and word for a table.
    pub(crate) fn state_cell(self, state: &str) -> Cell {
        let (tone, shape) = Tone::of(state);
        self.toned_cell(tone, &format!("{shape} {}", printable(state)))
    }

    /// Text in a tone's colour for a table.
    pub(crate) fn toned_cell(self, tone: Tone, text: &str) -> Cell {
        let cell = Cell::new(text);
        if self.colour { cell.fg(tone.colour()) } else { cell }
    }

    /// A state's shape and word for a line of text.
    pub(crate) fn state(self, state: &str) -> String {
        let (tone, shape) = Tone::of(state);
        self.paint(tone, &format!("{shape} {}", printable(state)))
    }

    /// Text in a tone's colour.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if self.colour {
            format!("{}{text}\u{1b}[0m", tone.escape())
        } else {
            text.to_owned()
        }
    }

    /// Text that stands out.
    pub(crate) fn strong(self, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[1m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_plain_text_where_nobody_wants_colours() {
        let output = Output::plain();
        let mut table = output.table(&["ADAPTER", "STATE", ">WAITING"]);
        table.add_row(vec![Cell::new("erp"), output.state_cell("live"), Cell::new("12")]);
        table.add_row(vec![
            Cell::new("warehouse"),
            output.state_cell("waiting"),
            Cell::new("1,204"),
        ]);
        let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(
            lines,
            [
                "ADAPTER    STATE      WAITING",
                "erp        ● live          12",
                "warehouse  ▲ waiting    1,204",
            ]
        );
    }

    #[test]
    fn every_state_has_a_shape() {
        for state in [
            "live",
            "waiting",
            "slowed",
            "disabled",
            "idle",
            "confirmed",
            "retrying",
            "parked",
            "discarded",
            "pending",
        ] {
            assert_ne!(Tone::of(state).1, "?", "{state}");
        }
        assert_eq!(Output::plain().state("odd\u{7}"), "? odd\u{fffd}");
    }
}
