//! The head of a request: which name it asks for, and who asks. The input is the head as HTTP/1.1 writes it, behind one byte
//! that chooses the door and the version.
#![cfg_attr(fuzzing, no_main)]

use std::net::{IpAddr, Ipv4Addr};

use doorward_fuzz::examine::{believe, examine};
use doorward_fuzz::model::{AccessList, Client};
use doorward_fuzz::seen::Seen;
use doorward_fuzz::snapshot::{Mode, Trust};
use http::{Request, Version};
use libfuzzer_sys::fuzz_target;

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, head)) = bytes.split_first() else { return };
    let mut lines = head.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().splitn(2, |&b| b == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let version = [Version::HTTP_11, Version::HTTP_10, Version::HTTP_2][usize::from(choice) % 3];
    let mut request = Request::builder().method(method).uri(target).version(version);
    for line in lines {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    let Ok(request) = request.body(()) else { return };
    let (parts, ()) = request.into_parts();
    if let Ok(examined) = examine(&parts, Seen::of(&parts.headers)) {
        assert!(examined.host.is_ascii() && !examined.host.contains(['@', '/', '?', '#', ' ', ',', '\\']));
        assert_eq!(examined.host, examined.host.to_ascii_lowercase());
        assert!(parts.headers.get_all("host").iter().count() <= 1);
        assert!(parts.headers.get_all("content-length").iter().count() <= 1);
        assert!(!parts.headers.contains_key("content-length") || !parts.headers.contains_key("transfer-encoding"));
    }
    let stranger = believe(&Trust::Nobody, Mode::Plain, STRANGER, &parts.headers);
    assert!(stranger.client == Client::at(STRANGER) && !stranger.is_https);
    let outside = believe(&Trust::Cloudflared, Mode::Plain, STRANGER, &parts.headers);
    assert_eq!(outside.client, Client::Unknown);
    let _ = believe(&Trust::Cloudflared, Mode::Plain, IpAddr::V4(Ipv4Addr::LOCALHOST), &parts.headers);
    let list = AccessList::of(false, vec![ipnet::IpNet::from(STRANGER)]);
    let _ = believe(&Trust::Peers(list), Mode::Tls, STRANGER, &parts.headers);
});
