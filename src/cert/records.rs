//! How records of TLS 1.3 are sealed: straight from where their plaintext lies. rustls copies it into the record and encrypts it
//! there; the copy was an eighth of all the time that a download took. Key, nonce and the bytes on the wire are the same.

use std::iter::repeat_n;
use std::slice;

use aws_lc_rs::aead::{self, Aad, TlsProtocolId, TlsRecordSealingKey};
use rustls::crypto::cipher::{
    AeadKey, Iv, MessageDecrypter, MessageEncrypter, Nonce, OutboundChunks, OutboundOpaqueMessage,
    OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm, UnsupportedOperationError, make_tls13_aad,
};
use rustls::crypto::tls13::Hkdf;
use rustls::{
    CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite,
    Tls13CipherSuite,
};

/// Bytes that are copied at once. A copy of more than 2,112 is made by an instruction (`rep movsb`) that takes three times as
/// long on AMD's Zen 3 and 4 (glibc bug 30994, in Debian 12).
const PIECE: usize = 2048;

/// The suite with its records sealed by us; as it is, if it is not one of TLS 1.3.
pub(super) fn straight(suite: SupportedCipherSuite, algorithm: &'static aead::Algorithm) -> SupportedCipherSuite {
    let Some(&Tls13CipherSuite { ref common, hkdf_provider, aead_alg, quic }) = suite.tls13() else { return suite };
    let CipherSuiteCommon { suite, hash_provider, confidentiality_limit } = *common;
    let hkdf_provider: &'static dyn Hkdf = hkdf_provider;
    // Suites are static for rustls; there are as many as are named.
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon { suite, hash_provider, confidentiality_limit },
        hkdf_provider,
        aead_alg: Box::leak(Box::new(Straight { library: aead_alg, algorithm })),
        quic,
    })))
}

/// The library's algorithm, but for sealing.
struct Straight {
    library: &'static dyn Tls13AeadAlgorithm,
    algorithm: &'static aead::Algorithm,
}

impl Tls13AeadAlgorithm for Straight {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        match TlsRecordSealingKey::new(self.algorithm, TlsProtocolId::TLS13, key.as_ref()) {
            Ok(key) => Box::new(Sealer { key, iv }),
            Err(_) => self.library.encrypter(key, iv),
        }
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.library.decrypter(key, iv)
    }

    fn key_len(&self) -> usize {
        self.library.key_len()
    }

    fn extract_keys(&self, key: AeadKey, iv: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.library.extract_keys(key, iv)
    }
}

/// Seals the records of one direction under one key.
struct Sealer {
    key: TlsRecordSealingKey,
    iv: Iv,
}

impl MessageEncrypter for Sealer {
    /// A record (RFC 8446 §5.2): what `TLSInnerPlaintext` holds, encrypted, and the tag.
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error> {
        let length = self.encrypted_payload_len(message.payload.len());
        let mut record = PrefixedPayload::with_capacity(length);
        let nonce = aead::Nonce::assume_unique_for_key(Nonce::new(&self.iv, seq).0);
        let aad = Aad::from(make_tls13_aad(length));
        let kind = [u8::from(message.typ)];
        match long_part(&message.payload) {
            Some(plaintext) => {
                record.extend(repeat_n(&0, length));
                let (text, rest) = record.as_mut().split_at_mut(plaintext.len());
                self.key.seal_out_of_place_scatter(nonce, aad, plaintext, text, &kind, rest)
            }
            None => {
                parts(&message.payload)
                    .flat_map(|part| part.chunks(PIECE))
                    .for_each(|piece| record.extend_from_slice(piece));
                record.extend_from_slice(&kind);
                self.key.seal_in_place_append_tag(nonce, aad, &mut record)
            }
        }
        .map_err(|_| Error::EncryptError)?;
        // Every protected record is called application data of TLS 1.2 (§5.2).
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, record))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + 1 + self.key.algorithm().tag_len()
    }
}

/// All of a record's plaintext, if it lies in one place and is worth not being copied.
fn long_part<'a>(payload: &OutboundChunks<'a>) -> Option<&'a [u8]> {
    let mut parts = parts(payload);
    let first = parts.next()?;
    (first.len() > PIECE && parts.next().is_none()).then_some(first)
}

