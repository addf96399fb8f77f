//! Runs the console blocks of a page: in order, in one shell, in a new folder.

use std::fmt::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::page::{Block, ConsoleCommand, ParsedPage};
use super::{page_of, programs, read_page, repository, without_settings};

/// Time limit for a page: ten times the time of the longest page, because other tests run at that time.
const PATIENCE: Duration = Duration::from_secs(180);

/// The shell of a page; dropping it ends every process that the page left running.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell leads its own process group. The whole group may be gone already.
        let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

impl Shell {
    /// Whether the script ended in time.
    fn ends(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

/// A script in which each command writes into a file of its own. It ends at the first command with a wrong
/// exit code.
fn script(commands: &[ConsoleCommand]) -> String {
    let mut script = String::new();
    for (n, command) in commands.iter().enumerate() {
        writeln!(script, "{{ {}\n}} > \"$OUT/{n}\" 2>&1 < /dev/null", command.text).unwrap();
        let right: Vec<_> = command.exits.iter().map(ToString::to_string).collect();
        let wrong = format!("echo {n} $got > \"$OUT/wrong\"; exit 1");
        writeln!(script, "got=$?; case $got in {}) ;; *) {wrong} ;; esac", right.join("|")).unwrap();
    }
    script
}

/// Runs a page's commands in a folder with the files that the page gives.
fn run_page(page: &ParsedPage) {
    let commands = page.console();
    assert!(!commands.is_empty(), "{} has no command to run", page.path);
    let world = tempfile::tempdir().unwrap();
    let (folder, out) = (world.path().join("folder"), world.path().join("out"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::create_dir(&out).unwrap();
    let data = repository().join("tests/data");
    if page.path == "README.md" {
        // The page's commands read a file of the source tree.
        std::fs::create_dir(folder.join("tests")).unwrap();
        symlink(&data, folder.join("tests/data")).unwrap();
    } else {
        for keys in ["keys-issuer.toml", "keys-bureau.toml"] {
            std::fs::copy(data.join(keys), folder.join(keys)).unwrap();
        }
    }
    for block in &page.blocks {
        if let Block::Toml { name: Some(name), text } = block {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    let mut shell = Command::new("sh");
    without_settings(&mut shell);
    let path = std::env::join_paths(
        std::iter::once(programs()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    shell.arg("-c").arg(script(&commands)).current_dir(&folder).env("OUT", &out).env("PATH", path.unwrap());
    shell.stdin(Stdio::null()).process_group(0);
    let ended = Shell(shell.spawn().unwrap()).ends();

    let said = |n: usize| std::fs::read_to_string(out.join(n.to_string())).unwrap_or_default();
    if let Ok(wrong) = std::fs::read_to_string(out.join("wrong")) {
        let (n, got) = wrong.trim().split_once(' ').unwrap();
        let n: usize = n.parse().unwrap();
        panic!(
            "{}: `{}` ended with {got}, not with {:?}\n{}",
            page.path,
            commands[n].text,
            commands[n].exits,
            said(n)
        );
    }
    for (n, command) in commands.iter().enumerate() {
        let (what, said) = (&command.text, said(n));
        assert!(
            ended || out.join((n + 1).to_string()).exists(),
            "{}: `{what}` does not end\n{said}",
            page.path
        );
        for line in &command.prints {
            assert!(prints(&said, line), "{}: `{what}` does not print {line:?}, but\n{said}", page.path);
        }
    }
    assert!(out.join((commands.len() - 1).to_string()).exists(), "{}: the shell stopped", page.path);
}

/// Whether a text has a line like this; `...` stands for any text.
fn prints(text: &str, wanted: &str) -> bool {
    text.lines().any(|line| {
        let mut rest = Some(line);
        for piece in wanted.trim().split("...") {
            rest = rest.and_then(|rest| rest.split_once(piece.trim())).map(|(_, after)| after);
        }
        rest.is_some()
    })
}

#[test]
fn a_wrong_exit_code_a_missing_line_and_a_command_that_stays_are_noticed() {
    let page = |text: &str| ParsedPage::new("p.md", text);
    run_page(&page(
        "```console\n$ exit_with() { return $1; }\n$ exit_with 3   # exit 3\n$ echo a b c\na ... c\n```\n",
    ));
    for wrong in
        ["```console\n$ false\n```\n", "```console\n$ true # exit 1\n```\n", "```console\n$ echo a\nb\n```\n"]
    {
        let ran = std::panic::catch_unwind(|| run_page(&page(wrong)));
        assert!(ran.is_err(), "{wrong}");
    }
}

#[test]
fn the_first_job_of_readme() {
    run_page(&read_page("README.md"));
}

#[test]
fn the_operators_page() {
    run_page(&page_of("operator"));
}

#[test]
fn the_supervisors_page() {
    run_page(&page_of("supervisor"));
}

#[test]
fn the_auditors_page() {
    run_page(&page_of("auditor"));
}

#[test]
fn the_issuers_page() {
    run_page(&page_of("issuer"));
}

#[test]
fn the_integrators_page() {
    run_page(&page_of("integrator"));
}

#[test]
fn what_the_page_of_profiles_shows_is_true() {
    run_page(&page_of("profiles"));
}

/// Only the pages above have commands to run.
#[test]
fn no_page_with_commands_is_left_out() {
    const RUN: [&str; 7] =
        ["README", "operator", "supervisor", "auditor", "issuer", "integrator", "profiles"];
    for page in super::every_page() {
        let run = RUN.iter().any(|name| page.path.ends_with(&format!("{name}.md")));
        assert!(run || page.console().is_empty(), "{} has commands that no test runs", page.path);
    }
}
