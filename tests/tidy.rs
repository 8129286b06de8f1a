//! The house rules that a compiler does not check: style.md §1 (what may import what) and §4 (size,
//! opening words, `unsafe`, words left behind).
//!
//! One package means that rustc allows any arrow between modules, cycles included; this test is
//! what stands in the way. It reads the sources as text: a small lexer blanks comments, strings and
//! character literals, so that a word in a comment is not taken for code. It knows nothing of
//! macros; a path hidden in one is found all the same, because its tokens are there.
//!
//! The second half of the file feeds each rule a snippet that breaks it: a rule that does not bite
//! is worse than none.

mod tidy {
    pub mod arrows;
    pub mod habits;
    pub mod lexer;
}

use std::fs;
use std::path::{Path, PathBuf};

use tidy::habits::LongFunction;
use tidy::{arrows, habits, lexer};

/// Functions that may be longer than [`habits::FUNCTION_LINES_MAX`]. The list may only shrink: an
/// entry that is no longer needed fails the test, and so does one without a function.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// A broken rule.
#[derive(Debug)]
pub struct Finding {
    /// Path from the package's root, with `/`.
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub words: String,
}

/// A source file, as it is and with comments and literals blanked.
pub struct Source {
    /// Path from the package's root, with `/`.
    pub path: String,
    /// The text as it stands.
    pub text: String,
    /// The same length and lines, but only code.
    pub code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let code = lexer::blank(text);
        assert_eq!(code.len(), text.len(), "blanking keeps every position of {path}");
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// A finding at a byte position of this file.
    pub fn finding(&self, position: usize, words: String) -> Finding {
        Finding { path: self.path.clone(), line: self.line_of(position), words }
    }

    /// The line of a byte position, counted from 1.
    pub fn line_of(&self, position: usize) -> usize {
        1 + self.text[..position].matches('\n').count()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "bench", "fuzz/src", "fuzz/fuzz_targets"] {
        rust_files(&root().join(folder), &mut paths);
    }
    let sources = paths.iter().map(|path| {
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy();
        Source::new(&name.replace('\\', "/"), &fs::read_to_string(path).expect("UTF-8 source"))
    });
    sources.collect()
}

/// Findings that exemptions do not excuse, and exemptions that excuse nothing.
fn excuse(long: &[LongFunction], exempt: &[(&str, &str)]) -> Vec<String> {
    let is_exempt = |function: &LongFunction| exempt.contains(&(&*function.path, &*function.name));
    let mut findings: Vec<String> = long
        .iter()
        .filter(|function| !is_exempt(function))
        .map(|function| {
            let LongFunction { path, line, name, lines } = function;
            let max = habits::FUNCTION_LINES_MAX;
            format!("{path}:{line}: `{name}` has {lines} lines; {max} is the end (style.md §4)")
        })
        .collect();
    for (path, name) in exempt {
        if !long.iter().any(|function| function.path == *path && function.name == *name) {
            findings.push(format!(
                "tests/tidy.rs: the exemption of `{name}` in {path} is no longer needed: remove it"
            ));
        }
    }
    findings
}

fn all_findings(source: &Source) -> Vec<Finding> {
    let mut findings = arrows::check(source);
    findings.extend(habits::check(source));
    findings
}

#[test]
fn the_house_is_tidy() {
    let sources = sources();
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "the sources are found");
    let mut report: Vec<String> = Vec::new();
    let mut long = Vec::new();
    for source in &sources {
        for Finding { path, line, words } in all_findings(source) {
            report.push(format!("{path}:{line}: {words}"));
        }
        long.extend(habits::long_functions(source));
    }
    report.extend(excuse(&long, LONG_FUNCTIONS));
    assert!(report.is_empty(), "{} findings:\n{}", report.len(), report.join("\n"));
}

/// Asserts that a snippet at `path` breaks exactly the rules whose words contain `expected`.
fn check(path: &str, snippet: &str, expected: &[&str]) {
    let text = format!("//! A snippet.\n{snippet}\n");
    let findings = all_findings(&Source::new(path, &text));
    assert_eq!(findings.len(), expected.len(), "{path}: {snippet}\n{findings:#?}");
    for (finding, words) in findings.iter().zip(expected) {
        assert!(finding.words.contains(words), "{path}: {snippet}\n{finding:#?}");
    }
}

#[test]
fn arrows_between_modules_bite() {
    check("src/record/mod.rs", "use crate::ids::Offset;", &[]);
    check("src/record/mod.rs", "use crate::wire::Frame;", &["`record` may not import `wire`"]);
    check("src/log/mod.rs", "use crate::{ids::Offset, controller::Image};", &["`controller`"]);
    check(
        "src/log/mod.rs",
        "use crate::{\n    ids,\n    broker::{shard, mail},\n};",
        &["`broker`"],
    );
    check("src/log/mod.rs", "use odradek::controller;", &["`controller`"]);
    check("src/log/read.rs", "use super::segment::Segment;", &[]);
    check("src/log/read.rs", "use super::super::controller::Image;", &["`controller`"]);
    check("src/ids.rs", "use super::journal::Journal;", &["`ids` may not import `journal`"]);
    check("src/ids.rs", "mod tests {\n use super::*;\n use super::super::log;\n}", &["`log`"]);
    check("src/controller/mod.rs", "fn f() -> crate::log::Log { todo() }", &["`log`"]);
    check("src/device/mod.rs", "use crate::broker::Shard;", &["`device` may not import `broker`"]);
    check("src/topic_config.rs", "use crate::record::Compression;", &[]);
    check("src/record/mod.rs", "use crate::topic_config::TopicConfig;", &["`topic_config`"]);
    check("src/runtime/mod.rs", "use crate::cli;", &["`runtime` may not import `cli`"]);
    check("src/runtime/mod.rs", "use crate::{broker, log, config, wire};", &[]);
    check("src/cli/mod.rs", "use crate::runtime;", &[]);
    check("src/cellar.rs", "fn f() {}", &["`cellar` is not in the table"]);
    check("src/log/mod.rs", "// use crate::broker;\n/* crate::broker */", &[]);
    check("src/log/mod.rs", "const S: &str = \"crate::broker\";", &[]);
}

