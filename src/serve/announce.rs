//! The PROXY protocol on both sides: what a gateway in front of us announces before the first byte of a connection, and what
//! we announce to an upstream that wants it. Whom a door believes stands in the door.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::exchange::Exchange;
use crate::model::{Announced, Client, read_proxy_header, write_proxy_header};
use crate::upstream::Target;

/// Bytes that are looked at in one go; a longer header comes in pieces.
const LOOK: usize = 1024;

/// Reads the header that a connection begins with, and not one byte more. Whoever calls bounds the time.
pub async fn announced(stream: &mut TcpStream) -> io::Result<Announced> {
    let mut read = Vec::new();
    loop {
        let before = read.len();
        let mut look = [0; LOOK];
        let seen = stream.peek(&mut look).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&look[..seen]);
        let header = read_proxy_header(&read).map_err(io::Error::other)?;
        let length = header.map_or(read.len(), |(_, length)| length);
        // What was looked at is taken from the socket, as far as it belongs to the header.
        stream.read_exact(&mut look[..length - before]).await?;
        if let Some((announced, _)) = header {
            return Ok(announced);
        }
    }
}

/// What an upstream is told before the first byte, if it wants to be: the client, as far as the door believes in one.
pub fn greeting(exchange: &Exchange, target: &Target) -> Vec<u8> {
    let Some(version) = target.upstream.key.proxy_protocol else { return Vec::new() };
    let connection = &exchange.connection;
    let source = exchange.client.get().address().map(|address| match connection.source() {
        // The port is known of whoever has opened this very connection.
        Some(source) if Client::at(source.ip()) == Client::Known(address) => source,
        _ => SocketAddr::new(address, 0),
    });
    write_proxy_header(version, source, connection.local)
}
