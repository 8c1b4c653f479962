//! Columns and colours. Colour is put on after padding, so that widths are those of the text; `anstream` takes it off again unless the
//! output is a terminal.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use crate::model::Disposition;

/// All is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Someone should look.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Users may notice.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Meant so by an operator.
pub const CALM: Style = AnsiColor::Cyan.on_default();
/// Less important.
pub const DIM: Style = Style::new().dimmed();
/// Headings.
pub const BOLD: Style = Style::new().bold();
/// No style.
pub const NONE: Style = Style::new();

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    style: Style,
    right: bool,
}

/// A cell without style.
pub fn cell(text: impl AsRef<str>) -> Cell {
    Cell { text: plain(text.as_ref()), style: NONE, right: false }
}

/// A number: aligned to the right.
pub fn number(text: impl AsRef<str>) -> Cell {
    Cell { right: true, ..cell(text) }
}

impl Cell {
    /// The same cell in a style.
    #[must_use]
    pub fn style(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

/// A row of bold headings.
pub fn heading(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| cell(name).style(BOLD)).collect()
}

/// Text without control characters: what a server or a user wrote must not steer the operator's terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The same, but line ends stay.
pub fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// Lays rows out in columns, two spaces apart, each line beginning with `indent`. Headings follow the alignment of the column below.
pub fn columns(rows: &[Vec<Cell>], indent: &str) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; count];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.text.width().max(*width);
        }
    }
    let right = |column: usize| rows.last().and_then(|row| row.get(column)).is_some_and(|cell| cell.right);
    let mut out = String::new();
    for row in rows {
        out.push_str(indent);
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.text.width());
            let last = column + 1 == row.len();
            let style = cell.style;
            // Writing to a string cannot fail.
            let _ = match (cell.right || right(column), last) {
                (true, _) => write!(out, "{pad}{style}{}{style:#}", cell.text),
                (false, true) => write!(out, "{style}{}{style:#}", cell.text),
                (false, false) => write!(out, "{style}{}{style:#}{pad}", cell.text),
            };
            if !last {
                out.push_str("  ");
            }
        }
        while out.ends_with(' ') {
            out.pop();
        }
        out.push('\n');
    }
    out
}

/// Text in a style.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{}{style:#}", plain(text))
}

/// The colour of a state.
pub const fn state_style(state: Disposition) -> Style {
    match state {
        Disposition::Serving => GOOD,
        Disposition::Draining => CALM,
        Disposition::Held | Disposition::Down => BAD,
        Disposition::Out => DIM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_colour_and_the_script() {
        let rows = [
            heading(&["NAME", "N"]),
            vec![cell("é̈ü").style(BAD), number("5")],
            vec![cell("日本"), number("12345")],
        ];
        let text = anstream::adapter::strip_str(&columns(&rows, "  ")).to_string();
        assert_eq!(text, "  NAME      N\n  é̈ü        5\n  日本  12345\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("a\x1b[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
        assert_eq!(plain_lines("a\nb\x07"), "a\nb\u{fffd}");
    }

    #[test]
    fn no_line_ends_with_a_space() {
        let text = columns(&[vec![cell("a"), cell("")]], "");
        assert_eq!(text, "a\n");
    }
}
