//! What is reported of real files, changed in the ways that people and programs change them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use tokio::time::timeout;

use super::*;

/// Far more than any of this takes: to fail rather than hang.
const DEADLINE: Duration = Duration::from_secs(60);

/// A folder that is gone afterwards.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("doorward-watch-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn watching(files: &[&Path]) -> Watch {
    let mut watch = Watch::start();
    watch.set_files(files.iter().map(|file| file.to_path_buf()).collect(), &HashMap::new());
    watch
}

async fn next(watch: &mut Watch) -> Vec<PathBuf> {
    timeout(DEADLINE, watch.changed()).await.expect("nothing was reported")
}

/// Touches without changing.
fn touch(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
}

#[tokio::test]
async fn a_file_written_in_place_is_reported_once() {
    let folder = Folder::new();
    let (a, b) = (folder.file("a", "1"), folder.file("b", "1"));
    let mut watch = watching(&[&a, &b]);
    fs::write(&a, "2").unwrap();
    assert_eq!(next(&mut watch).await, [a.as_path()]);
    fs::write(&b, "2").unwrap();
    assert_eq!(next(&mut watch).await, [b.as_path()]);
}

#[tokio::test]
async fn a_file_renamed_over_is_reported_again_and_again() {
    let folder = Folder::new();
    let routes = folder.file("routes.toml", "1");
    let mut watch = watching(&[&routes]);
    for text in ["2", "3", "4"] {
        fs::rename(folder.file(".routes.toml.swp", text), &routes).unwrap();
        assert_eq!(next(&mut watch).await, [routes.as_path()]);
    }
}

#[tokio::test]
async fn a_touched_file_is_not_reported() {
    let folder = Folder::new();
    let (touched, rewritten, changed) = (folder.file("a", "1"), folder.file("b", "1"), folder.file("c", "1"));
    let mut watch = watching(&[&touched, &rewritten, &changed]);
    touch(&touched);
    fs::write(&rewritten, "1").unwrap();
    fs::write(&changed, "2").unwrap();
    assert_eq!(next(&mut watch).await, [changed.as_path()]);
}

#[tokio::test]
async fn a_change_with_the_time_stamp_and_size_of_before_is_reported() {
    let folder = Folder::new();
    let file = folder.file("a", "1");
    touch(&file);
    let mut watch = watching(&[&file]);
    let other = folder.file("b", "2");
    touch(&other);
    fs::rename(other, &file).unwrap();
    assert_eq!(next(&mut watch).await, [file.as_path()]);
}

#[tokio::test]
async fn a_swapped_link_is_reported() {
    let folder = Folder::new();
    let (old, new) = (folder.file("old", "1"), folder.file("new", "2"));
    let link = folder.0.join("current");
    symlink(old, &link).unwrap();
    let mut watch = watching(&[&link]);
    let next_link = folder.0.join("next");
    symlink(new, &next_link).unwrap();
    fs::rename(next_link, &link).unwrap();
    assert_eq!(next(&mut watch).await, [link.as_path()]);
}

#[tokio::test]
async fn a_link_swapped_half_way_moves_all_files_behind_it_at_once() {
    let folder = Folder::new();
    for version in ["v1", "v2", "v3"] {
        fs::create_dir(folder.0.join(version)).unwrap();
        folder.file(&format!("{version}/crt"), version);
        folder.file(&format!("{version}/key"), version);
    }
    symlink("v1", folder.0.join("..data")).unwrap();
    symlink("..data/crt", folder.0.join("crt")).unwrap();
    symlink("..data/key", folder.0.join("key")).unwrap();
    let (crt, key) = (folder.0.join("crt"), folder.0.join("key"));
    let mut watch = watching(&[&crt, &key]);
    for version in ["v2", "v3"] {
        symlink(version, folder.0.join("..tmp")).unwrap();
        fs::rename(folder.0.join("..tmp"), folder.0.join("..data")).unwrap();
        assert_eq!(next(&mut watch).await, [crt.as_path(), key.as_path()]);
    }
}

#[tokio::test]
async fn a_whole_folder_swapped_is_reported_and_watched_on() {
    let folder = Folder::new();
    for name in ["live", "next"] {
        fs::create_dir(folder.0.join(name)).unwrap();
        folder.file(&format!("{name}/routes.toml"), name);
    }
    let routes = folder.0.join("live/routes.toml");
    let mut watch = watching(&[&routes]);
    fs::rename(folder.0.join("live"), folder.0.join("old")).unwrap();
    fs::rename(folder.0.join("next"), folder.0.join("live")).unwrap();
    assert_eq!(next(&mut watch).await, [routes.as_path()]);
    fs::write(&routes, "again").unwrap();
    assert_eq!(next(&mut watch).await, [routes.as_path()]);
}

