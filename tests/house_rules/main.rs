//! The house rules, enforced on the sources: the rules of `src/ARCHITECTURE.md`, and habits that a reviewer
//! would otherwise have to look for.
//!
//! A rule is a function from sources to findings. It runs over the repository, and a planted violation shows
//! that it can find one. Comments never count as code; code that compiles only for tests counts where a rule
//! says so. Exceptions stand in named lists near the rules, each with its reason. Change a rule here; do not
//! work around it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod arrows;
mod content;
mod names;
mod naming;
mod recipes;
mod recipes_kinds;
mod recipes_ledger;
mod shape;
mod sources;
mod structure;
mod words;

use sources::Source;

/// The findings of a rule over all sources.
fn every(sources: &[Source], rule: impl FnMut(&Source) -> Vec<String>) -> Vec<String> {
    sources.iter().flat_map(rule).collect()
}

/// Fails unless there are no findings.
#[track_caller]
fn hold(findings: &[String]) {
    assert!(findings.is_empty(), "{} finding(s)\n{}", findings.len(), findings.join("\n"));
}

/// Fails unless the rule finds something in each of the bad sources, and nothing in the good ones.
#[track_caller]
fn finds(rule: impl Fn(&[Source]) -> Vec<String>, bad: &[(&str, &str)], good: &[(&str, &str)]) {
    for (path, text) in bad {
        assert!(!rule(&[Source::new(path, text)]).is_empty(), "found nothing in {path}: {text}");
    }
    for (path, text) in good {
        hold(&rule(&[Source::new(path, text)]));
    }
}
