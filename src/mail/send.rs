//! The task that delivers: looks whether a letter is due, and hands it to the relay. As mail servers do among themselves, it
//! is encrypted where the relay offers that, without judging the relay's certificate; there is no login.

use std::time::Duration;

use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::post_box::{Event, Letter, PostBox};
use crate::config::MailSpec;

/// How long one step of a conversation with the relay may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a conversation may take in all.
const WHOLE: Duration = Duration::from_secs(90);

/// The longest wait after a failure.
const LAST_WAIT: Duration = Duration::from_secs(1800);

/// How long what takes.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// A first trouble waits so long for company.
    pub(super) grouped: Duration,
    /// So often it is looked whether a letter is due.
    pub(super) look: Duration,
    /// The first wait after a failure, doubled each time.
    pub(super) first_wait: Duration,
}

/// Takes events and sends letters for as long as anybody may tell any.
pub(super) async fn deliver(spec: MailSpec, mut events: mpsc::Receiver<Event>, pace: Pace) {
    let mut post = PostBox::new(&spec, pace.grouped);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut look = tokio::time::interval(pace.look);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut not_before = Instant::now();
    let mut wait = pace.first_wait;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => post.take(event, OffsetDateTime::now_utc()),
                None => return,
            },
            _ = look.tick() => {
                let now = OffsetDateTime::now_utc();
                if Instant::now() < not_before {
                    continue;
                }
                let Some(letter) = post.letter(now, &host) else { continue };
                match send(&spec, &host, letter).await {
                    Ok(()) => {
                        post.written(now);
                        wait = pace.first_wait;
                        tracing::info!(to = spec.to.len(), "mail sent");
                    }
                    Err(why) => {
                        tracing::warn!(relay = %spec.relay.value, retry_in_s = wait.as_secs(), "mail not sent: {why}");
                        not_before = Instant::now() + wait;
                        wait = (wait * 2).min(LAST_WAIT);
                    }
                }
            }
        }
    }
}

async fn send(spec: &MailSpec, host: &str, letter: Letter) -> Result<(), String> {
    let message = message(spec, letter)?;
    let (relay, port) = spec.relay.value.rsplit_once(':').unwrap_or((&spec.relay.value, "25"));
    let relay = relay.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    // lettre names the relay in TLS; an address is as good as a name where nothing is judged.
    let tls = TlsParameters::builder(relay.to_owned());
    let tls = tls.dangerous_accept_invalid_certs(true).dangerous_accept_invalid_hostnames(true).build();
    let tls = tls.map_err(|error| error.to_string())?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(relay)
        .port(port)
        .tls(Tls::Opportunistic(tls))
        .hello_name(ClientId::Domain(hello(host)))
        .timeout(Some(PATIENCE))
        .build();
    match tokio::time::timeout(WHOLE, transport.send(message)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(with_causes(&error)),
        Err(_) => Err(format!("the relay took more than {} s", WHOLE.as_secs())),
    }
}

fn message(spec: &MailSpec, letter: Letter) -> Result<Message, String> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("`{text}`: {error}"));
    let mut builder = Message::builder().from(mailbox(&spec.from.value)?).subject(letter.subject);
    for to in &spec.to {
        builder = builder.to(mailbox(&to.value)?);
    }
    // RFC 3834: nobody's holiday answer comes back.
    let builder = builder.header(AutoSubmitted);
    let part = SinglePart::builder()
        .header(ContentType::TEXT_PLAIN)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(letter.body);
    builder.singlepart(part).map_err(|error| error.to_string())
}

/// `Auto-Submitted: auto-generated` (RFC 3834 §5).
#[derive(Clone)]
struct AutoSubmitted;

impl lettre::message::header::Header for AutoSubmitted {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// What a relay accepts as a greeting.
fn hello(host: &str) -> String {
    let is_fit = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if is_fit { host.to_owned() } else { "localhost".to_owned() }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests;
