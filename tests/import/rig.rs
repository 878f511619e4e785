//! A folder, a database in it, and the program that reads it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;

/// A version of NPM, by the migrations that it has run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// 2.0, before the first change of the schema that matters here.
    V2_0,
    /// 2.9
    V2_9,
    /// 2.11
    V2_11,
    /// 2.15
    V2_15,
}

const EVERY_TABLE: &str = "id integer not null primary key autoincrement, created_on datetime not null default '2026-01-01', \
                           modified_on datetime not null default '2026-01-01'";
const OWNED: &str = "owner_user_id integer not null default 1, is_deleted integer not null default 0";

/// A folder of its own for one test, gone at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("doorward-move-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub fn doorward(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        command.args(words).current_dir(&self.0).stdin(Stdio::null());
        command.env_remove("STATE_DIRECTORY").env_remove("RUNTIME_DIRECTORY").env_remove("DOORWARD_LOG");
        command.output().unwrap()
    }

    /// Runs an import, which must do; keeps what it printed as routes.toml and has it checked.
    pub fn import(&self, words: &[&str]) -> String {
        let output = self.doorward(words);
        let file = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{file}\n{}", text(&output.stderr));
        fs::write(self.0.join("routes.toml"), &file).unwrap();
        self.check(&file);
        file
    }

    /// `doorward check` must find nothing wrong with it.
    pub fn check(&self, file: &str) {
        let checked = self.doorward(&["check", "routes.toml"]);
        assert_eq!(checked.status.code(), Some(0), "{}\n{file}", text(&checked.stdout));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file whose comments are one line each, however they were wrapped; what they quote stays apart.
pub fn flat(file: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in file.lines() {
        let goes_on = line.strip_prefix("# ").filter(|rest| !rest.starts_with(' '));
        match (goes_on, lines.last_mut()) {
            (Some(rest), Some(last)) if last.starts_with("# ") && !last.starts_with("#  ") => {
                last.push(' ');
                last.push_str(rest);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A database as a version of NPM has it, empty.
pub fn database(folder: &Folder, version: Version) -> Connection {
    let connection = Connection::open(folder.0.join("database.sqlite")).unwrap();
    connection.execute_batch(&initial()).unwrap();
    if version >= Version::V2_9 {
        connection.execute_batch(&until_2_9()).unwrap();
    }
    if version >= Version::V2_15 {
        connection.execute_batch(LATER).unwrap();
    }
    connection
}

/// The path of the database for the command line.
pub fn place(folder: &Folder) -> String {
    folder.0.join("database.sqlite").display().to_string()
}

fn initial() -> String {
    format!(
        "CREATE TABLE user ({EVERY_TABLE}, email varchar(255) not null, name varchar(255) not null);
         CREATE TABLE proxy_host ({EVERY_TABLE}, {OWNED}, domain_names json not null, forward_ip varchar(255) not null,
           forward_port integer not null, root_dir varchar(255) not null default '', index_file varchar(255) not null
           default '', static integer not null default 0, access_list_id integer not null default 0, certificate_id
           integer not null default 0, ssl_forced integer not null default 0, caching_enabled integer not null default 0,
           block_exploits integer not null default 0, advanced_config text not null default '', meta json not null
           default '{{}}');
         CREATE TABLE redirection_host ({EVERY_TABLE}, {OWNED}, domain_names json not null, forward_domain_name
           varchar(255) not null, preserve_path integer not null default 0, certificate_id integer not null default 0,
           ssl_forced integer not null default 0, block_exploits integer not null default 0, advanced_config text not
           null default '', meta json not null default '{{}}');
         CREATE TABLE dead_host ({EVERY_TABLE}, {OWNED}, domain_names json not null, certificate_id integer not null
           default 0, ssl_forced integer not null default 0, advanced_config text not null default '', meta json not null
           default '{{}}');
         CREATE TABLE stream ({EVERY_TABLE}, {OWNED}, incoming_port integer not null, forward_ip varchar(255) not null,
           forwarding_port integer not null, tcp_forwarding integer not null default 0, udp_forwarding integer not null
           default 0, meta json not null default '{{}}');
         CREATE TABLE access_list ({EVERY_TABLE}, {OWNED}, name varchar(255) not null, meta json not null default '{{}}');
         CREATE TABLE certificate ({EVERY_TABLE}, {OWNED}, provider varchar(255) not null, nice_name varchar(255) not null
           default '', domain_names json not null, expires_on datetime not null default '2026-06-01', meta json not null
           default '{{}}');
         CREATE TABLE access_list_auth ({EVERY_TABLE}, access_list_id integer not null, username varchar(255) not null,
           password varchar(255) not null, meta json not null default '{{}}');
         CREATE TABLE audit_log ({EVERY_TABLE}, user_id integer not null, action varchar(255) not null);"
    )
}

fn until_2_9() -> String {
    let for_all = |change: &str| {
        let tables = ["proxy_host", "redirection_host", "dead_host"];
        tables.map(|table| format!("ALTER TABLE {table} {change};")).concat()
    };
    let switch = |name: &str| format!("ADD COLUMN {name} integer not null default 0");
    [
        "ALTER TABLE proxy_host RENAME COLUMN forward_ip TO forward_host;".to_owned(),
        format!("ALTER TABLE proxy_host {};", switch("allow_websocket_upgrade")),
        for_all(&switch("http2_support")),
        "ALTER TABLE proxy_host ADD COLUMN forward_scheme varchar(255) not null default 'http';".to_owned(),
        for_all("ADD COLUMN enabled integer not null default 1"),
        "ALTER TABLE stream ADD COLUMN enabled integer not null default 1;".to_owned(),
        "ALTER TABLE proxy_host ADD COLUMN locations json;".to_owned(),
        for_all(&switch("hsts_enabled")),
        for_all(&switch("hsts_subdomains")),
        "CREATE TABLE setting (id varchar(255) not null primary key, name varchar(100) not null, description varchar(255)
           not null, value varchar(255) not null, meta json not null);"
            .to_owned(),
        format!(
            "CREATE TABLE access_list_client ({EVERY_TABLE}, access_list_id integer not null, address varchar(255) not
               null, directive varchar(255) not null, meta json not null default '{{}}');"
        ),
        "ALTER TABLE access_list ADD COLUMN satify_any integer not null default 0;".to_owned(),
        "ALTER TABLE access_list ADD COLUMN pass_auth integer not null default 1;".to_owned(),
        "ALTER TABLE redirection_host ADD COLUMN forward_scheme varchar(255) not null default '$scheme';".to_owned(),
        "ALTER TABLE redirection_host ADD COLUMN forward_http_code integer not null default 302;".to_owned(),
        "ALTER TABLE stream RENAME COLUMN forward_ip TO forwarding_host;".to_owned(),
    ]
    .concat()
}

const LATER: &str = "ALTER TABLE stream ADD COLUMN certificate_id integer not null default 0;
    ALTER TABLE proxy_host ADD COLUMN trust_forwarded_proto tinyint not null default 0;";

/// What NPM's form for a proxy host holds.
pub struct ProxyHost<'a> {
    pub names: &'a [&'a str],
    pub to: (&'a str, &'a str, u16),
    pub access: i64,
    pub certificate: i64,
    pub snippet: &'a str,
    pub locations: &'a str,
}

pub const HOST: ProxyHost<'static> =
    ProxyHost { names: &[], to: ("http", "192.168.8.5", 80), access: 0, certificate: 0, snippet: "", locations: "[]" };

/// Writes a proxy host as NPM does.
pub fn insert(connection: &Connection, host: &ProxyHost<'_>) {
    connection
        .execute(
            "INSERT INTO proxy_host (domain_names, forward_scheme, forward_host, forward_port, access_list_id, certificate_id,
               ssl_forced, advanced_config, locations, block_exploits, allow_websocket_upgrade, http2_support)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6 > 0, ?7, ?8, 1, 1, 1)",
            rusqlite::params![
                serde_json::to_string(host.names).unwrap(),
                host.to.0,
                host.to.1,
                host.to.2,
                host.access,
                host.certificate,
                host.snippet,
                host.locations,
            ],
        )
        .unwrap();
}

/// Writes an access list as NPM does; its number.
pub fn access_list(connection: &Connection, name: &str, rules: &[(&str, &str)], users: &[&str], any: bool) -> i64 {
    connection.execute("INSERT INTO access_list (name, satify_any) VALUES (?1, ?2)", (name, any)).unwrap();
    let id = connection.last_insert_rowid();
    for (directive, address) in rules {
        let sql = "INSERT INTO access_list_client (access_list_id, directive, address) VALUES (?1, ?2, ?3)";
        connection.execute(sql, (id, directive, address)).unwrap();
    }
    for user in users {
        let sql = "INSERT INTO access_list_auth (access_list_id, username, password) VALUES (?1, ?2, 'hunter2')";
        connection.execute(sql, (id, user)).unwrap();
    }
    id
}

/// Writes a certificate as NPM does; its number.
pub fn certificate(connection: &Connection, provider: &str, names: &[&str], meta: &str) -> i64 {
    let sql = "INSERT INTO certificate (provider, nice_name, domain_names, meta) VALUES (?1, ?2, ?3, ?4)";
    let list = serde_json::to_string(names).unwrap();
    connection.execute(sql, (provider, names.join(", "), list, meta)).unwrap();
    connection.last_insert_rowid()
}
