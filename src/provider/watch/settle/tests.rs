//! When a change counts.

use proptest::prelude::*;

use super::super::ContentPrint;
use super::*;

fn prints(contents: &[(&str, Option<&str>)]) -> Prints {
    let print =
        |(file, content): &(&str, Option<&str>)| (PathBuf::from(file), content.map(|c| ContentPrint::of(c.as_bytes())));
    contents.iter().map(print).collect()
}

fn moving(verdict: Verdict) -> Settling {
    match verdict {
        Verdict::Moving(settling) => settling,
        other => panic!("{other:?}"),
    }
}

fn settled(verdict: Verdict) -> (Prints, bool) {
    match verdict {
        Verdict::Settled { changed, is_rest_moving } => (changed, is_rest_moving),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_as_reported_is_no_change() {
    let reported = prints(&[("a", Some("1")), ("b", None)]);
    assert!(matches!(Settling::default().judge(&reported, reported.clone()), Verdict::Quiet));
}

#[test]
fn a_half_written_file_is_not_reported_and_the_whole_one_is() {
    let reported = prints(&[("a", Some("old"))]);
    let half = moving(Settling::default().judge(&reported, prints(&[("a", Some("ne"))])));
    let whole = moving(half.judge(&reported, prints(&[("a", Some("new"))])));
    let (changed, _) = settled(whole.judge(&reported, prints(&[("a", Some("new"))])));
    assert_eq!(changed, prints(&[("a", Some("new"))]));
}

#[test]
fn a_file_that_is_gone_for_a_moment_was_never_gone() {
    let reported = prints(&[("a", Some("old"))]);
    let gone = moving(Settling::default().judge(&reported, prints(&[("a", None)])));
    assert!(matches!(gone.judge(&reported, reported.clone()), Verdict::Quiet));
}

#[test]
fn a_file_that_appears_or_stays_away_is_a_change() {
    let reported = prints(&[("a", Some("old")), ("b", None)]);
    let now = prints(&[("a", None), ("b", Some("new"))]);
    let once = moving(Settling::default().judge(&reported, now.clone()));
    assert_eq!(settled(once.judge(&reported, now.clone())).0, now);
}

#[test]
fn a_certificate_waits_for_its_key() {
    let reported = prints(&[("cert", Some("1")), ("key", Some("1"))]);
    let first = moving(Settling::default().judge(&reported, prints(&[("cert", Some("2")), ("key", Some("1"))])));
    let second = moving(first.judge(&reported, prints(&[("cert", Some("2")), ("key", Some("2"))])));
    let (changed, _) = settled(second.judge(&reported, prints(&[("cert", Some("2")), ("key", Some("2"))])));
    assert_eq!(changed.len(), 2);
}

#[test]
fn a_file_that_never_rests_holds_others_back_for_a_while_only() {
    let reported = prints(&[("log", Some("")), ("routes", Some("1"))]);
    let mut settling = Settling::default();
    for round in 0..=PATIENCE {
        let line = round.to_string();
        match settling.judge(&reported, prints(&[("log", Some(&line)), ("routes", Some("2"))])) {
            Verdict::Moving(next) => settling = next,
            Verdict::Settled { changed, is_rest_moving } => {
                assert_eq!((changed, is_rest_moving), (prints(&[("routes", Some("2"))]), true));
                return;
            }
            Verdict::Quiet => panic!("something did change"),
        }
    }
    panic!("held back for ever");
}

#[test]
fn a_file_alone_that_never_rests_is_looked_at_less_often() {
    let reported = prints(&[("log", Some(""))]);
    let mut settling = Settling::default();
    for round in 0..2 * PATIENCE {
        settling = moving(settling.judge(&reported, prints(&[("log", Some(&round.to_string()))])));
    }
    assert!(settling.is_endless());
    let (changed, _) = settled(settling.judge(&reported, prints(&[("log", Some(&(2 * PATIENCE - 1).to_string()))])));
    assert_eq!(changed.len(), 1);
}

proptest! {
    #[test]
    fn what_is_reported_was_read_twice_in_a_row_and_differs(readings in prop::collection::vec((0..3_u8, 0..3_u8), 1..40)) {
        let text = |(a, b): &(u8, u8)| {
            let content = |n: &u8| (*n > 0).then(|| n.to_string());
            let (a, b) = (content(a), content(b));
            prints(&[("a", a.as_deref()), ("b", b.as_deref())])
        };
        let reported = prints(&[("a", Some("1")), ("b", None)]);
        let mut settling = Settling::default();
        let mut last = Prints::new();
        for reading in readings.iter().map(text) {
            match settling.judge(&reported, reading.clone()) {
                Verdict::Quiet => { prop_assert_eq!(&reading, &reported); settling = Settling::default(); last = Prints::new(); continue; }
                Verdict::Moving(next) => settling = next,
                Verdict::Settled { changed, .. } => {
                    prop_assert!(!changed.is_empty());
                    for (file, print) in &changed {
                        prop_assert!(last.get(file) == Some(print) && reading.get(file) == Some(print) && reported.get(file) != Some(print));
                    }
                    return Ok(());
                }
            }
            last = reading;
        }
    }
}
