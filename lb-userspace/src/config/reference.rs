//! `docs/config.md`, made from the doc comments of [`super::file`].

use std::fmt::Write as _;

use super::{
    file::File,
    table::{KeyDoc, Table, TableDoc},
};

const HEAD: &str = "\
<!-- Made by `cargo xtask docs` from lb-userspace/src/config/file.rs. Change that file, not this one. -->

# Configuration of lbd

`/etc/lbd/lbd.toml`. `lbctl config test FILE` checks a file, `lbctl config diff FILE` shows what it would change, and
`lbctl config reload` (or SIGHUP) loads it: a file with an error changes nothing. An annotated example is `deploy/lbd.toml`.

The smallest file that serves:

```toml
[lbd]
interfaces = [\"eth0\"]

[pools.text.backends]
cp1 = { address = \"10.0.0.11\" }

[services.text-http]
vips = [\"203.0.113.10\"]
port = 80
pool = \"text\"
```
";

/// The tables of the file: heading in the reference, and the path of keys that leads there.
const TABLES: [(&str, &[&str]); 11] = [
    ("The file", &[]),
    ("`[lbd]`", &["lbd"]),
    ("`[lbd.limits]`", &["lbd", "limits"]),
    ("`[lbd.tunnel]`", &["lbd", "tunnel"]),
    ("`[pools.NAME]`", &["pools"]),
    ("`[pools.NAME.outliers]`", &["pools", "outliers"]),
    ("`[[pools.NAME.checks]]`", &["pools", "checks"]),
    ("`tls` of a check", &["pools", "checks", "tls"]),
    ("`[pools.NAME.backends]`, by name", &["pools", "backends"]),
    ("`[services.NAME]`", &["services"]),
    ("`quic_server_id` of a service", &["services", "quic_server_id"]),
];

/// The text of `docs/config.md`.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    for (heading, path) in TABLES {
        let Some(table) = find(path) else { continue };
        // Writing to a `String` cannot fail.
        let _ = write!(out, "\n## {heading}\n\n{}\n", text(table.about));
        let _ = write!(out, "\n| key | is | default | meaning |\n|---|---|---|---|\n");
        for key in table.keys {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} |",
                key.name,
                kind(key),
                default(key),
                text(key.doc).replace('\n', " ").replace('|', "\\|")
            );
        }
    }
    out
}

fn find(path: &[&str]) -> Option<TableDoc> {
    path.iter().try_fold(File::DOC, |table, name| {
        let key = table.keys.iter().find(|key| key.name == *name)?;
        key.table.map(|doc| doc())
    })
}

fn kind(key: &KeyDoc) -> String {
    // An example says something where the text must have a form.
    let has_form = key.example.starts_with('"') && !key.example.contains("...") && !key.kind.contains('`');
    if has_form { format!("{}, such as `{}`", key.kind, key.example) } else { key.kind.to_owned() }
}

fn default(key: &KeyDoc) -> String {
    match key.default.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(words) => words.to_owned(),
        None if key.default == super::table::REQUIRED => "**required**".to_owned(),
        None => format!("`{}`", key.default),
    }
}

fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

/// Every key of every table with the path that leads to it, for tests.
#[cfg(test)]
pub(super) fn keys() -> Vec<(&'static [&'static str], KeyDoc)> {
    TABLES
        .iter()
        .flat_map(|(_, path)| {
            let table = find(path).expect("each path leads to a table");
            table.keys.iter().map(move |key| (*path, *key))
        })
        .collect()
}
