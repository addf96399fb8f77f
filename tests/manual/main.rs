//! Compares README and the manual with the programs: every command on a page is run or parsed, every command
//! of the programs is on a page, and the output that a page shows is right.
//!
//! | block of a page | is |
//! |---|---|
//! | `console` | run, in order, in one shell and one folder for the whole page: `$ ` begins a command, `> ` continues it; `# exit 4` at its end is the exit code that it must have, else 0. Other lines are what it prints, in part |
//! | `sh` | for real devices, or to be adapted: each Cardwright command is parsed |
//! | `toml NAME` | a file that the page's commands find; without a name it must be TOML |
//! | `json` | JSON lines |
//! | `` `cardwright ...` `` in a text | parsed |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod exit_codes;
mod facts;
mod page;
mod parsed;
mod reference;
mod run;

use std::path::{Path, PathBuf};
use std::process::Command;

use cardwright::manual::MANUAL_PAGES;
use page::{Block, ParsedPage};

/// The programs that pages name.
const PROGRAMS: [&str; 4] = ["cardwright", "cardwrightd", "cardwright-prep", "hwsim"];

/// The folder that holds all of them.
fn programs() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_cardwright")).parent().unwrap().to_owned();
    for program in PROGRAMS {
        assert!(folder.join(program).exists(), "{program} is not built: run `make build` first");
    }
    folder
}

/// One of the programs, without the settings of the person who runs the tests.
fn program(name: &str) -> Command {
    let mut command = Command::new(programs().join(name));
    without_settings(&mut command);
    command
}

fn without_settings(command: &mut Command) {
    for name in ["LEDGER", "KEYS", "SOCKET", "PROFILES", "LOG", "LOG_FORMAT"] {
        command.env_remove(format!("CARDWRIGHT_{name}"));
    }
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A page as it lies in the repository now. The programs print the pages that they were built with.
fn read_page(path: &str) -> ParsedPage {
    ParsedPage::new(path, &std::fs::read_to_string(repository().join(path)).unwrap())
}

fn page_of(topic: &str) -> ParsedPage {
    read_page(&format!("src/manual/{topic}.md"))
}

/// README and every page of the manual.
fn every_page() -> Vec<ParsedPage> {
    let manual = MANUAL_PAGES.iter().map(|page| page_of(page.topic));
    std::iter::once(read_page("README.md")).chain(manual).collect()
}

#[test]
fn every_page_of_the_folder_is_in_the_program_and_on_readme() {
    let folder = std::fs::read_dir(repository().join("src/manual")).unwrap();
    let files = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut topics: Vec<_> = files.filter_map(|name| name.strip_suffix(".md").map(str::to_owned)).collect();
    topics.sort();
    let mut embedded: Vec<_> = MANUAL_PAGES.iter().map(|page| page.topic.to_owned()).collect();
    embedded.sort();
    assert_eq!(topics, embedded);
    let readme = read_page("README.md");
    for topic in topics {
        assert!(readme.text.contains(&format!("(src/manual/{topic}.md)")), "README does not lead to {topic}");
    }
}

#[test]
fn the_program_prints_its_pages_and_lists_them() {
    let list = program("cardwright").arg("manual").output().unwrap();
    assert!(list.status.success());
    let list = String::from_utf8(list.stdout).unwrap();
    for page in MANUAL_PAGES {
        assert!(list.contains(&format!("{:<14} {}\n", page.topic, page.about)), "{list}");
        let shown = program("cardwright").args(["manual", page.topic]).output().unwrap();
        assert!(shown.status.success() && shown.stdout == page.text.as_bytes(), "{}", page.topic);
        assert!(page.text.starts_with("# "), "{} has no title", page.topic);
    }
    let unknown = program("cardwright").args(["manual", "cooking"]).output().unwrap();
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{said}");
    assert!(MANUAL_PAGES.iter().all(|page| said.contains(page.topic)), "{said}");
}

#[test]
fn every_program_prints_its_commit() {
    for name in PROGRAMS {
        let shown = program(name).arg("--version").output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let (begin, build) = shown.split_once(" (commit ").expect(&shown);
        assert_eq!(begin, format!("{name} {}", env!("CARGO_PKG_VERSION")));
        let (commit, how) = build.split_once(", ").expect(&shown);
        let commit = commit.strip_suffix(" or later").unwrap_or(commit);
        let hex = commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(hex || commit == "unknown", "{shown}");
        assert!(how.contains(" build for ") && how.ends_with(")\n"), "{shown}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for page in every_page() {
        let folder = repository().join(&page.path).parent().unwrap().to_owned();
        for link in page.links() {
            let there = folder.join(&link).exists();
            assert!(there, "{}: the link {link} leads nowhere", page.path);
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
}

#[test]
fn toml_and_json_on_the_pages_are_toml_and_json() {
    for page in every_page() {
        for block in &page.blocks {
            match block {
                Block::Toml { text, .. } => {
                    let read = toml::from_str::<toml::Table>(text);
                    assert!(read.is_ok(), "{}: {}\n{text}", page.path, read.unwrap_err());
                }
                Block::Json(text) => {
                    for line in text.lines() {
                        let read = serde_json::from_str::<serde_json::Value>(line);
                        assert!(read.is_ok(), "{}: {line}", page.path);
                    }
                }
                Block::Console(_) | Block::Sh(_) | Block::Other => {}
            }
        }
    }
}
