//! Regular expressions by which members read topics (KIP-848, server side).
//!
//! The engine takes time linear in the text whatever the expression (`(a+)+$` included), and the
//! compiled expression is bounded. Its syntax is that of RE2, as Kafka's, without Unicode classes;
//! the whole name must match. Topics of the brokers' own never do: a group that reads what groups
//! write would write for ever.

use std::collections::BTreeSet;

use regex_lite::{Regex, RegexBuilder};

use super::super::topics::Topics;
use crate::limits::{
    GROUP_EXPRESSION_BYTES_MAX, GROUP_EXPRESSION_COMPILED_BYTES_MAX, GROUP_EXPRESSION_NESTING_MAX,
};

/// Compiles an expression; `None` if it is not legal, or too large.
fn compile(expression: &str) -> Option<Regex> {
    let is_bounded = expression.len() <= GROUP_EXPRESSION_BYTES_MAX;
    if !is_bounded || expression.chars().any(char::is_control) {
        return None;
    }
    let build = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(GROUP_EXPRESSION_COMPILED_BYTES_MAX)
            .nest_limit(GROUP_EXPRESSION_NESTING_MAX)
            .build()
            .ok()
    };
    // By itself first, or `a)(b` would be legal within the parentheses.
    build(expression)?;
    build(&format!(r"\A(?:{expression})\z"))
}

/// Whether an expression may be read by.
pub(super) fn is_legal(expression: &str) -> bool {
    compile(expression).is_some()
}

/// The topics whose names match; none where the expression is not legal.
pub(super) fn resolve(expression: &str, topics: &Topics) -> BTreeSet<Box<str>> {
    let Some(regex) = compile(expression) else { return BTreeSet::new() };
    topics.public_names().filter(|name| regex.is_match(name)).map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::topics::Topic;
    use super::*;
    use crate::ids::TopicId;

    fn resolved(expression: &str) -> Vec<String> {
        let mut topics = Topics::default();
        for name in ["a", "ab", "abc", "host.vmstat", "__consumer_offsets"] {
            topics.set(name, Topic { id: TopicId::default(), partition_count: 1 });
        }
        resolve(expression, &topics).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_whole_name_must_match() {
        assert_eq!(resolved("a"), ["a"]);
        assert_eq!(resolved("a|ab"), ["a", "ab"]);
        assert_eq!(resolved("ab.*"), ["ab", "abc"]);
        assert_eq!(resolved("^host\\..*$"), ["host.vmstat"]);
        assert_eq!(resolved("(?i)ABC"), ["abc"]);
        assert_eq!(resolved("(a+)+$"), ["a"]);
    }

    #[test]
    fn topics_of_the_brokers_own_never_match() {
        assert_eq!(resolved(".*"), ["a", "ab", "abc", "host.vmstat"]);
        assert!(resolved("__consumer_offsets").is_empty());
    }

    #[test]
    fn what_is_not_legal_or_too_large_is_refused() {
        for expression in ["(", "a)(b", "a{2", "[", "a\nb", "(?=a)", "\\1"] {
            assert!(!is_legal(expression), "{expression}");
        }
        assert!(is_legal(&"a".repeat(1024)));
        assert!(!is_legal(&"a".repeat(1025)));
        assert!(!is_legal("((a{100}){100}){100}"));
        assert!(!is_legal(&["(".repeat(200), "a".into(), ")".repeat(200)].concat()));
    }
}
