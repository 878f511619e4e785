//! How access records are written: a word that the file and the log share.

/// Value of `[log] access`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessFormat {
    /// One JSON object a line.
    Json,
    /// One readable line.
    Text,
    /// Not at all.
    Off,
}
