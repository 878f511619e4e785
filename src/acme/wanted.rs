//! What the file wants of one certificate, and how far what is stored answers that.

use std::path::PathBuf;
use std::sync::Arc;

use super::order::{key_type_word, name_of};
use super::placeless::Placeless;
use super::schedule::{Facts, Lifetime, Unfit};
use super::state::{CertFolder, CertState, StoredPair};
use crate::cert::{CertError, Certificate, CertificateOrigin, TlsFactory, read_file};
use crate::config::{AcmeSpec, CertSource, CertSpec, ExportSpec};

/// One `[cert.<id>]` that there is something to do for.
#[derive(Clone, PartialEq, Debug)]
pub struct Wanted {
    /// The key.
    pub id: Arc<str>,
    /// Where the pair comes from.
    pub source: Source,
    /// To whom it is handed on.
    pub exports: Vec<ExportSpec>,
}

/// Where a pair comes from.
#[expect(clippy::large_enum_variant, reason = "a file has a handful of certificates")]
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// It is ordered.
    Order(AcmeSpec),
    /// Somebody else keeps it; it is only handed on.
    Files {
        /// Chain.
        cert: PathBuf,
        /// Key.
        key: PathBuf,
    },
}

impl Wanted {
    /// What there is to do for a certificate of the file, wherever in it that is written.
    pub fn of(spec: &CertSpec) -> Wanted {
        let source = match &spec.source {
            CertSource::Acme(order) => {
                let mut order = order.clone();
                order.forget_place();
                Source::Order(order)
            }
            CertSource::Files { cert, key } => Source::Files { cert: cert.value.clone(), key: key.value.clone() },
        };
        let mut exports = spec.exports.clone();
        exports.forget_place();
        Wanted { id: Arc::clone(&spec.id.value), source, exports }
    }

    /// What is ordered, if it is.
    pub fn order(&self) -> Option<&AcmeSpec> {
        match &self.source {
            Source::Order(order) => Some(order),
            Source::Files { .. } => None,
        }
    }

    /// The pair as it lies on disk now.
    pub fn load(&self, folder: &CertFolder, factory: &TlsFactory) -> Result<StoredPair, CertError> {
        let Source::Files { cert, key } = &self.source else { return folder.load(factory) };
        let (cert_pem, key_pem) = (read_file(cert)?, read_file(key)?);
        let origin = CertificateOrigin::Files { cert: cert.clone(), key: key.clone() };
        let certificate = factory.certificate_from_pem(Arc::clone(&self.id), &cert_pem, &key_pem, origin)?;
        Ok(StoredPair { cert_pem, key_pem, certificate })
    }
}

/// The names of an order, as certificates write them.
pub fn names_of(order: &AcmeSpec) -> Vec<String> {
    order.names.iter().map(|name| name_of(&name.value)).collect()
}

/// The first name of the order that a certificate does not have.
pub fn missing_name(order: &AcmeSpec, certificate: &Certificate) -> Option<String> {
    names_of(order).into_iter().find(|name| match name.starts_with("*.") {
        true => !certificate.names().iter().any(|listed| **listed == **name),
        false => !certificate.covers(name),
    })
}

/// All that the schedule needs to know. `stored`: the pair, or that there is one which cannot be used.
pub fn facts(order: &AcmeSpec, state: &CertState, stored: Option<Result<&Certificate, ()>>, now: i64) -> Facts {
    let certificate = stored.and_then(Result::ok);
    let unfit = match stored {
        None => None,
        Some(Err(())) => Some(Unfit::Damaged),
        Some(Ok(certificate)) => unfit(order, state, certificate),
    };
    let life =
        certificate.map(|c| Lifetime { from: c.not_before().unix_timestamp(), until: c.not_after().unix_timestamp() });
    Facts {
        certificate: life,
        unfit,
        window: certificate.and_then(|certificate| state.window_for(certificate.serial())),
        renew_days: order.renew_days.as_ref().map(|days| days.value),
        trouble: state.trouble(),
        rushes: state.rushes,
        last_issue: state.last_success,
        now,
        seed: state.seed,
    }
}

fn unfit(order: &AcmeSpec, state: &CertState, certificate: &Certificate) -> Option<Unfit> {
    if missing_name(order, certificate).is_some() {
        return Some(Unfit::Names);
    }
    // What was imported is as good as what was ordered, until it is renewed.
    let issued = state.issued.as_ref()?;
    if issued.directory != order.ca.directory.value {
        return Some(Unfit::Authority);
    }
    if issued.key_type.as_deref().is_some_and(|kind| kind != key_type_word(order.key_type)) {
        return Some(Unfit::KeyType);
    }
    let profile = order.ca.profile.as_ref().map(|profile| profile.value.as_str());
    (issued.profile.as_deref() != profile && issued.key_type.is_some()).then_some(Unfit::Profile)
}

/// A name to ask for in a handshake, so that this certificate should answer.
pub fn name_to_ask(certificate: &Certificate) -> String {
    let names = certificate.names();
    let exact = names.iter().find(|name| !name.starts_with("*."));
    match (exact, names.first()) {
        (Some(exact), _) => exact.to_string(),
        (None, Some(wildcard)) => wildcard.replacen('*', "probe", 1),
        (None, None) => "probe.invalid".to_owned(),
    }
}
