//! RFC 9112 to the letter: what an upstream may be sent. Forgives nothing.

/// What the bytes begin with.
pub enum Read {
    /// A clean request of so many bytes.
    Whole(Request, usize),
    /// The beginning of one.
    More,
    /// What no careful sender writes.
    Dirty(&'static str),
}

/// A clean request.
#[derive(Debug)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Request target.
    pub target: String,
    fields: Vec<(String, String)>,
}

impl Request {
    /// One field by its lower-case name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(known, _)| known == name).count()
    }
}

/// Reads one request.
pub fn read(bytes: &[u8]) -> Read {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let head = &bytes[..end.map_or(bytes.len(), |end| end + 2)];
    if let Some(why) = dirt(head) {
        return Read::Dirty(why);
    }
    let Some(end) = end else { return Read::More };
    let request = match read_head(head) {
        Ok(request) => request,
        Err(why) => return Read::Dirty(why),
    };
    let body = &bytes[end + 4..];
    let length = match (request.field("content-length"), request.field("transfer-encoding")) {
        (None, None) => Ok(Some(0)),
        (Some(length), None) if !length.bytes().all(|b| b.is_ascii_digit()) => {
            Err("a Content-Length that is no number")
        }
        (Some(length), None) => {
            let length = length.parse::<usize>().map_err(|_| "a Content-Length beyond all");
            length.map(|length| (body.len() >= length).then_some(length))
        }
        (None, Some("chunked")) => chunked(body),
        _ => Err("two ways to find the end of the body"),
    };
    match length {
        Ok(Some(length)) => Read::Whole(request, end + 4 + length),
        Ok(None) => Read::More,
        Err(why) => Read::Dirty(why),
    }
}

/// Bytes that stand in no head.
fn dirt(head: &[u8]) -> Option<&'static str> {
    for (at, &byte) in head.iter().enumerate() {
        match byte {
            b'\n' if at == 0 || head[at - 1] != b'\r' => return Some("a bare LF"),
            b'\r' if head.get(at + 1).is_some_and(|&next| next != b'\n') => return Some("a bare CR"),
            0 => return Some("a NUL"),
            _ => {}
        }
    }
    None
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn read_head(head: &[u8]) -> Result<Request, &'static str> {
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.split_terminator("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return Err("a request line that is not three words") };
    if !is_token(method.as_bytes()) {
        return Err("a method that is no token");
    }
    let is_visible = target.bytes().all(|b| b > 0x20 && b != 0x7f && b != b'#');
    if !is_visible || !(target.starts_with('/') || (target == "*" && method == "OPTIONS")) {
        return Err("a target that is no path");
    }
    let mut request = Request { method: method.to_owned(), target: target.to_owned(), fields: Vec::new() };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a field without a colon")?;
        if !is_token(name.as_bytes()) {
            return Err("a field name that is no token");
        }
        request.fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    for (name, most) in [("host", 1), ("content-length", 1), ("transfer-encoding", 1)] {
        if request.count(name) > most {
            return Err("a field twice that stands once");
        }
    }
    let host = request.field("host").ok_or("no Host")?;
    if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)) {
        return Err("a Host that is no name");
    }
    Ok(request)
}

/// The length of a whole chunked body; none if it is not all there.
fn chunked(body: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    loop {
        let Some(end) = body[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = &body[at..at + end];
        if line.is_empty() || line.len() > 16 || !line.iter().all(u8::is_ascii_hexdigit) {
            return Err("a chunk size with something to it");
        }
        let size = usize::from_str_radix(&String::from_utf8_lossy(line), 16).map_err(|_| "a chunk size beyond all")?;
        at += end + 2;
        if size == 0 {
            return trailers(&body[at..]).map(|length| length.map(|length| at + length));
        }
        let Some(close) = body.get(at + size..at + size + 2) else { return Ok(None) };
        if close != b"\r\n" {
            return Err("a chunk that does not end where it says");
        }
        at += size + 2;
    }
}

fn trailers(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    loop {
        let Some(end) = bytes[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + end];
        at += end + 2;
        if line.is_empty() {
            return Ok(Some(at));
        }
        let colon = line.iter().position(|&b| b == b':').ok_or("a trailer without a colon")?;
        let name = line[..colon].to_ascii_lowercase();
        let forbidden: [&[u8]; 5] =
            [b"host", b"content-length", b"transfer-encoding", b"authorization", b"x-forwarded-for"];
        if !is_token(&name) || line.iter().any(|b| b"\0\r\n".contains(b)) || forbidden.contains(&name.as_slice()) {
            return Err("a trailer that must not be one");
        }
    }
}
