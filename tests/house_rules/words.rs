//! Rules for texts: no citation of a document that is not in the repository, a README short enough to be read
//! to its end, a manual without missing pages.

use crate::sources::{Source, repository};
use crate::{every, finds, hold};

/// The one place that cites a document which is not in the repository: a migration never changes, not even
/// its comments.
const CITING_YET: [&str; 1] = ["src/ledger/store/migrations/0001.sql"];

/// Documents that are not in the repository, put together here so that this file does not cite them.
fn foreign_documents() -> Vec<String> {
    let names = ["DESIGN", "standards", "dependencies", "style", "house"];
    let files = names.iter().map(|name| format!("{name}.md"));
    // Comments shorten a citation to a name and the number of a section.
    let shortened = (0..=9).map(|n| format!("standards {n}"));
    files.chain(shortened).chain([format!("{} section", names[0])]).collect()
}

fn cites(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for name in foreign_documents() {
        for (at, _) in source.text.match_indices(&name) {
            // Another file whose name ends with these letters is none of these documents.
            let before = source.text[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || "_-".contains(c)) {
                findings.push(source.finding(at, "cites a document that is not in the repository"));
            }
        }
    }
    findings
}

fn citations(sources: &[Source], yet: &[&str]) -> Vec<String> {
    let mut findings = every(sources, |s| if s.within(yet) { vec![] } else { cites(s) });
    let clean = yet.iter().filter(|place| {
        let mut there = sources.iter().filter(|s| s.path.starts_with(**place));
        there.all(|s| cites(s).is_empty())
    });
    findings.extend(clean.map(|place| format!("{place} cites none any more: take it out of CITING_YET")));
    findings
}

#[test]
fn no_file_cites_a_document_that_is_not_in_the_repository() {
    let [design, facts] = [["DESIGN", ".md section 3"], ["stand", "ards 6.1"]].map(|parts| parts.concat());
    finds(
        |sources| citations(sources, &[]),
        &[("src/a.rs", &format!("//! See {design}.")), ("a.toml", &format!("# {facts}"))],
        &[
            ("src/a.rs", "//! EMV CPS 3.2, `src/manual/cwf1.md`, lifestyles; two standards of 6 pages."),
            ("a.md", "The standards: ISO 7816."),
        ],
    );
    let listed = Source::new("src/b/a.rs", &format!("// {design}"));
    hold(&citations(&[listed], &["src/b/"]));
    finds(|sources| citations(sources, &["src/b/"]), &[("src/b/a.rs", "// EMV CPS 3.2")], &[]);
    hold(&citations(&repository(), &CITING_YET));
}

/// The README's longest length in lines: a newcomer reads it to the end.
const README_LINES: usize = 150;

fn readme(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        let lines = s.text.lines().count();
        let long = s.path == "README.md" && lines > README_LINES;
        if long { vec![format!("README.md: {lines} lines, more than {README_LINES}")] } else { vec![] }
    })
}

#[test]
fn the_readme_is_short() {
    finds(
        readme,
        &[("README.md", &"x\n".repeat(151))],
        &[("README.md", &"x\n".repeat(150)), ("src/manual/operator.md", &"x\n".repeat(400))],
    );
    hold(&readme(&repository()));
}

/// Pages of the manual that the program does not embed, or that the README does not list.
fn manual(sources: &[Source]) -> Vec<String> {
    let text = |path: &str| sources.iter().find(|s| s.path == path).map_or("", |s| s.text.as_str());
    let (table, readme) = (text("src/manual/mod.rs"), text("README.md"));
    let pages = sources.iter().filter_map(|s| s.path.strip_prefix("src/manual/")?.strip_suffix(".md"));
    let missing = |page: &str| {
        let table = table.contains(&format!("include_str!(\"{page}.md\")"));
        let readme = readme.contains(&format!("(src/manual/{page}.md)"));
        let to = |has: bool, what: &str| (!has).then(|| format!("src/manual/{page}.md: {what}"));
        [to(table, "not in the table of src/manual/mod.rs"), to(readme, "README.md does not lead to it")]
    };
    pages.flat_map(missing).flatten().collect()
}

#[test]
fn every_page_of_the_manual_is_embedded_and_listed() {
    let page = || Source::new("src/manual/a.md", "# A");
    let table = || Source::new("src/manual/mod.rs", "const A: &str = include_str!(\"a.md\");");
    let readme = || Source::new("README.md", "[a](src/manual/a.md)");
    hold(&manual(&[page(), table(), readme()]));
    assert_eq!(manual(&[page(), readme()]).len(), 1);
    assert_eq!(manual(&[page(), table()]).len(), 1);
    hold(&manual(&repository()));
}
