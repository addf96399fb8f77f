//! Every byte that passes between the daemon and the HSM host. What its callers get is in their output, which `mod` searches.

use super::pages::SearchedLine;
use super::search::{Kind, Search};
use crate::support::compile;

#[test]
fn no_key_and_no_secret_value_passes_between_the_daemon_and_the_hsm_host() {
    let folder = tempfile::tempdir().unwrap();
    compile("line/secrets/tap.c", folder.path());
    let (tap, kept) = (folder.path().join("tap.so"), folder.path().join("kept"));
    let mut line = SearchedLine::begun(35, [("LD_PRELOAD", tap.as_os_str()), ("TAP", kept.as_os_str())]);
    line.complete();
    line.scene.ends(0, "job close J1 --socket d.sock");
    let needles = line.scene.needles();
    drop(line);
    let capture = std::fs::read(kept).unwrap();
    let (holder, secret): (Vec<_>, Vec<_>) = needles.into_iter().partition(|n| n.kind == Kind::Holder);
    let holder = Search::new(holder);
    assert!(!holder.find(&capture).is_empty(), "clear DGIs go to the HSM, which checks them");
    let received = |text: &[u8]| capture.windows(text.len()).any(|window| window == text);
    assert!(received(b"kek-1"), "labels of keys come from the HSM: the tap hears both ways");
    let search = Search::new(secret);
    let named = |(needle, form): (usize, &str)| format!("{} as {form}", search.needles[needle].name);
    let found: Vec<_> = search.find(&capture).into_iter().map(named).collect();
    assert_eq!(found, [""; 0]);
}
