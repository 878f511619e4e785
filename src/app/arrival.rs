//! What a process begins with: nothing, the sockets that systemd kept or opened, or everything that its predecessor hands
//! over. Nothing is taken into use here.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::control::Control;
use super::{AppError, RunOptions};
use crate::cert::{CertError, TlsFactory};
use crate::service::{Inherited, Predecessor, ServiceError, StateLock};

/// Taken apart piece by piece as the parts of the process come to be.
pub struct Arrival {
    /// Listening sockets that need not be bound.
    pub inherited: Inherited,
    predecessor: Option<Predecessor>,
}

impl Arrival {
    /// Looks what is there; a predecessor is heard to the end of what it gives.
    pub fn of(options: &RunOptions) -> Result<Arrival, AppError> {
        if !options.follows {
            return Ok(Arrival { inherited: Inherited::from_environment(), predecessor: None });
        }
        let mut predecessor = Predecessor::meet()?;
        tracing::info!(version = %predecessor.version, "following a process that serves");
        Ok(Arrival { inherited: std::mem::take(&mut predecessor.sockets), predecessor: Some(predecessor) })
    }

    /// The lock of the state folder: taken, or handed over.
    pub fn lock(&mut self, state: &Path) -> Result<Option<StateLock>, ServiceError> {
        match &mut self.predecessor {
            Some(predecessor) => Ok(predecessor.lock.take()),
            None => StateLock::take(state),
        }
    }

    /// The number of the first snapshot.
    pub fn first_generation(&self) -> u64 {
        self.predecessor.as_ref().map_or(1, |predecessor| predecessor.generation.saturating_add(1))
    }

    /// TLS with the ticket keys of the predecessor.
    pub fn factory(&self) -> Result<TlsFactory, CertError> {
        match &self.predecessor {
            Some(predecessor) => TlsFactory::following(&predecessor.tickets),
            None => TlsFactory::new(),
        }
    }

    /// The admin socket of the predecessor.
    pub fn admin(&mut self) -> Option<(PathBuf, UnixListener)> {
        self.predecessor.as_mut()?.admin.take()
    }

    /// Everything stands: waits until the predecessor lets the doors be opened. Returns at once without one.
    pub fn wait_for_turn(&self) -> Result<(), ServiceError> {
        self.predecessor.as_ref().map_or(Ok(()), Predecessor::prepared)
    }

    /// Tells the predecessor why this process does not follow.
    pub fn refuse(&self, why: &AppError) {
        if let Some(predecessor) = &self.predecessor {
            predecessor.refuse(&why.to_string());
        }
    }

    /// The doors are open: the predecessor may go, and the supervisor is told.
    pub fn complete(&mut self, control: &mut Control) {
        if let Some(predecessor) = self.predecessor.take() {
            control.sign();
            predecessor.serving();
        }
        for address in self.inherited.close_rest() {
            tracing::warn!(%address, "a socket was handed over that no door of the file has; it is closed");
            control.supervisor().forget(address);
        }
        control.announce();
    }
}
