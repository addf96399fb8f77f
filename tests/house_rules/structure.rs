//! How the sources are laid out: modules and tests in one way, functions that fit a screen, threads that may
//! be refused.

use crate::sources::{Source, named, repository, tokens};
use crate::{every, finds, hold};

/// The sources of the three crates.
const CRATES: [&str; 3] = ["src/", "drivers/src/", "hwsim/src/"];

/// A function longer than this is on [`LONG`].
const FUNCTION_LINES_MAX: usize = 60;

/// Functions that may be longer: one list of cases or of fields, which pieces would make harder to read. This
/// list only shrinks.
const LONG: &[(&str, &str)] = &[
    ("src/cli/run.rs make", "a foreground run from its file to its report, in order"),
    ("src/hsm/soft/verify.rs application", "one check after the other, in an order that must not change"),
    ("src/hsm/store/list.rs check", "one check after the other"),
    ("src/ledger/event/codec.rs decode_fact", "one arm for each kind of event"),
    ("src/pipeline/dispatcher/start.rs start", "what a line is started with, in order"),
];

/// Inline tests longer than this move to `tests.rs` next to their module's `mod.rs`.
const INLINE_TESTS_MAX: usize = 125;

/// A function: where it begins, its name and its lines.
struct Function<'a> {
    at: usize,
    name: &'a str,
    lines: usize,
}

