//! The checks of an embosser.

use super::{CardUnderTest, ConformanceFinding, FindingCollector, refused, refused_as_data};
use crate::embosser::CardEmbosser;
use crate::registry::Capability;

/// The line that is embossed for each capability: numbers, names, indent.
const LINES: [(Capability, &str, &str); 3] = [
    (Capability::Emboss, "it embosses numbers", "~EM%2;401;843;0123 4567 8901"),
    (Capability::Emboss, "it embosses names", "~EM%1;307;328;CONFORMANCE TEST"),
    (Capability::Indent, "it prints indent", "~EM%10;500;500;0123 456"),
];

/// Runs the checks of an embosser that declares these capabilities.
pub fn embosser(
    machine: &mut dyn CardEmbosser,
    can: &[Capability],
    card: CardUnderTest,
) -> Vec<ConformanceFinding> {
    let mut findings = FindingCollector::default();
    if findings.begin(machine, CardEmbosser::ready, CardEmbosser::reopen, Some("embosser")) {
        for (_, _, line) in LINES.iter().filter(|(capability, ..)| !can.contains(capability)) {
            let outcome = machine.emboss(&[(*line).to_owned()]);
            findings.add("it refuses what it does not declare", refused(outcome));
        }
        let wrong = machine.emboss(&["~XX%1;1;1;A".to_owned()]);
        findings.add("it refuses a line that is none", refused_as_data(wrong));
        if card != CardUnderTest::None {
            let declared: Vec<_> = LINES.iter().filter(|(capability, ..)| can.contains(capability)).collect();
            for (_, check, line) in &declared {
                findings.add(check, machine.emboss(&[(*line).to_owned()]));
            }
            let all: Vec<String> = declared.iter().map(|(_, _, line)| (*line).to_owned()).collect();
            findings.add("it does all lines in one pass", machine.emboss(&all));
        }
    }
    findings.0
}
