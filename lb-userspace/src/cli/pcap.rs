//! Capture files: pcap and pcapng are read, pcapng is written, because only that has room for the reason of a drop. Pure.

/// Link type "Ethernet".
const ETHERNET: u32 = 1;
/// Block types of pcapng.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;
/// The number by which a section says in which order its bytes are.
const ORDER: u32 = 0x1a2b_3c4d;

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Something else.
    #[error("this is neither a pcap nor a pcapng file")]
    Unknown,
    /// Of another link.
    #[error("its frames are not Ethernet (link type {0}); capture on the interface itself, not on `any`")]
    Link(u32),
    /// Cut.
    #[error("the file ends in the middle of a frame, or contradicts itself")]
    Cut,
}

/// The frames of a file, at most `most`.
pub fn frames(file: &[u8], most: usize) -> Result<Vec<Vec<u8>>, Unreadable> {
    let first = file.first_chunk::<4>().ok_or(Unreadable::Unknown)?;
    match u32::from_le_bytes(*first) {
        SECTION => blocks(file, most),
        0xa1b2_c3d4 | 0xa1b2_3c4d => records(&Reader { bytes: file, big: false }, most),
        _ => match u32::from_be_bytes(*first) {
            0xa1b2_c3d4 | 0xa1b2_3c4d => records(&Reader { bytes: file, big: true }, most),
            _ => Err(Unreadable::Unknown),
        },
    }
}

/// A file in one byte order.
#[derive(Clone, Copy)]
struct Reader<'f> {
    bytes: &'f [u8],
    big: bool,
}

