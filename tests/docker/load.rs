//! Dozens of containers that come and go while requests run: nobody else's request fails, nobody else's connection ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::harness::{Client, eventually};
use crate::home::answers;
use crate::rig::story;

/// Asks for a path on connections that are kept, until told to stop; how many requests were answered and how many failed.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn begin(client: &Client, place: &'static str, word: &'static str, connections: usize) -> Load {
        let (stop, answered, failed) = (Arc::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let tasks = (0..connections)
            .map(|_| {
                let (client, stop): (Client, Arc<AtomicBool>) = (client.clone(), Arc::clone(&stop));
                let (answered, failed) = (Arc::clone(&answered), Arc::clone(&failed));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let answer = client.get(place).attempt().await;
                        match answer {
                            Ok(answer) if answer.status == 200 && answer.text().trim() == word => {
                                answered.fetch_add(1, Ordering::Relaxed)
                            }
                            Ok(answer) => {
                                eprintln!("{place}: {} {}", answer.status, answer.text());
                                failed.fetch_add(1, Ordering::Relaxed)
                            }
                            Err(error) => {
                                eprintln!("{place}: {error}");
                                failed.fetch_add(1, Ordering::Relaxed)
                            }
                        };
                    }
                })
            })
            .collect();
        Load { stop, answered, failed, tasks }
    }

    async fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

#[ignore = "slow: a hundred containers made anew on a real engine"]
#[test]
fn a_hundred_recreations_fail_no_request_of_others_and_with_hold_none_of_their_own() {
    story(async |engine| {
        let settings = [("VIRTUAL_HOST", "app.home.test")];
        engine.serve("app", 80, &[], &settings);
        engine.serve("other", 80, &[], &[("VIRTUAL_HOST", "other.home.test")]);
        let gateway = engine.gateway("hold = \"30s\"\n").await;
        answers(&gateway, "app.home.test", "app").await;
        answers(&gateway, "other.home.test", "other").await;
        let mut kept = gateway.client().connect("other.home.test").await;
        let other = Load::begin(&gateway.client(), "other.home.test/", "other", 1);
        let own = Load::begin(&gateway.client(), "app.home.test/", "app", 1);
        let generation = gateway.generation().await;
        for nth in 0..100 {
            // An answer that has begun is the container's to finish; no gateway can begin it again.
            engine.docker(&["stop", "-t", "10", "app"]);
            engine.docker(&["rm", "app"]);
            engine.serve("app", 80, &[], &settings);
            // It has its turn, before it goes again.
            answers(&gateway, "app.home.test", "app").await;
            assert_eq!(kept.get("/").await.status, 200, "a connection kept through recreation {nth}");
        }
        let (answered, failed) = other.end().await;
        println!("100 recreations: other route {answered} answered, {failed} failed");
        assert!(answered > 100, "{answered} requests for the other route");
        assert_eq!(failed, 0, "of the other route's {answered}");
        let (answered, failed) = own.end().await;
        println!("100 recreations: own route {answered} answered, {failed} failed");
        assert!(answered > 100, "{answered} requests for the route itself");
        assert_eq!(failed, 0, "of the route's own {answered}");
        assert!(gateway.generation().await > generation);
    });
}

#[ignore = "slow: dozens of containers on a real engine"]
#[test]
fn dozens_come_and_go_and_nobody_else_notices() {
    story(async |engine| {
        const DOZENS: usize = 36;
        engine.serve("other", 80, &[], &[("VIRTUAL_HOST", "other.home.test")]);
        let gateway = engine.gateway("").await;
        answers(&gateway, "other.home.test", "other").await;
        let mut kept = gateway.client().connect("other.home.test").await;
        let load = Load::begin(&gateway.client(), "other.home.test/", "other", 1);
        let names: Vec<String> = (0..DOZENS).map(|n| format!("c{n}")).collect();
        let engine = &engine;
        std::thread::scope(|scope| {
            for chunk in names.chunks(DOZENS / 4) {
                scope.spawn(move || {
                    for name in chunk {
                        engine.serve(name, 80, &[], &[("VIRTUAL_HOST", &format!("{name}.home.test"))]);
                    }
                });
            }
        });
        let routed = "doorward_containers{verdict=\"routed\"}";
        eventually("all of them to be routed", async || {
            (gateway.metric(routed).await as usize == DOZENS + 1).then_some(())
        })
        .await;
        for name in &names {
            answers(&gateway, &format!("{name}.home.test"), name).await;
        }
        let all: Vec<&str> = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)).collect();
        engine.docker(&all);
        eventually("all of them to be gone", async || {
            (gateway.metric("doorward_containers{verdict=\"away\"}").await as usize == DOZENS).then_some(())
        })
        .await;
        assert_eq!(kept.get("/").await.status, 200);
        let (answered, failed) = load.end().await;
        assert!(answered > 50 && failed == 0, "{answered} answered, {failed} failed");
    });
}
