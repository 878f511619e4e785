//! TSIG (RFC 8945): the key of a file, messages signed with it, answers checked against it.
//! Refuses MACs that were cut short, and algorithms that are broken (HMAC-MD5).

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::tsig::{
    TSIG, TsigAlgorithm, TsigError, make_tsig_record, message_tbs, signed_bitmessage_to_buf,
};

use crate::acme::read_secret;
use crate::acme::wire::fqdn;
use crate::config::DnsSpec;
use crate::model::Secret;

use super::{DnsError, DnsStep};

/// How far the clocks may be apart, in seconds (RFC 8945 §10 recommends 300).
const FUDGE: u16 = 300;

/// A key, ready to sign with.
pub(super) struct TsigKey {
    /// Its name on the server.
    pub(super) name: Name,
    algorithm: TsigAlgorithm,
    key: hmac::Key,
}

impl TsigKey {
    /// Reads the key that the file names. What the file says wins over what the key file says.
    pub(super) fn read(spec: &DnsSpec) -> Result<TsigKey, DnsError> {
        let setup = |said: &str| DnsError::new(DnsStep::Setup, "rfc2136", said);
        let path = &spec.key_file.as_ref().ok_or_else(|| setup("it needs `key_file`"))?.value;
        let wanted = spec.key.as_ref().map(|key| key.value.as_str());
        let text = read_secret(path)?;
        let fault = |said: &str| DnsError::new(DnsStep::Secret, path.display().to_string(), said);
        let written = KeyText::parse(&text, wanted).map_err(fault)?;
        let Some(name) = wanted.or(written.name.as_deref()) else {
            return Err(fault("it has no name of the key; write `key = \"…\"` beside `key_file`"));
        };
        let name = fqdn(name).map_err(|said| fault(&said))?;
        let algorithm = spec.algorithm.as_ref().map(|algorithm| algorithm.value.as_str());
        let algorithm = algorithm.or(written.algorithm.as_deref()).unwrap_or("hmac-sha256");
        let (algorithm, hash) =
            algorithm_of(algorithm).ok_or_else(|| fault("its algorithm is not one of hmac-sha1 to hmac-sha512"))?;
        let bytes = decode(written.secret.reveal()).map_err(fault)?;
        Ok(TsigKey { name, algorithm, key: hmac::Key::new(hash, &bytes) })
    }

    /// Signs a message, and gives the MAC that the answer is checked with. `now`: seconds since 1970.
    pub(super) fn sign(&self, message: &mut Message, now: u64) -> Result<Vec<u8>, String> {
        let id = message.metadata.id;
        let unsigned = TSIG::new(self.algorithm.clone(), now, FUDGE, Vec::new(), id, None, Vec::new());
        let signed = message_tbs(message, &unsigned, &self.name).map_err(|fault| fault.to_string())?;
        let mac = hmac::sign(&self.key, &signed).as_ref().to_vec();
        message.set_signature(Box::new(make_tsig_record(self.name.clone(), unsigned.set_mac(mac.clone()))));
        Ok(mac)
    }

    /// Checks the answer to a message with this MAC, and gives it. `Err` in words.
    pub(super) fn open(&self, answer: &[u8], mac: &[u8], now: u64) -> Result<Message, String> {
        let message = Message::from_vec(answer).map_err(|_| "its answer is no DNS message".to_owned())?;
        let Some(record) = message.signature() else {
            let code = message.metadata.response_code;
            return Err(format!("{code}, in an answer that is not signed"));
        };
        let tsig = &record.data;
        match tsig.error {
            Some(TsigError::BadKey) => {
                return Err(format!("it does not know the key {} with {}", self.name, self.algorithm));
            }
            Some(TsigError::BadSig) => return Err(format!("the secret is not that of its key {}", self.name)),
            Some(TsigError::BadTime) => {
                return Err(format!("its clock and ours are {} s apart", tsig.time.abs_diff(now)));
            }
            Some(other) => return Err(format!("it does not accept the signature (TSIG error {})", u16::from(other))),
            None => {}
        }
        let (signed, record) = signed_bitmessage_to_buf(answer, Some(mac), true).map_err(|fault| fault.to_string())?;
        let is_ours = record.name == self.name && record.data.algorithm == self.algorithm;
        if !is_ours || hmac::verify(&self.key, &signed, &record.data.mac).is_err() {
            return Err("its answer is signed wrongly".to_owned());
        }
        if record.data.time.abs_diff(now) > u64::from(FUDGE) {
            return Err("its answer is from another time".to_owned());
        }
        Ok(message)
    }
}

