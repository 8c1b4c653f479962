//! Errors of TOML's syntax, without those that only follow from another one.
//!
//! A lost bracket or quote makes the parser misread every line up to the next one. So of each section (from one `[header]` line
//! to the next) only the first error counts, and sections behind a broken one are read for themselves.

use std::ops::Range;

use toml::de::{DeTable, Error};

/// The first error of each section, if the document has any.
pub(super) fn errors(text: &str, found: &[Error]) -> Vec<(Range<usize>, String)> {
    let Some((first, message)) = found.iter().map(place).min_by_key(|(span, _)| span.start) else {
        return Vec::new();
    };
    let mut errors = vec![(first.clone(), message)];
    let mut starts = header_lines(text).filter(|start| *start > first.start).peekable();
    while let Some(start) = starts.next() {
        let end = starts.peek().copied().unwrap_or(text.len());
        let (_, found) = DeTable::parse_recoverable(&text[start..end]);
        if let Some((span, message)) = found.iter().map(place).min_by_key(|(span, _)| span.start) {
            errors.push((start + span.start..start + span.end, message));
        }
    }
    errors
}

fn place(error: &Error) -> (Range<usize>, String) {
    (error.span().unwrap_or(0..0), error.message().to_owned())
}

/// Where lines begin that look like `[a.b]` or `[[a.b]]`.
fn header_lines(text: &str) -> impl Iterator<Item = usize> + '_ {
    let mut at = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = at;
        at += line.len();
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let name = line.strip_prefix('[')?.strip_suffix(']')?;
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let starts_a_key = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '"');
        (starts_a_key && !name.contains(',')).then_some(start)
    })
}
