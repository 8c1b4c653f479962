//! Walks the TOML tree into the tables of [`super::file`]. Unlike serde it does not stop at the first error: each value that
//! cannot be read is reported where it stands and leaves a [`Field::Bad`], so that nobody complains about it twice.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{nearest::nearest, problem::Report, syntax};

/// The default column of a key that must be written.
pub(super) const REQUIRED: &str = "required";

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    /// The value.
    pub(super) value: T,
    /// Its bytes in the file.
    pub(super) span: Range<usize>,
}

/// What the file says about a key.
#[derive(Clone, Debug, Default)]
pub(super) enum Field<T> {
    /// Nothing.
    #[default]
    Absent,
    /// Something that could not be read, and is reported already.
    Bad,
    /// This.
    Given(At<T>),
}

impl<T> Field<T> {
    /// Reads the value of a key.
    pub(super) fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Self
    where
        T: Value,
    {
        match T::read(value, report) {
            Some(read) => Self::Given(At { value: read, span: value.span() }),
            None => Self::Bad,
        }
    }

    /// Whether the key is not in the file.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value with its place, if there is a good one.
    pub(super) fn given(self) -> Option<At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Bad => None,
        }
    }

    /// The place of a good value.
    pub(super) fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::Given(at) => Some(at.span.clone()),
            Self::Absent | Self::Bad => None,
        }
    }

    /// The value, or the default for a key that is absent or bad.
    pub(super) fn or(self, default: T) -> T {
        self.given().map_or(default, |at| at.value)
    }
}

/// What can stand behind a key.
pub(super) trait Value: Sized {
    /// Its kind, with article, for messages and the reference: "a text".
    const KIND: &'static str;
    /// How it is written, for the help line.
    const EXAMPLE: &'static str;
    /// The table it is, or the one it has many of.
    const TABLE: Option<fn() -> TableDoc> = None;

    /// Reads it, or reports why not.
    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self>;
}

/// A table with known keys; made by the `table!` macro.
pub(super) trait Table: Default {
    /// Its doc comment and keys.
    const DOC: TableDoc;

    /// Reads what is there.
    fn read_table(table: &DeTable<'_>, span: Range<usize>, report: &mut Report) -> Self;
}

/// A table, for the reference.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableDoc {
    /// Lines of its doc comment.
    pub(super) about: &'static [&'static str],
    /// Its keys in the order they are declared.
    pub(super) keys: &'static [KeyDoc],
}

/// A key, for the reference and for unknown keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyDoc {
    /// Its name.
    pub(super) name: &'static str,
    /// [`Value::KIND`].
    pub(super) kind: &'static str,
    /// [`Value::EXAMPLE`].
    pub(super) example: &'static str,
    /// [`Value::TABLE`].
    pub(super) table: Option<fn() -> TableDoc>,
    /// The default as written in a file, [`REQUIRED`], or words in parentheses.
    pub(super) default: &'static str,
    /// Lines of its doc comment.
    pub(super) doc: &'static [&'static str],
}

