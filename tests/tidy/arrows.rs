//! style.md §1: what may import what, and where the crates of others may be named.
//!
//! The table below is the one of style.md; change both or neither. A path counts wherever it stands,
//! in a `use` or in the middle of an expression.

use super::lexer::{self, Word};
use crate::{Finding, Source};

const VOCABULARY: &[&str] =
    &["ids", "time", "limits", "metrics", "mutant", "topic_config", "group_config"];

/// A module, what it may import beside itself, and whether it is part of the core.
struct Rule {
    module: &'static str,
    imports: &'static [&'static [&'static str]],
    is_core: bool,
}

const fn rule(
    module: &'static str,
    imports: &'static [&'static [&'static str]],
    is_core: bool,
) -> Rule {
    Rule { module, imports, is_core }
}

const RW: &[&str] = &["record", "wire"];
const STORAGE: &[&str] = &["journal", "log"];
const STATES: &[&str] = &["controller", "group", "txn"];
const REPLICATION: &[&str] = &["replica", "quorum"];
const ABOVE: &[&str] = &["broker", "mirror", "kafka", "mqtt", "http", "config"];

/// The table of style.md §1. `cli` and `main` may import anything, and `lib.rs` only declares.
const TABLE: &[Rule] = &[
    rule("ids", &[VOCABULARY_PLAIN], true),
    rule("time", &[VOCABULARY_PLAIN], true),
    rule("limits", &[VOCABULARY_PLAIN], true),
    rule("metrics", &[VOCABULARY_PLAIN], true),
    rule("mutant", &[VOCABULARY_PLAIN], true),
    rule("topic_config", &[VOCABULARY_PLAIN, &["record"]], true),
    rule("group_config", &[VOCABULARY_PLAIN, &["topic_config"]], true),
    rule("record", &[VOCABULARY_PLAIN], true),
    rule("wire", &[VOCABULARY, &["record"]], true),
    rule("journal", &[VOCABULARY, RW], true),
    rule("log", &[VOCABULARY, RW, &["journal"]], true),
    rule("controller", &[VOCABULARY, RW], true),
    rule("group", &[VOCABULARY, RW], true),
    rule("txn", &[VOCABULARY, RW], true),
    rule("replica", &[VOCABULARY, RW, STORAGE], true),
    rule("quorum", &[VOCABULARY, RW, STORAGE], true),
    rule("broker", &[VOCABULARY, RW, STORAGE, STATES, REPLICATION], true),
    rule("mirror", &[VOCABULARY, RW, &["log"]], true),
    rule("kafka", &[VOCABULARY, RW, &["broker"]], false),
    rule("mqtt", &[VOCABULARY, RW, &["broker"]], false),
    rule("http", &[VOCABULARY, RW, &["broker"]], false),
    rule("runtime", &[VOCABULARY, RW, STORAGE, STATES, REPLICATION, ABOVE], false),
    rule("client", &[VOCABULARY, RW], false),
    rule("device", &[VOCABULARY, RW], true),
    rule("streams", &[VOCABULARY, &["client"]], false),
    rule("connect", &[VOCABULARY, &["client"]], false),
    rule("config", &[VOCABULARY], false),
];

/// What the lowest floor may import of itself: `topic_config` stands on `record`, which stands on
/// the others.
const VOCABULARY_PLAIN: &[&str] = &["ids", "time", "limits", "metrics"];

/// Modules that may import anything, because nobody imports them.
const TOPS: &[&str] = &["cli", "main", "lib"];

/// A crate of others and the paths (from `src/`, as prefixes) that may name it.
const CONFINED: &[(&str, &[&str])] = &[
    ("argh", &["cli", "main"]),
    ("toml", &["config"]),
    ("raft", &["quorum"]),
    ("regex_lite", &["client", "group/consumer/expressions"]),
    ("slog", &["quorum"]),
    ("rustls", &["runtime"]),
    ("polling", &["runtime"]),
    ("smol", &["runtime"]),
    ("rustix", &["runtime", "client/net", "cli/bench/report", "cli/demo"]),
    ("socket2", &["runtime", "client/net"]),
    ("memmap2", &["log", "runtime"]),
    ("env_logger", &["cli", "main", "runtime"]),
    ("chacha20poly1305", &["runtime"]),
    ("hmac", &["runtime"]),
    ("mdns_sd", &["runtime"]),
    ("sha2", &["runtime"]),
    ("postcard", &["wire", "record", "journal", "log", "controller/change", "broker/site/kept"]),
    ("embedded_io", &["device"]),
    ("flate2", &["record"]),
    ("lz4_flex", &["record"]),
    ("ruzstd", &["record"]),
    ("snap", &["record"]),
    ("crc32c", &["record", "journal", "log"]),
    ("crc", &["record"]),
    ("kafka_protocol", &[]),
    ("proptest", &[]),
];

/// What derives serde: what crosses the wire or is persisted.
const SERDE_HOMES: &[&str] = &[
    "wire",
    "record",
    "ids",
    "time",
    "config",
    "journal",
    "log",
    "controller/change",
    "broker/site/kept",
];

/// Modules of std without which the core stays deterministic.
const STD_REFUSED: &[&str] = &["net", "thread", "env", "process"];

/// Names that do not appear in the core: a shard is its own lock, time and entropy are arguments.
const NAMES_REFUSED: &[&str] = &[
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "Mutex",
    "RwLock",
    "Condvar",
    "mpsc",
    "async",
    "await",
];

/// Checks one file; those outside `src/` have no arrows.
pub fn check(source: &Source) -> Vec<Finding> {
    let Some(inner) = source.path.strip_prefix("src/") else { return Vec::new() };
    let stem = inner.strip_suffix(".rs").unwrap_or(inner);
    let module = stem.split('/').next().unwrap_or(stem);
    let words = lexer::words(&source.code);
    let tests = test_ranges(source, stem);
    let is_test = |at: usize| tests.iter().any(|&(from, to)| from <= at && at < to);
    let mut findings = Vec::new();
    if !TOPS.contains(&module) {
        match TABLE.iter().find(|rule| rule.module == module) {
            Some(rule) => {
                findings.extend(arrows(source, rule, stem, &words));
                if rule.is_core {
                    findings.extend(core_items(source, rule, &words, &is_test));
                }
            }
            None => findings.push(source.finding(
                0,
                format!(
                    "`{module}` is not in the table of style.md §1: a new module enters it first"
                ),
            )),
        }
    }
    findings.extend(confined(source, stem, &words, &is_test));
    findings.extend(derives(source, stem, &is_test));
    findings
}

fn arrows(source: &Source, rule: &Rule, stem: &str, words: &[Word<'_>]) -> Vec<Finding> {
    let allowed =
        |head: &str| head == rule.module || rule.imports.iter().any(|list| list.contains(&head));
    let known = |head: &str| TOPS.contains(&head) || TABLE.iter().any(|rule| rule.module == head);
    let mut findings = Vec::new();
    for target in targets(source, stem, words) {
        if known(target.text) && !allowed(target.text) {
            let words = format!("`{}` may not import `{}` (style.md §1)", rule.module, target.text);
            findings.push(source.finding(target.at, words));
        }
    }
    findings
}

/// The top-level modules that a file names through `crate`, `odradek` or `super`.
fn targets<'a>(source: &'a Source, stem: &str, words: &[Word<'a>]) -> Vec<Word<'a>> {
    let code = &*source.code;
    let modules = lexer::inline_modules(code);
    let mut targets = Vec::new();
    let mut supers = 0;
    for word in words {
        let Some(next) = behind_colons(code, word.end()) else {
            supers = 0;
            continue;
        };
        match word.text {
            "crate" | "odradek" => targets.extend(lexer::heads(code, next)),
            "super" => {
                supers += 1;
                let around =
                    |module: &&(&str, usize, usize)| module.1 <= word.at && word.at < module.2;
                let depth = file_depth(stem) + modules.iter().filter(around).count();
                if depth == supers {
                    let heads = lexer::heads(code, next);
                    targets.extend(heads.into_iter().filter(|head| head.text != "super"));
                }
                continue;
            }
            _ => {}
        }
        supers = 0;
    }
    targets
}

/// How many modules deep a file lies: `ids` is 1, `wire/mod` is 1, `wire/frame` is 2.
fn file_depth(stem: &str) -> usize {
    let path = stem.strip_suffix("/mod").unwrap_or(stem);
    path.split('/').count()
}

/// The position behind `::`, when that is what follows.
fn behind_colons(code: &str, at: usize) -> Option<usize> {
    lexer::behind(code, at).strip_prefix("::").map(|rest| code.len() - rest.len())
}

/// Is this identifier the first of its path?
fn is_path_head(code: &str, at: usize) -> bool {
    !code[..at].trim_end().ends_with("::")
}

/// Whether a file is one of these places or lies below one.
fn is_at_home(stem: &str, places: &[&str]) -> bool {
    let is_below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    places.iter().any(|place| stem.strip_prefix(place).is_some_and(is_below))
}

/// A type that derives serde has a format, and formats have their homes.
fn derives(source: &Source, stem: &str, is_test: &impl Fn(usize) -> bool) -> Vec<Finding> {
    if is_at_home(stem, SERDE_HOMES) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, _) in source.code.match_indices("derive(") {
        let list = source.code[at..].split(')').next().unwrap_or("");
        if list.contains("Serialize") || list.contains("Deserialize") {
            let words = format!("serde is derived only in {SERDE_HOMES:?} (style.md §1)");
            findings.extend((!is_test(at)).then(|| source.finding(at, words)));
        }
    }
    findings
}

fn confined(
    source: &Source,
    stem: &str,
    words: &[Word<'_>],
    is_test: &impl Fn(usize) -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for word in words {
        let Some((name, places)) = CONFINED.iter().find(|(name, _)| *name == word.text) else {
            continue;
        };
        let is_path = behind_colons(&source.code, word.end()).is_some()
            && is_path_head(&source.code, word.at);
        if is_path && !is_at_home(stem, places) && !is_test(word.at) {
            let words = format!("`{name}` is confined to {places:?} (style.md §1)");
            findings.push(source.finding(word.at, words));
        }
    }
    findings
}

fn core_items(
    source: &Source,
    rule: &Rule,
    words: &[Word<'_>],
    is_test: &impl Fn(usize) -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for word in words.iter().filter(|word| !is_test(word.at)) {
        let words = |name: &str| {
            format!("`{name}` has no place in `{}`, which is core (style.md §2)", rule.module)
        };
        if NAMES_REFUSED.contains(&word.text) {
            findings.push(source.finding(word.at, words(word.text)));
        }
        if word.text == "std" && is_path_head(&source.code, word.at) {
            let Some(next) = behind_colons(&source.code, word.end()) else { continue };
            for head in lexer::heads(&source.code, next) {
                if STD_REFUSED.contains(&head.text) {
                    let name = format!("std::{}", head.text);
                    findings.push(source.finding(head.at, words(&name)));
                }
            }
        }
    }
    findings
}

/// Byte ranges that only a test build sees: a `tests` file, or an inline module under `cfg(test)`.
fn test_ranges(source: &Source, stem: &str) -> Vec<(usize, usize)> {
    if stem.split('/').any(|part| part == "tests" || part.ends_with("_tests")) {
        return vec![(0, source.code.len())];
    }
    let attribute = "#[cfg(test)]";
    let starts = source.code.match_indices(attribute);
    let ranges = starts.filter_map(|(at, _)| {
        let open = at + source.code[at..].find(['{', ';'])?;
        let is_block = source.code[open..].starts_with('{');
        Some((at, if is_block { lexer::closing_brace(&source.code, open) } else { open }))
    });
    ranges.collect()
}
