//! Search for a text in the beginning of a body that comes in chunks, without keeping the body.

/// So much of a body is searched.
pub(super) const SEARCHED: usize = 64 * 1024;

/// A search in progress.
#[derive(Debug)]
pub(super) struct Search<'n> {
    wanted: &'n [u8],
    /// End of what was seen, shorter than `wanted`: a match may begin there.
    tail: Vec<u8>,
    seen: usize,
}

/// How the search stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The text is there.
    Found,
    /// Not yet, and more of the body may be searched.
    More,
    /// [`SEARCHED`] bytes do not have it.
    Exhausted,
}

impl<'n> Search<'n> {
    /// A search for a text; the empty text is found in any body.
    pub(super) const fn new(wanted: &'n str) -> Self {
        Self { wanted: wanted.as_bytes(), tail: Vec::new(), seen: 0 }
    }

    /// How many bytes were searched.
    pub(super) const fn seen(&self) -> usize {
        self.seen
    }

    /// Looks at the next chunk.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Progress {
        if self.wanted.is_empty() {
            return Progress::Found;
        }
        let chunk = &chunk[..chunk.len().min(SEARCHED - self.seen)];
        self.seen += chunk.len();
        // A match across the border ends in the first `wanted - 1` bytes of the chunk.
        let keep = self.wanted.len() - 1;
        self.tail.extend_from_slice(&chunk[..chunk.len().min(keep)]);
        if contains(&self.tail, self.wanted) || contains(chunk, self.wanted) {
            return Progress::Found;
        }
        if chunk.len() >= keep {
            self.tail.clear();
            self.tail.extend_from_slice(&chunk[chunk.len() - keep..]);
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(keep));
        }
        if self.seen == SEARCHED { Progress::Exhausted } else { Progress::More }
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_searched_byte_counts_and_the_next_does_not() {
        let mut body = vec![b'.'; SEARCHED - 2];
        body.extend_from_slice(b"ok");
        assert_eq!(Search::new("ok").feed(&body), Progress::Found);
        body.insert(0, b'.');
        assert_eq!(Search::new("ok").feed(&body), Progress::Exhausted);
        assert_eq!(Search::new("").feed(b""), Progress::Found);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            body in "[ab]{0,60}", wanted in "[ab]{1,6}", cuts in prop::collection::vec(0usize..60, 0..8)
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.sort_unstable();
            cuts.push(body.len());
            let mut search = Search::new(&wanted);
            let (mut from, mut found) = (0, false);
            for cut in cuts {
                found |= search.feed(&body.as_bytes()[from..cut]) == Progress::Found;
                from = cut;
            }
            prop_assert_eq!(found, body.contains(&wanted));
        }
    }
}
