//! DNS messages to one server that we chose ourselves: by TCP, or by UDP with TCP where an answer does not fit.
//! Refuses answers that do not belong to the question. Knows no resolver and no cache.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one exchange by TCP may take. Seconds.
const TCP: Duration = Duration::from_secs(10);

/// How long an answer by UDP is waited for before the question is sent once more. Seconds.
const UDP: Duration = Duration::from_secs(2);

/// The most that an answer by UDP has, in bytes: what fits through every network (DNS flag day 2020).
const UDP_ANSWER: u16 = 1232;

/// Asks one server one question, by UDP first. `Err` in words.
pub(super) async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Result<Message, String> {
    let name = fqdn(name)?;
    let mut question = Message::query();
    question.metadata.recursion_desired = false;
    question.add_query(Query::query(name, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_ANSWER);
    question.set_edns(edns);
    let bytes = question.to_vec().map_err(|fault| fault.to_string())?;
    let answer = match ask_udp(server, &bytes, &question).await {
        Ok(answer) if !answer.metadata.truncation => return Ok(answer),
        Ok(_) => ask_tcp(server, &bytes).await,
        // Some networks let nothing through but TCP; a port that nobody listens at answers here at once.
        Err(fault) if fault.kind() == io::ErrorKind::TimedOut => return Err(in_words(server, &fault)),
        Err(_) => ask_tcp(server, &bytes).await,
    };
    let answer = answer.map_err(|fault| in_words(server, &fault))?;
    let answer = Message::from_vec(&answer).map_err(|_| format!("{server}: its answer is no DNS message"))?;
    if belongs(&answer, &question) { Ok(answer) } else { Err(format!("{server}: it answered another question")) }
}

fn in_words(server: SocketAddr, fault: &io::Error) -> String {
    match fault.kind() {
        io::ErrorKind::TimedOut => format!("{server}: no answer"),
        io::ErrorKind::UnexpectedEof => format!("{server}: it closed the connection without an answer"),
        _ => format!("{server}: {fault}"),
    }
}

/// Sends a message by TCP and gives the bytes of the answer (RFC 1035 §4.2.2), at most 64 KiB.
pub(super) async fn ask_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let exchange = async {
        let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    timeout(TCP, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn ask_udp(server: SocketAddr, bytes: &[u8], question: &Message) -> io::Result<Message> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let mut room = vec![0; 4096];
    for _ in 0..2 {
        socket.send(bytes).await?;
        let answer = async {
            loop {
                let length = socket.recv(&mut room).await?;
                let answer = room.get(..length).and_then(|bytes| Message::from_vec(bytes).ok());
                // Anything else is somebody's guess, or late.
                if let Some(answer) = answer.filter(|answer| belongs(answer, question)) {
                    return io::Result::Ok(answer);
                }
            }
        };
        if let Ok(answer) = timeout(UDP, answer).await {
            return answer;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn belongs(answer: &Message, question: &Message) -> bool {
    answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && (answer.queries.is_empty() || answer.queries == question.queries)
}

/// A name from the root down.
pub(super) fn fqdn(name: &str) -> Result<Name, String> {
    let mut read = Name::from_ascii(name).map_err(|fault| format!("{name} is not a name: {fault}"))?;
    read.set_fqdn(true);
    Ok(read)
}

/// The addresses of `host` or `host:port`; port 53 unless written. Names of servers may be asked of the system.
pub(super) async fn addresses(server: &str) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, digits)) if !host.contains(':') || host.ends_with(']') => {
            (host, digits.parse::<u16>().map_err(|_| format!("{server}: {digits} is no port"))?)
        }
        _ => (server, 53),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = timeout(Duration::from_secs(5), tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| format!("{host}: its address was not found in time"))?;
    let found: Vec<SocketAddr> = found.map_err(|fault| format!("{host}: {fault}"))?.take(8).collect();
    if found.is_empty() { Err(format!("{host}: it has no address")) } else { Ok(found) }
}