impl<'f> Reader<'f> {
    fn slice(&self, at: usize, len: usize) -> Result<&'f [u8], Unreadable> {
        at.checked_add(len).and_then(|end| self.bytes.get(at..end)).ok_or(Unreadable::Cut)
    }

    fn word(&self, at: usize) -> Result<u32, Unreadable> {
        let bytes = self.slice(at, 4)?.try_into().map_err(|_| Unreadable::Cut)?;
        Ok(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn half(&self, at: usize) -> Result<u16, Unreadable> {
        let bytes = self.slice(at, 2)?.try_into().map_err(|_| Unreadable::Cut)?;
        Ok(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn size(&self, at: usize) -> Result<usize, Unreadable> {
        usize::try_from(self.word(at)?).map_err(|_| Unreadable::Cut)
    }
}

/// pcap: a header of 24 bytes, then records of 16 bytes and a frame.
fn records(file: &Reader<'_>, most: usize) -> Result<Vec<Vec<u8>>, Unreadable> {
    // The upper bits say whether frames end with their checksum.
    match file.word(20)? & 0x0fff_ffff {
        ETHERNET => {}
        other => return Err(Unreadable::Link(other)),
    }
    let mut frames = Vec::new();
    let mut at = 24;
    while at < file.bytes.len() && frames.len() < most {
        let len = file.size(at + 8)?;
        frames.push(file.slice(at + 16, len)?.to_vec());
        at += 16 + len;
    }
    Ok(frames)
}

/// pcapng: blocks of type, length, body, length.
fn blocks(file: &[u8], most: usize) -> Result<Vec<Vec<u8>>, Unreadable> {
    let mut reader = Reader { bytes: file, big: false };
    let mut links: Vec<u32> = Vec::new();
    let mut frames = Vec::new();
    let mut at = 0;
    while at < file.len() && frames.len() < most {
        if reader.word(at)? == SECTION {
            reader.big = Reader { big: true, ..reader }.word(at + 8)? == ORDER;
            links.clear();
        }
        let (kind, len) = (reader.word(at)?, reader.size(at + 4)?);
        if len < 12 {
            return Err(Unreadable::Cut);
        }
        let body = Reader { bytes: &reader.slice(at, len)?[8..len - 4], ..reader };
        let frame = match kind {
            INTERFACE => {
                links.push(u32::from(body.half(0)?));
                None
            }
            ENHANCED => Some((body.size(0)?, body.slice(20, body.size(12)?)?)),
            SIMPLE => {
                let len = body.size(0)?.min(body.bytes.len().saturating_sub(4));
                Some((0, body.slice(4, len)?))
            }
            _ => None,
        };
        if let Some((interface, bytes)) = frame {
            match links.get(interface) {
                Some(&ETHERNET) => frames.push(bytes.to_vec()),
                Some(&other) => return Err(Unreadable::Link(other)),
                None => return Err(Unreadable::Cut),
            }
        }
        at += len;
    }
    Ok(frames)
}

/// What a file of ours begins with: a section, and the one interface.
pub fn begin() -> Vec<u8> {
    let mut section = Vec::new();
    section.extend(ORDER.to_le_bytes());
    section.extend([1, 0, 0, 0]);
    // Its length is not known.
    section.extend(u64::MAX.to_le_bytes());
    option(&mut section, 4, format!("lbctl {}", env!("CARGO_PKG_VERSION")).as_bytes());
    end_of_options(&mut section);
    let mut interface = Vec::new();
    interface.extend(ETHERNET.to_le_bytes());
    // No limit is promised.
    interface.extend([0; 4]);
    option(&mut interface, 2, b"lbd drops");
    end_of_options(&mut interface);
    [block(SECTION, &section), block(INTERFACE, &interface)].concat()
}

/// A frame with its time (seconds since 1970), its whole length and a comment.
pub fn frame(bytes: &[u8], at: f64, length: u64, comment: &str) -> Vec<u8> {
    #[expect(clippy::cast_sign_loss, reason = "no time is before 1970")]
    let micros = (at.max(0.0) * 1e6) as u64;
    let mut body = vec![0; 4];
    body.extend(((micros >> 32) as u32).to_le_bytes());
    body.extend((micros as u32).to_le_bytes());
    body.extend((bytes.len() as u32).to_le_bytes());
    body.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    body.extend(bytes);
    pad(&mut body);
    option(&mut body, 1, comment.as_bytes());
    end_of_options(&mut body);
    block(ENHANCED, &body)
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A classic file as tcpdump writes it, in either byte order.
    fn classic(big: bool, frames: &[&[u8]]) -> Vec<u8> {
        let word = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut file = word(0xa1b2_c3d4).to_vec();
        file.extend([0; 12]);
        file.extend(word(262_144));
        file.extend(word(ETHERNET));
        for frame in frames {
            file.extend([0; 8]);
            file.extend(word(frame.len() as u32));
            file.extend(word(frame.len() as u32));
            file.extend(*frame);
        }
        file
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut file = begin();
        file.extend(frame(&[1; 61], 1_704_067_200.5, 61, "no_backend"));
        file.extend(frame(&[2; 64], 1_704_067_201.0, 9_000, "blocked"));
        assert_eq!(frames(&file, 10), Ok(vec![vec![1; 61], vec![2; 64]]));
        assert_eq!(frames(&file, 1), Ok(vec![vec![1; 61]]));
        assert!(file.windows(10).any(|w| w == b"no_backend"));
        assert_eq!(file.len() % 4, 0);
    }

    #[test]
    fn classic_files_are_read_in_both_byte_orders() {
        for big in [false, true] {
            assert_eq!(frames(&classic(big, &[&[1, 2, 3], &[4]]), 9), Ok(vec![vec![1, 2, 3], vec![4]]));
        }
    }

    #[test]
    fn other_files_other_links_and_cut_files_are_refused() {
        assert_eq!(frames(b"#!/bin/sh", 1), Err(Unreadable::Unknown));
        assert_eq!(frames(b"", 1), Err(Unreadable::Unknown));
        let mut cooked = classic(false, &[&[1]]);
        cooked[20] = 113;
        assert_eq!(frames(&cooked, 1), Err(Unreadable::Link(113)));
        let mut whole = begin();
        whole.extend(frame(&[1; 61], 0.0, 61, "x"));
        let files = [whole, classic(false, &[&[1; 60]])];
        for file in files {
            for end in 4..file.len() {
                // Whatever is cut off, there is an answer.
                if let Ok(some) = frames(&file[..end], 9) {
                    assert!(some.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_block_that_claims_no_length_does_not_hold_us_up() {
        let mut file = begin();
        file.extend([6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(frames(&file, 9), Err(Unreadable::Cut));
    }
}