#[tokio::test]
async fn a_file_that_appears_and_one_that_vanishes_are_reported() {
    let folder = Folder::new();
    let (there, later) = (folder.file("there", "1"), folder.0.join("not/yet/there"));
    let mut watch = watching(&[&there, &later]);
    fs::remove_file(&there).unwrap();
    assert_eq!(next(&mut watch).await, [there.as_path()]);
    fs::create_dir_all(later.parent().unwrap()).unwrap();
    fs::write(&later, "1").unwrap();
    assert_eq!(next(&mut watch).await, [later.as_path()]);
}

#[tokio::test]
async fn a_change_between_reading_and_watching_is_reported() {
    let folder = Folder::new();
    let file = folder.file("a", "1");
    let seen = HashMap::from([(file.clone(), ContentPrint::of_file(&file))]);
    fs::write(&file, "2").unwrap();
    let mut watch = Watch::start();
    watch.set_files(vec![file.clone()], &seen);
    assert_eq!(next(&mut watch).await, [file.as_path()]);
}

#[tokio::test]
async fn a_reload_that_keeps_the_files_keeps_what_was_reported() {
    let folder = Folder::new();
    let (a, b) = (folder.file("a", "1"), folder.file("b", "1"));
    let mut watch = watching(&[&a]);
    fs::write(&a, "2").unwrap();
    assert_eq!(next(&mut watch).await, [a.as_path()]);
    watch.set_files(vec![a.clone(), b.clone()], &HashMap::new());
    fs::write(&b, "2").unwrap();
    assert_eq!(next(&mut watch).await, [b.as_path()]);
    watch.set_files(vec![b.clone()], &HashMap::new());
    fs::write(&a, "3").unwrap();
    fs::write(&b, "3").unwrap();
    assert_eq!(next(&mut watch).await, [b.as_path()]);
}

#[tokio::test]
async fn dropped_while_waiting_nothing_is_lost() {
    let folder = Folder::new();
    let file = folder.file("a", "1");
    let mut watch = watching(&[&file]);
    fs::write(&file, "2").unwrap();
    let reported = timeout(DEADLINE, async {
        loop {
            // Shorter than it takes to settle: every wait is cut, most of them in the middle of something.
            if let Ok(changed) = timeout(Duration::from_millis(15), watch.changed()).await {
                return changed;
            }
        }
    });
    assert_eq!(reported.await.unwrap(), [file.as_path()]);
}

#[tokio::test]
async fn a_file_that_never_rests_does_not_hide_another() {
    let folder = Folder::new();
    let (restless, calm) = (folder.file("log", ""), folder.file("routes", "1"));
    let mut watch = watching(&[&restless, &calm]);
    let writing = tokio::spawn(async move {
        let mut file = fs::File::options().append(true).open(restless).unwrap();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            file.write_all(b"line\n").unwrap();
        }
    });
    fs::write(&calm, "2").unwrap();
    while !next(&mut watch).await.contains(&calm) {}
    writing.abort();
}

#[tokio::test]
async fn without_notices_the_poll_finds_changes() {
    let folder = Folder::new();
    let file = folder.file("a", "1");
    let mut watch = watching(&[&file]);
    watch.notices = Notices::deaf();
    watch.look = false;
    fs::write(&file, "2").unwrap();
    assert_eq!(next(&mut watch).await, [file.as_path()]);
}

#[tokio::test]
async fn notices_alone_are_enough_to_look() {
    let folder = Folder::new();
    let file = folder.file("a", "1");
    let watch = watching(&[&file]);
    fs::rename(folder.file("b", "2"), &file).unwrap();
    timeout(DEADLINE, watch.notices.next()).await.expect("inotify said nothing");
}

#[test]
fn what_is_no_readable_file_has_no_print() {
    let folder = Folder::new();
    assert!(ContentPrint::of_file(&folder.0).is_none());
    assert!(ContentPrint::of_file(&folder.0.join("nobody")).is_none());
    let fifo = folder.0.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(ContentPrint::of_file(&fifo).is_none());
    let file = folder.file("a", "text");
    assert_eq!(ContentPrint::of_file(&file), Some(ContentPrint::of(b"text")));
}