fn algorithm_of(word: &str) -> Option<(TsigAlgorithm, hmac::Algorithm)> {
    Some(match word.trim_end_matches('.').to_ascii_lowercase().as_str() {
        "hmac-sha1" => (TsigAlgorithm::HmacSha1, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        "hmac-sha224" => (TsigAlgorithm::HmacSha224, hmac::HMAC_SHA224),
        "hmac-sha256" => (TsigAlgorithm::HmacSha256, hmac::HMAC_SHA256),
        "hmac-sha384" => (TsigAlgorithm::HmacSha384, hmac::HMAC_SHA384),
        "hmac-sha512" => (TsigAlgorithm::HmacSha512, hmac::HMAC_SHA512),
        _ => return None,
    })
}

fn decode(secret: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, &'static str> {
    match STANDARD.decode(secret) {
        Ok(bytes) if !bytes.is_empty() => Ok(zeroize::Zeroizing::new(bytes)),
        _ => Err("its secret is not base64; give the file that `tsig-keygen` wrote, or the bare base64 secret"),
    }
}

/// What a key file says.
struct KeyText {
    name: Option<String>,
    algorithm: Option<String>,
    secret: Secret,
}

impl KeyText {
    /// Reads BIND's `key "name" { algorithm …; secret "…"; };`, or a bare secret. Of several keys, the wanted one.
    fn parse(text: &Secret, wanted: Option<&str>) -> Result<KeyText, &'static str> {
        let words = words(text.reveal());
        if !words.contains(&"{") {
            return match words.as_slice() {
                [secret] => Ok(KeyText { name: None, algorithm: None, secret: Secret::new((*secret).to_owned()) }),
                _ => Err("neither a key as `tsig-keygen` writes it nor a bare base64 secret"),
            };
        }
        let mut keys = Vec::new();
        for (at, _) in words.iter().enumerate().filter(|(_, word)| **word == "key") {
            let (Some(name), Some(&"{")) = (words.get(at + 1), words.get(at + 2)) else { continue };
            let inside = words.iter().skip(at + 3).take_while(|word| **word != "}");
            let inside: Vec<&str> = inside.copied().collect();
            let value = |key: &str| {
                let at = inside.iter().position(|word| *word == key)?;
                inside.get(at + 1).copied()
            };
            let Some(secret) = value("secret") else { continue };
            let algorithm = value("algorithm").map(str::to_owned);
            keys.push(KeyText { name: Some((*name).to_owned()), algorithm, secret: Secret::new(secret.to_owned()) });
        }
        let same =
            |name: &str, wanted: &str| name.trim_end_matches('.').eq_ignore_ascii_case(wanted.trim_end_matches('.'));
        match (wanted, keys.len()) {
            (_, 0) => Err("no `key \"…\" { algorithm …; secret \"…\"; };` with a secret in it"),
            (None, 1) => keys.pop().ok_or("no key"),
            (None, _) => Err("it has several keys; write which: `key = \"…\"`"),
            (Some(wanted), _) => {
                let found = keys.into_iter().find(|key| key.name.as_deref().is_some_and(|name| same(name, wanted)));
                found.ok_or("it has no key of the name that `key` gives")
            }
        }
    }
}

/// Words and braces of a BIND file; comments, quotes and semicolons taken away.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' | '}' => 1,
            _ if rest.starts_with("//") || first == '#' => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => rest.get(1..).and_then(|inside| inside.find('"')).map_or(rest.len(), |end| end + 2),
            _ if first.is_whitespace() || first == ';' => first.len_utf8(),
            _ => rest.find(|c: char| c.is_whitespace() || "{};\"#".contains(c)).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(length);
        rest = after;
        let is_empty = word.trim().is_empty() || word == ";";
        if !is_empty && first != '#' && !word.starts_with("//") && !word.starts_with("/*") {
            words.push(word.trim_matches('"'));
        }
    }
    words
}

#[cfg(test)]
mod tests;
