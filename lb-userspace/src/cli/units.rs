//! Durations and numbers for people.

use std::time::Duration;

/// Parses `90s`, `30m`, `2h`, `1d`, `1h30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration: write 90s, 30m, 2h, 1d or 1h30m");
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let n: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let mut unit = rest[digits..].chars();
        let factor = match unit.next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(wrong()),
        };
        seconds = n.checked_mul(factor).and_then(|n| seconds.checked_add(n)).ok_or_else(wrong)?;
        rest = unit.as_str();
    }
    if seconds == 0 {
        return Err(wrong());
    }
    Ok(Duration::from_secs(seconds))
}

/// Two units at most: `31s`, `4m10s`, `9d2h`.
pub fn age(seconds: u64) -> String {
    let (big, small) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        3_600..86_400 => ((seconds / 3_600, "h"), (seconds % 3_600 / 60, "m")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h")),
    };
    if small.0 == 0 {
        format!("{}{}", big.0, big.1)
    } else {
        format!("{}{}{}{}", big.0, big.1, small.0, small.1)
    }
}

/// A number per second: small ones with a digit more.
pub fn rate(n: f64) -> String {
    if n > 0.0 && n < 9.95 { format!("{n:.1}") } else { short(n) }
}

/// A count, with `~` when it is an estimate.
pub fn estimate(count: u64, exact: bool) -> String {
    if exact { count.to_string() } else { format!("~{count}") }
}

/// Seconds from `then` to `now`, both since 1970; 0 when the clock went back.
pub const fn since(then: u64, now: u64) -> u64 {
    now.saturating_sub(then)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Seconds as milliseconds: `4ms`, `0.3ms`, `1.2s`.
pub fn latency(seconds: f64) -> String {
    match seconds * 1_000.0 {
        ms if ms >= 1_000.0 => format!("{seconds:.1}s"),
        ms if ms >= 9.95 => format!("{ms:.0}ms"),
        ms => format!("{ms:.1}ms"),
    }
}

/// Three digits and a letter: `880`, `8.8k`, `88k`, `1.2M`.
pub fn short(n: f64) -> String {
    let mut n = n;
    for letter in ["", "k", "M", "G", "T"] {
        if n < 999.5 {
            return if n < 9.95 && !letter.is_empty() {
                format!("{n:.1}{letter}")
            } else {
                format!("{n:.0}{letter}")
            };
        }
        n /= 1_000.0;
    }
    format!("{n:.0}P")
}

/// A part of a whole as a percentage.
pub fn percent(part: u32, whole: u32) -> String {
    if whole == 0 {
        return "-".into();
    }
    format!("{:.1}%", f64::from(part) * 100.0 / f64::from(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_may_have_several() {
        let seconds = |text| parse_duration(text).map(|d| d.as_secs()).ok();
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("1h30m"), Some(5_400));
        assert_eq!(seconds("1d"), Some(86_400));
        for wrong in
            ["", "30", "m", "3x", "-1s", "0s", "1é", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ages_have_two_units() {
        assert_eq!(age(31), "31s");
        assert_eq!(age(250), "4m10s");
        assert_eq!(age(3_600), "1h");
        assert_eq!(age(9 * 86_400 + 2 * 3_600 + 59), "9d2h");
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(short(0.0), "0");
        assert_eq!(short(880.0), "880");
        assert_eq!(short(8_800.0), "8.8k");
        assert_eq!(short(88_000.0), "88k");
        assert_eq!(short(999_700.0), "1.0M");
        assert_eq!(latency(0.0042), "4.2ms");
        assert_eq!(latency(1.25), "1.2s");
        assert_eq!(percent(1, 3), "33.3%");
    }
}
