//! The manual: a page for each role at a bureau and its issuers, and the specifications that other programs
//! need. The pages are Markdown files in this folder and part of the program: `cardwright manual TOPIC`
//! prints one.
//!
//! `tests/manual` runs or parses every command on a page. Not here: how the source is made
//! (`src/ARCHITECTURE.md`).

/// A page of the manual.
pub struct ManualPage {
    /// Name of the page on the command line.
    pub topic: &'static str,
    /// What the page is about, for the list.
    pub about: &'static str,
    /// The page, in Markdown.
    pub text: &'static str,
}

/// Every page, in the order of the list: people first, then formats.
pub const MANUAL_PAGES: &[ManualPage] = &[
    ManualPage {
        topic: "operator",
        about: "run jobs, clear jams and rejects, count stock",
        text: include_str!("operator.md"),
    },
    ManualPage {
        topic: "supervisor",
        about: "daemon and people, UNKNOWN cards, remakes, close-out, deletion",
        text: include_str!("supervisor.md"),
    },
    ManualPage {
        topic: "custody",
        about: "custodians of a LIVE key store: opening, keys in components and key blocks, backup, destruction",
        text: include_str!("custody.md"),
    },
    ManualPage {
        topic: "auditor",
        about: "what the ledger proves, and what it cannot",
        text: include_str!("auditor.md"),
    },
    ManualPage {
        topic: "parties",
        about: "who can harm a job, and what prevents or shows it",
        text: include_str!("parties.md"),
    },
    ManualPage {
        topic: "issuer",
        about: "keys, cardholder data, output files, and what comes back",
        text: include_str!("issuer.md"),
    },
    ManualPage {
        topic: "integrator",
        about: "line and product profiles, real devices, simulation",
        text: include_str!("integrator.md"),
    },
    ManualPage {
        topic: "profiles",
        about: "every key of line and product profiles",
        text: include_str!("profiles.md"),
    },
    ManualPage { topic: "cwf1", about: "the output file, byte by byte", text: include_str!("cwf1.md") },
    ManualPage {
        topic: "ledger-events",
        about: "the ledger's events, their bytes and their chain",
        text: include_str!("ledger-events.md"),
    },
    ManualPage {
        topic: "return-file",
        about: "the return file and the signatures of papers",
        text: include_str!("return-file.md"),
    },
    ManualPage {
        topic: "daemon-wire",
        about: "what commands and daemon say to each other",
        text: include_str!("daemon-wire.md"),
    },
    ManualPage {
        topic: "exit-codes",
        about: "what the exit codes mean",
        text: include_str!("exit-codes.md"),
    },
];

/// The page of a topic; `None` if there is none.
pub fn find_page(topic: &str) -> Option<&'static ManualPage> {
    MANUAL_PAGES.iter().find(|page| page.topic == topic)
}