/// Declares a table of the file: a struct of [`Field`]s whose doc comments are the reference.
/// `key: Type = "default",` where the default is what could be written, or `REQUIRED`, or words in parentheses.
macro_rules! table {
    (
        $(#[doc = $about:literal])*
        struct $name:ident {
            $( $(#[doc = $doc:literal])* $key:ident: $type:ty = $default:expr, )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Default)]
        pub(super) struct $name {
            $( $(#[doc = $doc])* pub(super) $key: Field<$type>, )*
        }

        impl Table for $name {
            const DOC: TableDoc = TableDoc {
                about: &[$($about),*],
                keys: &[$( KeyDoc {
                    name: stringify!($key),
                    kind: <$type as Value>::KIND,
                    example: <$type as Value>::EXAMPLE,
                    table: <$type as Value>::TABLE,
                    default: $default,
                    doc: &[$($doc),*],
                }, )*],
            };

            fn read_table(table: &DeTable<'_>, span: Range<usize>, report: &mut Report) -> Self {
                let mut read = Self::default();
                let mut misspelt = Vec::new();
                for (key, value) in table {
                    match key.get_ref().as_ref() {
                        $( stringify!($key) => read.$key = Field::read(value, report), )*
                        _ => misspelt.extend(unknown_key(key, value, Self::DOC.keys, report)),
                    }
                }
                $( if $default == REQUIRED && read.$key.is_absent() && !misspelt.contains(&stringify!($key)) {
                    report
                        .error(span.clone(), concat!("`", stringify!($key), "` is missing"))
                        .with_help(format!("add `{} = {}`", stringify!($key), <$type as Value>::EXAMPLE));
                } )*
                read
            }
        }

        impl Value for $name {
            const KIND: &'static str = "a table";
            const EXAMPLE: &'static str = "{ ... }";
            const TABLE: Option<fn() -> TableDoc> = Some(|| Self::DOC);

            fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
                match value.get_ref() {
                    DeValue::Table(table) => Some(Self::read_table(table, value.span(), report)),
                    _ => wrong_kind::<Self>(value, report),
                }
            }
        }
    };
}
pub(super) use table;

/// Reads a whole document. With errors of syntax nothing else is looked at: a lost quote makes the parser lose keys that are there.
pub(super) fn read_document<T: Table>(text: &str, report: &mut Report) -> Option<T> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for (span, message) in syntax::errors(text, &errors) {
        let help = if message.starts_with("missing comma between array elements") {
            "write `,` between the elements; behind the last one close the list with `]`"
        } else {
            "the file is TOML: `[table]`, `key = \"text\"`, `key = 1`, `key = [\"a\", \"b\"]`, `key = { a = 1 }`"
        };
        report.error(span, message).with_help(help);
    }
    errors.is_empty().then(|| T::read_table(root.get_ref(), 0..0, report))
}

/// Words of other balancers' files and the key that is meant here.
const SYNONYMS: [(&str, &str); 30] = [
    ("ip", "vips"),
    ("vip", "vips"),
    ("addresses", "vips"),
    ("ip", "address"),
    ("host", "address"),
    ("server", "backends"),
    ("servers", "backends"),
    ("enabled", "pooled"),
    ("monitor", "checks"),
    ("monitors", "checks"),
    ("http_status", "status"),
    ("type", "kind"),
    ("sni", "tls"),
    ("ports", "port"),
    ("protocols", "protocol"),
    ("sched", "scheduler"),
    ("lb_algo", "scheduler"),
    ("lvs_sched", "scheduler"),
    ("lb_kind", "method"),
    ("forward", "method"),
    ("forwarding_method", "method"),
    ("persistent", "persistence"),
    ("persistence_timeout", "persistence"),
    ("sticky", "persistence"),
    ("netmask", "persistence_prefix4"),
    ("persistence_granularity", "persistence_prefix4"),
    ("deny", "block"),
    ("whitelist", "allow"),
    ("blacklist", "block"),
    ("verify", "tls"),
];

/// Reports a key that means nothing, and names the one that was probably meant, which is not missed then.
pub(super) fn unknown_key(
    key: &Spanned<toml::de::DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    keys: &[KeyDoc],
    report: &mut Report,
) -> Option<&'static str> {
    let name = key.get_ref().as_ref();
    let plain = name.to_ascii_lowercase().replace('-', "_");
    let known = || keys.iter().map(|key| key.name);
    let synonym = || {
        let mut meant = SYNONYMS.iter().filter(|(word, _)| *word == plain).map(|(_, meant)| *meant);
        meant.find(|meant| known().any(|known| known == *meant))
    };
    let problem = |report: &mut Report, help: String| {
        report.error(key.span(), format!("unknown key `{}`", shorten(name))).with_help(help);
    };
    if value.get_ref().is_table() && known().any(|known| known == "address") {
        problem(
            report,
            "a name with dots needs quotes: `\"host.example.org\" = { address = ... }`".to_owned(),
        );
        return Some("address");
    }
    let meant = known().find(|known| *known == plain).or_else(synonym).or_else(|| nearest(&plain, known()));
    let help = meant.map_or_else(
        || {
            let all: Vec<String> = known().map(|key| format!("`{key}`")).collect();
            format!("the keys here are {}", all.join(", "))
        },
        |meant| format!("did you mean `{meant}`?"),
    );
    problem(report, help);
    meant
}

/// Reports that something else was expected.
pub(super) fn wrong_kind<T: Value>(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<T> {
    let found = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    report
        .error(value.span(), format!("expected {}, found {found}", T::KIND))
        .with_help(format!("write it like `{}`", T::EXAMPLE));
    None
}

/// At most 60 characters of a text of the file, for messages.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A table whose keys are names chosen by whoever writes the file, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Named<T>(pub(super) Vec<(At<String>, Field<T>)>);

impl<T: Value> Value for Named<T> {
    const KIND: &'static str = "a table by name";
    const EXAMPLE: &'static str = "{ name = ... }";
    const TABLE: Option<fn() -> TableDoc> = T::TABLE;

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            return wrong_kind(value, report);
        };
        let mut named: Vec<(At<String>, Field<T>)> = table
            .iter()
            .map(|(key, value)| {
                let name = At { value: key.get_ref().as_ref().to_owned(), span: key.span() };
                (name, Field::read(value, report))
            })
            .collect();
        named.sort_by_key(|(name, _)| name.span.start);
        Some(Self(named))
    }
}

/// A list.
impl<T: Value> Value for Vec<At<T>> {
    const KIND: &'static str = "a list";
    const EXAMPLE: &'static str = "[ ... ]";
    const TABLE: Option<fn() -> TableDoc> = T::TABLE;

    fn read(value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        match value.get_ref() {
            DeValue::Array(items) => {
                let read = read_items(items, report);
                // A list of nothing but errors is not an empty list.
                (!read.is_empty() || items.is_empty()).then_some(read)
            }
            DeValue::Table(_) if T::TABLE.is_some() => {
                report
                    .error(value.span(), "expected a list of tables, found one table")
                    .with_help("put the table's name into double brackets: `[[...]]`");
                None
            }
            _ => {
                let text = shorten(report.text(value.span()));
                report
                    .error(value.span(), "expected a list")
                    .with_help(format!("put it in brackets: `[{text}]`"));
                None
            }
        }
    }
}

fn read_items<T: Value>(items: &DeArray<'_>, report: &mut Report) -> Vec<At<T>> {
    items
        .iter()
        .filter_map(|item| T::read(item, report).map(|value| At { value, span: item.span() }))
        .collect()
}
