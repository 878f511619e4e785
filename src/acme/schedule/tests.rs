use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn facts() -> Facts {
    Facts {
        certificate: None,
        unfit: None,
        window: None,
        renew_days: None,
        trouble: None,
        rushes: 0,
        last_issue: None,
        now: NOW,
        seed: 7,
    }
}

fn issued(at: i64, seconds: i64) -> Option<Lifetime> {
    Some(Lifetime { from: at, until: at + seconds })
}

fn failed(failures: u32, last: i64) -> Option<Trouble> {
    Some(Trouble { failures, last, asked: None })
}

#[test]
fn without_a_certificate_it_is_due_now() {
    assert_eq!(due(&facts()), Due { at: NOW, why: Why::Missing, waits: None });
}

#[test]
fn without_a_window_two_thirds_of_any_lifetime_count() {
    for life in [120, 6 * DAY, 45 * DAY, 64 * DAY, 90 * DAY] {
        let due = due(&Facts { certificate: issued(NOW, life), ..facts() });
        assert_eq!((due.at, due.why), (NOW + life / 3 * 2, Why::TwoThirds), "{life}");
    }
}

#[test]
fn a_window_in_the_past_is_due_at_once() {
    let window = Some(Window { start: NOW - 2 * DAY, end: NOW - DAY });
    let due = due(&Facts { certificate: issued(NOW - 3600, 90 * DAY), window, ..facts() });
    assert!(due.at <= NOW && due.why == Why::Window, "{due:?}");
}

#[test]
fn a_window_that_is_none_or_comes_too_late_does_not_count() {
    for (start, end) in [(NOW + 10, NOW + 10), (NOW + 10, NOW), (NOW + 91 * DAY, NOW + 92 * DAY)] {
        let window = Some(Window { start, end });
        assert_eq!(due(&Facts { certificate: issued(NOW, 90 * DAY), window, ..facts() }).why, Why::TwoThirds);
    }
}

#[test]
fn days_that_would_always_be_due_fall_back_to_two_thirds() {
    let due = due(&Facts { certificate: issued(NOW, 6 * DAY), renew_days: Some(30), ..facts() });
    assert_eq!((due.at, due.why), (NOW + 4 * DAY, Why::TwoThirds));
}

#[test]
fn a_revocation_counts_before_the_number_of_days() {
    let window = Some(Window { start: NOW - DAY, end: NOW });
    let due = due(&Facts { certificate: issued(NOW, 90 * DAY), renew_days: Some(30), window, ..facts() });
    assert_eq!(due.why, Why::Window);
}

#[test]
fn the_pause_after_failures_doubles_from_a_minute_to_six_hours() {
    for seed in 0..50 {
        let mut plain = 60;
        for failures in 1..=30 {
            let pause = back_off(failures, seed);
            if plain < BACK_OFF_LONGEST {
                assert!((plain..=(plain * 5 / 4).min(BACK_OFF_LONGEST)).contains(&pause), "{failures}: {pause}");
            } else {
                assert!((BACK_OFF_LONGEST * 4 / 5..=BACK_OFF_LONGEST).contains(&pause), "{failures}: {pause}");
            }
            plain = (plain * 2).min(BACK_OFF_LONGEST);
        }
    }
}

#[test]
fn what_the_ca_asks_for_is_waited_for() {
    let trouble = Some(Trouble { failures: 1, last: NOW, asked: Some(7200) });
    let due = due(&Facts { trouble, ..facts() });
    assert_eq!((due.at, due.waits), (NOW + 7200, Some(Waits::Asked)));
}

#[test]
fn a_ca_that_always_says_now_is_not_stormed() {
    let window = Some(Window { start: NOW - 2 * DAY, end: NOW - DAY });
    let certificate = issued(NOW, 90 * DAY);
    let rushed = Facts { certificate, window, rushes: 1, last_issue: Some(NOW), ..facts() };
    assert!(due(&rushed).at >= NOW + 60, "{:?}", due(&rushed));
    assert!(is_rush(Lifetime { from: NOW, until: NOW + 90 * DAY }, NOW, NOW + 5));
    assert!(!is_rush(Lifetime { from: NOW, until: NOW + 120 }, NOW, NOW + 80));
}

#[test]
fn a_failure_from_before_the_clock_was_set_back_holds_nothing_up() {
    let due = due(&Facts { trouble: failed(3, NOW + 10 * 365 * DAY), ..facts() });
    assert!((NOW + 240..=NOW + 300).contains(&due.at), "{due:?}");
}

prop_compose! {
    fn any_facts()(
        life in prop_oneof![Just(120), Just(6 * DAY), Just(45 * DAY), Just(64 * DAY), Just(90 * DAY), 1..400 * DAY],
        age in -400 * DAY..800 * DAY,
        has_certificate in any::<bool>(),
        window in proptest::option::of((-100 * DAY..100 * DAY, -DAY..20 * DAY)),
        renew_days in proptest::option::of(1_u32..=365),
        trouble in proptest::option::of((1_u32..200, -400 * DAY..400 * DAY, proptest::option::of(-5..30 * DAY))),
        rushes in 0_u32..50,
        last in proptest::option::of(-400 * DAY..400 * DAY),
        seed in any::<u64>(),
    ) -> Facts {
        let from = NOW - age;
        Facts {
            certificate: has_certificate.then_some(Lifetime { from, until: from + life }),
            unfit: None,
            window: window.map(|(start, length)| Window { start: from + start, end: from + start + length }),
            renew_days,
            trouble: trouble.map(|(failures, last, asked)| Trouble { failures, last: NOW + last, asked }),
            rushes,
            last_issue: last.map(|last| NOW + last),
            now: NOW,
            seed,
        }
    }
}

proptest! {
    #[test]
    fn the_same_facts_give_the_same_answer(facts in any_facts()) {
        prop_assert_eq!(due(&facts), due(&facts));
    }

    #[test]
    fn a_good_certificate_is_due_before_it_ends(facts in any_facts()) {
        let Some(life) = facts.certificate else { return Ok(()) };
        let due = due(&Facts { trouble: None, rushes: 0, ..facts });
        prop_assert!(due.at < life.until.max(life.from + 1), "{:?} of {:?}", due, life);
    }

    #[test]
    fn nothing_waits_longer_than_the_back_off_or_what_was_asked(facts in any_facts()) {
        let calm = due(&Facts { trouble: None, rushes: 0, ..facts });
        let due = due(&facts);
        let asked = facts.trouble.and_then(|t| t.asked).unwrap_or(0).clamp(0, ASKED_LONGEST);
        prop_assert!(due.at >= calm.at);
        prop_assert!(due.at <= calm.at.max(NOW + BACK_OFF_LONGEST.max(asked)), "{:?}", due);
    }

    #[test]
    fn after_a_failure_just_now_at_least_a_minute_passes(facts in any_facts(), failures in 1_u32..1000) {
        let due = due(&Facts { trouble: failed(failures, NOW), ..facts });
        prop_assert!(due.at >= NOW + 60);
    }

    #[test]
    fn what_is_due_stays_due_as_time_goes_on(facts in any_facts(), later in 0..100 * DAY) {
        // Without a record of the future: that one is read anew at every look.
        let facts = Facts { trouble: None, rushes: 0, ..facts };
        if due(&facts).at <= NOW {
            let then = due(&Facts { now: NOW + later, ..facts });
            prop_assert!(then.at <= NOW + later, "{:?}", then);
        }
    }
}
