use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::config::VerifySpec;
use crate::telemetry::Metrics;
use crate::upstream::{Lane, Member, TargetKey, Upstream, UpstreamKey};

fn target(balance: Balance, addresses: &[&str]) -> Target {
    let metrics = Metrics::new(2);
    let endpoints: Arc<[Endpoint]> = addresses.iter().map(|text| Endpoint::parse(text).unwrap()).collect();
    let upstream = UpstreamKey {
        name: "shop".into(),
        endpoints,
        balance,
        verify: VerifySpec::System,
        hold: None,
        http2: false,
        proxy_protocol: None,
        via: true,
    };
    let member = |endpoint: &Endpoint| {
        Arc::new(Member::new("shop".into(), endpoint.clone(), |address| metrics.member("shop", address)))
    };
    let members = upstream.endpoints.iter().map(member).collect();
    let key = TargetKey { upstream: upstream.clone(), tls_name: None, trusted: None };
    let upstream = Arc::new(Upstream::new(upstream, members, metrics.upstream("shop")));
    let lanes =
        upstream.members.iter().map(|member| Arc::new(Lane::new(Arc::clone(member), None, false, None))).collect();
    Target { key, upstream, lanes }
}

const THREE: [&str; 3] = ["http://10.0.0.1", "http://10.0.0.2:8080", "http://nas.home"];

fn client(number: u32) -> Client {
    Client::at(IpAddr::from((0x0a01_0000 + number).to_be_bytes()))
}

#[test]
fn turns_go_round() {
    let shop = target(Balance::RoundRobin, &THREE);
    let chosen: Vec<_> = (0..6).map(|_| shop.choose(Client::Unknown, &[]).unwrap()).collect();
    assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
    shop.lanes[0].member.health.fail();
    let chosen: Vec<_> = (0..6).map(|_| shop.choose(Client::Unknown, &[]).unwrap()).collect();
    assert_eq!(chosen, [1, 2, 1, 2, 1, 2], "nobody takes over all of a neighbour");
}

#[test]
fn what_fails_or_was_tried_is_passed_over_until_nothing_else_is_left() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::Sticky] {
        let shop = target(balance, &THREE);
        shop.lanes[1].member.health.fail();
        for number in 0..50 {
            assert_ne!(shop.choose(client(number), &[]), Some(1));
            assert_eq!(shop.choose(client(number), &[0]), Some(2));
            assert_eq!(shop.choose(client(number), &[2, 0]), Some(1), "it is tried anyway");
            assert_eq!(shop.choose(client(number), &[2, 0, 1]), None);
        }
        assert!(shop.has_another(&[0]) && !shop.has_another(&[0, 2]));
    }
}

#[test]
fn the_one_with_the_fewest_requests_is_asked() {
    let shop = target(Balance::LeastRequests, &THREE);
    for (lane, requests) in [(0, 3), (1, 1), (2, 2)] {
        (0..requests).for_each(|_| shop.lanes[lane].member.metrics.asked(lane % 2));
    }
    assert_eq!(shop.choose(Client::Unknown, &[]), Some(1));
    shop.lanes[0].member.metrics.ended(0);
    shop.lanes[0].member.metrics.ended(0);
    shop.lanes[0].member.metrics.ended(0);
    assert_eq!(shop.choose(Client::Unknown, &[]), Some(0));
}

#[test]
fn a_client_stays_and_only_the_share_of_what_comes_or_goes_moves() {
    let (two, three) = (target(Balance::Sticky, &THREE[..2]), target(Balance::Sticky, &THREE));
    let (mut moved, mut share) = (0, HashMap::new());
    for number in 0..3000 {
        let (before, after) = (two.choose(client(number), &[]), three.choose(client(number), &[]).unwrap());
        assert_eq!(three.choose(client(number), &[]), Some(after), "the same every time");
        *share.entry(after).or_insert(0) += 1;
        if before != Some(after) {
            assert_eq!(after, 2, "nobody moves but to the new one");
            moved += 1;
        }
    }
    assert_eq!(share.get(&2), Some(&moved));
    assert!(share.len() == 3 && share.values().all(|&clients| clients > 500), "{share:?}");
    // The same names in another process, or in another order of the file.
    let turned = target(Balance::Sticky, &[THREE[2], THREE[0], THREE[1]]);
    let same = |at: usize| [1, 2, 0][at];
    assert!((0..300).all(|n| turned.choose(client(n), &[]) == three.choose(client(n), &[]).map(same)));
}

#[test]
fn a_device_that_changes_its_address_within_its_network_stays() {
    let shop = target(Balance::Sticky, &THREE);
    let at = |text: &str| shop.choose(Client::at(text.parse().unwrap()), &[]);
    for network in 0..50 {
        assert_eq!(at(&format!("fd00:0:0:{network:x}::1")), at(&format!("fd00:0:0:{network:x}:aaaa:bbbb:cccc:dddd")));
    }
}

#[test]
fn a_single_address_is_always_chosen_and_none_never() {
    let one = target(Balance::RoundRobin, &THREE[..1]);
    one.lanes[0].member.health.fail();
    assert_eq!((one.choose(Client::Unknown, &[]), one.choose(Client::Unknown, &[0])), (Some(0), None));
    assert_eq!(target(Balance::Sticky, &[]).choose(client(1), &[]), None);
}
