//! What must survive a restart, one folder per certificate: the pair, and beside it how the last try went.
//!
//! ```text
//! state/certificates/<id>/{fullchain.pem,privkey.pem}   links to the pair in force
//! state/certificates/<id>/state.json                    the last try, records to be taken away, exports that are pending
//! state/certificates/<id>/order.json                    an order that is not finished: its address and the new key
//! ```
//!
//! Refuses to guess: a state that cannot be read is told and begun anew, which costs at most one order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::pair::PairFolder;
use super::schedule;
use crate::cert::{CertError, Certificate, CertificateOrigin, TlsFactory, private_folder, read_file, write_file};

/// How often in a row a try may be cut off by the end of the process before the next one waits.
const CUT_OFF_FREE: u32 = 5;

/// What is remembered of one certificate.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CertState {
    /// The dice of [`schedule`]; 0: not thrown yet.
    pub seed: u64,
    /// How the stored pair came about; `None`: imported or not there.
    pub issued: Option<Issued>,
    /// When an order was last begun. Seconds since 1970, as all moments here.
    pub last_attempt: Option<i64>,
    /// When a certificate was last issued.
    pub last_success: Option<i64>,
    /// Failures in a row.
    pub failures: u32,
    /// Tries in a row that did not come to an end: the process was killed.
    pub cut_off: u32,
    /// How long the other side asked to wait after the last failure. Seconds.
    pub asked: Option<i64>,
    /// Certificates in a row that were replaced almost at once.
    pub rushes: u32,
    /// What went wrong last; stays until a success.
    pub last_error: Option<Fault>,
    /// The CA's renewal window.
    pub window: Option<KnownWindow>,
    /// TXT records that may be there: written down before they are set, crossed out after they are gone.
    pub records: Vec<Record>,
    /// Exports, by folder and file name.
    pub exports: BTreeMap<String, ExportState>,
}

/// What a stored pair was ordered as.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Issued {
    /// Address of the CA's directory.
    pub directory: String,
    /// Its profile, if one was asked for.
    pub profile: Option<String>,
    /// `p256`, `p384`, `rsa2048`; `None`: whatever it was imported with.
    pub key_type: Option<String>,
    /// When.
    pub at: i64,
}

/// A fault, with the step at which it happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// When.
    pub at: i64,
    /// Which step.
    pub step: String,
    /// In words.
    pub said: String,
}

/// A renewal window (RFC 9773) and when to ask again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KnownWindow {
    /// The certificate it is for, by serial number.
    pub serial: String,
    /// Start and end; `None`: the CA has none for it.
    pub window: Option<(i64, i64)>,
    /// Where the CA explains itself.
    pub explanation: Option<String>,
    /// When it was asked.
    pub asked_at: i64,
    /// When to ask again.
    pub again_at: i64,
    /// Answers in a row that did not come.
    #[serde(default)]
    pub failures: u32,
}

/// One TXT record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Without trailing dot.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// How far one export came. Each step names the certificate (SHA-256) that it was done for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExportState {
    /// Both files are there.
    pub written: Option<String>,
    /// The command ended well.
    pub told: Option<String>,
    /// The consumer serves it.
    pub served: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// When the last one happened.
    pub last_try: Option<i64>,
    /// The last one.
    pub last_error: Option<Fault>,
}

/// The folder of one certificate.
#[derive(Clone, Debug)]
pub struct CertFolder {
    id: Arc<str>,
    path: PathBuf,
}

/// A pair as it lies on disk, checked.
pub struct StoredPair {
    /// Chain, PEM.
    pub cert_pem: Vec<u8>,
    /// Key, PEM.
    pub key_pem: Vec<u8>,
    /// Both, ready to be served.
    pub certificate: Certificate,
}

impl CertFolder {
    /// The folder of `[cert.<id>]` below a state folder. Made when something is written.
    pub fn new(state: &Path, id: &Arc<str>) -> CertFolder {
        // A name of dots only would be another folder.
        let name = if id.starts_with('.') { format!("_{id}") } else { id.to_string() };
        CertFolder { id: Arc::clone(id), path: state.join("certificates").join(name) }
    }

