//! The ways in which servers may read one path. Matching takes one of them (`normalise`); what lies behind us may take
//! another, so where access depends on the path every one of them has to be admitted. Decides nothing itself.

use super::path::hex_pair;

/// Every path that a server might take this one for, `normalise`'s among them: with percent-encoding decoded or left alone,
/// `\` as `/` or as itself, `;parameters` as such or as part of the name, dot segments resolved or as names. Runs of slashes
/// are one in all of them. None twice; at most 16.
pub fn readings(path: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for way in 0..16_u8 {
        let [decodes, parts_at_backslash, drops_parameters, resolves] = [1, 2, 4, 8].map(|bit| way & bit != 0);
        let way = Way { decodes, parts_at_backslash, drops_parameters, resolves };
        let reading = way.read(path);
        if !found.contains(&reading) {
            found.push(reading);
        }
    }
    found
}

/// One way of reading.
struct Way {
    decodes: bool,
    parts_at_backslash: bool,
    drops_parameters: bool,
    resolves: bool,
}

impl Way {
    fn read(&self, path: &str) -> String {
        let decoded = self.decoded(path);
        let is_end = |byte: &u8| *byte == b'/' || (self.parts_at_backslash && *byte == b'\\');
        let mut segments: Vec<&[u8]> = Vec::new();
        let mut ends_open = false;
        for segment in decoded.split(is_end) {
            let end = segment.iter().position(|&byte| byte == b';').filter(|_| self.drops_parameters);
            let name = end.and_then(|end| segment.get(..end)).unwrap_or(segment);
            ends_open = name.is_empty();
            match name {
                b"" => {}
                b"." if self.resolves => ends_open = true,
                b".." if self.resolves => {
                    segments.pop();
                    ends_open = true;
                }
                name => segments.push(name),
            }
        }
        let mut out = String::new();
        for segment in segments {
            out.push('/');
            out.push_str(&String::from_utf8_lossy(segment));
        }
        if ends_open || out.is_empty() {
            out.push('/');
        }
        out
    }

    fn decoded(&self, path: &str) -> Vec<u8> {
        let bytes = path.as_bytes();
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match hex_pair(bytes, at + 1).filter(|&meant| byte == b'%' && (self.decodes || must_be_encoded(meant))) {
                Some(meant) => {
                    out.push(meant);
                    at += 3;
                }
                None => {
                    out.push(byte);
                    at += 1;
                }
            }
        }
        out
    }
}

/// Bytes that every browser encodes: a rule that speaks of them is meant by nothing else, whoever decodes.
fn must_be_encoded(byte: u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::normalise;

    #[test]
    fn a_plain_path_is_read_in_one_way() {
        for path in ["/", "/a/b", "/a/b/", "/a-b_c.d~e"] {
            assert_eq!(readings(path), [path]);
        }
        assert_eq!(readings("/caf%C3%A9/a%20b"), ["/café/a b"], "nobody else is meant");
    }

    #[test]
    fn whoever_does_not_resolve_decode_or_strip_reads_something_else() {
        for (path, among) in [
            ("/private/../pub", ["/pub", "/private/../pub"]),
            ("/%61dmin/..;/x", ["/x", "/admin/..;/x"]),
            ("/a/%5c..%5c..%5cx", ["/x", "/a/\\..\\..\\x"]),
            ("/a/..%2fb", ["/b", "/a/..%2fb"]),
            ("/a;b/c", ["/a/c", "/a;b/c"]),
        ] {
            let all = readings(path);
            for reading in among {
                assert!(all.iter().any(|found| found == reading), "{reading} in {all:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_matching_takes_it_for_is_one_of_them(path in "(/(\\.{1,2}|[a-z%;\\\\25fcCeE]{0,6})){1,5}") {
            let normal = normalise(&path).into_owned();
            let all = readings(&path);
            prop_assert!(all.contains(&normal), "{} in {:?}", normal, all);
            prop_assert!(all.len() <= 16);
        }
    }
}
