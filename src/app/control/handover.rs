//! Replaced while it serves: another process of this program, most often its next version, takes over the sockets, the keys
//! of session tickets and the state folder. Until it serves, nothing here has changed but that no certificate is ordered.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::sync::oneshot;

use super::Control;
use crate::admin::{AdminHandle, Answer, Signal};
use crate::model::show_duration;
use crate::service::{Estate, ServiceError, Successor, Supervisor};

/// The program that this process runs.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// What became of a hand-over.
pub(super) enum HandOver {
    /// Another process serves; this one has to leave.
    Done(Answer),
    /// Nothing has changed; why.
    Refused(Answer),
    /// A signal to stop came in between.
    Stop(Answer),
}

impl Control {
    /// The line to the supervisor.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Writes down that this process is the one that serves from the state folder.
    pub fn sign(&self) {
        if let Some(lock) = &self.lock {
            lock.sign();
        }
    }

    /// Tells the supervisor that this process serves, and has it keep the listening sockets.
    pub fn announce(&mut self) {
        self.is_announced = true;
        for (address, socket) in &self.sockets {
            self.supervisor.keep(*address, socket);
        }
        self.supervisor.ready(&self.in_a_line());
    }

    /// How it goes, in a line.
    pub(super) fn in_a_line(&self) -> String {
        let snapshot = self.cell.load();
        let version = env!("CARGO_PKG_VERSION");
        format!("serving {} routes, generation {}, version {version}", snapshot.routes.len(), snapshot.generation)
    }

    /// Keeps a second handle of a socket that serves from now on: for a successor, and for the supervisor to keep.
    pub(super) fn remember(&mut self, address: SocketAddr, socket: &TcpListener) {
        match socket.try_clone() {
            Ok(socket) => {
                // Before the start is announced the supervisor might not take it yet.
                if self.is_announced {
                    self.supervisor.keep(address, &socket);
                }
                self.sockets.insert(address, socket);
            }
            Err(error) => tracing::warn!(%address, %error, "this socket will not outlive this process"),
        }
    }

    /// Lets go of a socket that serves no more.
    pub(super) fn forget(&mut self, address: SocketAddr) {
        if self.sockets.remove(&address).is_some() {
            self.supervisor.forget(address);
        }
    }

    /// Hands over, answers, and leaves if it came about. Whether this process is at its end.
    pub(super) async fn upgrade(&mut self, program: &Path, answer: oneshot::Sender<Answer>) -> bool {
        let (said, is_over) = match self.hand_over(program).await {
            HandOver::Done(said) => (said, true),
            HandOver::Refused(said) => (said, false),
            HandOver::Stop(said) => {
                let _ = answer.send(said);
                self.stop().await;
                return true;
            }
        };
        // Who asked may be gone.
        let _ = answer.send(said);
        if is_over {
            self.leave().await;
        }
        is_over
    }

    /// A program asks for a reload: where it is another one than runs here, it takes over.
    pub(super) async fn is_other_program(&self, program: &Path) -> bool {
        let program = program.to_owned();
        self.called_with.is_some()
            && tokio::task::spawn_blocking(move || is_other(Path::new(OWN_PROGRAM), &program)).await.unwrap_or(false)
    }

    /// Hands over to a new process of this program.
    pub(super) async fn hand_over(&mut self, program: &Path) -> HandOver {
        let generation = self.cell.load().generation;
        let refused = |why: String| {
            let text =
                format!("{}\nversion {} goes on, generation {generation}\n", why.trim_end(), env!("CARGO_PKG_VERSION"));
            tracing::error!(program = %program.display(), "the hand-over did not come about\n{text}");
            Answer::refused(text)
        };
        let Some(arguments) = self.called_with.clone() else {
            return HandOver::Refused(refused("this one is not to be replaced: it is a demo, or process 1".to_owned()));
        };
        tracing::info!(program = %program.display(), "handing over");
        self.supervisor.reloading();
        let outcome = self.try_hand_over(program, arguments).await;
        match outcome {
            Ok(answer) => HandOver::Done(answer),
            Err((why, must_stop)) => {
                let answer = refused(why.to_string());
                self.supervisor.ready(&self.in_a_line());
                if must_stop { HandOver::Stop(answer) } else { HandOver::Refused(answer) }
            }
        }
    }

