use super::*;

fn client(address: &str) -> Client {
    Client::at(address.parse().unwrap()).counted_with()
}

fn subject(address: &str) -> Subject {
    (1, 2, client(address))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn as_many_as_the_limit_pass_at_once_and_not_one_more() {
    let window = Window::new(ms(1000));
    let home = subject("192.168.1.7");
    for _ in 0..20 {
        assert_eq!(window.ask(ms(10), 20, &home), Ok(()));
    }
    assert!(window.ask(ms(10), 20, &home).is_err());
    assert!(window.ask(ms(999), 20, &home).is_err());
    assert_eq!(window.ask(ms(999), 20, &subject("192.168.1.8")), Ok(()), "nobody else feels it");
}

#[test]
fn who_goes_on_asking_gets_the_rate_in_the_long_run() {
    let window = Window::new(ms(1000));
    let eager = subject("203.0.113.7");
    let passed = (0..10_000).filter(|&at| window.ask(ms(at), 20, &eager).is_ok()).count();
    // A full window at the start, and then ten of them.
    assert!((190..=220).contains(&passed), "{passed} in ten seconds");
}

#[test]
fn in_no_window_wherever_it_begins_do_many_more_pass() {
    let window = Window::new(ms(1000));
    let eager = subject("203.0.113.7");
    let passed: Vec<u64> = (0..5_000).filter(|&at| window.ask(ms(at), 20, &eager).is_ok()).collect();
    for from in (0..4_000).step_by(50) {
        let within = passed.iter().filter(|at| (from..from + 1000).contains(*at)).count();
        assert!(within <= 30, "{within} between {from} and {} ms", from + 1000);
    }
}

#[test]
fn the_wait_that_is_named_is_long_enough_and_not_much_too_long() {
    for (most, at) in [(1, 0), (1, 700), (20, 30), (20, 999)] {
        let window = Window::new(ms(1000));
        let eager = subject("203.0.113.7");
        for _ in 0..most {
            assert_eq!(window.ask(ms(at), most, &eager), Ok(()));
        }
        let wait = window.ask(ms(at), most, &eager).unwrap_err();
        assert!(wait <= ms(2000), "{wait:?}");
        assert!(window.ask(ms(at) + wait / 3, most, &eager).is_err(), "{most} at {at}: {wait:?} is too long");
        assert_eq!(window.ask(ms(at) + wait, most, &eager), Ok(()), "{most} at {at}: after {wait:?}");
    }
}

#[test]
fn after_a_pause_nothing_is_remembered() {
    let window = Window::new(ms(1000));
    let home = subject("192.168.1.7");
    for at in [0, 2000, 9000] {
        for _ in 0..20 {
            assert_eq!(window.ask(ms(at), 20, &home), Ok(()));
        }
        assert!(window.ask(ms(at), 20, &home).is_err());
    }
}

#[test]
fn thousands_of_addresses_do_not_count_for_one_another() {
    let window = Window::new(ms(1000));
    let mut refused = 0;
    for n in 0..5_000_u32 {
        let subject = (7, 7, Client::at(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into()));
        for _ in 0..5 {
            refused += usize::from(window.ask(ms(5), 5, &subject).is_err());
        }
    }
    assert!(refused <= 5, "{refused} of 25,000 were refused for others");
}

#[test]
fn places_in_flight_come_back() {
    let counts = Counts::default();
    let home = subject("192.168.1.7");
    let held: Vec<Held> = (0..3).filter_map(|_| counts.enter(3, &home)).collect();
    assert_eq!(held.len(), 3);
    assert!(counts.enter(3, &home).is_none());
    assert!(counts.enter(3, &subject("192.168.1.8")).is_some());
    drop(held);
    assert!(counts.enter(3, &home).is_some());
}

#[test]
fn cores_count_together() {
    let counts = Counts::default();
    let rate = Rate { most: 1000, per: Per::Hour };
    let passed: usize = std::thread::scope(|scope| {
        let ask = || (0..1000).filter(|_| counts.ask(rate, &subject("203.0.113.7")).is_ok()).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // Two that meet at the last place may both get it, or neither.
    assert!((980..=1010).contains(&passed), "{passed}");
}
