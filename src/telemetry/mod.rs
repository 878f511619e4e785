//! How we tell what happened: the log for people, one access record per request, metrics, and whether we are ready.
//! Nothing here decides anything, and nothing that a request path calls waits for a disk, a pipe or a lock.

mod access_line;
mod access_log;
mod certificates;
mod endings;
mod escape;
mod exposition;
mod figures;
mod logging;
mod members;
mod metrics;
mod process;
mod readiness;
mod recent;
mod request_id;
mod tap;

pub use access_line::AccessRecord;
pub use access_log::{AccessLog, AccessLogError, CoreLog, Losses, Sink};
pub use certificates::CertificateWork;
pub use endings::{Ended, NoRoom};
pub use figures::{RouteFigures, duration_bounds};
pub use logging::start_logging;
pub use members::MemberMetrics;
pub use metrics::{
    CertificateMetric, ContainerCounts, CoreMetrics, HandshakeFailure, Metrics, NO_ROUTE, RouteMetrics, UpstreamMetrics,
};
pub use process::resident_memory;
pub use readiness::{Pending, Readiness};
pub use request_id::{RequestId, RequestIdError};
pub use tap::{Watched, Watching};
