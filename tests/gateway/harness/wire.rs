//! One connection, encrypted or not.

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection whose encryption nobody above needs to know.
pub type Wire = Box<dyn Duplex>;
