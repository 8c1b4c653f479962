//! Lengths of time as people write them: `500ms`, `10s`, `1m30s`.

use std::{fmt::Write as _, time::Duration};

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a length of time: write a number and a unit (ms, s, m, h, d), such as `500ms`, `10s` or `1m30s`"
)]
pub struct DurationError(pub String);

/// Reads `500ms`, `10s`, `1m30s`: whole numbers, each with a unit, larger units first, each at most once.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError(text.chars().take(40).collect());
    let mut millis: u64 = 0;
    let mut rest = text;
    let mut smallest_so_far = u64::MAX;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        if *size >= smallest_so_far {
            return Err(bad());
        }
        smallest_so_far = *size;
        millis = number.checked_mul(*size).and_then(|part| millis.checked_add(part)).ok_or_else(bad)?;
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a length of time so that [`parse`] reads the same back; below a millisecond is cut off.
pub fn format(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (name, size) in UNITS {
        let count = millis / size;
        millis %= size;
        if count > 0 {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "{count}{name}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_with_units_are_read() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("2d"), Ok(Duration::from_hours(48)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn anything_else_is_refused_with_examples() {
        for bad in [
            "",
            "10",
            "s",
            "10 s",
            "1.5s",
            "-1s",
            "10sec",
            "30s1m",
            "1s1s",
            "1msx",
            "99999999999999999999s",
            "600000000000000d",
        ] {
            let error = parse(bad).expect_err(bad);
            assert!(error.to_string().contains("`500ms`, `10s` or `1m30s`"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis: u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = parse(&text);
        }
    }
}
