//! What is refused, by part of the file.

mod checks;
mod daemon;
mod keys;
mod pools;
mod services;

use super::*;

/// A change to [`BASE`], the message it must give, a part of the help.
type Case = (&'static str, &'static str, &'static str, &'static str);

const URL: &str = "url = \"http://host.example/healthz\"";
const CP2: &str = "cp2 = { address = \"10.0.0.12\" }";

#[test]
fn every_mistake_is_refused_alone_at_its_place_and_with_help() {
    parse_text(BASE).expect("the base is valid");
    let mut wrong = String::new();
    let all = [keys::CASES, daemon::CASES, services::CASES, pools::CASES, checks::CASES].concat();
    for (from, to, message, help) in &all {
        assert!(BASE.contains(from), "{from}");
        let text = BASE.replacen(from, to, 1);
        let Err(problems) = parse_text(&text) else {
            writeln!(wrong, "accepted: {to}").expect("written");
            continue;
        };
        let errors: Vec<&Problem> = problems.iter().filter(|p| p.severity() == Severity::Error).collect();
        let good = matches!(errors[..], [error] if error.message() == *message && error.help().is_some_and(|text| text.contains(help)));
        if !good || errors[0].line() == 0 {
            writeln!(wrong, "for {to}\nwanted {message}\n   and {help}\n{problems}\n").expect("written");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn an_unreadable_value_is_complained_of_once() {
    let text = BASE
        .replace("port = 80", "port = \"http\"")
        .replace("cp1 = { address = \"10.0.0.11\" }\ncp2 = { address = \"10.0.0.12\" }", "cp1 = 1")
        .replace("[\"eth0\"]", "[0]");
    let problems = parse_text(&text).expect_err("three mistakes");
    assert_eq!(problems.iter().count(), 3, "{problems}");
}
