//! `--key=value` in argv: argh knows only `--key value`, scripts and people write both.

/// `args` with every `--key=value` in two; what stands after `--` is left as it is.
pub fn split_assignments(args: &[String]) -> Vec<String> {
    let mut split = Vec::with_capacity(args.len());
    let mut is_option = true;
    for arg in args {
        is_option = is_option && arg != "--";
        match arg.strip_prefix("--").and_then(|rest| rest.split_once('=')) {
            Some((name, value)) if is_option && is_option_name(name) => {
                split.push(format!("--{name}"));
                split.push(value.to_owned());
            }
            _ => split.push(arg.clone()),
        }
    }
    split
}

/// Only letters, digits and dashes: a value such as `--- a=b` is not taken apart.
fn is_option_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::split_assignments;

    fn check(given: &[&str], expected: &[&str]) {
        let given: Vec<String> = given.iter().map(|arg| (*arg).to_owned()).collect();
        assert_eq!(split_assignments(&given), expected);
    }

    #[test]
    fn assignments_are_split_once() {
        check(&["--config=a.toml"], &["--config", "a.toml"]);
        check(&["--set=log.dirs=x=y", "broker"], &["--set", "log.dirs=x=y", "broker"]);
        check(&["--key-separator="], &["--key-separator", ""]);
    }

    #[test]
    fn everything_else_stays() {
        check(&["--set", "log.dirs=x"], &["--set", "log.dirs=x"]);
        check(&["-x=1", "a=b", "--json", "--", "--a=b"], &["-x=1", "a=b", "--json", "--", "--a=b"]);
        check(&["--=x", "---a=b", "--a b=c"], &["--=x", "---a=b", "--a b=c"]);
        check(&[], &[]);
    }
}
