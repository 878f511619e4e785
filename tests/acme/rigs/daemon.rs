//! A server process of a test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A child process, killed with the test; its log stays in the folder of the test until then.
pub struct Daemon {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program whose log goes to `<name>.log` in a folder.
    pub fn start(name: &'static str, mut command: Command, folder: &Path) -> Daemon {
        let log = folder.join(format!("{name}.log"));
        let out = File::create(&log).expect("a log in the folder of the test");
        let err = out.try_clone().expect("a second handle of the log");
        command.current_dir(folder).stdin(Stdio::null()).stdout(out).stderr(err);
        let child =
            command.spawn().unwrap_or_else(|e| panic!("{name} does not start ({e}); `bash tests/run` installs it"));
        Daemon { child, name, log }
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails the test, with its log, if it has ended.
    pub fn assert_runs(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("{} ended ({status}):\n{}", self.name, self.log());
        }
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}