/// The functions of code that is not for tests, those inside others too.
fn functions(source: &Source) -> Vec<Function<'_>> {
    let tokens = tokens(&source.live);
    let mut found = Vec::new();
    for (start, window) in tokens.windows(2).enumerate() {
        let &[(at, "fn"), (_, name)] = window else { continue };
        if name == "(" {
            continue; // a pointer
        }
        // The body's brace; a `;` outside of brackets ends a declaration without one.
        let (mut depth, mut brackets) = (0usize, 0usize);
        for (offset, token) in &tokens[start..] {
            match *token {
                "[" => brackets += 1,
                "]" => brackets = brackets.saturating_sub(1),
                ";" if depth == 0 && brackets == 0 => break,
                "{" => depth += 1,
                "}" if depth == 1 => {
                    let lines = source.live[at..*offset].matches('\n').count() + 1;
                    found.push(Function { at, name, lines });
                    break;
                }
                "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    found
}

fn long_functions(sources: &[Source], listed: &[(&str, &str)]) -> Vec<String> {
    let mut met = Vec::new();
    let mut findings = every(sources, |s| {
        let mut findings = Vec::new();
        for Function { at, name, lines } in functions(s) {
            let long = s.within(&CRATES) && lines > FUNCTION_LINES_MAX;
            let here = (format!("{} {name}", s.path), lines);
            if long && !listed.iter().any(|(entry, _)| *entry == here.0) {
                findings.push(s.finding(at, &format!("`{name}` has {lines} lines: split it")));
            } else if long {
                met.push(here.0);
            }
        }
        findings
    });
    let idle = listed.iter().filter(|(entry, _)| !met.iter().any(|met| met == entry));
    findings.extend(idle.map(|(entry, _)| format!("`{entry}` is short now: take it off the list")));
    findings
}

#[test]
fn functions_fit_a_screen() {
    let body = |lines: usize| format!("fn a(b: [u8; 2]) -> u8 {{{}}}", "\n".repeat(lines - 1));
    let test = format!("#[cfg(test)]\nmod tests {{ {} }}", body(99));
    finds(
        |sources| long_functions(sources, &[]),
        &[
            ("src/a.rs", &body(61)),
            ("hwsim/src/a.rs", &format!("impl A {{ {} }}", body(61))),
            ("src/a.rs", &format!("trait A {{ fn c(&self) -> [u8; 3]; {} }}", body(61))),
        ],
        &[("src/a.rs", &body(60)), ("src/a.rs", &test), ("tests/a.rs", &body(99))],
    );
    let long = [Source::new("src/a.rs", &body(61))];
    assert!(long_functions(&long, &[("src/a.rs a", "one table")]).is_empty());
    assert_eq!(long_functions(&[Source::new("src/a.rs", &body(60))], &[("src/a.rs a", "")]).len(), 1);
    hold(&long_functions(&repository(), LONG));
}

/// Tests in files of any other name than `tests.rs` or below a folder `tests`, or put there by `#[path]`.
fn tests_elsewhere(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for s in sources.iter().filter(|s| s.is_rust() && s.within(&CRATES)) {
        findings.extend(named(s, &s.code, &["#[path"], "hides where a module is"));
        for (at, module) in test_modules(s) {
            let what = format!(
                "`{module}` compiles for tests alone: name it `tests`, or `testing` for what they share"
            );
            if !["tests", "testing"].contains(&module) {
                findings.push(s.finding(at, &what));
            }
        }
    }
    findings
}

/// The modules under `#[cfg(test)]`.
fn test_modules(source: &Source) -> Vec<(usize, &str)> {
    let tokens = tokens(&source.code);
    let mut found = Vec::new();
    for at in crate::sources::places(&source.code, "#[cfg(test)]") {
        let rest = tokens.iter().skip_while(|(offset, _)| *offset < at);
        let item: Vec<&(usize, &str)> = rest.take_while(|(_, t)| *t != "{" && *t != ";").collect();
        let module = item.iter().position(|(_, t)| *t == "mod").and_then(|mark| item.get(mark + 1));
        found.extend(module.map(|(_, name)| (at, *name)));
    }
    found
}

#[test]
fn tests_are_found_beside_what_they_test() {
    finds(
        tests_elsewhere,
        &[
            ("src/a.rs", "#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;"),
            ("src/a.rs", "#[cfg(test)]\n#[allow(x, reason = \"y\")]\npub(crate) mod props;"),
            ("hwsim/src/a.rs", "#[cfg(test)]\nmod a_tests {}"),
        ],
        &[
            (
                "src/a.rs",
                "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod testing {}\n#[cfg(test)]\nconst A: u8 = 1;",
            ),
            ("tests/a.rs", "#[path = \"../b.rs\"]\nmod b;"),
        ],
    );
    hold(&tests_elsewhere(&repository()));
}

fn long_inline_tests(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for s in sources.iter().filter(|s| s.is_rust() && s.within(&CRATES)) {
        for at in crate::sources::places(&s.code, "mod tests {") {
            let end = s.code[at..].find("\n}").map_or(s.code.len(), |end| at + end);
            let lines = s.code[at..end].matches('\n').count() + 2;
            if lines > INLINE_TESTS_MAX {
                findings.push(s.finding(at, &format!("{lines} lines of tests: move them to `tests.rs`")));
            }
        }
    }
    findings
}

#[test]
fn tests_inside_a_module_are_short() {
    let tests = |lines: usize| format!("#[cfg(test)]\nmod tests {{{}}}\n", "\n".repeat(lines - 1));
    finds(
        long_inline_tests,
        &[("src/a.rs", &tests(126))],
        &[("src/a.rs", &tests(125)), ("tests/a.rs", &tests(999))],
    );
    hold(&long_inline_tests(&repository()));
}

/// `thread::spawn` and `Scope::spawn` panic where the system gives no thread; `thread::Builder` returns an
/// error.
fn panicking_spawns(sources: &[Source]) -> Vec<String> {
    every(sources, |s| match s.within(&CRATES) {
        true => {
            let what = "panics where the system gives no thread: use `thread::Builder`";
            named(s, &s.live, &["thread::spawn", "scope.spawn("], what)
        }
        false => vec![],
    })
}

#[test]
fn threads_that_the_system_refuses_are_errors() {
    finds(
        panicking_spawns,
        &[
            ("src/a.rs", "fn a() { std::thread::spawn(b); }"),
            ("drivers/src/a.rs", "fn a() { thread::scope(|scope| { scope.spawn(|| b()); }); }"),
        ],
        &[
            (
                "src/a.rs",
                "fn a() { thread::Builder::new().spawn(b)?; Builder::new().spawn_scoped(scope, b)?; }",
            ),
            ("src/a.rs", "#[cfg(test)]\nmod tests { fn a() { thread::spawn(b); } }"),
            ("tests/a.rs", "fn a() { thread::spawn(b); }"),
        ],
    );
    hold(&panicking_spawns(&repository()));
}
