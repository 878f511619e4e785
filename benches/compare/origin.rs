//! The server behind every proxy: as little work as possible, so that the measured core stays busy, and exact counts
//! of what it served. It answers `/1k`, `/10m`, `/stamped` (as `/1k`, and says when it was asked and when it answered), `/echo`
//! (the request head as it came), takes uploads on `/upload` and echoes WebSocket messages on `/ws`; it also swallows a log stream. It is no HTTP server for anything but this bench.

use std::io::{BufRead, Write as _};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{io, thread};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::Failure;
use crate::load::{self, Order};
use crate::stamped::{Stamped, now};

/// Bytes of the small body and of the large one.
pub const SMALL: usize = 1024;
/// See [`SMALL`].
pub const LARGE: usize = 10 * 1024 * 1024;

/// The field of an answer that says when its request came and when it was answered itself: two [`Stamp`](crate::stamped::Stamp)s.
pub const STAMPS: &str = "x-stamps";

/// How much of the large body one write offers to the kernel.
const SLICE: usize = 256 * 1024;

/// What was served since the start; every field only grows.
#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    messages: AtomicU64,
    log_bytes: AtomicU64,
}

/// Serves until standard input ends. A line read there is an [`Order`] in JSON, which is carried out by the thread that serves,
/// and answered with its outcome; any other is answered with one line of counts, in the order of [`Count`](crate::rows::Count).
pub fn run(port: u16, log_port: u16) -> Result<(), Failure> {
    let counts = Arc::new(Counts::default());
    let asked = counts.clone();
    let (order, orders) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let mut lines = io::stdin().lock().lines();
        while let Some(Ok(line)) = lines.next() {
            if let Ok(next) = serde_json::from_str::<Order>(&line) {
                let _ = order.send(next);
                continue;
            }
            let Counts { requests, bytes_out, bytes_in, messages, log_bytes } = &*asked;
            let all = [requests, bytes_out, bytes_in, messages, log_bytes].map(|count| count.load(Relaxed).to_string());
            say(&all.join(" "));
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        tokio::select! {
            result = accept(port, log_port, counts) => result,
            () = obey(orders) => Ok(()),
        }
    })
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Carries out orders, one after the other, until there will be no more.
async fn obey(mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        let outcome = load::carry_out(order).await.map_err(|error| error.to_string());
        say(&serde_json::to_string(&outcome).unwrap_or_default());
    }
}

async fn accept(port: u16, log_port: u16, counts: Arc<Counts>) -> Result<(), Failure> {
    let log = TcpListener::bind((Ipv4Addr::LOCALHOST, log_port)).await?;
    let swallowed = counts.clone();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = log.accept().await {
            tokio::task::spawn_local(swallow(stream, swallowed.clone()));
        }
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let pages = Rc::new(Pages::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (pages, counts) = (pages.clone(), counts.clone());
        tokio::task::spawn_local(async move {
            // A proxy that hangs up is the proxy's affair; lost answers show up at the client.
            drop(serve(Stamped::new(stream), &pages, &counts).await);
        });
    }
}

/// The answers, ready to be written.
struct Pages {
    small: Vec<u8>,
    small_body: Vec<u8>,
    large_head: Vec<u8>,
    large: Vec<u8>,
}

impl Pages {
    fn new() -> Pages {
        let small_body = body(SMALL);
        let small = [head(200, SMALL), small_body.clone()].concat();
        Pages { small, small_body, large_head: head(200, LARGE), large: body(LARGE) }
    }
}

/// The body that `/1k` and `/10m` begin with: bytes that a client can check.
pub fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + u8::try_from(at % 26).unwrap_or_default()).collect()
}

fn head(status: u16, length: usize) -> Vec<u8> {
    head_with(status, length, "")
}

/// A head with more fields, each with its end of line.
fn head_with(status: u16, length: usize, more: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} OK\r\nserver: origin\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
         content-type: application/octet-stream\r\ncontent-length: {length}\r\n{more}\r\n"
    )
    .into_bytes()
}

async fn swallow(mut stream: TcpStream, counts: Arc<Counts>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        counts.log_bytes.fetch_add(count as u64, Relaxed);
    }
}

