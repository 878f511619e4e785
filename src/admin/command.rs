//! The one list of orders, whoever gives them, and what comes back.
//! On the socket an order is one line, `{"command":"reload"}`, and so is the answer.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// What can be asked of a running process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Read the file again; the answer is the verdict.
    Reload,
    /// The same, asked by a program: if it is another one than runs here, it takes over.
    ReloadAs {
        /// The program.
        program: PathBuf,
    },
    /// Hand over to a new process of this program; the answer comes when it serves, or will not.
    Upgrade {
        /// The program.
        program: PathBuf,
    },
    /// The table in force.
    Routes,
    /// Generation, doors, connections, how long it runs.
    Status,
    /// All metrics as Prometheus has them.
    Metrics,
    /// The way of a request through everything that decides about it.
    Explain {
        /// What is asked.
        question: Question,
    },
    /// What a file would change.
    Plan {
        /// Its path, as messages show it. Not opened.
        path: PathBuf,
        /// Its text.
        text: String,
    },
    /// Access records from now on, one JSON line each after the answer, until the asker goes.
    Tail {
        /// Of this route only.
        route: Option<String>,
        /// Refusals and failures only.
        errors: bool,
    },
    /// Counters of every route, and how its upstreams are.
    Top,
    /// What became of a request that failed.
    Incident {
        /// Its id, as pages and records show it.
        id: String,
    },
    /// Every certificate: what is stored, when it is renewed, what went wrong.
    Certificates,
    /// Every container of the engine, and what became of it.
    Containers,
    /// Renew a certificate; the answer comes when that is done.
    Renew {
        /// The `[cert.<name>]`.
        name: String,
        /// Even if it is not due.
        force: bool,
    },
}

/// A request that nobody sent, to be explained.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// What is asked for; `https` where no scheme is written.
    pub url: String,
    /// Who asks: an address, or one of a network. Default: an address in no network.
    pub from: Option<String>,
    /// The door. Default: one that knows the name.
    pub via: Option<String>,
    /// The method.
    pub method: String,
    /// Fields that the client sends besides Host: names and values.
    pub headers: Vec<(String, String)>,
}

/// What became of an order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done; decides the exit code.
    pub ok: bool,
    /// For people; may have several lines.
    pub text: String,
    /// The same for programs; null where there is no more to say.
    #[serde(default)]
    pub json: serde_json::Value,
}

impl Answer {
    /// Done.
    pub fn done(text: impl Into<String>, json: serde_json::Value) -> Answer {
        Answer { ok: true, text: text.into(), json }
    }

    /// Not done; `text` says why and what to do.
    pub fn refused(text: impl Into<String>) -> Answer {
        Answer { ok: false, text: text.into(), json: serde_json::Value::Null }
    }
}

/// An order on its way to who carries it out. Dropping `answer` unsent tells the asker that the process is leaving.
#[derive(Debug)]
pub struct Order {
    /// What to do.
    pub command: Command,
    /// Where the answer goes; the asker may be gone by then.
    pub answer: oneshot::Sender<Answer>,
    /// For `Tail`: where lines go after an answer that is `ok`. Closed when the asker goes.
    pub lines: Option<mpsc::Sender<Box<[u8]>>>,
}
