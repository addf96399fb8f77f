//! The embosser module against a scripted machine.

use drivers::embosser::framed::FramedEmbosser;

use super::*;
use crate::modules::Blame;
use crate::modules::testing::{Log, framed, work};

const EMB: &[u8] = b"~EM%2;401;843;4761 7390 0101 0119\r\n~EM%1;307;328;M\xDCLLER\r\n";
const IND: &[u8] = b"~EM%10;500;500;0119 123\r\n";

fn station(mics: &[&str], bad: u8, status: u8) -> (EmbosserModule, Log) {
    let (link, log) = framed(bad, status);
    let mics = mics.iter().map(|m| Mic::new(*m).unwrap()).collect();
    (EmbosserModule::new(Box::new(FramedEmbosser::new(link)), mics), log)
}

#[test]
fn emboss_lines_then_indent_lines_in_one_pass() {
    let work = work(&[("IND", IND), ("EMB", EMB)]);
    let (mut module, log) = station(&["IND", "EMB"], 0, 0);
    module.prepare(&work).unwrap();
    module.inspect(&work).unwrap();
    module.personalize(&work).unwrap();
    let log = log.lock().unwrap();
    let lines: Vec<u8> = log.iter().filter(|(c, _)| *c == b'L').flat_map(|(_, d)| d.clone()).collect();
    assert_eq!(lines, [EMB, IND].concat());
    assert_eq!(log.iter().filter(|(c, _)| *c == b'E').count(), 1);
}

#[test]
fn only_the_modules_own_mics_are_embossed() {
    let (mut module, log) = station(&["EMB"], 0, 0);
    let work_both = work(&[("EMB", EMB), ("IND", IND)]);
    module.personalize(&work_both).unwrap();
    let lines: Vec<u8> =
        log.lock().unwrap().iter().filter(|(c, _)| *c == b'L').flat_map(|(_, d)| d.clone()).collect();
    assert_eq!(lines, EMB);
    let (mut module, log) = station(&["EMB"], 0, 0);
    let indent_only = work(&[("IND", IND)]);
    assert!(!module.wants(&indent_only) && module.wants(&work_both));
    module.personalize(&indent_only).unwrap();
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn machine_and_data_faults_are_told_apart() {
    for (status, blame, reason) in [
        (b'1', Blame::Device, "jam"),
        (b'4', Blame::Device, "supply"),
        (b'3', Blame::Data, "data"),
        (b'5', Blame::Device, "device-failed"),
    ] {
        let (mut module, _) = station(&["EMB"], b'E', status);
        let fault = module.personalize(&work(&[("EMB", EMB)])).unwrap_err();
        assert_eq!((fault.blame, fault.reason.as_str()), (blame, reason));
    }
    let (mut module, log) = station(&["EMB"], 0, 0);
    let fault = module.prepare(&work(&[("EMB", b"~EM%2;1;843;SECRET\r\n")])).unwrap_err();
    assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Data, "data"));
    assert!(!fault.detail.contains("SECRET") && log.lock().unwrap().is_empty());
}