    /// The error comes with whether a signal to stop was the reason.
    async fn try_hand_over(
        &mut self,
        program: &Path,
        arguments: Vec<OsString>,
    ) -> Result<Answer, (ServiceError, bool)> {
        let by_itself = |why| (why, false);
        let successor = Successor::start(program, &arguments).map_err(by_itself)?;
        let hang_up = successor.line().map_err(by_itself)?;
        let estate = self.estate();
        let prepared = tokio::task::spawn_blocking(move || prepare(successor, estate));
        tokio::pin!(prepared);
        let mut must_stop = false;
        let prepared = loop {
            tokio::select! {
                prepared = &mut prepared => break prepared,
                signal = self.signals.next() => if signal == Signal::Stop {
                    must_stop = true;
                    hang_up();
                },
            }
        };
        let successor = prepared.unwrap_or(Err(ServiceError::Gone)).map_err(|why| (why, must_stop))?;
        // Two must not order certificates at the same time, nor write into the state folder.
        self.worker.end().await;
        let begun = tokio::task::spawn_blocking(move || begin(successor)).await;
        let successor = match begun.unwrap_or(Err(ServiceError::Gone)) {
            Ok(successor) => successor,
            Err(why) => {
                self.sign();
                self.keep_certificates();
                return Err((why, must_stop));
            }
        };
        Ok(self.take_leave(successor).await)
    }

    /// Everything that a successor needs; all handles are second ones.
    fn estate(&self) -> Estate {
        let snapshot = self.cell.load();
        let metrics = snapshot.metrics.as_ref().map(|(address, _)| *address);
        let shared = |address: &SocketAddr| Some((*address, self.sockets.get(address)?.try_clone().ok()?));
        Estate {
            generation: snapshot.generation,
            tickets: self.workshop.factory.hand_over_tickets(),
            doors: self.sockets.keys().filter(|&&address| Some(address) != metrics).filter_map(shared).collect(),
            metrics: metrics.as_ref().and_then(shared),
            admin: self.admin.as_ref().and_then(AdminHandle::share),
            lock: self.lock.as_ref().and_then(Estate::share),
        }
    }

    /// It serves: everybody who has to know is told, and what must be held by one only is let go.
    async fn take_leave(&mut self, successor: Successor) -> Answer {
        let (process, version) = successor.who();
        let version = version.to_owned();
        let supervisor = self.supervisor.clone();
        let told = tokio::task::spawn_blocking(move || supervisor.main_process_is(process)).await;
        if !told.unwrap_or(false) {
            tracing::error!(
                process,
                "the supervisor does not know that another process serves; start the service anew"
            );
        }
        self.supervisor.fall_silent();
        self.metrics_door = None;
        self.sockets.clear();
        self.lock = None;
        if let Some(admin) = self.admin.take() {
            admin.leave();
        }
        // The one that started it has to be waited for.
        let _ = tokio::task::spawn_blocking(move || successor.release()).await;
        let (_, connections) = self.cores.in_flight();
        let within = show_duration(self.cell.load().drain.upgrade);
        let text = format!(
            "handed over to version {version} (process {process}); {connections} connections finish here within {within}\n"
        );
        tracing::info!(process, version, "handed over");
        let json = serde_json::json!({ "process": process, "version": version, "connections_left": connections });
        Answer::done(text, json)
    }
}

fn prepare(mut successor: Successor, estate: Estate) -> Result<Successor, ServiceError> {
    match successor.prepare(estate) {
        Ok(()) => Ok(successor),
        Err(why) => {
            successor.end();
            Err(why)
        }
    }
}

fn begin(mut successor: Successor) -> Result<Successor, ServiceError> {
    match successor.begin() {
        Ok(()) => Ok(successor),
        Err(why) => {
            successor.end();
            Err(why)
        }
    }
}

/// Whether two files hold different programs. What cannot be looked at counts as the same: a reload is no moment to guess.
fn is_other(own: &Path, asking: &Path) -> bool {
    let (Ok(one), Ok(two)) = (std::fs::metadata(own), std::fs::metadata(asking)) else { return false };
    if (one.dev(), one.ino()) == (two.dev(), two.ino()) {
        return false;
    }
    one.len() != two.len() || !matches!((std::fs::read(own), std::fs::read(asking)), (Ok(one), Ok(two)) if one == two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_by_its_content() {
        let folder = std::env::temp_dir().join(format!("doorward-programs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let one = file("one", "version 1");
        assert!(!is_other(&one, &one));
        assert!(!is_other(&one, &file("copy", "version 1")));
        assert!(is_other(&one, &file("two", "version 2")));
        assert!(is_other(&one, &file("three", "version 10")));
        assert!(!is_other(&one, &folder.join("missing")));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
