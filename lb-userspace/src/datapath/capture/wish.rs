//! What is to be copied. Pure.

use lb_common::reason::{Reason, Verdict};
use serde::{Deserialize, Serialize};

/// What is to be copied, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Labels of reasons; none: all whose packets are dropped.
    pub reasons: Vec<String>,
    /// One packet in so many; 1 to a million.
    pub every: u64,
    /// Packets after which it ends; up to 100 000.
    pub count: u64,
    /// Seconds after which it ends; up to an hour.
    pub seconds: u64,
}

/// Reasons whose packets are dropped: the bit by which the program knows each, and its label.
pub fn reasons() -> impl Iterator<Item = (u64, &'static str)> {
    Reason::ALL
        .iter()
        .filter(|reason| reason.verdict() == Verdict::Drop)
        .map(|reason| (1 << (*reason as u32 & 63), reason.as_str()))
}

impl Wish {
    /// The program's word for the reasons, or what is wrong with this wish.
    pub(super) fn mask(&self) -> Result<u64, String> {
        for (name, value, most) in
            [("every", self.every, 1_000_000), ("count", self.count, 100_000), ("for", self.seconds, 3_600)]
        {
            if !(1..=most).contains(&value) {
                return Err(format!("`{name}` must be from 1 to {most}, not {value}"));
            }
        }
        if self.reasons.is_empty() {
            return Ok(reasons().map(|(bit, _)| bit).sum());
        }
        self.reasons.iter().try_fold(0, |mask, wanted| {
            let found = reasons().find(|(_, label)| label == wanted);
            found.map(|(bit, _)| mask | bit).ok_or_else(|| {
                let all: Vec<_> = reasons().map(|(_, label)| label).collect();
                format!("packets are not dropped for `{wanted}`; captured can be: {}", all.join(", "))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(reasons: &[&str]) -> Wish {
        let reasons = reasons.iter().map(|r| (*r).to_owned()).collect();
        Wish { reasons, every: 1, count: 10, seconds: 10 }
    }

    #[test]
    fn reasons_become_the_bits_of_their_numbers() {
        let bit = |reason: Reason| 1u64 << reason as u32;
        assert_eq!(
            wish(&["blocked", "no_backend"]).mask(),
            Ok(bit(Reason::Blocked) | bit(Reason::NoBackend))
        );
        let all = wish(&[]).mask().unwrap();
        assert!(all & bit(Reason::TtlExpired) != 0 && all & bit(Reason::NotService) == 0);
        assert!(Reason::ALL.len() < 64, "a word has a bit for each");
    }

    #[test]
    fn what_is_not_dropped_cannot_be_captured_and_limits_hold() {
        assert!(wish(&["not_service"]).mask().unwrap_err().contains("no_backend"));
        for wrong in [
            Wish { every: 0, ..wish(&[]) },
            Wish { count: 100_001, ..wish(&[]) },
            Wish { seconds: 0, ..wish(&[]) },
        ] {
            assert!(wrong.mask().is_err(), "{wrong:?}");
        }
    }
}
