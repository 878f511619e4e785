//! When the CA would like a certificate renewed (RFC 9773): asked as often as it says, remembered over restarts.
//! Refuses to fail anything: a window that is not known is one that does not count.

use instant_acme::CertificateIdentifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Keeper, now};
use crate::acme::order::explain;
use crate::acme::report::moment;
use crate::acme::schedule::back_off;
use crate::acme::state::KnownWindow;
use crate::config::AcmeSpec;

/// How often the CA may be asked for its renewal window. Seconds.
const WINDOW_AGAIN: std::ops::RangeInclusive<i64> = 5..=24 * 3600;

impl Keeper {
    /// Asks the CA when it would like the certificate renewed (RFC 9773).
    pub(super) async fn ask_window(&mut self, order: &AcmeSpec, at_once: bool) {
        let Some(id) = self.identifier(order) else { return };
        let Some(Ok(pair)) = &self.pair else { return };
        let serial = pair.certificate.serial().to_owned();
        let known = self.state.window.as_ref().filter(|known| known.serial == serial);
        // Asked in the future: the clock was set back.
        if !at_once && known.is_some_and(|known| known.asked_at <= now() && now() < known.again_at) {
            return;
        }
        let (old, failures) = known.map_or((None, 0), |known| (known.window, known.failures));
        let asked_at = now();
        let answer = match self.bench.accounts.open(order).await {
            Err(failure) => Err(failure),
            Ok(open) => match open.account.renewal_info(&id).await {
                Ok(answer) => Ok(Some(answer)),
                Err(instant_acme::Error::Unsupported(_)) => Ok(None),
                Err(error) => Err(explain("window", &error, &open.client)),
            },
        };
        let mut known = KnownWindow { serial, window: None, explanation: None, asked_at, again_at: 0, failures: 0 };
        match answer {
            Ok(None) => known.again_at = asked_at + WINDOW_AGAIN.end(),
            Ok(Some((info, again))) => {
                let (start, end) =
                    (info.suggested_window.start.unix_timestamp(), info.suggested_window.end.unix_timestamp());
                known.window = Some((start, end));
                known.explanation = info.explanation_url;
                let again = i64::try_from(again.as_secs()).unwrap_or(i64::MAX);
                known.again_at = asked_at + again.clamp(*WINDOW_AGAIN.start(), *WINDOW_AGAIN.end());
                if old != known.window {
                    let (from, until) = (moment(start), moment(end));
                    let why = known.explanation.as_deref().unwrap_or("");
                    tracing::info!(cert = %self.wanted.id, from, until, why, "the CA suggests a renewal window");
                }
            }
            Err(failure) => {
                tracing::warn!(cert = %self.wanted.id, said = failure.said, "the CA's renewal window is not known");
                known.window = old;
                known.failures = failures.saturating_add(1);
                known.again_at = asked_at + back_off(known.failures, self.state.seed);
            }
        }
        self.state.window = Some(known);
        self.save();
    }

    /// By which the CA knows the stored certificate, if this CA issued it (or whoever it was imported from).
    pub(super) fn identifier(&self, order: &AcmeSpec) -> Option<CertificateIdentifier<'static>> {
        let Some(Ok(pair)) = &self.pair else { return None };
        let is_its = self.state.issued.as_ref().is_none_or(|issued| issued.directory == order.ca.directory.value);
        let leaf = CertificateDer::from_pem_slice(&pair.cert_pem).ok().filter(|_| is_its)?;
        CertificateIdentifier::try_from(&leaf).ok().map(CertificateIdentifier::into_owned)
    }
}
