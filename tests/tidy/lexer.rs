//! Just enough of Rust's lexical grammar: which bytes are code, and which identifiers are in it.
//!
//! **Invariant:** [`blank`] keeps every byte position, so that a finding in the blanked text names
//! the right line. Reference: the Rust reference's chapters on comments and on tokens.

/// The text with comments, strings and character literals replaced by spaces.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at);
        if end == at {
            code.push(bytes[at]);
            at += 1;
        } else {
            code.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    // Only a character outside ASCII in code (an identifier) could be torn, and none is: it was
    // pushed byte for byte.
    String::from_utf8(code).expect("bytes are kept or replaced by ASCII, whole literals at a time")
}

/// The end of the comment or literal that starts at `at`, or `at` when none does.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_identifier = 0 < at && is_word(bytes[at - 1]);
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + block_comment(rest);
    }
    if rest[0] == b'"' {
        return at + string(rest);
    }
    if rest[0] == b'\'' {
        return at + character(rest);
    }
    if after_identifier {
        return at;
    }
    let prefix = [&b"br"[..], b"cr", b"b", b"c", b"r"].into_iter().find(|p| rest.starts_with(p));
    let Some(prefix) = prefix else { return at };
    let body = &rest[prefix.len()..];
    if prefix.ends_with(b"r") {
        return raw_string(body).map_or(at, |length| at + prefix.len() + length);
    }
    match body.first() {
        Some(b'"') => at + prefix.len() + string(body),
        Some(b'\'') if prefix == b"b" => at + prefix.len() + character(body),
        _ => at,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Length of the string whose opening quote is first.
fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of the raw string whose hashes or opening quote are first; `None` for `r#type`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|&&b| b == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut closing = vec![b'"'];
    closing.extend(vec![b'#'; hashes]);
    let body = &rest[hashes + 1..];
    let end = body.windows(closing.len()).position(|window| window == closing);
    Some(end.map_or(rest.len(), |end| hashes + 1 + end + closing.len()))
}

/// Length of the character literal whose quote is first; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let end = rest[3.min(rest.len())..].iter().position(|&b| b == b'\'');
        return end.map_or(rest.len(), |end| 3 + end + 1);
    }
    // One character of one to four bytes, then the closing quote.
    let closing = (2..=5).find(|&at| rest.get(at) == Some(&b'\''));
    match closing {
        Some(at) if std::str::from_utf8(&rest[1..at]).is_ok_and(|c| c.chars().count() == 1) => {
            at + 1
        }
        _ => 0,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// An identifier or keyword of the code.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    /// Byte position.
    pub at: usize,
    /// The identifier.
    pub text: &'a str,
}

impl Word<'_> {
    /// The position behind it.
    pub fn end(&self) -> usize {
        self.at + self.text.len()
    }
}

/// All identifiers and keywords of blanked code, in order.
pub fn words(code: &str) -> Vec<Word<'_>> {
    let bytes = code.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|&&b| is_word(b)).count();
        if 0 < length && !bytes[at].is_ascii_digit() {
            words.push(Word { at, text: &code[at..at + length] });
        }
        at += length.max(1);
    }
    words
}

/// The code behind `at`, without leading white space.
pub fn behind(code: &str, at: usize) -> &str {
    code[at..].trim_start()
}

/// Position behind the brace that closes the one at `open`.
pub fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_u32;
    for (offset, byte) in code.as_bytes()[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return open + offset + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Byte ranges of the inline modules: name, first byte behind `{`, end.
pub fn inline_modules(code: &str) -> Vec<(&str, usize, usize)> {
    let words = words(code);
    let pairs = words.iter().zip(words.iter().skip(1));
    let modules = pairs
        .filter(|(word, name)| word.text == "mod" && behind(code, name.end()).starts_with('{'));
    modules
        .map(|(_, name)| {
            let open = code.len() - behind(code, name.end()).len();
            (name.text, open + 1, closing_brace(code, open))
        })
        .collect()
}

/// The first segments of a path's continuation: `a::b` gives `a`, `{a::b, c}` gives `a` and `c`.
pub fn heads(code: &str, at: usize) -> Vec<Word<'_>> {
    let start = code.len() - behind(code, at).len();
    if !code[start..].starts_with('{') {
        return words(&code[start..]).first().map_or_else(Vec::new, |word| {
            if word.at == 0 { vec![Word { at: start, text: word.text }] } else { Vec::new() }
        });
    }
    let end = closing_brace(code, start);
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut is_head = true;
    let bytes = code.as_bytes();
    let inner = words(&code[start..end]);
    for (offset, byte) in bytes[start..end].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 1 => is_head = true,
            _ => {}
        }
        let word = inner.iter().find(|word| word.at == offset);
        if let (Some(word), true, 1) = (word, is_head, depth) {
            heads.push(Word { at: start + offset, text: word.text });
            is_head = false;
        }
    }
    heads
}
