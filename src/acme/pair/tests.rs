use std::sync::atomic::AtomicU32;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("doorward-pair-{}-{count}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn pair(&self) -> PairFolder {
        self.named("a.crt", "a.key")
    }

    fn named(&self, cert: &str, key: &str) -> PairFolder {
        let dir = self.0.clone();
        PairFolder { dir, cert: cert.to_owned(), key: key.to_owned(), mode: 0o640, owner: None, group: None }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn hidden(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| name.starts_with('.'));
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn both_names_lead_through_one_relative_link() {
    let folder = Folder::new();
    folder.pair().write("01", b"cert 1", b"key 1").unwrap();
    assert_eq!(fs::read_link(folder.0.join(".current")).unwrap(), Path::new(".v01"));
    assert_eq!(fs::read_link(folder.0.join("a.crt")).unwrap(), Path::new(".current/a.crt"));
    assert_eq!(fs::read_link(folder.0.join("a.key")).unwrap(), Path::new(".current/a.key"));
    assert_eq!((folder.read("a.crt"), folder.read("a.key")), ("cert 1".into(), "key 1".into()));
    let mode = |name: &str| fs::metadata(folder.0.join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("a.crt"), mode("a.key"), mode(".v01")), (0o640, 0o640, 0o750));
    assert!(folder.pair().holds(b"cert 1", b"key 1"));
    assert!(!folder.pair().holds(b"cert 1", b"key 2"));
}

#[test]
fn the_last_two_versions_are_kept() {
    let folder = Folder::new();
    for version in 1..=4 {
        folder.pair().write(&version.to_string(), b"cert", b"key").unwrap();
    }
    assert_eq!(folder.hidden(), [".current", ".v3", ".v4"]);
}

#[test]
fn the_same_version_may_be_written_again() {
    let folder = Folder::new();
    folder.pair().write("1", b"cert", b"key").unwrap();
    folder.pair().write("1", b"cert", b"another").unwrap();
    assert_eq!(folder.read("a.key"), "another");
}

#[test]
fn plain_files_of_another_program_are_taken_over() {
    let folder = Folder::new();
    fs::write(folder.0.join("a.crt"), "old cert").unwrap();
    fs::write(folder.0.join("a.key"), "old key").unwrap();
    folder.pair().write("1", b"cert", b"key").unwrap();
    assert!(folder.pair().holds(b"cert", b"key"));
    assert_eq!(folder.read(".v0/a.key"), "old key");
}

#[test]
fn two_pairs_may_share_a_folder() {
    let folder = Folder::new();
    let (one, other) = (folder.pair(), folder.named("b.crt", "b.key"));
    one.write("1", b"cert a", b"key a").unwrap();
    other.write("2", b"cert b", b"key b").unwrap();
    assert!(one.holds(b"cert a", b"key a") && other.holds(b"cert b", b"key b"));
    one.write("3", b"cert c", b"key c").unwrap();
    assert!(one.holds(b"cert c", b"key c") && other.holds(b"cert b", b"key b"));
}

#[test]
fn a_write_that_fails_leaves_the_old_pair() {
    let folder = Folder::new();
    folder.pair().write("1", b"cert", b"key").unwrap();
    // A name that no file system takes stands for a disk that is full in the middle.
    let mut broken = folder.pair();
    broken.key = "k".repeat(300);
    assert!(broken.write("2", b"new cert", b"new key").is_err());
    assert!(folder.pair().holds(b"cert", b"key"));
    assert_eq!(folder.hidden(), [".current", ".v1"]);
}

#[test]
fn in_place_keeps_the_files_that_are_mounted() {
    let folder = Folder::new();
    fs::write(folder.0.join("a.crt"), "a longer old certificate").unwrap();
    fs::write(folder.0.join("a.key"), "old key").unwrap();
    let inode = |name: &str| fs::symlink_metadata(folder.0.join(name)).unwrap().ino();
    let before = (inode("a.crt"), inode("a.key"));
    folder.pair().write_in_place(b"cert", b"key").unwrap();
    assert_eq!((folder.read("a.crt"), folder.read("a.key")), ("cert".into(), "key".into()));
    assert_eq!((inode("a.crt"), inode("a.key")), before);
    assert!(folder.pair().reads(b"cert", b"key") && !folder.pair().holds(b"cert", b"key"));
}
