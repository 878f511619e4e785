//! What is counted of the work for one certificate: orders, their failures by step, exports that wait.
//! Written by the control plane only; nothing of it happens on a request path.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The series of one `[cert.<name>]`.
pub struct CertificateWork {
    name: Box<str>,
    last_attempt: AtomicI64,
    last_success: AtomicI64,
    next_renewal: AtomicI64,
    /// -1: not known.
    served: AtomicI64,
    failures: Mutex<BTreeMap<&'static str, u64>>,
    pending: Mutex<BTreeMap<&'static str, u64>>,
}

impl CertificateWork {
    pub(super) fn new(name: &str) -> CertificateWork {
        CertificateWork {
            name: name.into(),
            last_attempt: AtomicI64::new(0),
            last_success: AtomicI64::new(0),
            next_renewal: AtomicI64::new(0),
            served: AtomicI64::new(-1),
            failures: Mutex::default(),
            pending: Mutex::default(),
        }
    }

    /// When an order was last begun and last succeeded, and when the next is due. Seconds since 1970; 0 shows no sample.
    pub fn set_moments(&self, last_attempt: i64, last_success: i64, next_renewal: i64) {
        self.last_attempt.store(last_attempt, Ordering::Relaxed);
        self.last_success.store(last_success, Ordering::Relaxed);
        self.next_renewal.store(next_renewal, Ordering::Relaxed);
    }

    /// A step failed: of an order or of an export.
    pub fn failed(&self, step: &'static str) {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(step).or_default() += 1;
    }

    /// How many exports wait at each step.
    pub fn set_pending(&self, pending: BTreeMap<&'static str, u64>) {
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = pending;
    }

    /// Whether our own doors serve what is stored.
    pub fn set_served(&self, is_served: bool) {
        self.served.store(i64::from(is_served), Ordering::Relaxed);
    }

    /// Label `name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn moments(&self) -> [i64; 3] {
        [&self.last_attempt, &self.last_success, &self.next_renewal].map(|moment| moment.load(Ordering::Relaxed))
    }

    pub(super) fn served(&self) -> Option<i64> {
        Some(self.served.load(Ordering::Relaxed)).filter(|&served| served >= 0)
    }

    pub(super) fn failures(&self) -> BTreeMap<&'static str, u64> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn pending(&self) -> BTreeMap<&'static str, u64> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for CertificateWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateWork").field("name", &self.name).finish_non_exhaustive()
    }
}
