//! Containers come, wait, move, stop and go; each changes its own name and nobody else's.

use std::time::Duration;

use crate::harness::eventually;
use crate::home::answers;
use crate::rig::{file, story};

#[ignore = "slow: starts a real engine"]
#[test]
fn a_container_with_a_health_check_gets_requests_once_it_is_healthy() {
    story(async |engine| {
        let gateway = engine.gateway("").await;
        let check = ["--health-cmd", "test -f /tmp/ok", "--health-interval", "1s", "--health-retries", "100"];
        engine.serve("slow-starter", 80, &check, &[("VIRTUAL_HOST", "app.home.test")]);
        gateway.logs("container slow-starter: waiting: app.home.test; its health check has not passed yet").await;
        let answer = gateway.get("app.home.test/").await;
        assert_eq!(answer.refusal(), (503, "upstream-absent"));
        assert_eq!(answer.header("retry-after"), "5");
        engine.docker(&["exec", "slow-starter", "touch", "/tmp/ok"]);
        answers(&gateway, "app.home.test", "slow-starter").await;
        engine.docker(&["exec", "slow-starter", "rm", "/tmp/ok"]);
        // Unwell again (after many retries, for which nobody waits here), or not: the name stays.
        assert_ne!(gateway.get("app.home.test/").await.status, 404);
    });
}

#[ignore = "slow: starts a real engine"]
#[test]
fn the_name_of_a_container_that_is_gone_is_not_unknown_and_its_requests_wait_for_it() {
    story(async |engine| {
        let settings = [("VIRTUAL_HOST", "app.home.test")];
        engine.serve("app", 80, &[], &settings);
        let gateway = engine.gateway("").await;
        answers(&gateway, "app.home.test", "app").await;
        engine.docker(&["stop", "-t", "0", "app"]);
        gateway.logs("container app: away: app.home.test").await;
        assert_eq!(gateway.get("app.home.test/").await.refusal(), (503, "upstream-absent"));
        engine.docker(&["rm", "app"]);
        assert_eq!(
            gateway.get("app.home.test/").await.refusal(),
            (503, "upstream-absent"),
            "removed, and still remembered"
        );
        assert_eq!(gateway.get("other.home.test/").await.refusal(), (404, "no-route"));

        // With `hold` a request that comes meanwhile is answered by the new one, wherever it is.
        gateway.write(file(&engine.socket(), "hold = \"30s\"\n"));
        gateway.reload().await.accepted();
        let client = gateway.client();
        let waiting = tokio::spawn(async move { client.get("app.home.test/").await.text().trim().to_owned() });
        eventually("the request to wait", async || {
            (gateway.metric("doorward_held_requests{upstream=\"app\"}").await > 0.0).then_some(())
        })
        .await;
        // Its old address is somebody else's by now.
        engine.serve("somebody", 80, &[], &[]);
        engine.serve("app", 80, &[], &settings);
        assert_eq!(waiting.await.unwrap(), "app");
    });
}

#[ignore = "slow: starts a real engine"]
#[test]
fn a_request_in_flight_is_unharmed_when_another_container_takes_over_the_name() {
    story(async |engine| {
        engine.serve("blue", 80, &[], &[("VIRTUAL_HOST", "app.home.test")]);
        let gateway = engine.gateway("").await;
        answers(&gateway, "app.home.test", "blue").await;
        let client = gateway.client();
        let slow = tokio::spawn(async move { client.get("app.home.test/cgi-bin/slow").await });
        eventually("the request to be in flight", async || {
            let inside = engine.docker(&["top", "blue"]);
            inside.contains("slow").then_some(())
        })
        .await;
        engine.serve("green", 80, &[], &[("VIRTUAL_HOST", "app.home.test")]);
        gateway.logs("container green: routed: app.home.test").await;
        engine.docker(&["network", "create", "other"]);
        engine.docker(&["network", "connect", "other", "blue"]);
        let answer = slow.await.unwrap();
        assert_eq!((answer.status, answer.text().trim()), (200, "slow blue"));
        engine.docker(&["rm", "-f", "blue"]);
        gateway.logs("container blue: away").await;
        for _ in 0..20 {
            answers(&gateway, "app.home.test", "green").await;
        }
    });
}

#[ignore = "slow: starts a real engine"]
#[test]
fn a_bad_label_is_quarantined_and_the_file_wins() {
    story(async |engine| {
        engine.serve("good", 80, &[], &[("doorward.route", "good")]);
        let gateway = engine.gateway("[routes.kept]\nto = \"http://127.0.0.1:9\"\n").await;
        answers(&gateway, "good.home.test", "good").await;
        engine.serve("bad", 80, &[], &[("doorward.route", "bad"), ("doorward.hodl", "30s")]);
        gateway.logs("container bad: not-routed: there is no label doorward.hodl; did you mean doorward.hold?").await;
        engine.serve("claiming", 80, &[], &[("VIRTUAL_HOST", "kept.home.test")]);
        gateway.logs("container claiming: not-routed: `kept.home.test` is the file's: route `kept`").await;
        assert_eq!(gateway.get("bad.home.test/").await.status, 404);
        assert_eq!(gateway.get("kept.home.test/").await.refusal(), (502, "upstream-refused"));
        answers(&gateway, "good.home.test", "good").await;
        // When the file lets go of the name, the container has it.
        gateway.write(file(&engine.socket(), ""));
        gateway.reload().await.accepted();
        answers(&gateway, "kept.home.test", "claiming").await;
    });
}

#[ignore = "slow: starts a real engine"]
#[test]
fn a_container_narrows_who_enters_and_cannot_widen() {
    story(async |engine| {
        use crate::harness::{GUEST, HOME};
        engine.serve("narrow", 80, &[], &[("doorward.route", "narrow"), ("doorward.allow", "guest")]);
        engine.serve("wide", 80, &[], &[("doorward.route", "wide"), ("doorward.allow", "anyone")]);
        let gateway = engine.gateway("").await;
        answers(&gateway, "wide.home.test", "wide").await;
        for (host, from, status) in
            [("narrow", HOME, 403), ("narrow", GUEST, 403), ("wide", HOME, 200), ("wide", GUEST, 403)]
        {
            let answer = gateway.client().from(from).get(&format!("{host}.home.test/")).await;
            assert_eq!(answer.status, status, "{host} from {from}");
        }
    });
}

#[ignore = "slow: restarts a real engine"]
#[test]
fn the_engine_may_come_late_and_be_restarted() {
    story(async |mut engine| {
        engine.serve("app", 80, &["--restart", "always"], &[("VIRTUAL_HOST", "app.home.test")]);
        engine.stop();
        let gateway = engine.gateway("").await;
        // Nobody knows yet which names containers have: none is unknown for good.
        assert_eq!(gateway.get("app.home.test/").await.refusal(), (503, "upstream-absent"));
        assert_eq!(gateway.metric("doorward_docker_connected").await, 0.0);
        gateway.logs("is the engine running").await;
        engine.launch();
        answers(&gateway, "app.home.test", "app").await;
        assert_eq!(gateway.get("other.home.test/").await.refusal(), (404, "no-route"));
        engine.stop();
        eventually("the engine to be missed", async || {
            (gateway.metric("doorward_docker_connected").await == 0.0).then_some(())
        })
        .await;
        engine.launch();
        answers(&gateway, "app.home.test", "app").await;
        eventually("the engine to be found again", async || {
            (gateway.metric("doorward_docker_connected").await == 1.0).then_some(())
        })
        .await;
        tokio::time::timeout(Duration::from_secs(20), answers(&gateway, "app.home.test", "app")).await.unwrap();
    });
}
