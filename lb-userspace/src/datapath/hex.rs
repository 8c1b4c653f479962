//! Bytes as hexadecimal digits.

use std::fmt::Write;

/// Two digits a byte.
pub fn of(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of a text of digits; spaces, colons and line ends between bytes are ignored.
pub fn parse(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(parse(&of(&bytes)), Some(bytes));
        assert_eq!(parse("02:00 fF\n1"), None);
        assert_eq!(parse("02:00 fF\n"), Some(vec![2, 0, 255]));
        assert_eq!(parse("0g"), None);
    }
}
