//! The short id that a refusal page, an access record and the log share.
//! It names a request; it is no secret and grants nothing.

use std::fmt;
use std::str::FromStr;

/// 80 random bits: no two alike in the life of a home, and nothing to learn from one about the next.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 10]);

/// A text that is no request id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a request id; it has 16 characters, `a` to `z` and `2` to `7`, as pages and records show it")]
pub struct RequestIdError;

/// RFC 4648 §6, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Characters of a written id.
const WRITTEN: usize = 16;

impl RequestId {
    /// A fresh id from the thread's own generator: no system call in the steady state.
    pub fn random() -> RequestId {
        RequestId(rand::random())
    }

    /// The written form, without an allocation.
    pub fn written(self) -> [u8; WRITTEN] {
        let mut bits = self.0.iter().fold(0u128, |bits, &byte| bits << 8 | u128::from(byte));
        let mut text = [0; WRITTEN];
        for place in text.iter_mut().rev() {
            *place = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written().iter().try_for_each(|&byte| fmt::Write::write_char(f, char::from(byte)))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<RequestId, RequestIdError> {
        if text.len() != WRITTEN {
            return Err(RequestIdError);
        }
        let mut bits = 0u128;
        for byte in text.bytes() {
            let value = ALPHABET.iter().position(|&letter| letter == byte).ok_or(RequestIdError)?;
            bits = bits << 5 | value as u128;
        }
        let mut id = [0; 10];
        id.copy_from_slice(&bits.to_be_bytes()[6..]);
        Ok(RequestId(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_rfc_4648_base32_in_lower_case() {
        assert_eq!(RequestId([0; 10]).to_string(), "aaaaaaaaaaaaaaaa");
        assert_eq!(RequestId([0xff; 10]).to_string(), "7777777777777777");
        // "foobarbazq" from any base32 tool.
        assert_eq!(RequestId(*b"foobarbazq").to_string(), "mzxw6ytbojrgc6tr");
    }

    #[test]
    fn an_id_reads_back_from_what_was_written() {
        for _ in 0..1_000 {
            let id = RequestId::random();
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "mzxw6ytboi", "MZXW6YTBOJRGC6TR", "mzxw6ytboj1gc6tr", "mzxw6ytbojrgc6trr", "mzxw6ytbojrgc6é"]
        {
            assert_eq!(text.parse::<RequestId>(), Err(RequestIdError), "{text:?}");
        }
    }

    #[test]
    fn two_ids_differ() {
        assert_ne!(RequestId::random(), RequestId::random());
    }
}
