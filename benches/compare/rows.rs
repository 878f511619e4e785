//! What is measured: one entry a row, in the order of the table. Adding a row is adding an entry.

use crate::load::Kind;
use crate::origin::LARGE;
use crate::peers::Peer;

/// Something that the origin counts, in the order in which it prints its counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// Requests answered.
    Requests,
    /// Bytes of large bodies sent.
    BytesOut,
    /// Bytes of uploads received.
    BytesIn,
    /// WebSocket messages echoed.
    Messages,
}

/// Who makes the load.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// `wrk`: HTTP/1.1 with one request in flight on each connection.
    Wrk {
        /// Over TLS or in the clear.
        tls: bool,
        /// What it asks for.
        path: &'static str,
        /// Connections.
        connections: usize,
    },
    /// `h2load`: HTTP/2 over TLS.
    H2load {
        /// What it asks for.
        path: &'static str,
        /// Connections.
        connections: usize,
        /// Streams at once on each.
        streams: usize,
    },
    /// A piece of our own.
    Own {
        /// Which.
        kind: Kind,
        /// Connections.
        connections: usize,
    },
}

/// Who says how long a request took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// The client: from the moment when the request was due, so that the waits of load generator and origin, which share a core,
    /// are in it.
    Client,
    /// The proxy's two sides: how long the request was in it, and the answer.
    Proxy,
}

/// How a row is measured.
#[derive(Clone, Copy, Debug)]
pub enum Measure {
    /// CPU time of the proxy per unit of work under full load.
    Cpu {
        /// The load.
        load: Load,
        /// What is counted.
        count: Count,
        /// How many of these make one unit.
        per: f64,
        /// Microseconds in one shown unit of time.
        scale: f64,
    },
    /// Growth of a freshly started proxy by so many connections that made one request and went idle.
    Memory {
        /// Connections.
        connections: usize,
    },
    /// 99th percentile of latency at a share of what nginx can do on this core over HTTP/1.1 TLS.
    Latency {
        /// Connections.
        connections: usize,
        /// The share.
        share: f64,
        /// Who looks at the clock.
        clock: Clock,
    },
    /// 99th percentile of the time in the proxy while the file is reloaded every second, by the one without; ours alone.
    Reloads {
        /// Connections.
        connections: usize,
        /// Requests a second.
        rate: f64,
        /// Routes of the file.
        routes: usize,
    },
    /// How evenly two workers on two cores share two heavy connections: CPU of the busier by that of the other; ours alone.
    TwoCores,
}

impl Measure {
    /// Whether each sample needs a proxy that nobody has used yet.
    pub fn is_fresh(self) -> bool {
        matches!(self, Measure::Memory { .. } | Measure::Reloads { .. } | Measure::TwoCores)
    }

