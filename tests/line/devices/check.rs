//! `cardwright line check` on a good line, and on lines that are broken in one place each. The check reports
//! the fault in its place, and no other.

use serde_json::Value;

use super::{Bureau, Lined};

/// Exit code of a line that is not ready.
const NOT_READY: i32 = 32;

/// A way to break a line: its name, the text in the profile and its replacement, the place that must report
/// the fault, and words of that report.
struct Broken {
    name: &'static str,
    from: &'static str,
    to: &'static str,
    place: &'static str,
    says: &'static [&'static str],
}

const BROKEN: [Broken; 11] = [
    Broken {
        name: "a reader that is not there",
        from: "reader = \"Cardwright Test 1\"\nslot = 1",
        to: "reader = \"Gone Reader\"\nslot = 1",
        place: "chip-4",
        says: &["Gone Reader", "Cardwright Test 0"],
    },
    Broken {
        name: "a slot that the reader lacks",
        from: "reader = \"Cardwright Test 1\"\nslot = 1",
        to: "reader = \"Cardwright Test 1\"\nslot = 7",
        place: "chip-4",
        says: &["slot 7"],
    },
    Broken {
        name: "a serial port that is not there",
        from: "[link.stripe-1]\nserial = \"",
        to: "[link.stripe-1]\nserial = \"/nonexistent",
        place: "stripe-1",
        says: &["/nonexistent"],
    },
    Broken {
        name: "a printer whose image link nobody serves",
        from: "[link.printer-1]",
        to: "[link.printer-1]\n#",
        place: "printer-1",
        says: &["9101"],
    },
    Broken {
        name: "another machine on the embosser's port",
        from: "[link.embosser-1]\nserial = \"PATH/embosser-1.serial\"",
        to: "[link.embosser-1]\nserial = \"PATH/output.transport\"",
        place: "profile",
        says: &["output.transport", "embosser-1 and output"],
    },
    Broken {
        name: "an address without a port",
        from: "stream = \"127.0.0.1:9100\"",
        to: "stream = \"127.0.0.1\"",
        place: "printer-1",
        says: &["link.printer-1.stream", "HOST:PORT"],
    },
    Broken {
        name: "printer and embosser exchanged",
        from: "",
        to: "",
        place: "printer-1",
        says: &["hwsim embosser", "no printer", "exchange"],
    },
    Broken {
        name: "the transports of two modules exchanged",
        from: "",
        to: "",
        place: "stripe-1",
        says: &["embosser-1", "not the transport of stripe-1", "link.stripe-1.transport"],
    },
    Broken {
        name: "a machine and a transport exchanged",
        from: "",
        to: "",
        place: "output",
        says: &["hwsim embosser", "not the transport of output"],
    },
    Broken {
        name: "a driver that cannot do what the line needs",
        from: "coercivity = \"hico\"",
        to: "coercivity = \"hico\"\ndriver = \"mse630\"",
        place: "stripe-1",
        says: &["mse630", "read back"],
    },
    Broken {
        name: "TEST keys on a production line",
        from: "keys = \"test\"\n",
        to: "",
        place: "keys",
        says: &["TEST"],
    },
];

#[test]
fn a_good_line_is_ready_and_the_fault_of_each_broken_one_is_named() {
    let bureau = Bureau::new(&Lined::default());
    let world = &bureau.world;
    let machines = bureau.machines(&["--seed", "8"]);
    let check = |profile: &str| {
        let ended = bureau.cardwright(&["line", "check", profile, "--keys", "bureau.store", "--json"]);
        let findings: Option<Value> = serde_json::from_str(&ended.stdout).ok();
        (ended, findings)
    };
    let (ended, findings) = check("line.toml");
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let findings = findings.unwrap();
    assert_eq!(findings["good"], true);
    let places: std::collections::BTreeSet<_> =
        findings["findings"].as_array().unwrap().iter().map(|f| f["place"].as_str().unwrap()).collect();
    for place in ["keys", "disk", "chip-1", "chip-16", "stripe-1", "printer-1", "embosser-1", "output"] {
        assert!(places.contains(place), "{place} was not looked at");
    }
    let people = bureau.cardwright(&["line", "check", "line.toml", "--keys", "bureau.store"]);
    assert!(people.stdout.contains("line real-16: ready"), "{}", people.stdout);

    let good = std::fs::read_to_string(world.path("line.toml")).unwrap();
    let folder = world.path("").display().to_string();
    for Broken { name, from, to, place, says } in BROKEN {
        let (from, to) = (from.replace("PATH/", &folder), to.replace("PATH/", &folder));
        // The image link's address stands in both tables, and the controller's comes first.
        let text = match name {
            _ if name.contains("image link") => {
                good.replacen("stream = \"127.0.0.1:9100\"", "stream = \"127.0.0.1:9101\"", 1)
            }
            "printer and embosser exchanged" => exchanged(&good, "printer-1.serial", "embosser-1.serial"),
            "a machine and a transport exchanged" => {
                exchanged(&good, "output.transport", "embosser-1.serial")
            }
            "the transports of two modules exchanged" => {
                exchanged(&good, "stripe-1.transport", "embosser-1.transport")
            }
            _ => good.replacen(&from, &to, 1),
        };
        assert_ne!(text, good, "{name}");
        std::fs::write(world.path("broken.toml"), text).unwrap();
        let (ended, findings) = check("broken.toml");
        assert_eq!(ended.code, NOT_READY, "{name}: {}{}", ended.stdout, ended.stderr);
        let findings = findings.unwrap();
        let bad: Vec<_> =
            findings["findings"].as_array().unwrap().iter().filter(|f| f["good"] == false).collect();
        let told = bad.iter().find(|f| f["place"] == *place);
        let told = told.unwrap_or_else(|| panic!("{name}: {place} does not complain: {bad:?}"));
        for word in says {
            assert!(told["says"].as_str().unwrap().contains(word), "{name}: {told} lacks {word}");
        }
    }
    machines.off();
}

/// Exchanges the names of two files in the controller's tables, which come before the simulator's.
pub fn exchanged(text: &str, one: &str, other: &str) -> String {
    let (links, sim) = text.split_once("\n[sim]\n").unwrap();
    let links = links.replace(one, "\u{0}").replace(other, one).replace('\u{0}', other);
    format!("{links}\n[sim]\n{sim}")
}
