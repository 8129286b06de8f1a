//! style.md §4 and §6: how a file opens, how long things are, and what is not left behind.

use super::lexer;
use crate::{Finding, Source};

/// Where a file stops.
pub const FILE_LINES_MAX: usize = 1000;

/// Where a function stops, from its `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Words that announce work instead of doing it. Written so that this file does not hold them.
pub const WORDS_LEFT_BEHIND: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];

/// Attributes with which a test stops being one.
pub const ATTRIBUTES_REFUSED: &[&str] = &["ignore", "should_panic"];

/// Folders that may hold `unsafe`; the programs of `bench/` are bare on purpose, and those of
/// `fuzz/` count what is allocated.
const UNSAFE_HOMES: &[&str] = &["src/runtime/", "src/log/", "bench/", "fuzz/"];

/// Lines above an `unsafe` in which its reason may stand.
const SAFETY_LINES_ABOVE: usize = 8;

/// A function beyond [`FUNCTION_LINES_MAX`].
#[derive(Debug)]
pub struct LongFunction {
    /// Path of its file.
    pub path: String,
    /// Line of its `fn`.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Its length.
    pub lines: usize,
}

/// Checks one file, save for the length of its functions.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.text.starts_with("//!") {
        findings
            .push(source.finding(0, "a file opens with `//!`: what it is (style.md §4)".into()));
    }
    let lines = source.text.lines().count();
    if FILE_LINES_MAX < lines {
        let words = format!("{lines} lines; a file ends at {FILE_LINES_MAX} (style.md §4)");
        findings.push(source.finding(source.text.len(), words));
    }
    for word in WORDS_LEFT_BEHIND {
        for (at, _) in source.text.match_indices(word) {
            findings
                .push(source.finding(at, format!("`{word}` does not go on main (style.md §4)")));
        }
    }
    for attribute in ATTRIBUTES_REFUSED {
        for (at, found) in source.code.match_indices(&format!("#[{attribute}")) {
            let next = source.code.as_bytes().get(at + found.len());
            if next.is_some_and(|&byte| !byte.is_ascii_alphanumeric() && byte != b'_') {
                let words = format!("no test is marked `{attribute}` (style.md §6)");
                findings.push(source.finding(at, words));
            }
        }
    }
    findings.extend(unsafe_words(source));
    findings
}

fn unsafe_words(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = source.text.lines().collect();
    for word in lexer::words(&source.code).iter().filter(|word| word.text == "unsafe") {
        if !UNSAFE_HOMES.iter().any(|home| source.path.starts_with(home)) {
            let words = format!("`unsafe` only in {UNSAFE_HOMES:?} (style.md §4)");
            findings.push(source.finding(word.at, words));
            continue;
        }
        let line = source.line_of(word.at);
        let above = &lines[line.saturating_sub(1 + SAFETY_LINES_ABOVE)..line];
        if !above.iter().any(|text| text.contains("SAFETY:")) {
            let words = "`unsafe` needs a `// SAFETY:` comment above it (style.md §4)".to_owned();
            findings.push(source.finding(word.at, words));
        }
    }
    findings
}

/// The functions of a file that are too long.
pub fn long_functions(source: &Source) -> Vec<LongFunction> {
    let code = &*source.code;
    let words = lexer::words(code);
    let mut long = Vec::new();
    for (word, name) in words.iter().zip(words.iter().skip(1)) {
        // `fn` as a pointer type has a parenthesis, not a name, behind it.
        if word.text != "fn" || !code[word.end()..name.at].trim().is_empty() {
            continue;
        }
        let Some(open) = body(code, name.end()) else { continue };
        let end = lexer::closing_brace(code, open) - 1;
        let first = source.line_of(word.at);
        let lines = source.line_of(end) - first + 1;
        if FUNCTION_LINES_MAX < lines {
            let (path, name) = (source.path.clone(), name.text.to_owned());
            long.push(LongFunction { path, line: first, name, lines });
        }
    }
    long
}

/// The opening brace of the body of the function whose name ends at `at`; `None` when the function
/// is only declared. A semicolon or brace inside brackets (`[u8; 2]`) belongs to the signature.
fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_u32;
    for (offset, byte) in code.as_bytes()[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' if depth == 0 => return Some(at + offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}