async fn serve(mut stream: Stamped, pages: &Pages, counts: &Counts) -> io::Result<()> {
    let mut buffer = vec![0_u8; 256 * 1024];
    let mut filled = 0;
    loop {
        let end = loop {
            if let Some(end) = end_of_head(&buffer[..filled]) {
                break end;
            }
            let count = stream.read(&mut buffer[filled..]).await?;
            if count == 0 {
                return Ok(());
            }
            filled += count;
        };
        let request = &buffer[..end];
        let path = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let mut used = end;
        match path {
            b"/1k" => stream.write_all(&pages.small).await?,
            b"/stamped" => {
                stream.begin()?;
                let stamps = format!("{STAMPS}: {} {}\r\n", stream.arrived, now());
                let mut answer = head_with(200, SMALL, &stamps);
                answer.extend_from_slice(&pages.small_body);
                stream.write_all(&answer).await?;
            }
            b"/10m" => {
                stream.write_all(&pages.large_head).await?;
                for slice in pages.large.chunks(SLICE) {
                    stream.write_all(slice).await?;
                    counts.bytes_out.fetch_add(slice.len() as u64, Relaxed);
                }
            }
            b"/echo" => {
                let mut answer = head(200, end);
                answer.extend_from_slice(request);
                stream.write_all(&answer).await?;
            }
            b"/upload" => {
                let length = header(request, "content-length").and_then(|text| text.parse::<u64>().ok());
                let Some(length) = length else { return stream.write_all(&head(411, 0)).await };
                let here = length.min((filled - end) as u64);
                used += usize::try_from(here).unwrap_or_default();
                counts.bytes_in.fetch_add(here, Relaxed);
                take(&mut stream, &mut buffer, length - here, counts).await?;
                stream.write_all(&head(200, 0)).await?;
            }
            b"/ws" => {
                let key = header(request, "sec-websocket-key").unwrap_or_default();
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     sec-websocket-accept: {}\r\n\r\n",
                    derive_accept_key(key.as_bytes())
                );
                stream.write_all(answer.as_bytes()).await?;
                buffer.copy_within(end..filled, 0);
                return echo_messages(&mut stream, &mut buffer, filled - end, counts).await;
            }
            _ => stream.write_all(&head(404, 0)).await?,
        }
        counts.requests.fetch_add(1, Relaxed);
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}

/// Reads `length` bytes of body and forgets them.
async fn take(stream: &mut Stamped, buffer: &mut [u8], length: u64, counts: &Counts) -> io::Result<()> {
    let mut rest = length;
    while rest > 0 {
        let room = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        let count = stream.read(&mut buffer[..room]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        counts.bytes_in.fetch_add(count as u64, Relaxed);
        rest -= count as u64;
    }
    Ok(())
}

/// Answers every whole message of at most 64 KiB with the same payload. The bench masks with zeroes, so the payload
/// needs no unmasking.
async fn echo_messages(stream: &mut Stamped, buffer: &mut [u8], have: usize, counts: &Counts) -> io::Result<()> {
    let mut filled = have;
    let mut answer = Vec::new();
    loop {
        let mut used = 0;
        answer.clear();
        while let Some((head, length)) = frame(&buffer[used..filled]) {
            let whole = used + head + 4 + length;
            if whole > filled {
                break;
            }
            answer.extend([buffer[used], buffer[used + 1] & 0x7f]);
            answer.extend_from_slice(&buffer[used + 2..used + head]);
            answer.extend_from_slice(&buffer[used + head + 4..whole]);
            counts.messages.fetch_add(1, Relaxed);
            used = whole;
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
        if !answer.is_empty() {
            stream.write_all(&answer).await?;
        }
        let count = stream.read(&mut buffer[filled..]).await?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
    }
}

/// Length of the frame's header without its mask, and of its payload (RFC 6455 §5.2; no 64-bit lengths here).
pub fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.get(1)? & 0x7f {
        126 => Some((4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])))),
        short => Some((2, usize::from(short))),
    }
}

/// First byte behind the blank line that ends a request or response head.
pub fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == b'\n') {
        from += at + 1;
        if from >= 4 && bytes[from - 4..from] == *b"\r\n\r\n" {
            return Some(from);
        }
    }
    None
}

/// Value of a header field in a head, by lower-case name.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(head).ok()?;
    let mut fields = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
