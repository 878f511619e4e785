//! Why connections of clients were ended, or never begun, by us: the labels of two counters. What ends by itself, idle or
//! with its client, is not among them.

/// Why an open connection was ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It was idle, and room was needed for a new one.
    Shed,
    /// A request's head did not arrive in time.
    HeadTime,
    /// The client took nothing of an answer for too long.
    Unread,
    /// The client went on sending what was refused.
    Lingering,
    /// What came was not HTTP.
    NotHttp,
    /// HTTP/2 in a way that is only meant to make work: resets, pings, settings, empty frames without end.
    Flood,
    /// HTTP/2 against its rules.
    Protocol,
}

impl Ended {
    /// All of them, in the order of their numbers.
    pub const ALL: [Ended; 7] =
        [Ended::Shed, Ended::HeadTime, Ended::Unread, Ended::Lingering, Ended::NotHttp, Ended::Flood, Ended::Protocol];

    /// The value of label `cause`.
    pub const fn cause(self) -> &'static str {
        match self {
            Ended::Shed => "shed",
            Ended::HeadTime => "head-time",
            Ended::Unread => "unread",
            Ended::Lingering => "lingering",
            Ended::NotHttp => "not-http",
            Ended::Flood => "flood",
            Ended::Protocol => "protocol",
        }
    }
}

/// Why a connection was closed before a byte of it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoRoom {
    /// As many are open as may be, and none of them is idle.
    Connections,
    /// Its address has as many open as one may have.
    Client,
    /// The process has as much memory as it may have.
    Memory,
}

impl NoRoom {
    /// All of them, in the order of their numbers.
    pub const ALL: [NoRoom; 3] = [NoRoom::Connections, NoRoom::Client, NoRoom::Memory];

    /// The value of label `cause`: the key of `[limits]` that says how much room there is.
    pub const fn cause(self) -> &'static str {
        match self {
            NoRoom::Connections => "connections",
            NoRoom::Client => "connections_per_client",
            NoRoom::Memory => "memory",
        }
    }
}