/// Where a record's plaintext lies; no part is empty.
fn parts<'s, 'a>(payload: &'s OutboundChunks<'a>) -> impl Iterator<Item = &'a [u8]> + use<'s, 'a> {
    let (chunks, start, end) = match payload {
        OutboundChunks::Single(chunk) => (slice::from_ref(chunk), 0, chunk.len()),
        OutboundChunks::Multiple { chunks, start, end } => (*chunks, *start, *end),
    };
    let mut before = 0;
    chunks.iter().filter_map(move |chunk| {
        let inside = |at: usize| at.saturating_sub(before).min(chunk.len());
        let (from, to) = (inside(start), inside(end));
        before += chunk.len();
        (from < to).then(|| &chunk[from..to])
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::aead::AES_256_GCM;
    use rustls::crypto::aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};

    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const IV: [u8; 12] = [9; 12];

    fn sealed_by(
        algorithm: &dyn Tls13AeadAlgorithm,
        payloads: &[OutboundChunks<'_>],
        typ: ContentType,
    ) -> Vec<Vec<u8>> {
        let mut encrypter = algorithm.encrypter(KEY.into(), IV.into());
        let seal = |(payload, seq): (&OutboundChunks<'_>, u64)| {
            let message = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_3, payload: payload.clone() };
            encrypter.encrypt(message, seq).unwrap().encode()
        };
        payloads.iter().zip(0..).map(seal).collect()
    }

    #[test]
    fn a_record_is_byte_by_byte_what_the_library_makes_wherever_its_plaintext_lies() {
        let library = TLS13_AES_256_GCM_SHA384;
        let ours = straight(library, &AES_256_GCM);
        let text: Vec<u8> = (0..=250).cycle().take(40_000).collect();
        let whole = |length: usize| OutboundChunks::Single(&text[..length]);
        let two: [&[u8]; 2] = [&text[..9], &text[9..]];
        let four: [&[u8]; 4] = [&text[..5_000], &[], &text[5_000..5_001], &text[5_001..]];
        let mut payloads: Vec<_> = [0, 1, PIECE, PIECE + 1, 5_000, 16_384].map(whole).into();
        for chunks in [&two[..], &four[..]] {
            for (start, end) in [(0, 16_384), (9, 9 + 16_384), (100, 5_000), (4_999, 5_002), (20_000, 36_384), (7, 7)] {
                payloads.push(OutboundChunks::Multiple { chunks, start, end });
            }
        }
        let [library, ours] = [library, ours].map(|suite| suite.tls13().unwrap().aead_alg);
        for typ in [ContentType::ApplicationData, ContentType::Handshake, ContentType::Alert] {
            let (expected, found) = (sealed_by(library, &payloads, typ), sealed_by(ours, &payloads, typ));
            assert_eq!(expected.len(), payloads.len());
            assert!(found == expected);
        }
    }

    #[test]
    fn plaintext_is_copied_only_where_it_is_short_or_lies_in_more_than_one_place() {
        let text = vec![1; 40_000];
        let chunks: [&[u8]; 3] = [&text[..9], &[], &text[9..]];
        let part = |start, end| long_part(&OutboundChunks::Multiple { chunks: &chunks, start, end }).map(<[u8]>::len);
        assert_eq!(part(0, 16_384), None, "in two places");
        assert_eq!(part(9, 16_393), Some(16_384));
        assert_eq!(part(9, 9 + PIECE), None, "short");
        assert_eq!(long_part(&OutboundChunks::Single(&text)), Some(&text[..]));
        assert_eq!(long_part(&OutboundChunks::new_empty()), None);
    }

    #[test]
    fn a_suite_stays_what_it_is_but_for_sealing() {
        let ours = straight(TLS13_AES_128_GCM_SHA256, &aead::AES_128_GCM);
        assert_eq!(ours, TLS13_AES_128_GCM_SHA256);
        let limit = |suite: SupportedCipherSuite| suite.tls13().unwrap().common.confidentiality_limit;
        assert_eq!(limit(ours), limit(TLS13_AES_128_GCM_SHA256));
        let old = rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
        assert!(straight(old, &aead::AES_128_GCM).tls13().is_none());
    }
}
