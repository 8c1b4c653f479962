//! This repository's own rules, as code. What clippy can say is not repeated here.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{process, workspace::Workspace};

/// Lines of a source file at most; tests are lists, and may be longer.
const LONGEST: usize = 500;
const LONGEST_TEST: usize = 800;

/// The chore: reports every breach.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    // Also files that are not committed yet.
    let list = process::quietly(
        Command::new("git")
            .args(["-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(&workspace.root),
    )?;
    let mut breaches = Vec::new();
    let mut files = 0;
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        // Binary files have no lines, deleted ones no text.
        let Ok(text) = fs::read_to_string(workspace.root.join(path)) else {
            continue;
        };
        files += 1;
        breaches.extend(inspect(path, &text).into_iter().map(|b| format!("{path}:{}: {}", b.line, b.rule)));
    }
    if !breaches.is_empty() {
        bail!("{} breaches of the house rules:\n{}", breaches.len(), breaches.join("\n"));
    }
    println!("tidy: {files} files");
    Ok(())
}

/// A line that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    line: usize,
    rule: &'static str,
}

/// Every breach in a file.
fn inspect(path: &str, text: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let rust = Path::new(path).extension().is_some_and(|e| e == "rs");
    let longest = if is_test(path) { LONGEST_TEST } else { LONGEST };
    if rust && text.lines().count() > longest {
        breaches.push(Breach {
            line: longest + 1,
            rule: "too long: split it where it has a second reason to change",
        });
    }
    let pure = rust && declares_itself_pure(text);
    let mut in_tests = is_test(path);
    let mut allow_open = false;
    for (number, line) in text.lines().enumerate() {
        let mut breach = |rule| {
            breaches.push(Breach { line: number + 1, rule });
        };
        if MACHINE_PATHS.iter().any(|p| line.contains(p)) {
            breach("a path of somebody's machine");
        }
        if !rust {
            continue;
        }
        in_tests |= line.trim_start().starts_with("#[cfg(test)]");
        let code = &code_of(line);
        if !may_name_kernel(path) && ["aya", "lb_common"].iter().any(|name| names(code, name)) {
            breach("only lb-userspace::datapath and ::decap name aya and lb_common: go through their types");
        }
        if !may_be_unsafe(path) && names(code, "unsafe") {
            breach("unsafe belongs into lb-common, lb-ebpf and lb-userspace::datapath");
        }
        // The attribute may run over several lines; its end decides.
        allow_open |= code.contains(ALLOW);
        if allow_open && code.contains(']') {
            allow_open = false;
            if !code.contains("reason") {
                breach("an exception carries its reason: #[expect(lint, reason = \"…\")]");
            }
        }
        if UNFINISHED.iter().any(|word| code.contains(word)) {
            breach("unfinished");
        }
        if pure && !in_tests && IMPURE.iter().any(|word| code.contains(word)) {
            breach("this file says that it is pure: no runtime, and `now` is an argument");
        }
    }
    breaches
}

// Looked for in any text, so written in two parts each: this file is held to its rules, too.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
const ALLOW: &str = "[allow(";
const UNFINISHED: [&str; 3] = ["todo!(", "unimplemented!(", "dbg!("];
const IMPURE: [&str; 4] = ["tokio::", "Instant::now", "SystemTime::now", "std::net::TcpStream"];

/// A line without what stands in quotes and after `//`. A text over several lines is taken for code: that finds too much, not too
/// little.
fn code_of(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => _ = chars.next(),
            '"' => {
                quoted = !quoted;
                code.push(c);
            }
            '\'' if !quoted && chars.peek() == Some(&'"') => _ = chars.next(),
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            c if !quoted => code.push(c),
            _ => {}
        }
    }
    code
}

/// Whether a word stands in code as a name of its own.
fn names(code: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '"';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.contains("/fuzz/")
        || path.contains("/benches/")
}

fn may_name_kernel(path: &str) -> bool {
    path.starts_with("lb-common/")
        || path.starts_with("lb-ebpf/")
        || path.starts_with("lb-userspace/src/datapath")
        || is_decap(path)
        || path.starts_with("xtask/src/bench")
        || is_test(path)
}

fn may_be_unsafe(path: &str) -> bool {
    may_name_kernel(path) && !is_decap(path)
}

/// `lbdecap`, a program of its own with its own kernel half.
fn is_decap(path: &str) -> bool {
    path.starts_with("lb-userspace/src/decap")
}

/// A file may say so in the first sentence about itself; then it is held to it.
fn declares_itself_pure(text: &str) -> bool {
    text.lines()
        .take_while(|line| line.starts_with("//!"))
        .any(|line| line.contains("Pure.") || line.contains("Pure:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn rules(path: &str, text: &str) -> Vec<usize> {
        inspect(path, text).into_iter().map(|b| b.line).collect()
    }

    #[test]
    fn only_the_datapath_names_aya() {
        let text = "use std::fmt;\nuse aya::Ebpf;\n";
        assert_eq!(rules("lb-userspace/src/health.rs", text), [2]);
        assert_eq!(rules("lb-userspace/src/datapath/load.rs", text), NONE);
        assert_eq!(rules("lb-userspace/src/health.rs", "// aya does it\nlet himalaya = 1;\n"), NONE);
    }

    #[test]
    fn the_decapsulator_names_aya_and_is_safe() {
        let path = "lb-userspace/src/decap/object.rs";
        assert_eq!(rules(path, "use aya::Ebpf;\n"), NONE);
        assert_eq!(rules(path, "fn f() { unsafe { g() } }"), [1]);
    }

    #[test]
    fn unsafe_stays_where_it_belongs() {
        assert_eq!(rules("lb-userspace/src/cli.rs", "fn f() { unsafe { g() } }"), [1]);
        assert_eq!(rules("lb-common/src/net.rs", "fn f() { unsafe { g() } }"), NONE);
        assert_eq!(rules("lb-userspace/src/lib.rs", "#![forbid(unsafe_code)]"), NONE);
    }

    #[test]
    fn texts_and_comments_are_not_code() {
        assert_eq!(code_of(r#"f("a \" // b", '"', c) // d"#), r#"f("", ', c) "#);
    }

    #[test]
    fn an_exception_needs_a_reason() {
        let with = format!("#{ALLOW}dead_code, reason = \"x\")]");
        let without = format!("#{ALLOW}dead_code)]");
        let over_lines = format!("#{ALLOW}\n    dead_code,\n    reason = \"x\")]");
        assert_eq!(rules("xtask/src/main.rs", &with), NONE);
        assert_eq!(rules("xtask/src/main.rs", &without), [1]);
        assert_eq!(rules("xtask/src/main.rs", &over_lines), NONE);
    }

    #[test]
    fn a_file_that_says_it_is_pure_reads_no_clock() {
        let text = "//! Rise and fall. Pure: `now` is an argument.\nfn f() { Instant::now(); }\n#[cfg(test)]\nmod tests { Instant::now(); }\n";
        assert_eq!(rules("lb-userspace/src/health/hysteresis.rs", text), [2]);
    }

    #[test]
    fn paths_of_a_machine_are_found_in_any_file() {
        let text = format!("see {}notes\n", MACHINE_PATHS[1]);
        assert_eq!(rules("README.md", &text), [1]);
    }

    #[test]
    fn a_long_file_is_reported_once() {
        assert_eq!(rules("xtask/src/x.rs", &"\n".repeat(LONGEST)), NONE);
        assert_eq!(rules("xtask/src/x.rs", &"\n".repeat(LONGEST + 1)), [LONGEST + 1]);
    }
}
