//! What a person sees in a terminal: a real pseudo-terminal (pexpect), its screen read by a terminal emulator (pyte); real
//! shells that complete; manual pages judged by mandoc.

use std::process::{Command, Stdio};

use crate::harness::{Folder, GUEST, Gateway, Upstream, doorward};

/// What every script begins with: a program on a terminal of 80 columns, and a way to wait for what it shows.
const TERMINAL: &str = r#"
import os, sys, time, pexpect, pyte
PROGRAM = sys.argv[1]
class Terminal:
    def __init__(self, program, *words, **more):
        env = dict(os.environ, TERM="xterm-256color", **more)
        env.pop("NO_COLOR", None) if "NO_COLOR" not in more else None
        self.child = pexpect.spawn(program, list(words), dimensions=(24, 80), env=env, timeout=20)
        self.screen = pyte.Screen(80, 24)
        self.stream = pyte.ByteStream(self.screen)
    def read(self):
        try: self.stream.feed(self.child.read_nonblocking(65536, timeout=0.1))
        except pexpect.TIMEOUT: pass
        except pexpect.EOF: return False
        return True
    def shows(self, what, holds):
        end = time.time() + 20
        while not holds(self.screen.display):
            assert time.time() < end, what + "\n" + "\n".join(self.screen.display)
            self.read()
    def ends(self):
        while self.read(): pass
        self.child.close()
        return self.child.exitstatus
    def colours(self, row):
        return {cell.fg for cell in self.screen.buffer[row].values() if cell.data != " "}
"#;

fn python(folder: &Folder, script: &str) {
    let output = Command::new("/usr/bin/python3")
        .args(["-c", &format!("{TERMINAL}{script}"), env!("CARGO_BIN_EXE_doorward")])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("python3-pexpect and python3-pyte are installed");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn top_is_sorted_and_filtered_by_keys_and_leaves_the_terminal_as_it_was() {
    let (shop, gone) = (Upstream::echoing().await, Upstream::absent().await);
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\nblog = \"{shop}\"\ngone = \"{gone}\"\n")).await;
    edge.get("blog.home.test/").await;
    edge.get("gone.home.test/").await;
    for _ in 0..5 {
        edge.get("shop.home.test/").await;
    }
    const SCRIPT: &str = r#"
t = Terminal(PROGRAM, "top", "--state", "state")
def rows(display): return [line.split()[0] for line in display[2:] if line.strip() and not line.startswith(("sort:", "filter:"))]
t.shows("the table", lambda d: d[1].startswith("ROUTE") and {"shop", "blog", "gone"} <= set(rows(d)))
assert "generation 1" in t.screen.display[0], t.screen.display
assert t.screen.display[-1].startswith("sort: r e b"), t.screen.display
assert all(len(line.rstrip()) <= 80 for line in t.screen.display)
t.child.send("n")
t.shows("names in order", lambda d: [r for r in rows(d) if r[0] != "("] == ["blog", "gone", "shop"])
gone = next(n for n, line in enumerate(t.screen.display) if line.startswith("gone"))
assert t.colours(gone) <= {"red", "cd0000"}, t.colours(gone)
t.child.send("/")
t.shows("a prompt", lambda d: d[-1].startswith("filter: "))
t.child.send("lo")
t.shows("the filtered", lambda d: rows(d) == ["blog"])
t.child.send("\r")
t.shows("the filter below", lambda d: "[lo]" in d[-1])
t.child.send("\x1b")
t.shows("all again", lambda d: {"shop", "blog", "gone"} <= set(rows(d)))
t.child.send("q")
assert t.ends() == 0
"#;
    tokio::task::block_in_place(|| python(edge.folder(), SCRIPT));
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_is_for_terminals_and_changes_no_word() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\n")).await;
    edge.client().from(GUEST).get("shop.home.test/secret").await;
    const SCRIPT: &str = r#"
