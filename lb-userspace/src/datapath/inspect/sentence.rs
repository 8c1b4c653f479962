//! A route in one sentence. Pure.

use crate::datapath::question::Route;

/// Who decided, as a part of a sentence.
const fn because(by: &str) -> &'static str {
    match by.as_bytes() {
        b"slot" => "the owner of its slot",
        b"cur" => "the new owner of its slot, which is in transition",
        b"base" => {
            "the old owner of its slot, which is in transition: nothing is known of the flow, so it is older than that"
        }
        b"pin" => "to whom it is pinned since its slot left stability",
        b"freeze" => "the old owner of its slot: so many connections begin that nothing new is pinned",
        b"flow" => "to whom the tracked flow belongs",
        b"turn" => "whose turn it is (a packet that comes first may take it)",
        b"source" => "where this source's last connection went",
        b"connection id" => "whom its QUIC connection id names",
        b"fragment" => "where the first part of its packet went",
        _ => "by a rule that this lbctl does not know",
    }
}

/// The sentence.
pub(in crate::datapath) fn of(route: &Route) -> String {
    let what = match (&route.service, route.quoted) {
        (Some(service), true) => format!("An error about a flow of service {service}"),
        (Some(service), false) => format!("A packet of service {service}"),
        (None, _) if route.decided_by.as_deref() == Some("fragment") => "A later part of a packet".into(),
        (None, _) => "A packet of no service".into(),
    };
    let why = || route.reason.as_ref().map_or(String::new(), |(_, sentence)| format!(": {sentence}"));
    match route.verdict.as_str() {
        "forward" => {
            let backend = route.backend.as_deref().unwrap_or("nobody");
            let because =
                route.decided_by.as_deref().map_or(String::new(), |by| format!(", {}", because(by)));
            let how = match route.method.as_deref() {
                Some("dr") | None => String::new(),
                Some(method) => format!(", through {method}"),
            };
            format!("{what} goes to {backend}{because}{how}.")
        }
        "pass" => format!("{what} goes to the kernel's own stack, unchanged{}", ended(&why())),
        "answer" => format!("{what} is answered{}", ended(&why())),
        _ => format!("{what} is dropped{}", ended(&why())),
    }
}

/// With exactly one full stop.
fn ended(text: &str) -> String {
    format!("{}.", text.trim_end_matches(['.', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_gets_it_and_why() {
        let route = Route {
            verdict: "forward".into(),
            service: Some("text".into()),
            backend: Some("text_80/cp1".into()),
            decided_by: Some("pin".into()),
            method: Some("ipip".into()),
            ..Route::default()
        };
        assert_eq!(
            of(&route),
            "A packet of service text goes to text_80/cp1, to whom it is pinned since its slot left stability, through ipip."
        );
        let quoted = Route { quoted: true, decided_by: Some("slot".into()), method: None, ..route };
        assert_eq!(
            of(&quoted),
            "An error about a flow of service text goes to text_80/cp1, the owner of its slot."
        );
    }

    #[test]
    fn it_says_why_nobody_does() {
        let reason = Some(("no_backend".to_owned(), "The pool has no backend that may serve.".to_owned()));
        let route = Route { verdict: "drop".into(), reason, ..Route::default() };
        assert_eq!(of(&route), "A packet of no service is dropped: The pool has no backend that may serve.");
    }
}