    /// Whether it is a question to ourselves only.
    pub fn is_ours(self) -> bool {
        matches!(self, Measure::Reloads { .. } | Measure::TwoCores)
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Word for `--only`.
    pub id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Unit of its figures.
    pub unit: &'static str,
    /// How it is measured.
    pub measure: Measure,
}

impl Row {
    /// Whether that proxy is measured: some questions are to ourselves alone, and a relay says something only where bytes go
    /// to and fro on connections that stay.
    pub fn is_for(&self, peer: Peer) -> bool {
        match peer {
            Peer::Doorward | Peer::Packaged => true,
            Peer::Relay => matches!(
                self.id,
                "h1-clear" | "h1-tls" | "body-h1" | "upload-h1" | "websocket" | "latency" | "in-proxy"
            ),
            _ => !self.measure.is_ours(),
        }
    }
}

/// A row of CPU microseconds for each thing counted.
const fn each(id: &'static str, title: &'static str, unit: &'static str, load: Load, count: Count) -> Row {
    Row { id, title, unit, measure: Measure::Cpu { load, count, per: 1.0, scale: 1.0 } }
}

/// A row of CPU milliseconds for so many bytes.
const fn bulk(
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    load: Load,
    count: Count,
    bytes: usize,
) -> Row {
    Row { id, title, unit, measure: Measure::Cpu { load, count, per: bytes as f64, scale: 1000.0 } }
}

/// The request that [`Measure::Latency`] takes nginx's capacity from.
pub const SMALL_OVER_TLS: Load = Load::Wrk { tls: true, path: "/1k", connections: 64 };

/// All rows.
pub const ROWS: &[Row] = &[
    each(
        "h1-clear",
        "HTTP/1.1 cleartext, 1 KiB, keep-alive, 64 connections",
        "CPU µs/request",
        Load::Wrk { tls: false, path: "/1k", connections: 64 },
        Count::Requests,
    ),
    each(
        "h1-tls",
        "HTTP/1.1 TLS 1.3, 1 KiB, keep-alive, 64 connections",
        "CPU µs/request",
        SMALL_OVER_TLS,
        Count::Requests,
    ),
    each(
        "h2-tls",
        "HTTP/2 TLS 1.3, 1 KiB, 16 connections x 16 streams",
        "CPU µs/request",
        Load::H2load { path: "/1k", connections: 16, streams: 16 },
        Count::Requests,
    ),
    bulk(
        "body-h1",
        "10 MiB body, HTTP/1.1 TLS 1.3, 4 connections",
        "CPU ms/body",
        Load::Wrk { tls: true, path: "/10m", connections: 4 },
        Count::BytesOut,
        LARGE,
    ),
    bulk(
        "body-h2",
        "10 MiB body, HTTP/2 TLS 1.3, 4 connections",
        "CPU ms/body",
        Load::H2load { path: "/10m", connections: 4, streams: 1 },
        Count::BytesOut,
        LARGE,
    ),
    each(
        "handshake",
        "full TLS 1.3 handshake (P-256, X25519) + 1 request",
        "CPU µs/connection",
        Load::Own { kind: Kind::Handshake, connections: 16 },
        Count::Requests,
    ),
    each(
        "resume",
        "resumed TLS 1.3 handshake + 1 request",
        "CPU µs/connection",
        Load::Own { kind: Kind::Resume, connections: 16 },
        Count::Requests,
    ),
    Row {
        id: "idle",
        title: "memory per idle TLS connection, 1,000 connections",
        unit: "KiB/connection",
        measure: Measure::Memory { connections: 1000 },
    },
    bulk(
        "upload-h1",
        "1 GiB upload, HTTP/1.1 TLS 1.3, 2 connections",
        "CPU ms/GiB",
        Load::Own { kind: Kind::UploadH1, connections: 2 },
        Count::BytesIn,
        1 << 30,
    ),
    bulk(
        "upload-h2",
        "1 GiB upload, HTTP/2 TLS 1.3, 2 connections",
        "CPU ms/GiB",
        Load::Own { kind: Kind::UploadH2, connections: 2 },
        Count::BytesIn,
        1 << 30,
    ),
    each(
        "websocket",
        "WebSocket echo over TLS 1.3, 1 KiB, 64 connections",
        "CPU µs/message",
        Load::Own { kind: Kind::WebSocket, connections: 64 },
        Count::Messages,
    ),
    Row {
        id: "latency",
        title: "p99 latency, HTTP/1.1 TLS 1.3, at 70 % of nginx's capacity",
        unit: "µs",
        measure: Measure::Latency { connections: 64, share: 0.7, clock: Clock::Client },
    },
    Row {
        id: "in-proxy",
        title: "the same requests: p99 of the time in the proxy",
        unit: "µs",
        measure: Measure::Latency { connections: 64, share: 0.7, clock: Clock::Proxy },
    },
    Row {
        id: "reloads",
        title: "p99 of the time in the proxy with 10,000 routes reloaded each second",
        unit: "by its own without",
        measure: Measure::Reloads { connections: 16, rate: 2500.0, routes: 10_000 },
    },
    Row {
        id: "two-cores",
        title: "two 10 MiB downloads, two workers: the busier by the other",
        unit: "CPU by CPU",
        measure: Measure::TwoCores,
    },
];
