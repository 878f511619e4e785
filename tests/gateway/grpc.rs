//! gRPC from end to end, between a server and a client that others wrote.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::harness::{Door, Gateway, TestCa, within};

/// The interpreter that Debian's packages are for.
const PYTHON: &str = "/usr/bin/python3";

fn peer() -> Command {
    let mut command = Command::new(PYTHON);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/grpc_peer.py")).env("GRPC_VERBOSITY", "NONE");
    command
}

/// A gRPC server, until it is dropped.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut child = peer()
            .arg("serve")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        assert!(!port.trim().is_empty(), "no gRPC server: is python3-grpcio there? `bash tests/run` installs it");
        Server { child, port: port.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the client; what it printed, and whether all was right.
async fn client(edge: &Gateway, order: &'static str, name: &'static str) -> (String, bool) {
    edge.folder().replace("root.crt", edge.ca().pem());
    let mut command = peer();
    command
        .args([order, &format!("{}:{}", edge.address(), Door::Https.port())])
        .arg(edge.folder().at("root.crt"))
        .arg(name);
    let run = tokio::task::spawn_blocking(move || command.output().expect("Python runs"));
    let output = run.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (said.trim().to_owned(), output.status.success())
}

#[tokio::test]
async fn every_kind_of_call_passes_to_a_cleartext_server() {
    let server = Server::start(&[]);
    let edge = Gateway::serving(format!("[routes]\ncalls = \"h2c://127.0.0.1:{}\"", server.port)).await;
    let (said, is_right) = client(&edge, "call", "calls.home.test").await;
    assert!(is_right, "{said}");
    assert!(said.ends_with("are right"), "{said}");
}

#[tokio::test]
async fn every_kind_of_call_passes_to_a_server_with_tls() {
    let ca = TestCa::new("the server's own");
    let edge = Gateway::stopped();
    let (cert, key) = ca.issue(&["calls.home.test"]).write(edge.folder(), "calls");
    edge.folder().replace("calls-ca.crt", ca.pem());
    let server = Server::start(&[cert.to_str().unwrap(), key.to_str().unwrap()]);
    let mut edge = edge;
    edge.write_routes(format!(
        "[routes]\ncalls = {{ to = \"https://127.0.0.1:{}\", ca = \"calls-ca.crt\", http2 = true }}",
        server.port
    ));
    edge.start(&[]).await;
    let (said, is_right) = client(&edge, "call", "calls.home.test").await;
    assert!(is_right, "{said}");
}

#[tokio::test]
async fn a_refusal_is_told_in_words_that_a_grpc_client_understands() {
    let edge = Gateway::serving(
        "[routes.away]\nto = \"h2c://ADDR:1\"\n[routes.closed]\nto = \"h2c://ADDR:1\"\nallow = []\n"
            .replace("ADDR", "127.0.0.1"),
    )
    .await;
    for (name, code, word) in [
        ("away.home.test", "UNAVAILABLE", "upstream-refused"),
        ("closed.home.test", "PERMISSION_DENIED", "access-denied"),
        ("nobody.home.test", "UNIMPLEMENTED", "no-route"),
    ] {
        let (said, _) = within("the client", client(&edge, "refused", name)).await;
        assert!(said.starts_with(&format!("{code} {word}: ")), "{name}: {said}");
    }
    let record = &edge.records_of("/test.Peer/Unary").await[0];
    assert_eq!((&record["status"], &record["cause"]), (&502.into(), &"upstream-refused".into()), "{record}");
}

#[tokio::test]
async fn a_refused_call_is_one_head_that_ends_the_answer() {
    let edge = Gateway::serving("[routes]\naway = \"h2c://127.0.0.1:1\"").await;
    let ask =
        edge.client().h2().request("POST", "away.home.test/p.S/M").header("content-type", "application/grpc+proto");
    let answer = ask.body("x").await;
    assert_eq!((answer.status, answer.header("grpc-status"), answer.body.len()), (200, "14", 0), "{answer}");
    assert_eq!((answer.header("content-type"), answer.cause()), ("application/grpc", "upstream-refused"), "{answer}");
    // Whoever is no gRPC client is told as ever.
    for kind in ["application/grpc-web+proto", "application/json"] {
        let answer =
            edge.client().h2().request("POST", "away.home.test/p.S/M").header("content-type", kind).body("x").await;
        assert_eq!(answer.refusal(), (502, "upstream-refused"), "{kind}: {answer}");
    }
}
