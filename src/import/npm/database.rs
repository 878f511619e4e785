//! The database as rows of named values. It is copied before it is opened, with whatever SQLite keeps beside it, so that
//! neither a running NPM nor its files ever notice; the copy goes away at the end.
//! Knows nothing of what the tables mean.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::cert::private_folder;
use crate::import::ImportError;

/// More than any home has; a table beyond it is not read.
const MOST_ROWS: usize = 20_000;

/// The longest text of one cell, in bytes. What is longer is no setting of anybody's, and half of it could be half a rule.
const LONGEST: usize = 1 << 20;

/// The largest database, in bytes: it is copied.
const LARGEST: u64 = 1 << 30;

/// An open copy.
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    // Dropped last: SQLite closes its files first.
    _copy: Copy,
}

/// One row.
pub(super) struct Row(HashMap<String, Cell>);

enum Cell {
    Nothing,
    Number(i64),
    Text(String),
}

impl Database {
    /// Opens a database file, or the one in a folder.
    pub(super) fn open(path: &Path) -> Result<Database, ImportError> {
        let path = if path.is_dir() { path.join("database.sqlite") } else { path.to_owned() };
        let unreadable = |cause| ImportError::Unreadable { path: path.clone(), cause };
        let about = fs::metadata(&path).map_err(unreadable)?;
        if !about.is_file() {
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        if about.len() > LARGEST {
            return Err(ImportError::NotNpm { path, why: "it is larger than 1 GiB".to_owned() });
        }
        let copy = Copy::of(&path).map_err(unreadable)?;
        let foreign = |cause: rusqlite::Error| ImportError::NotNpm { path: path.clone(), why: cause.to_string() };
        // What was being written when it was copied is completed or undone in the copy: that needs to write.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(copy.file(), flags).map_err(foreign)?;
        connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA query_only = ON;").map_err(foreign)?;
        let database = Database { connection, path: path.clone(), _copy: copy };
        match database.has("proxy_host")? {
            true => Ok(database),
            false => Err(ImportError::NotNpm { path, why: "it has no table `proxy_host`".to_owned() }),
        }
    }

    /// The folder that the database is in.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Whether there is a table of this name; a view does not count.
    pub(super) fn has(&self, table: &str) -> Result<bool, ImportError> {
        let asked = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let number: i64 = self.connection.query_row(asked, [table], |row| row.get(0)).map_err(|e| self.broken(&e))?;
        Ok(number > 0)
    }

    /// Every row of a table in the order of its ids; none where there is no such table. `table`: a name of ours.
    pub(super) fn rows(&self, table: &'static str) -> Result<Vec<Row>, ImportError> {
        if !self.has(table)? {
            return Ok(Vec::new());
        }
        let broken = |error| self.broken(&error);
        let mut statement = self.connection.prepare(&format!("SELECT * FROM \"{table}\"")).map_err(broken)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = Vec::new();
        let mut found = statement.query([]).map_err(broken)?;
        while let Some(row) = found.next().map_err(broken)? {
            if rows.len() == MOST_ROWS {
                return Err(self.torn(format!("`{table}` has more than {MOST_ROWS} rows")));
            }
            let mut cells = HashMap::new();
            for (at, name) in names.iter().enumerate() {
                let cell = Cell::of(row.get_ref(at).map_err(broken)?).ok_or_else(|| {
                    self.torn(format!("`{table}` has a text of more than {LONGEST} bytes in `{name}`"))
                })?;
                cells.insert(name.clone(), cell);
            }
            rows.push(Row(cells));
        }
        rows.sort_by_key(|row| (row.number("id"), row.text("id")));
        Ok(rows)
    }

    /// Something that is missing in it.
    pub(super) fn torn(&self, why: impl Into<String>) -> ImportError {
        ImportError::NotNpm { path: self.path.clone(), why: why.into() }
    }

    fn broken(&self, error: &rusqlite::Error) -> ImportError {
        self.torn(error.to_string())
    }
}

impl Cell {
    /// `None` for a text that is too long.
    fn of(value: ValueRef<'_>) -> Option<Cell> {
        Some(match value {
            ValueRef::Null => Cell::Nothing,
            ValueRef::Integer(number) => Cell::Number(number),
            #[expect(clippy::cast_possible_truncation, reason = "a number with a fraction means nothing in any column")]
            ValueRef::Real(number) => Cell::Number(number as i64),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                Cell::Text(String::from_utf8_lossy(Some(bytes).filter(|bytes| bytes.len() <= LONGEST)?).into_owned())
            }
        })
    }
}

impl Row {
    /// Its columns that hold something: not null, not 0, not an empty text or JSON, not a word for no.
    pub(super) fn filled(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, cell)| cell.is_filled()).map(|(name, _)| name.as_str())
    }

    /// A number; `None` for a column that is not there or holds none.
    pub(super) fn number(&self, column: &str) -> Option<i64> {
        match self.0.get(column)? {
            Cell::Number(number) => Some(*number),
            Cell::Text(text) => text.trim().parse().ok(),
            Cell::Nothing => None,
        }
    }

    /// A text; a number is written out. Empty for a column that is not there.
    pub(super) fn text(&self, column: &str) -> String {
        match self.0.get(column) {
            Some(Cell::Text(text)) => text.trim().to_owned(),
            Some(Cell::Number(number)) => number.to_string(),
            Some(Cell::Nothing) | None => String::new(),
        }
    }

    /// Whether a column says yes: 1, or any word that is not a no.
    pub(super) fn is(&self, column: &str) -> bool {
        self.0.get(column).is_some_and(Cell::is_filled)
    }

    /// Whether a column is there and says no.
    pub(super) fn is_not(&self, column: &str) -> bool {
        self.0.get(column).is_some_and(|cell| !cell.is_filled())
    }

    /// A column that holds JSON; null where it does not.
    pub(super) fn json(&self, column: &str) -> Value {
        serde_json::from_str(&self.text(column)).unwrap_or(Value::Null)
    }
}

impl Cell {
    fn is_filled(&self) -> bool {
        match self {
            Cell::Nothing => false,
            Cell::Number(number) => *number != 0,
            Cell::Text(text) => {
                !matches!(text.trim(), "" | "0" | "null" | "none" | "false" | "off" | "[]" | "{}" | "\"\"")
            }
        }
    }
}

/// A private folder with a copy of the database and of the files that SQLite keeps beside it.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn of(path: &Path) -> io::Result<Copy> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("doorward-import-{}-{count}", std::process::id()));
        // Somebody else's folder would be somebody else's to read.
        fs::create_dir(&folder)?;
        let copy = Copy { folder };
        private_folder(&copy.folder).map_err(io::Error::other)?;
        fs::copy(path, copy.file())?;
        for beside in ["-wal", "-journal"] {
            let mut from = path.as_os_str().to_owned();
            from.push(beside);
            let mut to = copy.file().into_os_string();
            to.push(beside);
            match fs::copy(PathBuf::from(from), PathBuf::from(to)) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
        }
        Ok(copy)
    }

    fn file(&self) -> PathBuf {
        self.folder.join("database.sqlite")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // A folder that cannot be removed is private; the system's own cleaning takes it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