    /// Whether a pair was ever stored.
    pub fn is_filled(&self) -> bool {
        self.path.join("fullchain.pem").exists()
    }

    /// The pair in force. Fails if there is none, or if it cannot be served.
    pub fn load(&self, factory: &TlsFactory) -> Result<StoredPair, CertError> {
        // Through the real folder: the link may flip between the two files.
        let version = std::fs::canonicalize(self.path.join(".current")).unwrap_or_else(|_| self.path.clone());
        let cert_pem = read_file(&version.join("fullchain.pem"))?;
        let key_pem = read_file(&version.join("privkey.pem"))?;
        let origin = CertificateOrigin::Acme { id: Arc::clone(&self.id) };
        let certificate = factory.certificate_from_pem(Arc::clone(&self.id), &cert_pem, &key_pem, origin)?;
        Ok(StoredPair { cert_pem, key_pem, certificate })
    }

    /// Makes a pair the one in force; the one before is kept beside it.
    pub fn store(&self, pair: &StoredPair) -> Result<(), CertError> {
        self.make()?;
        let place = PairFolder {
            dir: self.path.clone(),
            cert: "fullchain.pem".to_owned(),
            key: "privkey.pem".to_owned(),
            mode: 0o600,
            owner: None,
            group: None,
        };
        place
            .write(pair.certificate.serial(), &pair.cert_pem, &pair.key_pem)
            .map_err(|cause| CertError::Unwritable { path: self.path.clone(), cause })
    }

    /// What is remembered; nothing if there is nothing, or nothing readable.
    pub fn state(&self) -> CertState {
        let path = self.path.join("state.json");
        if !path.exists() {
            return CertState::default();
        }
        let state = read_file(&path).map_err(|fault| fault.to_string());
        let state = state.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|fault| fault.to_string()));
        state.unwrap_or_else(|fault| {
            tracing::warn!(path = %path.display(), fault, "what was remembered of a certificate cannot be read; begun anew");
            CertState::default()
        })
    }

    /// Writes the state, whole or not at all.
    pub fn save(&self, state: &CertState) -> Result<(), CertError> {
        self.make()?;
        self.write("state.json", state)
    }

    /// An order that was not finished.
    pub fn open_order<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&read_file(&self.path.join("order.json")).ok()?).ok()
    }

    /// Remembers an order before its certificate is asked for.
    pub fn save_order(&self, order: &impl Serialize) -> Result<(), CertError> {
        self.make()?;
        self.write("order.json", order)
    }

    /// Forgets the order.
    pub fn forget_order(&self) {
        // One that stays is asked for once more and found to be over.
        let _ = std::fs::remove_file(self.path.join("order.json"));
    }

    fn make(&self) -> Result<(), CertError> {
        if let Some(parent) = self.path.parent() {
            private_folder(parent)?;
        }
        private_folder(&self.path)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), CertError> {
        let path = self.path.join(name);
        let text = serde_json::to_vec_pretty(value)
            .map_err(|cause| CertError::Unwritable { path: path.clone(), cause: cause.into() })?;
        write_file(&path, &text, 0o600)
    }
}

impl CertState {
    /// The failures, as the schedule takes them.
    pub fn trouble(&self) -> Option<schedule::Trouble> {
        // A process that is killed and started all the time is a failure too, though nobody was there to see it.
        let cut_off = self.cut_off.saturating_sub(CUT_OFF_FREE);
        let failures = self.failures.saturating_add(cut_off);
        let failed = self.last_error.as_ref().map(|fault| fault.at);
        let last = failed.into_iter().chain(self.last_attempt.filter(|_| cut_off > 0)).max().or(self.last_attempt)?;
        (failures > 0).then_some(schedule::Trouble { failures, last, asked: self.asked })
    }

    /// The window, if it is for this certificate.
    pub fn window_for(&self, serial: &str) -> Option<schedule::Window> {
        let known = self.window.as_ref().filter(|known| known.serial == serial)?;
        known.window.map(|(start, end)| schedule::Window { start, end })
    }
}
