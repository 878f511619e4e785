//! Orders to the running process and questions about it: the local socket, signals, and the door for metrics and health.
//! Nothing here carries an order out: each goes to whoever owns the process, who answers.

mod ask;
mod command;
mod metrics_door;
mod signals;
mod socket;

pub use ask::{AskError, ask, follow};
pub use command::{Answer, Command, Order, Question};
pub use metrics_door::serve_metrics;
pub use signals::{Signal, Signals};
pub use socket::{AdminError, AdminHandle, AdminSocket, serve, socket_path};
