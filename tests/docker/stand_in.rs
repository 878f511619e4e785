//! A stand-in for an engine, for what a real one cannot be made to do: speak other versions of its API, forbid half of it,
//! answer nonsense.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;

use crate::harness::{Door, Gateway, TestCa, Upstream, eventually};
use crate::rig::file;

/// An engine on a socket in the gateway's folder; ends with the test.
#[derive(Clone)]
struct StandIn(Arc<Mutex<Facts>>);

struct Facts {
    version: Option<&'static str>,
    forbidden: Vec<&'static str>,
    containers: Vec<Value>,
    /// What is answered in place of the list.
    nonsense: Option<&'static str>,
    /// What happens to questions whose path has these words in it.
    faults: Vec<(String, Fault)>,
    asked: Vec<String>,
    /// An event, or nothing: the stream ends.
    events: broadcast::Sender<Option<String>>,
}

/// What an engine does that is not well.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// This status, with a message as engines have them.
    Status(&'static str),
    /// Half of what it promised, and the end of the connection.
    Truncated,
    /// Never an end, as fast as it is read.
    Endless,
    /// The head of an answer, and then nothing.
    Stuck,
    /// An event without its end, and the end of the connection.
    HalfAnEvent,
}

impl Fault {
    async fn happen(self, stream: &mut UnixStream) {
        const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[{\"Id\":\"";
        let _ = match self {
            Fault::Status(status) => {
                let body = "{\"message\":\"layer \\u001b[2Jdoes not exist\"}";
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(head.as_bytes()).await
            }
            Fault::Truncated => stream.write_all(OK).await,
            Fault::Endless => {
                let _ = stream.write_all(OK).await;
                while stream.write_all(&[b'a'; 65536]).await.is_ok() {}
                Ok(())
            }
            Fault::Stuck => {
                let _ = stream.write_all(OK).await;
                // Until whoever asked has had enough.
                stream.read_u8().await.map(|_| ())
            }
            Fault::HalfAnEvent => {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(format!("{head}9\r\n{{\"Type\":\"\r\n").as_bytes()).await
            }
        };
    }
}

impl StandIn {
    fn start(gateway: &Gateway, version: Option<&'static str>) -> StandIn {
        let (events, _) = broadcast::channel(16);
        let facts = Facts {
            version,
            forbidden: vec![],
            containers: vec![],
            nonsense: None,
            faults: vec![],
            asked: vec![],
            events,
        };
        let engine = StandIn(Arc::new(Mutex::new(facts)));
        let listener = UnixListener::bind(gateway.folder().at("engine.sock")).unwrap();
        let serving = engine.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        engine
    }

    fn change<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A container with a name, which leads to an upstream of the test.
    fn add(&self, name: &str, to: &Upstream) {
        let id: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let labels = json!({ "doorward.route": name, "doorward.to": to.url("http") });
        let container = json!({
            "Id": format!("{id:0<64}"), "Name": format!("/{name}"), "Created": "2026-11-21T07:00:00Z",
            "State": { "Status": "running" }, "Config": { "Labels": labels }, "HostConfig": { "NetworkMode": "none" },
        });
        self.change(|facts| facts.containers.push(container));
    }

    /// A container whose ports are published, each where an upstream of the test is, with these variables and labels.
    fn add_published(&self, name: &str, ports: &Value, settings: &[(&str, &str)]) {
        let id: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let (labels, variables): (Vec<_>, Vec<_>) = settings.iter().partition(|(name, _)| name.contains('.'));
        let labels: serde_json::Map<String, Value> =
            labels.into_iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let variables: Vec<String> = variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let container = json!({
            "Id": format!("{id:0<64}"), "Name": format!("/{name}"), "Created": "2026-11-21T07:00:00Z",
            "State": { "Status": "running" }, "Config": { "Env": variables, "Labels": labels },
            "HostConfig": { "NetworkMode": "none" }, "NetworkSettings": { "Ports": ports },
        });
        self.change(|facts| facts.containers.push(container));
    }

    /// The engine's id of a container.
    fn id(name: &str) -> String {
        let id: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{id:0<64}")
    }

    /// From now on, or for no longer.
    fn suffer(&self, faults: &[(&str, Fault)]) {
        let faults = faults.iter().map(|(words, fault)| ((*words).to_owned(), *fault)).collect();
        self.change(|facts| facts.faults = faults);
    }

    /// Tells of a container.
    fn tell(&self, name: &str) {
        let event = json!({ "Type": "container", "Action": "start", "Actor": { "ID": StandIn::id(name) } });
        let _ = self.change(|facts| facts.events.send(Some(event.to_string())));
    }

    /// Ends the stream of events, once there is one.
    async fn end_events(&self) {
        eventually("events to be asked for", async || {
            self.change(|facts| facts.asked.iter().any(|asked| asked.ends_with("/events"))).then_some(())
        })
        .await;
        let _ = self.change(|facts| facts.events.send(None));
    }

    fn has_been_asked(&self, path: &str) -> bool {
        self.change(|facts| facts.asked.iter().any(|asked| asked == path))
    }

    async fn serve(self, mut stream: UnixStream) {
        let mut head = Vec::new();
        loop {
            head.clear();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut events = self.change(|facts| {
                facts.asked.push(path.split('?').next().unwrap_or_default().to_owned());
                facts.events.subscribe()
            });
            let fault = self
                .change(|facts| facts.faults.iter().find(|(words, _)| path.contains(words)).map(|(_, fault)| *fault));
            if let Some(fault) = fault {
                fault.happen(&mut stream).await;
                if matches!(fault, Fault::Status(_)) {
                    continue;
                }
                return;
            }
            let (status, version, body) = self.answer(&path);
            if status == "200 OK" && path.contains("/events") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                while let Ok(Some(event)) = events.recv().await {
                    let _ = stream.write_all(format!("{:x}\r\n{event}\n\r\n", event.len() + 1).as_bytes()).await;
                }
                return;
            }
            let answer = format!("HTTP/1.1 {status}\r\n{version}Content-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, path: &str) -> (&'static str, String, String) {
        self.change(|facts| {
            let version = facts.version.map_or(String::new(), |version| format!("Api-Version: {version}\r\n"));
            let path = path.split('?').next().unwrap_or_default();
            if facts.forbidden.iter().any(|forbidden| path.contains(forbidden)) {
                return ("403 Forbidden", version, "<html><body><h1>403 Forbidden</h1></body></html>".to_owned());
            }
            let body = match path.rsplit('/').next().unwrap_or_default() {
                "_ping" => "OK".to_owned(),
                "events" => String::new(),
                "networks" => "[]".to_owned(),
                "json" if path.ends_with("/containers/json") => match facts.nonsense {
                    Some(nonsense) => nonsense.to_owned(),
                    None => {
                        let line = |one: &Value| json!({ "Id": one["Id"], "Names": [one["Name"]], "State": "running" });
                        Value::Array(facts.containers.iter().map(line).collect()).to_string()
                    }
                },
                _ => {
                    let found = facts.containers.iter().find(|one| path.contains(one["Id"].as_str().unwrap_or("-")));
                    match found {
                        Some(found) => found.to_string(),
                        None => return ("404 Not Found", version, "{\"message\":\"No such container\"}".to_owned()),
                    }
                }
            };
            ("200 OK", version, body)
        })
    }
}

/// A gateway in front of a stand-in.
async fn following(version: Option<&'static str>, prepare: impl FnOnce(&StandIn)) -> (Gateway, StandIn) {
    let mut gateway = Gateway::stopped();
    let engine = StandIn::start(&gateway, version);
    prepare(&engine);
    gateway.write(file(&gateway.folder().at("engine.sock").display().to_string(), ""));
    gateway.start(&[]).await;
    (gateway, engine)
}

async fn serves(gateway: &Gateway, name: &str) {
    eventually(&format!("{name} to be served"), async || {
        let answer = gateway.get(&format!("{name}.home.test/")).attempt().await.ok()?;
        (answer.status == 200 && answer.text() == name).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_engine_is_asked_in_a_version_that_both_know() {
    let app = Upstream::answering("app").await;
    for (version, asked) in [
        (Some("1.24"), "/v1.24/containers/json"),
        (Some("1.41"), "/v1.41/containers/json"),
        (Some("1.99"), "/v1.51/containers/json"),
        (None, "/containers/json"),
    ] {
        let (gateway, engine) = following(version, |engine| engine.add("app", &app)).await;
        serves(&gateway, "app").await;
        assert!(engine.has_been_asked(asked), "{version:?}: {:?}", engine.change(|facts| facts.asked.clone()));
    }
}

#[tokio::test]
async fn an_engine_that_comes_back_as_another_version_is_followed_again() {
    let (app, new) = (Upstream::answering("app").await, Upstream::answering("new").await);
    let (gateway, engine) = following(Some("1.41"), |engine| engine.add("app", &app)).await;
    serves(&gateway, "app").await;
    engine.change(|facts| facts.version = Some("1.47"));
    engine.add("new", &new);
    // The upgraded engine ends what the old one had open.
    engine.end_events().await;
    serves(&gateway, "new").await;
    serves(&gateway, "app").await;
    eventually("the engine to be asked in the new version", async || {
        engine.has_been_asked("/v1.47/containers/json").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_socket_proxy_that_shows_containers_and_nothing_else_is_enough() {
    let (app, new) = (Upstream::answering("app").await, Upstream::answering("new").await);
    let prepare = |engine: &StandIn| {
        engine.change(|facts| facts.forbidden = vec!["/events", "/networks"]);
        engine.add("app", &app);
    };
    let (gateway, engine) = following(Some("1.41"), prepare).await;
    serves(&gateway, "app").await;
    gateway.logs("without events they are looked at every 3 s").await;
    // Found by looking.
    engine.add("new", &new);
    serves(&gateway, "new").await;
}

#[tokio::test]
async fn an_answer_that_is_none_changes_nothing_and_is_told() {
    let (app, new) = (Upstream::answering("app").await, Upstream::answering("new").await);
    let (gateway, engine) = following(Some("1.41"), |engine| engine.add("app", &app)).await;
    serves(&gateway, "app").await;
    engine.change(|facts| facts.nonsense = Some("<html>502</html>"));
    engine.end_events().await;
    gateway.logs("the answer to /containers/json?all=1 cannot be read").await;
    assert_eq!(gateway.get("app.home.test/").await.text(), "app", "what was known stays in force");
    // One container that cannot be read is nobody else's loss.
    engine.change(|facts| {
        facts.containers.push(json!({ "Id": "f".repeat(64), "Name": "/bad", "Config": "no table" }));
        facts.nonsense = None;
    });
    engine.add("new", &new);
    serves(&gateway, "new").await;
    gateway.logs("bad (ffffffffffff) cannot be looked at: its answer cannot be read").await;
    serves(&gateway, "app").await;
}

#[tokio::test]
async fn nginx_proxys_words_do_what_they_say() {
    let (one, two) = (Upstream::echoing().await, Upstream::answering("two").await);
    let port = |upstream: &Upstream| upstream.address().port().to_string();
    let (one_port, two_port) = (port(&one), port(&two));
    let published = |upstream: &Upstream| {
        let address = upstream.address();
        json!([{ "HostIp": address.ip().to_string(), "HostPort": address.port().to_string() }])
    };
    let ports = json!({ format!("{one_port}/tcp"): published(&one), format!("{two_port}/tcp"): published(&two) });
    let several = format!("{{f.home.test: {{/: {{port: {one_port}}}, /x: {{port: {two_port}}}}}}}");
    let (gateway, _engine) = following(Some("1.41"), |engine| {
        let names = r"a.home.test, .b.home.test, ~^r[0-9]+\.home\.test$";
        engine.add_published(
            "a",
            &ports,
            &[("VIRTUAL_HOST", names), ("VIRTUAL_PORT", &one_port), ("HSTS", "max-age=600")],
        );
        let path = [("VIRTUAL_PATH", "/api/"), ("VIRTUAL_DEST", "/v2/")];
        let with = |more: &[(&'static str, &'static str)], host: &'static str| {
            let mut all = vec![("VIRTUAL_HOST", host), ("VIRTUAL_PORT", one_port.as_str())];
            all.extend(more);
            all
        };
        engine.add_published("p", &ports, &with(&path, "p.home.test"));
        for (name, host, method) in
            [("c", "c.home.test", "noredirect"), ("d", "d.home.test", "nohttp"), ("e", "e.home.test", "nohttps")]
        {
            engine.add_published(name, &ports, &with(&[("HTTPS_METHOD", method)], host));
        }
        engine.add_published("f", &ports, &[("VIRTUAL_HOST_MULTIPORTS", &several), ("VIRTUAL_HOST", "not.home.test")]);
        engine.add_published("g", &ports, &with(&[("NETWORK_ACCESS", "intern")], "g.home.test"));
        engine.add_published("h", &ports, &with(&[("VIRTUAL_PROTO", "fastcgi")], "h.home.test"));
    })
    .await;
    // Names: exact, everything below, a regular expression.
    for host in ["a", "b", "r17"] {
        let answer = gateway.get(&format!("{host}.home.test/x?y")).await;
        assert_eq!((answer.status, answer.echo().target()), (200, "/x?y"), "{host}");
        assert_eq!(answer.header("strict-transport-security"), "max-age=600");
    }
    assert_eq!(gateway.client().at(Door::Plain).get("deep.er.b.home.test/").await.status, 200);
    assert_eq!(gateway.get("rx.home.test/").await.refusal(), (404, "no-route"));
    // Paths: the prefix is replaced, and nothing else of the name is anybody's.
    assert_eq!(gateway.get("p.home.test/api/x").await.echo().target(), "/v2/x");
    assert_eq!(gateway.get("p.home.test/").await.status, 404);
    // Schemes.
    let at = async |door: Door, host: &str| gateway.client().at(door).get(&format!("{host}.home.test/")).await.status;
    for (host, https, http) in [("a", 200, 308), ("c", 200, 200), ("d", 200, 404), ("e", 404, 200)] {
        assert_eq!((at(Door::Https, host).await, at(Door::Redirect, host).await), (https, http), "{host}");
    }
    // Several ports count before the plain words.
    assert_eq!(gateway.get("f.home.test/").await.status, 200);
    assert_eq!(gateway.get("f.home.test/x").await.text(), "two");
    assert_eq!(gateway.get("not.home.test/").await.status, 404);
    // A misspelt limit is a limit; what is not spoken is told.
    assert_eq!(gateway.get("g.home.test/").await.status, 403);
    gateway.logs("container h: not-routed: VIRTUAL_PROTO is `fastcgi`, which is not spoken").await;
    assert_eq!(gateway.get("h.home.test/").await.status, 404);
}

#[tokio::test]
async fn a_container_may_ask_for_one_of_the_certificates_that_cover_its_name() {
    let app = Upstream::answering("app").await;
    let address = app.address();
    let ports = json!({ "80/tcp": [{ "HostIp": address.ip().to_string(), "HostPort": address.port().to_string() }] });
    let mut gateway = Gateway::stopped();
    let engine = StandIn::start(&gateway, Some("1.41"));
    let other = gateway.ca().issue(&["*.home.test"]);
    other.write(gateway.folder(), "other");
    for (name, cert) in
        [("asks", "other"), ("files", "star.home.test"), ("errs", "narrow"), ("strays", "nowhere"), ("plain", "")]
    {
        let host = format!("{name}.home.test");
        engine.add_published(name, &ports, &[("VIRTUAL_HOST", &host), ("CERT_NAME", cert)]);
    }
    gateway.ca().issue(&["narrow.home.test"]).write(gateway.folder(), "narrow");
    let star = gateway.ca().issue(&["*.home.test"]);
    star.write(gateway.folder(), "star.home.test");
    let certs = "[cert.star]\ncert = \"star.home.test.crt\"\nkey = \"star.home.test.key\"\n[cert.other]\ncert = \"other.crt\"\nkey = \"other.key\"\n[cert.narrow]\ncert = \"narrow.crt\"\nkey = \"narrow.key\"\n";
    gateway.write(file(&gateway.folder().at("engine.sock").display().to_string(), certs));
    gateway.start(&[]).await;
    for (name, shown) in
        [("asks", &other), ("files", &star), ("errs", gateway.identity()), ("strays", gateway.identity())]
    {
        let facts = gateway.client().handshake(&format!("{name}.home.test")).await.unwrap();
        assert_eq!(&facts.certificates[0], shown.der(), "{name}");
    }
    gateway.logs("container errs: CERT_NAME has no effect: [cert.narrow] does not cover errs.home.test").await;
    gateway.logs("container strays: CERT_NAME is `nowhere`, and the file has no [cert.nowhere]").await;
}

#[tokio::test]
async fn a_container_that_the_engine_cannot_tell_of_is_nobody_elses_loss() {
    let (app, bad, new) =
        (Upstream::answering("app").await, Upstream::answering("bad").await, Upstream::answering("new").await);
    for (fault, why) in [
        (Fault::Status("500 Internal Server Error"), "answered 500 Internal Server Error: layer  [2Jdoes not exist"),
        (Fault::Truncated, "its answer cannot be read"),
        (Fault::Endless, "its answer cannot be read"),
    ] {
        let (gateway, engine) = following(Some("1.41"), |engine| {
            engine.add("app", &app);
            engine.add("bad", &bad);
            engine.suffer(&[(&StandIn::id("bad"), fault)]);
        })
        .await;
        serves(&gateway, "app").await;
        gateway.logs(&format!("bad (626164000000) cannot be looked at: {why}")).await;
        gateway.logs("container bad: not-routed: the engine does not tell of it").await;
        eventually("the engine to be followed", async || {
            (gateway.metric("doorward_docker_connected").await == 1.0).then_some(())
        })
        .await;
        // Others come while it is so.
        engine.add("new", &new);
        engine.tell("new");
        serves(&gateway, "new").await;
        // It is well again; and ill again: then it is served as it was last.
        engine.suffer(&[]);
        engine.tell("bad");
        serves(&gateway, "bad").await;
        engine.suffer(&[(&StandIn::id("bad"), fault)]);
        engine.tell("bad");
        gateway.logs("container bad: the engine does not tell of it now, and it is routed as it was last").await;
        serves(&gateway, "bad").await;
        serves(&gateway, "app").await;
    }
}

#[ignore = "slow: an engine that is stuck is waited for"]
#[tokio::test]
async fn an_engine_that_is_stuck_with_one_container_serves_all_others() {
    let (app, bad, new) =
        (Upstream::answering("app").await, Upstream::answering("bad").await, Upstream::answering("new").await);
    let (gateway, engine) = following(Some("1.41"), |engine| {
        engine.add("bad", &bad);
        engine.add("app", &app);
        engine.suffer(&[(&StandIn::id("bad"), Fault::Stuck)]);
    })
    .await;
    serves(&gateway, "app").await;
    gateway.logs("cannot be looked at: no whole answer in time").await;
    engine.add("new", &new);
    engine.tell("bad");
    engine.tell("new");
    serves(&gateway, "new").await;
}

#[tokio::test]
async fn a_list_that_never_ends_and_an_event_that_is_cut_change_nothing() {
    let (app, new) = (Upstream::answering("app").await, Upstream::answering("new").await);
    let (gateway, engine) = following(Some("1.41"), |engine| engine.add("app", &app)).await;
    serves(&gateway, "app").await;
    for fault in [Fault::Endless, Fault::Truncated] {
        engine.suffer(&[("/containers/json", fault)]);
        engine.end_events().await;
        gateway.logs("the answer to /containers/json?all=1 cannot be read").await;
        assert_eq!(gateway.get("app.home.test/").await.text(), "app", "what was known stays in force");
        engine.suffer(&[]);
        eventually("the engine to be found again", async || {
            (gateway.metric("doorward_docker_connected").await == 1.0).then_some(())
        })
        .await;
    }
    engine.suffer(&[("/events", Fault::HalfAnEvent)]);
    engine.end_events().await;
    gateway.logs("the engine ended its stream of events").await;
    serves(&gateway, "app").await;
    engine.suffer(&[]);
    engine.add("new", &new);
    serves(&gateway, "new").await;
}

#[tokio::test]
async fn a_socket_proxy_may_forbid_whatever_is_not_needed_in_its_own_words() {
    let app = Upstream::answering("app").await;
    for status in ["403 Forbidden", "404 Not Found", "405 Method Not Allowed"] {
        let (gateway, engine) = following(Some("1.41"), |engine| {
            engine.add("app", &app);
            let forbidden = ["/_ping", "/events", "/networks"].map(|path| (path, Fault::Status(status)));
            engine.suffer(&forbidden);
        })
        .await;
        serves(&gateway, "app").await;
        assert!(engine.has_been_asked("/containers/json"), "{status}: in the engine's own version");
    }
}

#[tokio::test]
async fn an_engine_that_has_forgotten_our_version_is_asked_in_its_own() {
    let app = Upstream::answering("app").await;
    let (gateway, engine) = following(Some("2.3"), |engine| {
        engine.add("app", &app);
        engine.suffer(&[("/v1.51/", Fault::Status("400 Bad Request"))]);
    })
    .await;
    serves(&gateway, "app").await;
    assert!(engine.has_been_asked("/containers/json"));
}

#[tokio::test]
async fn a_promise_that_containers_break_keeps_nobody_from_starting() {
    let (app, kept) = (Upstream::answering("app").await, Upstream::answering("kept").await);
    let mut gateway = Gateway::stopped();
    let engine = StandIn::start(&gateway, Some("1.41"));
    engine.add("app", &app);
    let promise = |from: &str, name: &str, is: &str| {
        format!("[[expect]]\nfrom = \"{from}\"\nurl = \"https://{name}.home.test/\"\nis = \"{is}\"\n")
    };
    let socket = gateway.folder().at("engine.sock").display().to_string();
    let of_file = format!("[routes.kept]\nto = \"{}\"\n", kept.url("http"));
    // `gone` is nobody's at present, and `app` admits the home.
    let broken = promise("home", "gone", "denied") + &promise("home", "app", "denied");
    gateway.write(file(&socket, &(of_file.clone() + &broken)));
    gateway.start(&[]).await;
    serves(&gateway, "app").await;
    serves(&gateway, "kept").await;
    gateway.logs("this promise is broken").await;
    // What was broken before is no reason to refuse another change of the file.
    gateway.write(file(&socket, &(of_file.clone() + &broken + "[routes.more]\nto = \"http://127.0.0.1:9\"\n")));
    gateway.reload().await.accepted();
    // A change of the file that breaks one is refused.
    let kept_now = promise("guest", "app", "denied");
    gateway.write(file(&socket, &(of_file.clone() + &kept_now)));
    gateway.reload().await.accepted();
    gateway.write(file(&socket, &(format!("allow = [\"anyone\"]\n{of_file}") + &kept_now)));
    gateway.reload().await.refused("this promise is broken");
    serves(&gateway, "app").await;
    // And so is one of the file's own.
    gateway.write(file(&socket, &(of_file + &promise("home", "kept", "denied"))));
    gateway.reload().await.refused("this promise is broken");
}

#[tokio::test]
async fn each_protocol_of_nginx_proxys_is_spoken_to_its_container() {
    let mut gateway = Gateway::stopped();
    let engine = StandIn::start(&gateway, Some("1.41"));
    // Made by the container itself, for nobody's name.
    let own = TestCa::new("the container's own").issue(&["localhost"]);
    let all = [
        ("http", Upstream::echoing().await, "HTTP/1.1"),
        ("https", Upstream::echoing_tls(&own).await, "HTTP/1.1"),
        ("grpc", Upstream::echoing_http2().await, "HTTP/2"),
        ("grpcs", Upstream::echoing_http2_tls(&own).await, "HTTP/2"),
    ];
    for (proto, upstream, _) in &all {
        let address = upstream.address();
        let port = address.port().to_string();
        let ports =
            json!({ format!("{port}/tcp"): [{ "HostIp": address.ip().to_string(), "HostPort": port.as_str() }] });
        let host = format!("{proto}.home.test");
        engine.add_published(
            proto,
            &ports,
            &[("VIRTUAL_HOST", &host), ("VIRTUAL_PORT", &port), ("VIRTUAL_PROTO", proto)],
        );
    }
    gateway.write(file(&gateway.folder().at("engine.sock").display().to_string(), ""));
    gateway.start(&[]).await;
    for (proto, upstream, version) in &all {
        let answer = gateway.get(&format!("{proto}.home.test/x")).await;
        assert!(answer.status == 200 && answer.echo().target().ends_with("/x"), "{proto}: {}", answer.text());
        assert!(answer.text().contains(version), "{proto}: {}", answer.text());
        assert_eq!(upstream.requests(), 1, "{proto}");
    }
}

#[tokio::test]
async fn who_shares_a_name_shares_its_requests_and_one_that_fails_is_set_aside() {
    let (one, two) = (Upstream::answering("one").await, Upstream::answering("two").await);
    let published = |upstream: &Upstream| {
        let address = upstream.address();
        json!({ "80/tcp": [{ "HostIp": address.ip().to_string(), "HostPort": address.port().to_string() }] })
    };
    let balance = "com.github.nginx-proxy.nginx-proxy.loadbalance";
    let (gateway, _engine) = following(Some("1.41"), |engine| {
        for (nth, upstream) in [&one, &two].into_iter().enumerate() {
            let shared = [("VIRTUAL_HOST", "web.home.test")];
            engine.add_published(&format!("web-{nth}"), &published(upstream), &shared);
            let sticky = [("VIRTUAL_HOST", "sticky.home.test"), (balance, "ip_hash;")];
            engine.add_published(&format!("sticky-{nth}"), &published(upstream), &sticky);
        }
    })
    .await;
    let mut by_turns = Vec::new();
    let mut sticky = Vec::new();
    for _ in 0..8 {
        by_turns.push(gateway.get("web.home.test/").await.text().to_owned());
        sticky.push(gateway.get("sticky.home.test/").await.text().to_owned());
    }
    assert_eq!(by_turns.iter().filter(|text| *text == "one").count(), 4, "{by_turns:?}");
    assert!(sticky.iter().all(|text| *text == sticky[0]), "{sticky:?}");
    two.stop().await;
    for _ in 0..4 {
        assert_eq!(gateway.get("web.home.test/").await.text(), "one");
    }
    two.start().await;
    eventually("the other to be tried again", async || {
        (gateway.get("web.home.test/").await.text() == "two").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_container_of_default_host_answers_for_every_name_that_nobody_has() {
    let (app, other) = (Upstream::answering("app").await, Upstream::answering("other").await);
    let mut gateway = Gateway::stopped();
    let engine = StandIn::start(&gateway, Some("1.41"));
    engine.add("app", &app);
    engine.add("other", &other);
    gateway.write(file(&gateway.folder().at("engine.sock").display().to_string(), "default_host = \"app\"\n"));
    gateway.start(&[]).await;
    serves(&gateway, "app").await;
    for (host, text) in [("other.home.test/", "other"), ("nobody.home.test/", "app")] {
        assert_eq!(gateway.get(host).await.text(), text, "{host}");
    }
    // Without the word, a name that nobody has is nobody's.
    gateway.write(file(&gateway.folder().at("engine.sock").display().to_string(), ""));
    gateway.reload().await.accepted();
    assert_eq!(gateway.get("nobody.home.test/").await.refusal(), (404, "no-route"));
}