#[test]
fn confined_crates_and_std_items_bite() {
    check("src/broker/mod.rs", "use rustix::fs;", &["`rustix` is confined"]);
    check("src/runtime/disk.rs", "use rustix::fs;", &[]);
    check("src/log/mod.rs", "let x = toml::from_str(y);", &["`toml` is confined"]);
    check("src/log/mod.rs", "use crate::record::postcard;", &[]);
    check("src/client/mod.rs", "use argh::FromArgs;", &["`argh` is confined"]);
    check("src/broker/mod.rs", "#[derive(Clone, Serialize)]\nstruct S;", &["serde is derived"]);
    check("src/broker/mod.rs", "fn f<B: serde::Serialize>(body: &B) {}", &[]);
    check("src/wire/mod.rs", "#[derive(Clone, Serialize)]\nstruct S;", &[]);
    check("src/log/mod.rs", "use std::net::TcpStream;", &["`std::net` has no place"]);
    check("src/log/mod.rs", "use std::{io, thread};", &["`std::thread` has no place"]);
    check("src/log/mod.rs", "use std::collections::{BTreeMap, HashMap};", &["`HashMap`"]);
    check("src/broker/mod.rs", "fn f() { Instant::now(); }", &["`Instant`"]);
    check("src/broker/mod.rs", "async fn f() {}", &["`async`"]);
    check("src/broker/mod.rs", "struct S(Mutex<u8>);", &["`Mutex`"]);
    check("src/runtime/mod.rs", "use std::{net, thread, sync::Mutex};", &[]);
    check("src/log/mod.rs", "#[cfg(test)]\nmod tests {\n use std::thread;\n}", &[]);
    check("src/log/tests.rs", "use std::thread;", &[]);
}

#[test]
fn opening_words_and_length_bite() {
    let findings = all_findings(&Source::new("src/time.rs", "use core::fmt;\n"));
    assert!(findings[0].words.contains("opens with `//!`"), "{findings:?}");
    let long = "\n".repeat(habits::FILE_LINES_MAX);
    check("src/time.rs", &long, &["a file ends at"]);
    check("src/time.rs", &"\n".repeat(habits::FILE_LINES_MAX - 2), &[]);
}

#[test]
fn words_left_behind_bite() {
    for word in habits::WORDS_LEFT_BEHIND {
        check("src/time.rs", &format!("// {word}: later"), &[word]);
    }
    for attribute in habits::ATTRIBUTES_REFUSED {
        check("tests/x.rs", &format!("#[{attribute}]\nfn f() {{}}"), &[attribute]);
        check("tests/x.rs", &format!("#[{attribute} = \"why\"]\nfn f() {{}}"), &[attribute]);
    }
}

#[test]
fn unsafe_without_a_reason_or_out_of_place_bites() {
    check("src/record/mod.rs", "unsafe { f() }", &["`unsafe` only in"]);
    check("src/runtime/disk.rs", "unsafe { f() }", &["SAFETY"]);
    check("src/runtime/disk.rs", "// SAFETY: f has no rules.\nunsafe { f() }", &[]);
    let attribute =
        "#[expect(\n  unsafe_code,\n  reason = \"r\"\n)]\n// SAFETY: fine.\nunsafe { f() }";
    check("src/log/map.rs", attribute, &[]);
    check("src/record/mod.rs", "// unsafe\n#![forbid(unsafe_code)]", &[]);
}

#[test]
fn long_functions_bite_and_exemptions_only_shrink() {
    let body = "    x();\n".repeat(habits::FUNCTION_LINES_MAX - 1);
    let long =
        Source::new("src/a.rs", &format!("fn long<T>(x: [u8; 2])\nwhere T: Fn() {{\n{body}}}"));
    let found = habits::long_functions(&long);
    assert_eq!((found.len(), &*found[0].name, found[0].line), (1, "long", 1));
    assert_eq!(found[0].lines, habits::FUNCTION_LINES_MAX + 2);
    let short =
        Source::new("src/a.rs", &format!("trait T {{ fn f(); }}\nfn g() {{ // {{\n{body}}}"));
    assert!(habits::long_functions(&short).len() == 1, "two lines and the body is one too many");
    let enough = "    x();\n".repeat(habits::FUNCTION_LINES_MAX - 2);
    let fits = Source::new("src/a.rs", &format!("fn g() {{\n{enough}}}"));
    assert!(habits::long_functions(&fits).is_empty());

    assert_eq!(excuse(&found, &[]).len(), 1);
    assert_eq!(excuse(&found, &[("src/a.rs", "long")]).len(), 0);
    let stale = excuse(&[], &[("src/a.rs", "long")]);
    assert!(stale[0].contains("no longer needed"), "{stale:?}");
}

#[test]
fn the_lexer_blanks_what_is_not_code() {
    let cases = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("f(\"x\\\"y\", z)", "f(      , z)"),
        ("r#\"a\"b\"# c", "         c"),
        ("b'\\'' d 'e' <'a> 'static", "      d     <'a> 'static"),
        ("br\"\\\" x", "      x"),
        ("r#type x", "r#type x"),
    ];
    for (text, code) in cases {
        assert_eq!(lexer::blank(text), code, "{text}");
    }
}
