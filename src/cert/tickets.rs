//! TLS session tickets whose keys can be handed to the next process, so that clients resume after a hand-over as if nothing
//! had been. AES-256-GCM under a random nonce, the key named in front (RFC 5077 §4 in shape); a key makes tickets for 6 h and
//! opens them for 12. Keys are never written to disk.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::{Zeroize, Zeroizing};

use super::CertError;

/// For how long a key makes tickets. Seconds.
const MAKES: i64 = 6 * 3600;

/// For how long it opens them. Seconds.
const OPENS: i64 = 2 * MAKES;

/// Longest ticket that is looked at. Bytes; ours hold a session without client certificates.
const LONGEST: usize = 16 * 1024;

/// Bytes of a key's name.
const NAME: usize = 16;

/// Bytes of a key.
const KEY: usize = 32;

/// Makes and opens tickets.
pub struct Tickets {
    keys: RwLock<Keys>,
}

struct Keys {
    current: TicketKey,
    previous: Option<TicketKey>,
}

struct TicketKey {
    name: [u8; NAME],
    bytes: Zeroizing<[u8; KEY]>,
    sealing: RandomizedNonceKey,
    made_at: i64,
}

/// One key on its way to the next process. Wiped once it is there.
#[derive(Serialize, Deserialize)]
struct Handed {
    name: String,
    key: String,
    made_at: i64,
}

impl Drop for Handed {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

impl Tickets {
    /// With a fresh key. Fails if there is no randomness.
    pub fn new() -> Result<Tickets, CertError> {
        let current = TicketKey::fresh(now())?;
        Ok(Tickets { keys: RwLock::new(Keys { current, previous: None }) })
    }

    /// With the keys of a predecessor, as far as they can be read and are still good; a fresh one makes tickets where none is.
    pub fn handed_over(written: &serde_json::Value) -> Result<Tickets, CertError> {
        let handed = Vec::<Handed>::deserialize(written).unwrap_or_default();
        let mut keys: Vec<TicketKey> = handed.iter().filter_map(TicketKey::of).filter(|key| key.opens(now())).collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.made_at));
        let mut keys = keys.into_iter();
        let Some(current) = keys.next() else { return Tickets::new() };
        Ok(Tickets { keys: RwLock::new(Keys { current, previous: keys.next() }) })
    }

    /// The keys, for the next process.
    pub fn hand_over(&self) -> serde_json::Value {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Handed> = keys.previous.iter().chain([&keys.current]).map(TicketKey::handed).collect();
        serde_json::json!(all)
    }

    /// Has a key that may still make tickets at this moment.
    fn turn(&self, now: i64) {
        let is_due = |keys: &Keys| !(0..MAKES).contains(&(now - keys.current.made_at));
        if !is_due(&self.keys.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if is_due(&keys)
            && let Ok(fresh) = TicketKey::fresh(now)
        {
            keys.previous = Some(std::mem::replace(&mut keys.current, fresh));
        }
    }

    fn seal_at(&self, plain: &[u8], now: i64) -> Option<Vec<u8>> {
        self.turn(now);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let TicketKey { name, sealing, .. } = &keys.current;
        let mut sealed = plain.to_vec();
        let nonce = sealing.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn open_at(&self, ticket: &[u8], now: i64) -> Option<Vec<u8>> {
        if ticket.len() > LONGEST {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        // A key's name is no secret: every ticket shows it.
        let key = keys.previous.iter().chain([&keys.current]).find(|key| key.name == *name && key.opens(now))?;
        let mut opened = sealed.to_vec();
        let plain =
            key.sealing.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(name), &mut opened).ok()?;
        let length = plain.len();
        opened.truncate(length);
        Some(opened)
    }
}

impl TicketKey {
    fn fresh(made_at: i64) -> Result<TicketKey, CertError> {
        let no_randomness = |_| CertError::Tls(rustls::Error::FailedToGetRandomBytes);
        let (mut name, mut bytes) = ([0; NAME], Zeroizing::new([0; KEY]));
        aws_lc_rs::rand::fill(&mut name).map_err(no_randomness)?;
        aws_lc_rs::rand::fill(&mut *bytes).map_err(no_randomness)?;
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, &*bytes).map_err(no_randomness)?;
        Ok(TicketKey { name, bytes, sealing, made_at })
    }

    fn of(handed: &Handed) -> Option<TicketKey> {
        let name = STANDARD.decode(&handed.name).ok()?.try_into().ok()?;
        let bytes = Zeroizing::new(STANDARD.decode(&handed.key).ok()?);
        let bytes = Zeroizing::new(<[u8; KEY]>::try_from(&bytes[..]).ok()?);
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, &*bytes).ok()?;
        Some(TicketKey { name, bytes, sealing, made_at: handed.made_at })
    }

    fn handed(&self) -> Handed {
        Handed { name: STANDARD.encode(self.name), key: STANDARD.encode(*self.bytes), made_at: self.made_at }
    }

    fn opens(&self, now: i64) -> bool {
        (0..OPENS).contains(&(now - self.made_at))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(OPENS).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal_at(plain, now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open_at(ticket, now())
    }
}

/// Keys are never shown.
impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_to_what_was_sealed_and_to_nothing_once_touched() {
        let tickets = Tickets::new().unwrap();
        let ticket = tickets.encrypt(b"session").unwrap();
        assert_eq!(tickets.decrypt(&ticket).unwrap(), b"session");
        for at in 0..ticket.len() {
            let mut touched = ticket.clone();
            touched[at] ^= 1;
            assert_eq!(tickets.decrypt(&touched), None, "byte {at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "cut at {at}");
        }
        assert_eq!(tickets.decrypt(&vec![0; LONGEST + 1]), None);
    }

    #[test]
    fn a_key_makes_tickets_for_six_hours_and_opens_them_for_twelve() {
        let tickets = Tickets::new().unwrap();
        let began = now();
        let first = tickets.seal_at(b"a", began).unwrap();
        let same = tickets.seal_at(b"a", began + MAKES - 60).unwrap();
        assert_eq!(first[..NAME], same[..NAME]);
        let next = tickets.seal_at(b"a", began + MAKES + 60).unwrap();
        assert_ne!(first[..NAME], next[..NAME]);
        assert!(tickets.open_at(&first, began + MAKES + 60).is_some());
        assert!(tickets.open_at(&first, began + OPENS + 60).is_none());
    }

    #[test]
    fn the_next_process_opens_what_this_one_sealed() {
        let old = Tickets::new().unwrap();
        let ticket = old.encrypt(b"session").unwrap();
        let new = Tickets::handed_over(&old.hand_over()).unwrap();
        assert_eq!(new.decrypt(&ticket).unwrap(), b"session");
        assert_eq!(old.decrypt(&new.encrypt(b"later").unwrap()).unwrap(), b"later", "both may still be asked");
        let stranger = Tickets::handed_over(&serde_json::json!([{ "name": "x", "key": "y", "made_at": 0 }])).unwrap();
        assert_eq!(stranger.decrypt(&ticket), None, "what cannot be read is a fresh start");
        assert!(stranger.encrypt(b"goes on").is_some());
    }

    #[test]
    fn keys_are_never_shown() {
        assert_eq!(format!("{:?}", Tickets::new().unwrap()), "Tickets { .. }");
    }
}
