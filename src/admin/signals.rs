//! Which signal means what: SIGHUP reads the file again, SIGTERM and SIGINT stop.
//! It only tells; a second SIGINT while stopping is told again, and whoever listens decides.

use std::future::pending;
use std::io;

use tokio::signal::unix::{self, SignalKind};

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
}

/// The signals of this process, from `listen` on: none of them ends it any more.
#[derive(Debug)]
pub struct Signals {
    hangup: unix::Signal,
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    /// Takes the signals over. Inside a runtime only; fails when the system has no descriptors left.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            hangup: unix::signal(SignalKind::hangup())?,
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
        })
    }

    /// The next one. Dropping the future loses none. Several SIGHUP before the first is told are one.
    pub async fn next(&mut self) -> Signal {
        let (signal, seen) = tokio::select! {
            seen = self.terminate.recv() => (Signal::Stop, seen),
            seen = self.interrupt.recv() => (Signal::Stop, seen),
            seen = self.hangup.recv() => (Signal::Reload, seen),
        };
        match seen {
            Some(()) => signal,
            // The runtime's signal driver is gone: no signal will come.
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Raised, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn hangup_reloads_and_the_others_stop() {
        let mut signals = Signals::listen().unwrap();
        for (raised, told) in [(Raised::HUP, Signal::Reload), (Raised::TERM, Signal::Stop), (Raised::INT, Signal::Stop)]
        {
            kill_process(getpid(), raised).unwrap();
            assert_eq!(signals.next().await, told, "{raised:?}");
        }
    }
}
