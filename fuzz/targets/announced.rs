//! The PROXY header. However much of a header is there, it never says one thing and then another; what is written is read back.
#![cfg_attr(fuzzing, no_main)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use doorward_fuzz::model::{Announced, ProxyVersion, read_proxy_header, write_proxy_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = read_proxy_header(bytes);
    if let Ok(Some((announced, length))) = read {
        assert!(length <= bytes.len() && length <= 4096 && length > 0);
        assert_eq!(read_proxy_header(&bytes[..length]), Ok(Some((announced, length))), "what follows does not matter");
        for cut in 0..length {
            assert_eq!(read_proxy_header(&bytes[..cut]), Ok(None), "{cut} of {length} bytes say nothing yet");
        }
    }
    if let Ok(None) = read {
        assert!(bytes.len() < 4096, "nobody needs more than that");
    }
    // Sixteen bytes of address, four of ports.
    let Some((address, rest)) = bytes.split_first_chunk::<16>() else { return };
    let [a, b, c, d, ..] = *rest else { return };
    let four = IpAddr::V4(Ipv4Addr::new(address[0], address[1], address[2], address[3]));
    let six = IpAddr::V6(Ipv6Addr::from(*address));
    for (source, destination) in [(four, four), (six, six), (four, six), (six, four)] {
        let source = SocketAddr::new(source, u16::from_be_bytes([a, b]));
        let destination = SocketAddr::new(destination, u16::from_be_bytes([c, d]));
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let written = write_proxy_header(version, Some(source), destination);
            let Ok(Some((Announced::Client(client), length))) = read_proxy_header(&written) else {
                panic!("{source} to {destination}: {written:?}")
            };
            assert_eq!((client.ip().to_canonical(), client.port()), (source.ip().to_canonical(), source.port()));
            assert_eq!(length, written.len());
        }
    }
});
