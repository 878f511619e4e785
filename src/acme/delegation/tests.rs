//! Referrals followed over small servers of the test's own, all at one port and on different addresses of loopback.

use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::{A, NS, SOA};
use hickory_proto::rr::{RData, Record};
use tokio::net::UdpSocket;

use super::*;

const TTL: u32 = 60;

/// What a server does with a question: fills in the answer.
type Says = fn(&mut Message);

fn ns(zone: &str, server: &str) -> Record {
    Record::from_rdata(fqdn(zone).unwrap(), TTL, RData::NS(NS(fqdn(server).unwrap())))
}

fn glue(server: &str, address: [u8; 4]) -> Record {
    Record::from_rdata(fqdn(server).unwrap(), TTL, RData::A(A(Ipv4Addr::from(address))))
}

fn soa(zone: &str) -> Record {
    let name = fqdn(zone).unwrap();
    Record::from_rdata(name.clone(), TTL, RData::SOA(SOA::new(name.clone(), name, 1, 60, 60, 60, 60)))
}

/// Starts servers at these last bytes of 127.77.N.x, and gives the delegation that begins at `.1`.
async fn house(net: u8, servers: &[(u8, Says)]) -> Delegation {
    let mut port = 0;
    for (last, says) in servers {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::new(127, 77, net, *last), port)).await.unwrap());
        port = socket.local_addr().unwrap().port();
        let says = *says;
        tokio::spawn(async move {
            let mut room = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut room).await {
                let question = Message::from_vec(&room[..length]).unwrap();
                let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
                assert!(!question.metadata.recursion_desired);
                answer.add_queries(question.queries.clone());
                says(&mut answer);
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
    }
    Delegation { roots: vec![SocketAddr::new(Ipv4Addr::new(127, 77, net, 1).into(), port)], port }
}

#[tokio::test]
async fn referrals_are_followed_to_the_servers_of_the_zone() {
    let root = |answer: &mut Message| {
        answer.add_authority(ns("example", "a.nic.example")).add_additional(glue("a.nic.example", [127, 77, 1, 2]));
    };
    let top = |answer: &mut Message| {
        answer.add_authority(ns("home.example", "ns1.dns.test")).add_authority(ns("home.example", "ns2.dns.test"));
        answer
            .add_additional(glue("ns1.dns.test", [127, 77, 1, 3]))
            .add_additional(glue("ns2.dns.test", [127, 77, 1, 4]));
    };
    let zone = |answer: &mut Message| {
        answer.metadata.authoritative = true;
        answer.add_authority(soa("home.example"));
    };
    let delegation = house(1, &[(1, root), (2, top), (3, zone), (4, zone)]).await;
    let found = delegation.servers_of("_acme-challenge.a.home.example").await.unwrap();
    let hosts: Vec<String> = found.iter().map(|server| server.ip().to_string()).collect();
    assert_eq!(hosts, ["127.77.1.3", "127.77.1.4"]);
}

#[tokio::test]
async fn a_name_that_the_root_does_not_know_is_said_to_be_private() {
    let root = |answer: &mut Message| {
        answer.metadata.authoritative = true;
        answer.metadata.response_code = ResponseCode::NXDomain;
    };
    let said = house(2, &[(1, root)]).await.servers_of("_acme-challenge.nas.home").await.unwrap_err();
    assert!(said.contains("not in the public DNS"), "{said}");
}

#[tokio::test]
async fn referrals_that_lead_nowhere_up_or_in_circles_end() {
    let nowhere = |_: &mut Message| {};
    let said = house(3, &[(1, nowhere)]).await.servers_of("a.example").await.unwrap_err();
    assert!(said.contains("refers nowhere"), "{said}");
    let circle = |answer: &mut Message| {
        answer.add_authority(ns("example", "a.nic.example")).add_additional(glue("a.nic.example", [127, 77, 4, 1]));
    };
    let said = house(4, &[(1, circle)]).await.servers_of("a.example").await.unwrap_err();
    assert!(said.contains("refers nowhere"), "a referral to where we are is none: {said}");
    let refused = |answer: &mut Message| answer.metadata.response_code = ResponseCode::Refused;
    house(5, &[(1, refused)]).await.servers_of("a.example").await.unwrap_err();
}
