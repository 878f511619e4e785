//! Which files are taken for secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::read_secret;

fn file(name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = std::env::temp_dir().join(format!("doorward-secret-{}-{name}", std::process::id()));
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn fault(name: &str, content: &[u8], mode: u32) -> String {
    let path = file(name, content, mode);
    let fault = read_secret(&path).unwrap_err().to_string();
    fs::remove_file(&path).unwrap();
    fault
}

#[test]
fn a_secret_is_read_without_the_line_end_that_editors_add() {
    let path = file("plain", b"  token-1\r\n", 0o440);
    assert_eq!(read_secret(&path).unwrap().reveal(), "token-1");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_secret_that_everybody_can_read_is_refused_with_the_command_that_mends_it() {
    let said = fault("open", b"token-2", 0o644);
    assert!(said.contains("run `chmod o-rwx /") && said.contains("mode 644"), "{said}");
    assert!(!said.contains("token-2"));
}

#[test]
fn what_is_no_secret_is_said_to_be_none() {
    assert!(fault("empty", b" \n", 0o600).contains("empty"));
    assert!(fault("binary", &[0xff, 0xfe, 0x00], 0o600).contains("not text"));
    assert!(fault("large", &vec![b'a'; 70_000], 0o600).contains("larger than 65536 bytes"));
    let missing = read_secret(&std::env::temp_dir().join("doorward-no-such-secret")).unwrap_err().to_string();
    assert!(missing.contains("cannot be read"), "{missing}");
    assert!(read_secret(&std::env::temp_dir()).unwrap_err().to_string().contains("not a regular file"));
}
