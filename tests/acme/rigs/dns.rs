//! Questions that tests ask of a DNS server themselves.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;

/// The TXT values at a name, sorted.
pub async fn txt(server: SocketAddr, name: &str) -> Vec<String> {
    let answer = ask(server, name, RecordType::TXT).await.expect("the DNS server of the test answers");
    let mut values: Vec<String> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::TXT(txt) => Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect()),
            _ => None,
        })
        .collect();
    values.sort_unstable();
    values
}

/// How a server answers for the start of authority of a name; `None` if it does not.
pub async fn answer_code(server: SocketAddr, name: &str) -> Option<ResponseCode> {
    ask(server, name, RecordType::SOA).await.map(|answer| answer.metadata.response_code)
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Option<Message> {
    let mut question = Message::query();
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    question.add_query(Query::query(name, kind));
    let bytes = question.to_vec().expect("a question");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut room = [0; 4096];
    for _ in 0..20 {
        socket.send_to(&bytes, server).await.ok()?;
        let answer = tokio::time::timeout(Duration::from_millis(500), socket.recv_from(&mut room)).await;
        if let Ok(Ok((length, _))) = answer {
            return Message::from_vec(&room[..length]).ok().filter(|answer| answer.metadata.id == question.metadata.id);
        }
    }
    None
}