ask = ("explain", "https://shop.home.test/", "--from", "guest", "--state", "state")
bright, plain = Terminal(PROGRAM, *ask), Terminal(PROGRAM, *ask, NO_COLOR="1")
assert bright.ends() == 0 and plain.ends() == 0
same = lambda t: [line for line in t.screen.display if "accepted a connection" not in line and "  failed" not in line]
assert same(bright) == same(plain), (bright.screen.display, plain.screen.display)
outcome = next(n for n, line in enumerate(bright.screen.display) if line.startswith("  outcome"))
assert "red" in bright.colours(outcome), bright.colours(outcome)
assert all(plain.colours(row) <= {"default"} for row in range(24))
import subprocess
piped = subprocess.run([PROGRAM, "routes", "--state", "state"], capture_output=True).stdout
assert piped.startswith(b"NAME") and b"\x1b" not in piped, piped
"#;
    tokio::task::block_in_place(|| python(edge.folder(), SCRIPT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_folded_between_words_on_a_terminal_and_never_in_a_pipe() {
    let folder = Folder::new();
    let file = "domain = \"home.test\"\nallow = [\"lan\"]\n[networks]\nlan = [\"10.0.0.0/24\"]\nguest = [\"10.0.1.0/24\"]\n\
                [listen.plain]\nhttp = \":80\"\n[routes.photos]\nto = \"http://10.0.0.9\"\nallow = [\"lan\", \"10.0.1.128/25\"]\n\
                [[expect]]\nfrom = \"guest\"\nurl = \"http://*.home.test/*\"\nis = \"denied\"\n";
    folder.replace("routes.toml", file);
    const SCRIPT: &str = r#"
import subprocess
piped = subprocess.run([PROGRAM, "check", "routes.toml"], capture_output=True, text=True).stdout
assert max(map(len, piped.splitlines())) > 100, piped
shown = Terminal(PROGRAM, "check", "routes.toml")
assert shown.ends() == 1
lines = [line.rstrip() for line in shown.screen.display]
words = lambda text: [word for word in text.split() if word != "|"]
assert words("\n".join(lines)) == words(piped), lines
assert any(line.startswith("      | let in by") for line in lines), lines
"#;
    tokio::task::block_in_place(|| python(&folder, SCRIPT));
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_zsh_and_fish_complete_commands_and_options() {
    let folder = Folder::new();
    for (shell, name) in [("bash", "doorward.bash"), ("zsh", "_doorward"), ("fish", "doorward.fish")] {
        let made = doorward(folder.path(), &["completions", shell]).await;
        assert_eq!((made.code, made.err.as_str()), (0, ""));
        folder.replace(name, made.out);
    }
    const SCRIPT: &str = r#"
path = os.path.dirname(PROGRAM) + ":" + os.environ["PATH"]
bash = Terminal("/bin/bash", "--norc", "--noprofile", "-i", PATH=path, PS1="$ ", HISTFILE="")
bash.child.send("source ./doorward.bash\n")
zsh = Terminal("/usr/bin/zsh", "-f", "-i", PATH=path, PS1="$ ")
zsh.child.send("fpath=($PWD $fpath); autoload -U compinit; compinit -u -D; echo rea''dy\n")
zsh.shows("zsh to be ready", lambda d: any(line.startswith("ready") for line in d))
for shell in (bash, zsh):
    shell.child.send("clear; echo be''gun\n")
    shell.shows("a prompt", lambda d: any(line.startswith("begun") for line in d))
    shell.child.send("doorward expl\t")
    shell.shows("the command", lambda d: any("doorward explain " in line for line in d))
    shell.child.send("--vi\t")
    shell.shows("the option", lambda d: any("doorward explain --via" in line for line in d))
    shell.child.send("\x15exit\n")
    shell.ends()
import subprocess
fish = lambda words: subprocess.run(["fish", "--no-config", "-c", "source doorward.fish; complete -C '%s'" % words], capture_output=True, text=True, env=dict(os.environ, PATH=path, HOME=os.getcwd())).stdout
assert fish("doorward expl").startswith("explain\t"), fish("doorward expl")
assert "--via\t" in fish("doorward explain --vi"), fish("doorward explain --vi")
assert "npm\t" in fish("doorward import "), fish("doorward import ")
"#;
    tokio::task::block_in_place(|| python(&folder, SCRIPT));
}

#[tokio::test]
async fn the_manual_has_a_page_for_every_command_and_mandoc_finds_nothing_wrong() {
    let folder = Folder::new();
    let made = doorward(folder.path(), &["man", "pages"]).await;
    assert_eq!(made.code, 0, "{}", made.said());
    let mut pages: Vec<_> = std::fs::read_dir(folder.at("pages")).unwrap().flatten().map(|page| page.path()).collect();
    pages.sort();
    let help = doorward(folder.path(), &["--help"]).await.out;
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands")).skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 15, "{help}");
    for command in commands {
        assert!(pages.iter().any(|page| page.ends_with(format!("doorward-{command}.1"))), "{command}: {pages:?}");
    }
    let judged = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&pages).output();
    let judged = judged.expect("mandoc is installed");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    let page = folder.at("pages/doorward-explain.1");
    let shown = Command::new("man").args(["-l", page.to_str().unwrap()]).env("MANWIDTH", "80").output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("SYNOPSIS") && shown.contains("--via <DOOR>"), "{shown}");
    assert!(shown.contains(&format!("doorward {}", env!("CARGO_PKG_VERSION"))), "{shown}");
}
